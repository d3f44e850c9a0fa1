"""Advice against every fixed recipe: accuracy, time, regret, and whether the ranking of backbones was right.

    scripts/bench advise --cifar FOLDER --photographs FOLDER --fashion FOLDER [--out rows.json] [--tasks 'NAME;…']
        [--only head,full,advised,…] [--seeds 0,1,2] [--backbones A,B,C --sizes 64,96,128]

FOLDERs hold train/CLASS and test/CLASS (`--cifar`: CIFAR-10 as JPEG), ImageNet photographs named INDEX_… as the
validation set has them (`--photographs`), or the four Fashion-MNIST archives as published (`--fashion`).
Every training begins without stored features. A seed draws the validation pictures, the head and the order; the test is
the same for all. Seconds are of the clock, which other work on the machine stretches; CPU-seconds stand beside them.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import re
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from keras_transfer import workflow
from keras_transfer.specs import Event, Listener, Plan
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


def trained(plan: Plan, listener: Listener) -> dict[str, Any]:
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
    parser.add_argument("--seeds", default="0", help="train with each of these, parted by commas")
    parser.add_argument("--backbones", default="", help="rank these and train a head on each, parted by commas")
    parser.add_argument("--sizes", default="64,96,128", help="sides in pixels at which they are ranked")
    parser.add_argument("--out", type=Path, help="where to keep the rows; rows that are there are not measured again")
    arguments = parser.parse_args()
    console = Console()
    out = arguments.out
    rows = json.loads(out.read_text()) if out and out.exists() else []

    def listener(event: Event) -> None:
        if event.kind in ("stage", "warning"):
            console.print(f"  {event.message}", style="dim", highlight=False)

    ways = dict.fromkeys(recipes.ADVISED, fixed) | {"advised": advised}
    ways = {how: way for how, way in ways.items() if arguments.only is None or how in arguments.only.split(",")}
    ranked = itertools.product(filter(None, arguments.backbones.split(",")), arguments.sizes.split(","))
    ways |= {f"head on {name} at {size}": head_on for name, size in ranked}
    with tempfile.TemporaryDirectory() as folder:
        for (task, source), (how, way), seed in itertools.product(
            tasks(arguments, Path(folder)).items(), ways.items(), map(int, arguments.seeds.split(","))
        ):
            if any((row["task"], row["how"], row["seed"]) == (task, how, seed) for row in rows):
                continue
            console.print(f"{task}: {how}, seed {seed}")
            rows.append({"task": task, "how": how, "seed": seed, **way(source, how, seed, listener)})
            if out:
                out.write_text(json.dumps(rows, indent=1))
    show(console, rows)


def fixed(source: str, how: str, seed: int, listener: Listener) -> dict[str, Any]:
    return trained(Plan(data=source, recipe=how, seed=seed), listener)


def advised(source: str, how: str, seed: int, listener: Listener) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    advice = workflow.advise(source, names=["EfficientNetLite0"], seed=seed, listener=listener)
    chosen = {
        "recipe": advice.plan.recipe,
        "image_size": advice.plan.image_size,
        "probe": advice.ranking[0].probe_accuracy,
        "expected_seconds": advice.training_seconds,
        "advising_seconds": round(time.perf_counter() - began, 2),
        "advising_cpu_seconds": round(time.process_time() - cpu, 2),
    }
    return trained(advice.plan, listener) | chosen


def head_on(source: str, how: str, seed: int, listener: Listener) -> dict[str, Any]:
    name, size = how.removeprefix("head on ").split(" at ")
    ranked = workflow.advise(source, names=[name], image_size=int(size), seed=seed, listener=listener).ranking[0]
    scores = {"probe": ranked.probe_accuracy, "logme": ranked.logme, "h_score": ranked.h_score}
    plan = Plan(data=source, backbone=name, recipe="head", image_size=int(size), seed=seed)
    return trained(plan, listener) | scores


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print accuracy and time of every way of training, and what advice lacks of the best fixed recipe."""
    every, ways = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "how"))
    of: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        of[row["task"], row["how"]].append(row)
    known = [how for how in recipes.ADVISED if how in ways]
    table = Table("task", *known, "advised", "regret, points", "advice / training", "expected / training")
    for task in every:
        cells = [_cell(of[task, how]) for how in known]
        mine = of[task, "advised"]
        if mine:
            best = max((_mean(of[task, how], "accuracy") for how in known if of[task, how]), default=np.nan)
            regret = f"{100 * (best - _mean(mine, 'accuracy')):+.1f}"
            choices = dict.fromkeys(f"{row['recipe']}, {row['image_size']} px" for row in mine)
            cells.append(f"{_cell(mine)} ({'; '.join(choices)})")
            cost, expected = (_mean(mine, key) for key in ("advising_seconds", "expected_seconds"))
            spent = _mean(mine, "seconds")
            cells += [regret, f"{cost:.1f} s, {cost / spent:.0%}", f"{expected / spent:.0%}"]
        table.add_row(task, *cells)
    shown = [*known, *(["advised"] if "advised" in ways else [])]
    whole = [task for task in every if all(of[task, how] for how in shown)]
    if whole:
        means = [np.mean([_mean(of[task, how], "accuracy") for task in whole]) for how in shown]
        table.add_row(f"mean of {len(whole)} tasks", *(f"{mean:.1%}" for mean in means))
    console.print(table)
    for task, score in itertools.product(every, ("probe", "logme", "h_score")):
        of_task = [row for row in rows if row["task"] == task and row["how"].startswith("head on ")]
        if len(of_task) > 2:
            tau = kendalltau([row[score] for row in of_task], [row["accuracy"] for row in of_task]).statistic
            over = f"{len(of_task)} backbones and sizes"
            console.print(f"{task}: Kendall's tau of {score} with trained accuracy over {over}: {tau:+.2f}")


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "-"
    over = f" ({len(rows)} seeds)" if len(rows) > 1 else ""
    return f"{_mean(rows, 'accuracy'):.1%} in {_mean(rows, 'seconds'):.0f} s{over}"


if __name__ == "__main__":
    main()
