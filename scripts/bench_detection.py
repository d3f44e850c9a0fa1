"""Boxes: each recipe, beside the same head on the same backbone trained by plain Keras `fit`.

    scripts/bench detection [SOURCE] [--recipes head,head_then_top,dense] [--image-size 448]
                            [--only recipes,frozen,fit] [--epochs N]

SOURCE is anything that brings boxes: a VOC, COCO or YOLO folder, a table; `sample:fashion-boxes` where none is named.

`recipes`: COCO AP50 and AP of validation and test of each, its seconds, and what int8 loses. `frozen`: an epoch of a
frozen backbone, validation included, from stored taps and streamed by `fit`. `fit`: the whole network by `fit`
on the same batches and the same loss (Keras' guide to transfer learning: head first, then everything at a low rate).
"""

import argparse

import dense_peers
from dense_peers import BATCH

OURS = """
import json, sys, keras_transfer as kt
plan = kt.Plan(**json.loads(sys.argv[1]))
run = kt.train(plan, folder=sys.argv[2])
scored = {split: kt.evaluate(run.folder, split=split) for split in ("validation", "test")}
stages = [stage.model_dump(mode="json") for stage in run.record.stages]
files = kt.export(run, formats=["tflite", "tflite-int8"])
exports = [[each.artifact.precision, str(each.artifact.path), each.latency.median_ms] for each in files]
exports = [[*each, kt.evaluate(each[1], split="test").ap50] for each in exports]
said = {split: each.model_dump(mode="json") for split, each in scored.items()}
print(json.dumps({**said, "seconds": run.record.seconds, "stages": stages, "exports": exports}))
"""


def recipes(source, options):
    """A process for each recipe, so that none begins where another warmed up."""
    print("\n| recipe | AP50 validation | AP | AP50 test | AP | seconds | s/epoch by stage |\n|" + " --- |" * 7)
    for recipe in options.recipes.split(","):
        found = dense_peers.ours(OURS, dense_peers.plan_of("detection", source, options, recipe))
        paces = [f"{stage['name']} {min(row['seconds'] for row in stage['history']):.1f}" for stage in found["stages"]]
        figures = [f"{found[split][name]:.3f}" for split in ("validation", "test") for name in ("ap50", "ap")]
        print(f"| `{recipe}` | {' | '.join(figures)} | {found['seconds']:.0f} | {', '.join(paces)} |")
        for row in found["test"]["per_class"]:
            print(
                f"  {row['name']}: {row['count']} boxes in test, AP50 {row['ap50'] or 0:.3f}, AP {row['ap'] or 0:.3f}"
            )
        (_, _, float_ms, float_ap), (_, _, int8_ms, int8_ap) = found["exports"]
        print(f"  int8: AP50 {float_ap:.3f} -> {int8_ap:.3f}, {float_ms:.1f} -> {int8_ms:.1f} ms", flush=True)


def built(source, options):
    return dense_peers.built(dense_peers.plan_of("detection", source, options, "dense"), "boxes")


def frozen(source, options):
    dense_peers.frozen(dense_peers.plan_of("detection", source, options, "head"), "boxes")


def whole_by_fit(source, options):
    """What the whole network is worth after `fit`."""
    import numpy as np

    from keras_transfer.data import box_labels
    from keras_transfer.evaluation import detection
    from keras_transfer.tasks.detection import answered

    network, feed, splits = built(source, options)
    took = dense_peers.guided(network, feed, options.image_size, head_epochs=8, epochs=options.epochs)
    worth = []
    for split in ("validation", "test"):
        images = feed(split, image_size=options.image_size, batch_size=16)
        said = [network.model.predict_on_batch(np.asarray(each)) for each, *_ in images]
        answers = answered(*(np.concatenate(parts) for parts in zip(*said, strict=True)))
        truth = box_labels.squared(splits[split].labels, options.image_size, "stretch")
        precision = detection.coco_precision(answers, truth, len(splits.class_names))
        worth.append((precision[0][precision[0] > -1].mean(), precision[precision > -1].mean()))
    told = ", ".join(
        f"AP50 {ap50:.3f}, AP {ap:.3f} on {split}"
        for (ap50, ap), split in zip(worth, ("validation", "test"), strict=True)
    )
    print(f"\nwhole network by fit: {told}, in {took:.0f} s")


PARTS = {"recipes": recipes, "frozen": frozen, "fit": whole_by_fit}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="sample:fashion-boxes")
    parser.add_argument("--recipes", default="head,head_then_top,dense")
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    print(options.source, f"at {options.image_size} px, batches of {BATCH}")
    for name in options.only.split(","):
        PARTS[name](options.source, options)


if __name__ == "__main__":
    main()
