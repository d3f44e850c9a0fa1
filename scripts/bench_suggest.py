"""What suggested labels are worth beside as many random ones: labelling is simulated, the features are frozen.

    scripts/bench suggest [SOURCE ...] [--labels 20,50,100,175,250] [--seeds 0,1,2] [--out rows.json]

SOURCE is anything with one class a picture; `sample:fashion` where nothing is named. Its training pictures begin
without labels. The first of `--labels` are drawn at random, the same for everyone; each further number is reached by
random pictures, or by those that `keras-transfer suggest` would name, from the features of EfficientNet-Lite0 as
ImageNet left it and a logistic regression on what is labelled so far. That regression is judged on the test pictures.
`typical` and `torn` are the two methods alone, `suggested` is the one that suits how many labels there are.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from keras_transfer.backbones import features, registry
from keras_transfer.data import pipeline, sources
from keras_transfer.selection import suggesting
from keras_transfer.training import prefix
from keras_transfer.workflow.building import fitting_size

WAYS = ("random", "suggested", "typical", "torn")
PENALTY = 0.01
"""Of the regression, on features of unit deviation; the same for everyone."""


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
    return found


def learnt(rows, labels):
    """A regression on what is labelled so far, as a function to probabilities of all the classes it knows."""
    scaler = StandardScaler().fit(rows)
    return scaler, LogisticRegression(C=PENALTY, max_iter=300).fit(scaler.transform(rows), labels)


def chosen(way, rows, labels, known, more, seed):
    """Positions of the pictures to label next."""
    left = np.setdiff1d(np.arange(len(rows)), known)
    if way == "random":
        return np.random.default_rng((seed, len(known))).choice(left, more, replace=False)
    scaler, model = learnt(rows[known], labels[known])
    pool = suggesting.Pool(rows[left], model.predict_proba(scaler.transform(rows[left])), rows[known])
    classes = len(np.unique(labels))
    method = suggesting.method_for(len(known), classes)[0] if way == "suggested" else way
    return left[[pick.row for pick in suggesting.suggest(pool, more, method, seed)]]


def curve(way, data, counts, seed):
    """Test accuracy at each number of labels."""
    rows, labels, test_rows, test_labels = data
    known = np.random.default_rng(seed).choice(len(rows), counts[0], replace=False)
    reached = []
    for count in counts:
        if count > len(known):
            known = np.concatenate([known, chosen(way, rows, labels, known, count - len(known), seed)])
        scaler, model = learnt(rows[known], labels[known])
        reached.append(float((model.predict(scaler.transform(test_rows)) == test_labels).mean()))
    return reached


def show(source, counts, rows):
    """Print the mean of the seeds, and their spread, for each way."""
    print(f"{source}: test accuracy in percent, mean and deviation of {len(rows['random'])} seeds")
    print(" | ".join(["labels", *map(str, counts)]))
    for way in WAYS:
        values = 100 * np.array(list(rows[way].values()))
        print(
            " | ".join(
                [
                    way,
                    *(f"{mean:.1f} ± {spread:.1f}" for mean, spread in zip(values.mean(0), values.std(0), strict=True)),
                ]
            )
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("--labels", default="20,50,100,175,250")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, help="where to keep what was measured")
    arguments = parser.parse_args()
    counts = [int(each) for each in arguments.labels.split(",")]
    kept = {}
    for source in arguments.sources or ["sample:fashion"]:
        data = described(source)
        rows = {way: {} for way in WAYS}
        for seed in arguments.seeds.split(","):
            for way in WAYS:
                rows[way][seed] = curve(way, data, counts, int(seed))
        show(source, counts, rows)
        kept[source] = rows
        if arguments.out:
            arguments.out.write_text(json.dumps({"labels": counts, **kept}, indent=1))


if __name__ == "__main__":
    main()
