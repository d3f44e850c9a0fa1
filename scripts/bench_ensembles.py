"""What costs nothing at the edge: weights averaged over the last epochs, and the mean over several views of a picture.

    scripts/bench ensembles [--cifar FOLDER …] [--tasks 'NAME;…'] [--recipe head] [--average 5] [--seeds 0,1,2]

Which FOLDERs there can be is told in `benchmark_tasks.py`; `sample:fashion` needs none. Each seed is trained twice from
the same weights, the second time with its last stage averaging: the two differ where validation took the average, and
how often that was is told. Views are asked of the first. A row is printed when a seed is done.

What stays frozen to the end is computed once for all seeds: they differ in the head's first weights and in what dropout
leaves away, and share splits, order and augmented copies.
"""

import argparse
import tempfile
import time
from pathlib import Path

import benchmark_tasks
import keras
import numpy as np

from keras_transfer.backbones import registry
from keras_transfer.data import pipeline, sources
from keras_transfer.specs import Plan, silent
from keras_transfer.training import freezing, prefix, trainer
from keras_transfer.training.job import Job
from keras_transfer.workflow import views
from keras_transfer.workflow.building import network_of, resolved, settings_of
from keras_transfer.workflow.training import stages_of

COLUMNS = ("as it is", "averaged", "2 views", "4 views")


class Measured:
    """One task: its pictures, and what the frozen part makes of each look at those of the test."""

    def __init__(self, source, recipe, folder):
        self.splits, self.spec, self.folder = sources.load(source), registry.backbone("EfficientNetLite0"), folder
        self.plan = resolved(Plan(data=source, recipe=recipe), self.spec, self.splits, silent)
        self.feed = pipeline.make_feed(self.splits)
        self.settings = settings_of(self.plan, self.splits, "auto", cache_folder=folder / "features")
        self.looks = None

    def learnt(self, seed, average):
        """A network after its stages, where the last of them begins to learn, and whether its average was taken."""
        keras.utils.clear_session()
        network, _ = network_of(self.plan.model_copy(update={"seed": seed}), self.spec, self.splits, "imagenet", silent)
        *before, last = stages_of(self.plan, network)
        stages = (*before, last.model_copy(update={"average": average}))
        notes = []
        place = self.folder / f"{seed}-{average}"
        job = Job(network, self.feed, self.settings, place, lambda event: notes.append(event.message))
        trainer.train(job, stages)
        return network, freezing.decide(network, last).cut, any("weights: " in n and "taken over" in n for n in notes)

    def right(self, network, cut, number):
        """Test accuracy where the mean over so many looks at a picture answers."""
        if self.looks is None:
            self.looks = self._looked(network, cut)
        suffix = keras.Model(list(cut), network.model.outputs)
        said = np.mean([suffix.predict(list(each), batch_size=256, verbose=0) for each in self.looks[:number]], axis=0)
        return float((said.argmax(axis=1) == self.splits.test.labels).mean())

    def _looked(self, network, cut):
        frozen = keras.Model(network.model.input, list(cut))
        size = self.settings.image_size
        batches = [np.asarray(images) for images, *_ in self.feed("test", image_size=size, batch_size=64)]
        compute = prefix.build(frozen, check=batches[0][:16]).compute
        of_batches = [[compute(look) for look in views.looks(images, views.MOST)] for images in batches]
        return [
            tuple(np.concatenate(parts) for parts in zip(*of_look, strict=True))
            for of_look in zip(*of_batches, strict=True)
        ]

    def row(self, seed, average):
        """Test accuracy by column, and whether the average was taken."""
        network, cut, _ = self.learnt(seed, 0)
        if not cut:
            raise SystemExit(f"--recipe {self.plan.recipe} leaves nothing frozen. Use head or head_then_top.")
        reached = {name: self.right(network, cut, n) for name, n in zip(COLUMNS, (1, None, 2, 4), strict=True) if n}
        network, cut, taken = self.learnt(seed, average)
        return {**reached, "averaged": self.right(network, cut, 1), "taken": taken}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmark_tasks.add_options(parser)
    parser.add_argument("--recipe", default="head")
    parser.add_argument("--average", type=int, default=5)
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    print(f"{arguments.recipe}, the mean of its last {arguments.average} epochs; test accuracy in percent")
    print(" | ".join(["task", "seed", *COLUMNS, "average taken", "seconds"]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for task, source in benchmark_tasks.made(arguments, Path(folder) / "tasks").items():
            measured, rows = Measured(source, arguments.recipe, Path(folder) / task), []
            for seed in map(int, arguments.seeds.split(",")):
                began = time.perf_counter()
                rows.append(measured.row(seed, arguments.average))
                told = (f"{100 * rows[-1][name]:.1f}" for name in COLUMNS)
                taken, seconds = "yes" if rows[-1]["taken"] else "no", f"{time.perf_counter() - began:.0f}"
                print(" | ".join([task, str(seed), *told, taken, seconds]), flush=True)
            cells = [[100 * row[name] for row in rows] for name in COLUMNS]
            told = (f"{np.mean(each):.1f} ± {np.std(each):.1f}" for each in cells)
            print(" | ".join([task, "all", *told, f"{sum(row['taken'] for row in rows)} of {len(rows)}"]), flush=True)


if __name__ == "__main__":
    main()
