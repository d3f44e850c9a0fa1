"""What whole numbers leave of a network, measured or learnt: scripts/bench whole_numbers SOURCE [--backbone NAME ...].

Each backbone is trained from random weights (or `--weights`), exported in floats, in whole numbers measured on
pictures, in whole numbers with the worst operations left in float, and, trained on in them, in whole numbers that it
learnt. The drop is of accuracy on the test split, which has no say in anything; speed is the multiple of the float32
file's in the same run, one picture a call.
"""

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from keras_transfer import workflow
from keras_transfer.specs import Plan
from keras_transfer.workflow import whole_numbers
from keras_transfer.workflow.opened import Opened

MEASURED = ("tflite", "tflite-int8", "tflite-int8-mixed")


def told(run, file, name) -> dict:
    parity = file.parity
    return {
        "backbone": run.record.plan.backbone,
        "file": name,
        "size_bytes": file.artifact.size_bytes,
        "accuracy": parity.accuracy,
        "drop_points": parity.accuracy_drop_points,
        "within_a_step": parity.within_a_step,
        "median_ms": file.latency.median_ms,
    }


def measure(plan: Plan, folder: Path) -> list[dict]:
    run = workflow.train(plan, folder=folder)
    files = workflow.export(run, MEASURED, max_drop=100)
    rows = [told(run, file, name) for file, name in zip(files, MEASURED, strict=True)]
    result = whole_numbers.learn(Opened(run))
    if result.kept:
        (file,) = workflow.export(run, ["tflite-int8"], max_drop=100)
        rows.append(told(run, file, "tflite-int8, learnt"))
    for row in rows:
        row["speed"] = rows[0]["median_ms"] / row["median_ms"]
    return [{**row, "float_seconds": run.record.seconds, "int8_seconds": result.seconds} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="pictures, as keras-transfer train takes them")
    parser.add_argument("--backbone", action="append", help="repeat for several")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--recipe", default="full")
    parser.add_argument("--epochs", type=int, default=10, help="in floats, of every stage")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where runs are kept; nowhere where it is left out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    same = {"data": given.source, "weights": given.weights, "recipe": given.recipe, "exports": ()}
    sized = {"epochs": given.epochs, "image_size": given.image_size, "seed": given.seed}
    with tempfile.TemporaryDirectory() as nowhere:
        names = given.backbone or ["MobileNetV3Small", "EfficientNetB0"]
        plans = [Plan(**same, **sized, backbone=name) for name in names]
        rows = [row for plan in plans for row in measure(plan, given.folder or Path(nowhere))]
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("backbone", "file", "MB", "accuracy", "drop in points", "within a step", "speed")
    for row in rows:
        within = "" if row["within_a_step"] is None else f"{row['within_a_step']:.1%}"
        figures = (f"{row['size_bytes'] / 1e6:.1f}", f"{row['accuracy']:.1%}", f"{row['drop_points']:.1f}", within)
        table.add_row(row["backbone"], row["file"], *figures, f"{row['speed']:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
