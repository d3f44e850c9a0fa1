"""A run that was stopped and went on: what it took counts whole, in the record and for the comparison."""

import json

import numpy as np
import pytest
from conftest import SIZE, make_network
from PIL import Image

from keras_transfer import workflow
from keras_transfer.specs import Plan, Stage
from keras_transfer.training import checkpoints, trainer
from keras_transfer.training.job import Job, Settings

SETTINGS = Settings(image_size=SIZE, counts={"train": 96, "validation": 48, "test": 48}, batch_size=16)
HEAD = Stage(name="head", epochs=2, learning_rate=0.01)
TOP = Stage(name="top", blocks=(-1,), epochs=3, learning_rate=0.01)


def stop_after(name, epoch):
    """A listener that does what Ctrl-C does once that epoch is on disk."""

    def listener(event):
        if (event.kind, event.message, event.done) == ("epoch", name, epoch):
            raise KeyboardInterrupt

    return listener


def had_taken(folder, *, stage=0.0, checkpoint=0.0):
    """Pretend that the first stage and the one in the checkpoint took so many seconds more."""
    if stage:
        path = folder / "stages" / "0-head" / "result.json"
        found = json.loads(path.read_text())
        found["result"]["seconds"] += stage
        path.write_text(json.dumps(found))
    if checkpoint:
        arrays, state = checkpoints.load(folder / "checkpoint.npz")
        checkpoints.save(folder / "checkpoint.npz", arrays, state | {"seconds": state["seconds"] + checkpoint})


def test_a_stage_that_went_on_counts_the_seconds_of_the_process_that_was_stopped(feed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trainer.train(Job(make_network(), feed, SETTINGS, tmp_path, stop_after("top", 2)), [HEAD, TOP])
    had_taken(tmp_path, stage=500, checkpoint=1000)
    results = trainer.train(Job(make_network(), feed, SETTINGS, tmp_path), [HEAD, TOP])
    assert [len(result.history) for result in results] == [2, 3]
    assert 500 < results[0].seconds < 1000 < results[1].seconds < 1500


def test_a_stage_that_is_stopped_twice_counts_each_process_once(feed, tmp_path):
    for epoch in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            trainer.train(Job(make_network(), feed, SETTINGS, tmp_path, stop_after("top", epoch)), [TOP])
        had_taken(tmp_path, checkpoint=1000)
    (result,) = trainer.train(Job(make_network(), feed, SETTINGS, tmp_path), [TOP])
    assert 2000 < result.seconds < 3000


def test_scratch_is_given_the_seconds_of_the_whole_run(tmp_path, monkeypatch):
    """The budget is what all processes of the run took; what scratch then does with it is not waited for."""
    pictures = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (pictures / name).mkdir(parents=True)
        for index in range(12):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype("uint8")).save(pictures / name / f"{index}.png")
    plan = Plan(data=str(pictures), backbone="MobileNetV2", weights="none", stages=(HEAD, TOP), image_size=32)
    asked = {"folder": tmp_path, "name": "stopped", "compare": "scratch"}
    with pytest.raises(KeyboardInterrupt):
        workflow.train(plan, **asked, listener=stop_after("top", 1))
    had_taken(tmp_path / "stopped", stage=500, checkpoint=1000)
    budgets, real = [], trainer.train

    def train(job, stages, *, seconds=None):
        if seconds:
            budgets.append(seconds)
            seconds = 0.01
        return real(job, stages, seconds=seconds)

    monkeypatch.setattr(trainer, "train", train)
    record = workflow.train(plan, **asked).record
    assert 1500 < record.seconds < 2000
    assert 1000 < budgets[0] < record.seconds
