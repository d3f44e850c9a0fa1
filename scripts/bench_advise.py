"""Advice against every fixed recipe: accuracy, time, regret, and whether the ranking of backbones was right.

    scripts/bench advise --cifar FOLDER --photographs FOLDER --fashion FOLDER [--out rows.json] [--tasks NAME,…]

FOLDERs hold train/CLASS and test/CLASS (`--cifar`: CIFAR-10 as JPEG), ImageNet photographs named INDEX_… as the
validation set has them (`--photographs`), or the four Fashion-MNIST archives as published (`--fashion`).
"""

import argparse
import gzip
import json
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


def trained(plan: Plan, listener) -> tuple[float, float]:
    """Test accuracy and seconds of a run of `plan`."""
    with tempfile.TemporaryDirectory() as folder:
        record = workflow.train(plan, folder=Path(folder), listener=listener).record
    return record.test["accuracy"], record.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cifar", "photographs", "fashion"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--tasks", help="only these, parted by semicolons")
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
        return not any((row["task"], row["how"]) == (task, how) for row in rows)

    with tempfile.TemporaryDirectory() as folder:
        for task, source in tasks(arguments, Path(folder)).items():
            for recipe in recipes.RECIPES:
                if missing(task, recipe):
                    console.print(f"{task}: {recipe}")
                    accuracy, seconds = trained(Plan(data=source, recipe=recipe), listener)
                    keep(task=task, how=recipe, accuracy=accuracy, seconds=seconds)
            if missing(task, "advised"):
                console.print(f"{task}: advised")
                began = time.perf_counter()
                advice = workflow.advise(source, names=["EfficientNetLite0"], listener=listener)
                advising = time.perf_counter() - began
                accuracy, seconds = trained(advice.plan, listener)
                chosen = {"recipe": advice.plan.recipe, "advising_seconds": advising}
                keep(task=task, how="advised", accuracy=accuracy, seconds=seconds, **chosen)
            for name in filter(None, arguments.backbones.split(",")):
                if missing(task, f"head on {name}"):
                    console.print(f"{task}: head on {name}")
                    ranked = workflow.advise(source, names=[name], listener=listener).ranking[0]
                    accuracy, seconds = trained(Plan(data=source, backbone=name, recipe="head"), listener)
                    measured = {"probe": ranked.probe_accuracy, "logme": ranked.logme, "h_score": ranked.h_score}
                    keep(task=task, how=f"head on {name}", accuracy=accuracy, seconds=seconds, **measured)
    show(console, rows)


def show(console: Console, rows: list[dict]) -> None:
    fixed = list(dict.fromkeys(row["how"] for row in rows if row["how"] in recipes.RECIPES))
    names = list(dict.fromkeys(row["task"] for row in rows if row["how"] == "advised"))
    found = {(row["task"], row["how"]): row for row in rows}
    table = Table("task", *fixed, "advised", "regret, points", "advice, share of training")
    for task in names:
        advised = found[task, "advised"]
        regret = 100 * (max(found[task, how]["accuracy"] for how in fixed) - advised["accuracy"])
        cells = [f"{found[task, how]['accuracy']:.1%} in {found[task, how]['seconds']:.0f} s" for how in fixed]
        mine = f"{advised['accuracy']:.1%} in {advised['seconds']:.0f} s ({advised['recipe']})"
        table.add_row(task, *cells, mine, f"{regret:+.1f}", f"{advised['advising_seconds'] / advised['seconds']:.0%}")
    means = [np.mean([found[task, how]["accuracy"] for task in names]) for how in (*fixed, "advised")]
    table.add_row("mean", *(f"{mean:.1%}" for mean in means))
    console.print(table)
    for score in ("probe", "logme", "h_score"):
        for task in names:
            of_task = [row for row in rows if row["task"] == task and row.get(score) is not None]
            if len(of_task) > 2:
                tau = kendalltau([row[score] for row in of_task], [row["accuracy"] for row in of_task]).statistic
                console.print(
                    f"{task}: Kendall's tau of {score} with trained accuracy, {len(of_task)} backbones: {tau:+.2f}"
                )


if __name__ == "__main__":
    main()
