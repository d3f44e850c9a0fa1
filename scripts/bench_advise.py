"""Advice against every fixed recipe: accuracy, time, regret, and whether the ranking of backbones was right.

    scripts/bench advise --cifar FOLDER --photographs FOLDER --fashion FOLDER [--out rows.json] [--tasks 'NAME;…']

FOLDERs hold train/CLASS and test/CLASS (`--cifar`: CIFAR-10 as JPEG), ImageNet photographs named INDEX_… as the
validation set has them (`--photographs`), or the four Fashion-MNIST archives as published (`--fashion`).
Every training begins without stored features. Seconds are of the clock, which other work on the machine stretches;
CPU-seconds stand beside them.
"""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from keras_transfer import workflow
from keras_transfer.specs import Event, Plan
from keras_transfer.training import recipes

FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
KINDS = (("bird", (*range(7, 25), *range(80, 101), *range(127, 147))), ("dog", range(151, 269)), ("animal", range(398)))
"""What an ImageNet class shows, the first that fits."""


def cifar(folder: Path, into: Path, per_class: int | None) -> Path:
    """CIFAR-10 with as many training pictures of each class."""
    for split, most in (("train", per_class), ("test", None)):
        for each in sorted((folder / split).iterdir()):
            files = sorted(each.iterdir())
            random.Random(0).shuffle(files)
            (into / split / each.name).mkdir(parents=True)
            for file in files[:most]:
                shutil.copy(file, into / split / each.name)
    return into


def photographs(folder: Path, into: Path) -> Path:
    """Is it a bird, a dog, another animal or a thing? Of every five photographs two are for the test."""
    for number, file in enumerate(sorted(folder.iterdir())):
        index = re.match(r"(\d+)_", file.name)
        if index is None:
            continue
        kind = next((name for name, classes in KINDS if int(index[1]) in classes), "thing")
        place = into / ("test" if number % 5 < 2 else "train") / kind
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / f"{file.stem}.jpg")
    return into


def unpacked(archive: Path, header_bytes: int) -> np.ndarray:
    with gzip.open(archive) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


def fashion(folder: Path, into: Path, per_class: int = 200) -> Path:
    """Fashion-MNIST with as many pictures of each class, drawn with a fixed seed."""
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pictures = unpacked(folder / f"{prefix}-images-idx3-ubyte.gz", 16)
        labels = unpacked(folder / f"{prefix}-labels-idx1-ubyte.gz", 8)
        rng = np.random.default_rng(0)
        for label, name in enumerate(FASHION):
            (into / split / name).mkdir(parents=True)
            for i in rng.choice(np.flatnonzero(labels == label), per_class, replace=False):
                Image.fromarray(pictures.reshape(-1, 28, 28)[i]).save(into / split / name / f"{i}.png")
    return into


