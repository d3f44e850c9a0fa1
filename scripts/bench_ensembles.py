"""What costs nothing at the edge: weights averaged over the last epochs, and the mean over several views of a picture.

    scripts/bench ensembles [--cifar FOLDER …] [--tasks 'NAME;…'] [--recipe head_then_top] [--average 3] [--seeds 0,1,2]

Which FOLDERs there can be is told in `benchmark_tasks.py`; `sample:fashion` needs none. Each run is trained twice from
the same seed and features, the second time with its last stage averaging: the two differ where validation took the
average, and how often that was is told. Views are asked of the first.
"""

import argparse
import os
import tempfile
from pathlib import Path

import benchmark_tasks
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_transfer import workflow
from keras_transfer.specs import Plan
from keras_transfer.training import recipes
from keras_transfer.workflow import views
from keras_transfer.workflow.opened import Opened
from keras_transfer.workflow.using import asked

COLUMNS = ("as it is", "averaged", "2 views", "4 views")
BLOCKS = 5
"""Of EfficientNet-Lite."""


def measured(source, recipe, average, seed):
    """Test accuracy by column, and whether the average was taken."""
    *before, last = recipes.stages(recipe, BLOCKS)
    averaging = last.model_copy(update={"average": average})
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_TRANSFER_CACHE"] = f"{place}/cache"
        notes, runs = [], []
        for name, stages in (("plain", (*before, last)), ("averaging", (*before, averaging))):
            plan = Plan(data=source, stages=stages, seed=seed, exports=())
            runs.append(workflow.train(plan, folder=Path(place), name=name, listener=lambda e: notes.append(e.message)))
        reached = dict(zip(COLUMNS, (run.record.test["accuracy"] for run in runs), strict=False))
        taken = any("weights: " in note and "taken over" in note for note in notes)
        return {**reached, "2 views": of_views(runs[0], 2), "4 views": of_views(runs[0], 4), "taken": taken}


def of_views(run, number):
    """Test accuracy where the mean over so many views of a picture answers."""
    opened, answers = Opened(run), asked(run.model_path, run, None).answers
    batches = opened.feed("test", image_size=opened.contract.image_size, batch_size=64)
    said = [views.averaged(answers, np.asarray(images), number)["probabilities"] for images, *_ in batches]
    return float((np.concatenate(said).argmax(axis=1) == opened.splits.test.labels).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmark_tasks.add_options(parser)
    parser.add_argument("--recipe", default="head_then_top")
    parser.add_argument("--average", type=int, default=3)
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    title = f"{arguments.recipe}, the mean of its last {arguments.average} epochs; test accuracy in percent"
    table = Table("task", *COLUMNS, "average taken", title=title)
    with tempfile.TemporaryDirectory() as folder:
        for task, source in benchmark_tasks.made(arguments, Path(folder)).items():
            seeds = map(int, arguments.seeds.split(","))
            rows = [measured(source, arguments.recipe, arguments.average, seed) for seed in seeds]
            cells = [[100 * row[name] for row in rows] for name in COLUMNS]
            told = (f"{np.mean(each):.1f} ± {np.std(each):.1f}" for each in cells)
            table.add_row(task, *told, f"{sum(row['taken'] for row in rows)} of {len(rows)}")
    Console().print(table)


if __name__ == "__main__":
    main()
