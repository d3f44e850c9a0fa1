"""What a budget of minutes gives: the plan that was chosen, the seconds the command took, and the accuracy.

    scripts/bench minutes [--cifar FOLDER …] [--tasks 'NAME;…'] [--minutes 0.5,1,2] [--seeds 0]
        [--backbone EfficientNetLite0] [--out rows.json]

Which FOLDERs there can be is told in `benchmark_tasks.py`; `sample:fashion` needs none. Each run is the command
`keras-transfer train SOURCE --minutes N` in a process of its own with nothing stored before it, timed from its start to
its end. `allowed` is what a run may take: the budget, 5 % of it and 5 s. A budget that is refused is told as that.
`--out` keeps the rows; rows that are there are not measured again.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmark_tasks

COLUMNS = ("task", "minutes", "seed", "seconds", "allowed", "validation", "test", "plan")


def measured(task, source, minutes, seed, backbone):
    """One run, as a row."""
    command = [sys.executable, "-m", "keras_transfer", "train", source, "--minutes", str(minutes), "--json"]
    with tempfile.TemporaryDirectory() as folder:
        asked = ["--seed", str(seed), "--backbone", backbone, "--folder", folder, "--cache-folder", f"{folder}/cache"]
        began = time.perf_counter()
        done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False, env=os.environ)
        seconds = time.perf_counter() - began
    row = {"task": task, "minutes": minutes, "seed": seed, "seconds": round(seconds, 1)}
    row["allowed"] = round(minutes * 63 + 5, 1)
    if done.returncode:
        return {**row, "plan": done.stderr.strip().splitlines()[-1]}
    record = json.loads(done.stdout)
    told = {"validation": record["validation_merit"], "test": record["test"]["accuracy"]}
    return {**row, **told, "plan": plan_of(record)}


def plan_of(record):
    """What was chosen, and what became of it where the machine was slower than it was measured to be."""
    plan, did = record["plan"], {stage["name"]: stage for stage in record["stages"]}
    stages = [
        f"{stage['name']} {stage['epochs']} x {stage['views']}"
        + (
            f" ({did[stage['name']]['epochs']} were run)"
            if did.get(stage["name"], stage)["epochs"] < stage["epochs"]
            else ""
        )
        + ("" if stage["name"] in did else " (left out)")
        for stage in plan["stages"]
    ]
    return f"{plan['recipe']} at {record['image_size']} px: {', '.join(stages)}"


def shown(row):
    """A line of the table."""
    cells = []
    for name in COLUMNS:
        value = row.get(name, "-")
        cells.append(f"{value:.1%}" if name in ("validation", "test") and value != "-" else str(value))
    return " | ".join(cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmark_tasks.add_options(parser)
    parser.add_argument("--minutes", default="0.5,1,2")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else []
    budgets, seeds = map(float, arguments.minutes.split(",")), map(int, arguments.seeds.split(","))
    print(" | ".join(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        sources = benchmark_tasks.made(arguments, Path(folder))
        for (task, source), minutes, seed in itertools.product(sources.items(), budgets, seeds):
            known = (task, minutes, seed)
            row = next((row for row in rows if (row["task"], row["minutes"], row["seed"]) == known), None)
            if row is None:
                row = measured(task, source, minutes, seed, arguments.backbone)
                rows.append(row)
                if arguments.out:
                    arguments.out.write_text(json.dumps(rows, indent=1))
            print(shown(row), flush=True)


if __name__ == "__main__":
    main()
