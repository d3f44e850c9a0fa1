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

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from keras_transfer.backbones import features, registry
from keras_transfer.data import pipeline, sources
from keras_transfer.selection import pseudo_labels, suggesting
from keras_transfer.training import prefix
from keras_transfer.workflow.building import fitting_size

WAYS = ("random", "suggested", "typical", "margin", "torn")


def described(source):
    """Features and labels of the training and the test pictures."""
    splits = sources.load(source)
    spec = registry.backbone("EfficientNetLite0")
    size = fitting_size(spec, splits.typical_size)
    built = features.build(spec, image_size=size)
    pooled = keras.Model(built.model.input, keras.layers.GlobalAveragePooling2D()(built.model.output))
    feed = pipeline.make_feed(splits)
    check = np.asarray(next(iter(feed("train", image_size=size, batch_size=16)))[0])
    compute = prefix.build(pooled, check=check).compute
    found = []
    for split in ("train", "test"):
        rows = [compute(np.asarray(images))[0] for images, *_ in feed(split, image_size=size, batch_size=64)]
        found += [np.concatenate(rows), splits[split].labels]
    scaler = StandardScaler().fit(found[0])
    return found, scaler


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


def helped(data, scaler, per_class, seed, foreign):
    """Test accuracy by how pictures without a label are used."""
    rows, labels, test_rows, test_labels = data
    order = np.random.default_rng(seed).permutation(len(rows))
    judging = max(2, per_class // 2)
    of_class = [order[labels[order] == each] for each in np.unique(labels)]
    train = np.concatenate([each[:per_class] for each in of_class])
    validation = np.concatenate([each[per_class : per_class + judging] for each in of_class])
    rest = np.concatenate([each[per_class + judging :] for each in of_class])
    known = pseudo_labels.Known(
        rows[train], labels[train], rows[validation], labels[validation], rows[rest], len(of_class)
    )

    def reached(given, weights, known=known):
        both, every = np.concatenate([rows[train], known.unlabelled]), np.append(labels[train], given)
        model = learnt(scaler, both, every, np.append(np.ones(len(train)), weights))
        return right(model, scaler, test_rows, test_labels)

    alone = right(learnt(scaler, rows[train], labels[train]), scaler, test_rows, test_labels)
    found, _ = pseudo_labels.gated(known, "curriculum")
    ways = {name: reached(*method(known)) for name, method in pseudo_labels.METHODS.items()}
    ways["gated"] = alone if found is None else reached(found.labels, found.weights)
    if foreign is not None:
        others = foreign[np.random.default_rng(seed).choice(len(foreign), len(rest) // 4)]
        mixed = replace(known, unlabelled=np.concatenate([known.unlabelled, others]))
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
    described_by = {source: described(source) for source in named}
    for source, other in zip(named, [*named[1:], named[0]], strict=True):
        (data, scaler), foreign = described_by[source], None if other == source else described_by[other][0][0]
        if "unlabelled" in arguments.only:
            kept[f"{source}, unlabelled"] = rows = {
                f"{each} a class": [helped(data, scaler, int(each), seed, foreign) for seed in seeds]
                for each in arguments.per_class.split(",")
            }
            show(f"{source}: test accuracy in percent, mean and deviation of {len(seeds)} seeds", rows)
        if "suggest" in arguments.only:
            kept[f"{source}, suggest"] = rows = {
                way: [curve(way, data, scaler, counts, seed) for seed in seeds] for way in arguments.ways.split(",")
            }
            show(f"{source}: test accuracy in percent by labels, mean and deviation of {len(seeds)} seeds", rows)
        if arguments.out:
            arguments.out.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
