"""What whole numbers leave of a network, measured or learnt: scripts/bench whole_numbers SOURCE [--backbone NAME ...].

Each backbone is trained from random weights (or `--weights`), exported in floats, in whole numbers measured on
pictures, in whole numbers with the worst operations left in float, and, trained on in them, in whole numbers that it
learnt. The drop is of accuracy on the test split, which has no say in anything; speed is the multiple of the float32
file's in the same run, one picture a call on as many threads, all files in turns so that what else the machine does
falls on all of them. With --folder a run that is there is taken as it is, and what of it stopped goes on.

With --untrained nothing is learnt and no SOURCE is needed: it tells speed alone, of networks with random weights and
batch norms that know what passes.
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
from untrained import settled

from keras_transfer import devices, workflow
from keras_transfer.backbones import blocks, registry
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract, Plan
from keras_transfer.tasks import classification
from keras_transfer.training import whole_numbers as twins
from keras_transfer.workflow import whole_numbers
from keras_transfer.workflow.opened import Opened

MEASURED = ("tflite", "tflite-int8", "tflite-int8-mixed")
LEARNT = "tflite-int8, learnt"
BACKBONES = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0")
"""Squeeze-excite and swish networks, which whole numbers are known to break."""
THREADS = (1, 2)
CLASSES = 10


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
        rows.append(told(run, file, LEARNT, aside))
    learnt = run.folder / whole_numbers.FOLDER
    hidden = learnt.rename(learnt.with_name(f"{learnt.name}-aside"))
    try:
        files = workflow.export(run, MEASURED, max_drop=100)
    finally:
        hidden.rename(learnt)
    rows = [told(run, file, name, aside) for file, name in zip(files, MEASURED, strict=True)] + rows
    seconds = {"float_seconds": run.record.seconds, "int8_seconds": result.seconds}
    return [row | seconds for row in with_speed(rows, opened.record.image_size)]


def untrained(name: str, size: int, aside: Path) -> list[dict]:
    """The files of a backbone with random weights, those that it would have learnt among them."""
    base, pictures = settled(name, size)
    network = classification.attach(base, tuple(blocks.cut(base, registry.backbone(name))), classes=CLASSES)
    twin = twins.of(network)
    twins.look(twin.model, [pictures])
    contract = Contract(class_names=tuple(map(str, range(CLASSES))), image_size=base.input.shape[1], backbone=name)
    given = (network.model, aside / name, ["tflite", "tflite-int8"], contract)
    rows = []
    for learned in (None, twin.model):
        for artifact in exporters.export(*given, calibration=pictures, learned=learned):
            file = LEARNT if learned and artifact.precision == "int8" else artifact.path.stem
            path = shutil.copy(artifact.path, aside / f"{name}-{file}.tflite")
            rows.append({"backbone": name, "file": file, "size_bytes": artifact.size_bytes, "path": path})
    floats, measured, _, learnt = rows
    return with_speed([floats, measured, learnt], contract.image_size)


def with_speed(rows: list[dict], size: int) -> list[dict]:
    """The rows, each with how many times as fast as the first one it is, by threads; they need no files any more."""
    noise = np.random.default_rng(0).integers(0, 256, (30, size, size, 3), np.uint8)
    for threads in THREADS:
        for row in rows:
            row["ask"] = runtime.load(Path(row["path"]), threads=threads).predict
        timed(rows, noise)
        for row in rows:
            pairs = zip(rows[0]["rounds_ms"], row["rounds_ms"], strict=True)
            row[f"speed_{threads}"] = statistics.median(slow / fast for slow, fast in pairs)
            row[f"median_ms_{threads}"] = row["median_ms"]
    left_out = ("ask", "path", "rounds_ms", "median_ms")
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def tell(rows: list[dict], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"instructions": devices.instruction_set(), "rows": rows}, indent=2))
        return
    told_of = ("accuracy", "drop in points", "within a step") if "accuracy" in rows[0] else ()
    table = Table("backbone", "file", "MB", *told_of, *(f"speed, threads {count}" for count in THREADS))
    for column in table.columns[:2]:
        column.no_wrap = True
    for row in rows:
        figures = []
        if told_of:
            within = "" if row["within_a_step"] is None else f"{row['within_a_step']:.1%}"
            figures = [f"{row['accuracy']:.1%}", f"{row['drop_points']:.1f}", within]
        speeds = (f"{row[f'speed_{count}']:.2f}" for count in THREADS)
        table.add_row(row["backbone"], row["file"], f"{row['size_bytes'] / 1e6:.1f}", *figures, *speeds)
    console = Console(width=120)
    console.print(table)
    console.print(f"instruction set: {devices.instruction_set()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="pictures, as keras-transfer train takes them")
    parser.add_argument("--backbone", action="append", help="repeat for several; four where left out")
    parser.add_argument("--untrained", action="store_true", help="speed alone, of random weights")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--recipe", default="full")
    parser.add_argument("--epochs", type=int, default=10, help="in floats, of every stage")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where runs are kept; nowhere where it is left out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.untrained and not given.source:
        parser.error("it takes a SOURCE, or --untrained")
    names, rows = given.backbone or BACKBONES, []
    with tempfile.TemporaryDirectory() as nowhere:
        for name in names:
            if given.untrained:
                rows += untrained(name, given.image_size, Path(nowhere))
                continue
            same = {"data": given.source, "weights": given.weights, "recipe": given.recipe, "exports": ()}
            sized = {"epochs": given.epochs, "image_size": given.image_size, "seed": given.seed}
            plan = Plan(**same, **sized, backbone=name)
            rows += measure(plan, given.folder or Path(nowhere), Path(nowhere))
    tell(rows, as_json=given.json)


if __name__ == "__main__":
    main()