def tasks(arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Name and source of each task whose pictures were given."""
    made = {"sample:fashion": "sample:fashion"}
    if arguments.photographs:
        made["photographs"] = str(photographs(arguments.photographs, folder / "photographs"))
    if arguments.cifar:
        made["CIFAR-10, 1,000"] = str(cifar(arguments.cifar, folder / "cifar1k", 100))
    if arguments.fashion:
        made["Fashion-MNIST, 2,000"] = str(fashion(arguments.fashion, folder / "fashion2k"))
    if arguments.cifar:
        made["CIFAR-10, 5,000"] = str(cifar(arguments.cifar, folder / "cifar5k", None))
    wanted = arguments.tasks.split(";") if arguments.tasks else made
    return {name: made[name] for name in wanted}


def trained(plan: Plan, listener) -> dict[str, float]:
    """Test accuracy, number of training pictures and cost of a run of `plan`, with nothing stored before it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_TRANSFER_CACHE"] = f"{folder}/cache"
        began = time.process_time()
        record = workflow.train(plan, folder=Path(folder), listener=listener).record
    return {
        "accuracy": record.test["accuracy"],
        "pictures": record.counts["train"],
        "seconds": record.seconds,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cifar", "photographs", "fashion"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--tasks", help="only these, parted by semicolons")
    parser.add_argument("--only", help="only these ways of training, parted by commas: recipes, advised")
    parser.add_argument("--backbones", default="", help="rank these too and train a head on each, parted by commas")
    parser.add_argument("--out", type=Path, help="where to keep the rows; rows that are there are not measured again")
    arguments = parser.parse_args()
    console = Console()
    out = arguments.out
    rows = json.loads(out.read_text()) if out and out.exists() else []

    def listener(event: Event) -> None:
        if event.kind in ("stage", "warning"):
            console.print(f"  {event.message}", style="dim", highlight=False)

    def keep(**row: object) -> None:
        rows.append(row)
        if out:
            out.write_text(json.dumps(rows, indent=1))

    def missing(task: str, how: str) -> bool:
        wanted = arguments.only is None or how in arguments.only.split(",")
        known = any((row["task"], row["how"]) == (task, how) for row in rows)
        return (wanted or how.startswith("head on")) and not known

    with tempfile.TemporaryDirectory() as folder:
        for task, source in tasks(arguments, Path(folder)).items():
            for recipe in recipes.RECIPES:
                if missing(task, recipe):
                    console.print(f"{task}: {recipe}")
                    keep(task=task, how=recipe, **trained(Plan(data=source, recipe=recipe), listener))
            if missing(task, "advised"):
                console.print(f"{task}: advised")
                began, cpu = time.perf_counter(), time.process_time()
                advice = workflow.advise(source, names=["EfficientNetLite0"], listener=listener)
                chosen = {
                    "recipe": advice.plan.recipe,
                    "image_size": advice.plan.image_size,
                    "probe": advice.ranking[0].probe_accuracy,
                    "expected_seconds": advice.training_seconds,
                    "advising_seconds": round(time.perf_counter() - began, 2),
                    "advising_cpu_seconds": round(time.process_time() - cpu, 2),
                }
                keep(task=task, how="advised", **trained(advice.plan, listener), **chosen)
            for name in filter(None, arguments.backbones.split(",")):
                if missing(task, f"head on {name}"):
                    console.print(f"{task}: head on {name}")
                    ranked = workflow.advise(source, names=[name], listener=listener).ranking[0]
                    head = trained(Plan(data=source, backbone=name, recipe="head"), listener)
                    measured = {"probe": ranked.probe_accuracy, "logme": ranked.logme, "h_score": ranked.h_score}
                    keep(task=task, how=f"head on {name}", **head, **measured)
    show(console, rows)


def show(console: Console, rows: list[dict]) -> None:
    found = {(row["task"], row["how"]): row for row in rows}
    fixed = [how for how in recipes.RECIPES if any(row["how"] == how for row in rows)]
    every = list(dict.fromkeys(row["task"] for row in rows))
    names = [task for task in every if (task, "advised") in found]
    table = Table("task", *fixed, "advised", "regret, points", "advice, share of training")
    for task in every:
        cells = [_cell(found.get((task, how))) for how in fixed]
        advised = found.get((task, "advised"))
        known = [found[task, how]["accuracy"] for how in fixed if (task, how) in found]
        if advised is None:
            table.add_row(task, *cells)
            continue
        regret = f"{100 * (max(known) - advised['accuracy']):+.1f}" if known else ""
        share = f"{advised['advising_seconds']:.1f} s, {advised['advising_seconds'] / advised['seconds']:.0%}"
        mine = f"{_cell(advised)} ({advised['recipe']}, {advised['image_size']} px)"
        table.add_row(task, *cells, mine, regret, share)
    whole = [task for task in names if all((task, how) in found for how in fixed)]
    means = [f"{np.mean([found[task, how]['accuracy'] for task in whole]):.1%}" for how in (*fixed, "advised") if whole]
    table.add_row(f"mean of {len(whole)}", *means)
    console.print(table)
    # What the policy's choice of depth rests on: are all blocks worth more than the last ones, and from how many
    # pictures on?
    for task in every:
        both = [found.get((task, how)) for how in ("full", "head_then_top")]
        if all(both):
            gain, pictures = 100 * (both[0]["accuracy"] - both[1]["accuracy"]), both[0].get("pictures", "?")
            console.print(f"{task}: {pictures} training pictures, full over head_then_top {gain:+.1f} points")
    for score in ("probe", "logme", "h_score"):
        for task in every:
            of_task = [row for row in rows if row["task"] == task and row.get(score) is not None]
            if len(of_task) > 2:
                tau = kendalltau([row[score] for row in of_task], [row["accuracy"] for row in of_task]).statistic
                console.print(
                    f"{task}: Kendall's tau of {score} with trained accuracy, {len(of_task)} backbones: {tau:+.2f}"
                )


def _cell(row: dict | None) -> str:
    return f"{row['accuracy']:.1%} in {row['seconds']:.0f} s" if row else "-"


if __name__ == "__main__":
    main()
