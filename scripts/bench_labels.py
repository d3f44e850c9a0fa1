"""What labels are worth: suggested ones beside as many random ones, and few of them beside pictures without any.

    scripts/bench labels [SOURCE ...] [--only suggest,unlabelled] [--ways random,suggested,typical,margin,torn]
                         [--labels 20,50,100,175,250] [--per-class 5,25] [--seeds 0,1,2] [--out rows.json]

SOURCE is anything with one class a picture; `sample:fashion` where nothing is named. Labelling is simulated on frozen
features, those of EfficientNet-Lite0 as ImageNet left it, and what is learned is a logistic regression on them, judged
on the test pictures.

    suggest     training pictures begin without labels; the first of `--labels` are drawn at random, the same for all
                ways, and each further number is reached by random pictures or by those that `keras-transfer suggest`
                would name. The others are its methods, `suggested` the one that suits how many labels
                there are.
    unlabelled  of each class `--per-class` training pictures are labelled and half as many validate, but two at
                least; the rest has no label. Beside the labels alone: each way of giving labels, what the gate
                takes of the first of them, and that where a fifth of them shows what the next SOURCE shows.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from keras_transfer.backbones import registry
from keras_transfer.data import pipeline, sources
from keras_transfer.selection import pseudo_labels, suggesting
from keras_transfer.specs import Plan, silent
from keras_transfer.training import prefix
from keras_transfer.workflow import unlabelled
from keras_transfer.workflow.building import network_of, resolved

WAYS = ("random", "suggested", "typical", "margin", "torn")


class Described:
    """The pictures of a source, as frozen features."""

    def __init__(self, source):
        splits = sources.load(source)
        plan = resolved(Plan(data=source), registry.backbone("EfficientNetLite0"), splits, silent)
        network, _ = network_of(plan, registry.backbone("EfficientNetLite0"), splits, "imagenet", silent)
        feed, size = pipeline.make_feed(splits), plan.image_size
        check = np.asarray(next(iter(feed("train", image_size=size, batch_size=16)))[0])
        compute = prefix.build(unlabelled.depths(network), check=check).compute

        def features(split, **how):
            batches = feed(split, image_size=size, batch_size=64, **how)
            parts = [compute(np.asarray(images)) for images, *_ in batches]
            return [np.concatenate(each) for each in zip(*parts, strict=True)]

        head, earlier = features("train")
        self.data = (head, splits.train.labels, features("test")[0], splits.test.labels)
        self.scaler = StandardScaler().fit(head)
        self.head, self.both = head.shape[1], np.concatenate([head, earlier], axis=1)
        copies = [features("train", augment=unlabelled.STRONG, epoch=each) for each in range(unlabelled.COPIES)]
        self.strong = np.stack([np.concatenate(each, axis=1) for each in copies])


def learnt(scaler, rows, labels, weights=None):
    """A regression on what is labelled."""
    weights = np.ones(len(labels)) if weights is None else weights
    model = LogisticRegression(C=pseudo_labels.LENIENCE / weights.sum(), max_iter=200)
    return model.fit(scaler.transform(rows), labels, weights)


def right(model, scaler, rows, labels):
    """Share of the pictures that a regression is right about."""
    return float((model.predict(scaler.transform(rows)) == labels).mean())


def chosen(way, data, scaler, known, more, seed):
    """Positions of the pictures to label next."""
    rows, labels, *_ = data
    left = np.setdiff1d(np.arange(len(rows)), known)
    if way == "random":
        return np.random.default_rng((seed, len(known))).choice(left, more, replace=False)
    said = learnt(scaler, rows[known], labels[known]).predict_proba(scaler.transform(rows[left]))
    classes = len(np.unique(labels))
    method = suggesting.method_for(len(known), classes)[0] if way == "suggested" else way
    picks = suggesting.suggest(suggesting.Pool(rows[left], said, rows[known]), more, method, seed)
    return left[[pick.row for pick in picks]]


def curve(way, data, scaler, counts, seed):
    """Test accuracy by the number of labels."""
    rows, labels, test_rows, test_labels = data
    known = np.random.default_rng(seed).choice(len(rows), counts[0], replace=False)
    reached = {}
    for count in counts:
        if count > len(known):
            known = np.concatenate([known, chosen(way, data, scaler, known, count - len(known), seed)])
        reached[str(count)] = right(learnt(scaler, rows[known], labels[known]), scaler, test_rows, test_labels)
    return reached


def helped(source, per_class, seed, foreign):
    """Test accuracy by how pictures without a label are used; what judges sees what the head takes alone."""
    (rows, labels, test_rows, test_labels), scaler, both = source.data, source.scaler, source.both
    order = np.random.default_rng(seed).permutation(len(rows))
    judging = max(2, per_class // 2)
    of_class = [order[labels[order] == each] for each in np.unique(labels)]
    train = np.concatenate([each[:per_class] for each in of_class])
    validation = np.concatenate([each[per_class : per_class + judging] for each in of_class])
    rest = np.concatenate([each[per_class + judging :] for each in of_class])
    known = pseudo_labels.Known(
        both[train], labels[train], both[validation], labels[validation], both[rest], len(of_class)
    )
    known = pseudo_labels.weighed(replace(known, strong=source.strong[:, rest]), source.head)

    def reached(given, weights, known=known):
        seen = np.concatenate([rows[train], known.unlabelled[:, : source.head]])
        model = learnt(scaler, seen, np.append(labels[train], given), np.append(np.ones(len(train)), weights))
        return right(model, scaler, test_rows, test_labels)

    alone = right(learnt(scaler, rows[train], labels[train]), scaler, test_rows, test_labels)
    ways = {name: reached(*method(known)) for name, method in pseudo_labels.METHODS.items()}
    found, _ = pseudo_labels.gated(known, "curriculum")
    ways["gated"] = alone if found is None else reached(found.labels, found.weights)
    if foreign is not None:
        others = foreign[np.random.default_rng(seed).choice(len(foreign), len(rest) // 4)]
        mixed = replace(known, unlabelled=np.concatenate([known.unlabelled, others]), strong=None)
        mixed = pseudo_labels.weighed(mixed, source.head)
        found, _ = pseudo_labels.gated(mixed, "curriculum")
        ways["gated, a fifth foreign"] = alone if found is None else reached(found.labels, found.weights, mixed)
    return {"labels alone": alone, **ways}


def show(title, by_row):
    """Print the mean and the deviation of the seeds of each figure: rows of {name: [{column: share} of each seed]}."""
    print(title)
    print(" | ".join(["", *next(iter(by_row.values()))[0]]))
    for name, seeds in by_row.items():
        values = {column: [100 * each[column] for each in seeds] for column in seeds[0]}
        print(
            " | ".join([name, *(f"{np.mean(each):.1f} ± {np.std(each):.1f}" for each in values.values())]), flush=True
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("--only", default="suggest,unlabelled")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--labels", default="20,50,100,175,250")
    parser.add_argument("--per-class", default="5,25")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, help="where to keep what was measured")
    arguments = parser.parse_args()
    counts, seeds = [[int(each) for each in text.split(",")] for text in (arguments.labels, arguments.seeds)]
    kept = {}
    named = arguments.sources or ["sample:fashion"]
    described = {source: Described(source) for source in named}
    for source, other in zip(named, [*named[1:], named[0]], strict=True):
        given, foreign = described[source], None if other == source else described[other].both
        if "unlabelled" in arguments.only:
            kept[f"{source}, unlabelled"] = rows = {}
            title = f"{source}: test accuracy in percent, mean and deviation of {len(seeds)} seeds"
            for each in arguments.per_class.split(","):
                rows[f"{each} a class"] = [helped(given, int(each), seed, foreign) for seed in seeds]
                show(title, {f"{each} a class": rows[f"{each} a class"]})
        if "suggest" in arguments.only:
            kept[f"{source}, suggest"] = rows = {
                way: [curve(way, given.data, given.scaler, counts, seed) for seed in seeds]
                for way in arguments.ways.split(",")
            }
            show(f"{source}: test accuracy in percent by labels, mean and deviation of {len(seeds)} seeds", rows)
        if arguments.out:
            arguments.out.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
