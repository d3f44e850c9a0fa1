"""What whole numbers leave of a network, measured or learnt: scripts/bench whole_numbers SOURCE [--backbone NAME ...].

Each backbone is trained from random weights (or `--weights`), exported in floats, in whole numbers measured on
pictures, in whole numbers with the worst operations left in float, and, trained on in them, in whole numbers that it
learnt. The drop is of accuracy on the test split, which has no say in anything; speed is the multiple of the float32
file's in the same run, one picture a call on one thread, all files in turns so that what else the machine does falls on
all of them. With --folder a run that is there is taken as it is, and what of it stopped goes on.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
from bench_export import timed
from rich.console import Console
from rich.table import Table

from keras_transfer import devices, workflow
from keras_transfer.export import runtime
from keras_transfer.specs import Plan
from keras_transfer.workflow import whole_numbers
from keras_transfer.workflow.opened import Opened

MEASURED = ("tflite", "tflite-int8", "tflite-int8-mixed")


def told(run, file, name, aside) -> dict:
    """A row of the table, and its file where no later one takes its place."""
    parity = file.parity
    return {
        "backbone": run.record.plan.backbone,
        "file": name,
        "size_bytes": file.artifact.size_bytes,
        "accuracy": parity.accuracy,
        "drop_points": parity.accuracy_drop_points,
        "agreement": parity.agreement,
        "within_a_step": parity.within_a_step,
        "path": shutil.copy(file.artifact.path, aside / f"{name.replace(', ', '-')}.tflite"),
    }


def measure(plan: Plan, folder: Path, aside: Path) -> list[dict]:
    """Every file of a backbone. What a run learnt before is set aside while the others are made."""
    run = workflow.train(plan, folder=folder)
    opened = Opened(run)
    result = whole_numbers.learn(opened)
    rows = []
    if result.kept:
        (file,) = workflow.export(run, ["tflite-int8"], max_drop=100)
        rows.append(told(run, file, "tflite-int8, learnt", aside))
    learnt = run.folder / whole_numbers.FOLDER
    hidden = learnt.rename(learnt.with_name(f"{learnt.name}-aside"))
    try:
        files = workflow.export(run, MEASURED, max_drop=100)
    finally:
        hidden.rename(learnt)
    rows = [told(run, file, name, aside) for file, name in zip(files, MEASURED, strict=True)] + rows
    for row in rows:
        row["ask"] = runtime.load(Path(row.pop("path")), threads=1).predict
    size = opened.record.image_size
    timed(rows, np.random.default_rng(0).integers(0, 256, (30, size, size, 3), np.uint8))
    for row in rows:
        row["speed"] = statistics.median(
            slow / fast for slow, fast in zip(rows[0]["rounds_ms"], row["rounds_ms"], strict=True)
        )
    seconds = {"float_seconds": run.record.seconds, "int8_seconds": result.seconds}
    return [{name: value for name, value in (row | seconds).items() if name != "ask"} for row in rows]


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
        rows = [row for plan in plans for row in measure(plan, given.folder or Path(nowhere), Path(nowhere))]
    if given.json:
        print(json.dumps({"instructions": devices.instruction_set(), "rows": rows}, indent=2))
        return
    table = Table("backbone", "file", "MB", "accuracy", "drop in points", "within a step", "speed")
    for row in rows:
        within = "" if row["within_a_step"] is None else f"{row['within_a_step']:.1%}"
        figures = (f"{row['size_bytes'] / 1e6:.1f}", f"{row['accuracy']:.1%}", f"{row['drop_points']:.1f}", within)
        table.add_row(row["backbone"], row["file"], *figures, f"{row['speed']:.2f}")
    console = Console(width=120)
    console.print(table)
    console.print(f"instruction set: {devices.instruction_set()}")


if __name__ == "__main__":
    main()
