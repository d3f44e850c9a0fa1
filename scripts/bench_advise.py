"""Advice against every fixed recipe: accuracy, time, regret, and whether the ranking of backbones was right.

    scripts/bench advise [--cifar FOLDER …] [--out rows.json] [--tasks 'NAME;…']
        [--only head,full,advised,…] [--seeds 0,1,2] [--backbones A,B,C --sizes 64,96,128]

Which FOLDERs there can be is told in `benchmark_tasks.py`; `sample:fashion` needs none.
Every training begins without stored features. A seed draws the validation pictures, the head and the order; the test is
the same for all. Seconds are of the clock, which other work on the machine stretches; CPU-seconds stand beside them.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import benchmark_tasks
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from keras_transfer import workflow
from keras_transfer.specs import Event, Listener, Plan
from keras_transfer.training import recipes


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
    benchmark_tasks.add_options(parser)
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
            benchmark_tasks.made(arguments, Path(folder)).items(), ways.items(), map(int, arguments.seeds.split(","))
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
