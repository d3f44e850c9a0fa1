"""A class for every pixel: each recipe, beside the same head on the same backbone trained by plain Keras `fit`.

    scripts/bench segmentation [SOURCE] [--camvid FOLDER] [--recipes head,head_then_top,dense] [--image-size 352]
                               [--only recipes,frozen,fit] [--epochs N]

SOURCE is anything that brings masks; `sample:fashion-masks` where none is named. `--camvid`: a folder in SegNet's
layout (`train/`, `trainannot/`, `val/`, …; 11 is void), of which a table is made. Mean IoU is that of all pixels of a
split together at the model's own side, on masks made square by nearest neighbour.

`recipes`: validation and test of each, its seconds, and what int8 loses. `frozen`: an epoch of a frozen backbone,
validation included, from stored taps and streamed by `fit`. `fit`: the whole network by `fit` on the same batches, for
as many epochs as `dense` takes beyond the head (Keras' guide to transfer learning: head first, then everything at a
low rate).
"""

import argparse
import csv
import tempfile
from pathlib import Path

import dense_peers
import numpy as np
from dense_peers import BATCH

CAMVID = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
    "void",
]
CAMVID_SPLITS = {"train": "train", "val": "validation", "test": "test"}

OURS = """
import json, sys, keras_transfer as kt
plan = kt.Plan(**json.loads(sys.argv[1]))
run = kt.train(plan, folder=sys.argv[2])
found = {split: dict(kt.evaluate(run.folder, split=split).figures) for split in ("validation", "test")}
stages = [stage.model_dump(mode="json") for stage in run.record.stages]
files = kt.export(run, formats=["tflite", "tflite-int8"])
exports = [[each.artifact.precision, each.parity.accuracy_drop_points, each.latency.median_ms] for each in files]
print(json.dumps({**found, "seconds": run.record.seconds, "stages": stages, "exports": exports}))
"""


def of_camvid(folder, into):
    """A table of pictures and masks, beside links to their folders."""
    for name in CAMVID_SPLITS:
        for kind in (name, f"{name}annot"):
            (into / kind).symlink_to((folder / kind).absolute())
    rows = [
        (f"{name}/{path.name}", f"{name}annot/{path.stem}.png", split)
        for name, split in CAMVID_SPLITS.items()
        for path in sorted((folder / name).glob("*.jpg"))
    ]
    for file, header, body in (
        ("camvid.csv", ("path", "mask", "split"), rows),
        ("classes.csv", ("name", "value"), [(name, value) for value, name in enumerate(CAMVID)]),
    ):
        with (into / file).open("w", newline="") as opened:
            csv.writer(opened).writerows([header, *body])
    return str(into / "camvid.csv")


def recipes(source, options):
    """Train each recipe in a process of its own."""
    print(f"\n{'recipe':<16}{'validation':>12}{'test':>8}{'seconds':>9}{'int8 loses':>12}{'int8 is':>10}")
    for recipe in options.recipes.split(","):
        found = dense_peers.ours(OURS, dense_peers.plan_of("segmentation", source, options, recipe))
        (_, _, whole), (_, lost, eight) = found["exports"]
        worth = [found[split]["mean IoU"] for split in ("validation", "test")]
        print(
            f"{recipe:<16}{worth[0]:>12.3f}{worth[1]:>8.3f}{found['seconds']:>9.0f}{lost:>6.2f} points"
            f"{whole / eight:>8.2f} x"
        )
        for stage in found["stages"]:
            pace = np.median([row["seconds"] for row in stage["history"]])
            print(f"  {stage['name']}: {stage['epochs']} epochs of {pace:.1f} s by {stage['engine']}")


def built(source, options):
    return dense_peers.built(dense_peers.plan_of("segmentation", source, options, "dense"), "mask")


def frozen(source, options):
    dense_peers.frozen(dense_peers.plan_of("segmentation", source, options, "head"), "mask")


def whole_by_fit(source, options):
    """What the whole network is worth after `fit`."""
    from keras_transfer.evaluation import segmentation
    from keras_transfer.masks import squared

    network, feed, splits = built(source, options)
    took = dense_peers.guided(network, feed, options.image_size, head_epochs=5, epochs=options.epochs)
    worth = []
    for split in ("validation", "test"):
        confusion = 0
        classes = len(splits.class_names)
        truth = squared(splits[split].labels, options.image_size, "stretch")
        done = 0
        for images, *_ in feed(split, image_size=options.image_size, batch_size=16):
            for said in network.model.predict_on_batch(images).argmax(-1):
                confusion = confusion + segmentation.confusion_of(said, truth[done], classes)
                done += 1
        worth.append(segmentation.mean_iou(confusion))
    print(f"\nwhole network by fit: mean IoU {worth[0]:.3f} on validation, {worth[1]:.3f} on test, in {took:.0f} s")


PARTS = {"recipes": recipes, "frozen": frozen, "fit": whole_by_fit}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="sample:fashion-masks")
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--recipes", default="head,head_then_top,dense")
    parser.add_argument("--image-size", type=int, default=352)
    parser.add_argument("--epochs", type=int, default=34)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = of_camvid(options.camvid, Path(place)) if options.camvid else options.source
        print(source if not options.camvid else options.camvid, f"at {options.image_size} px, batches of {BATCH}")
        for name in options.only.split(","):
            PARTS[name](source, options)


if __name__ == "__main__":
    main()
