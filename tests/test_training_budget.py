"""A stage with a time of its own: it ends in time, is left out where nothing fits, and goes on as the clock decided."""

import time
from dataclasses import replace

import pytest
from conftest import SIZE, make_network

from keras_transfer.specs import Stage
from keras_transfer.training import freezing, trainer
from keras_transfer.training.job import Job, Settings
from keras_transfer.training.pace import Pace, Span

SETTINGS = Settings(image_size=SIZE, counts={"train": 96, "validation": 48, "test": 48}, batch_size=16)
HEAD = Stage(name="head", epochs=40, learning_rate=0.01)
TOP = Stage(name="top", blocks=(-1,), epochs=3, learning_rate=0.01)
STEPS = 6
"""Of an epoch: 96 pictures in batches of 16."""


def spans(name, **changes):
    return {name: Span(**{"until": time.perf_counter(), "least": 0.0, "expected": 1e9, **changes})}


def test_a_stage_whose_time_is_over_ends_without_its_epochs(network, feed, tmp_path):
    settings = replace(SETTINGS, spans=spans("head"))
    (result,) = trainer.train(Job(network, feed, settings, tmp_path), [HEAD])
    assert result.epochs == 1
    assert result.kept


def test_a_stage_that_no_longer_fits_is_left_out_and_said_to_be(network, feed, tmp_path):
    said = []
    settings = replace(SETTINGS, spans=spans("top", least=60.0))
    job = Job(network, feed, settings, tmp_path, lambda event: said.append(event.message))
    results = trainer.train(job, [HEAD.model_copy(update={"epochs": 1}), TOP])
    assert [result.name for result in results] == ["head"]
    assert "top is left out: it takes 60 s at least, and 0 s are left for it" in said


def test_no_more_views_are_computed_than_the_time_of_a_stage_allows(network, feed, tmp_path):
    settings = replace(SETTINGS, spans=spans("head"), cache_folder=tmp_path / "cache")
    stage = HEAD.model_copy(update={"epochs": 4, "augment": "light", "views": 4})
    trainer.train(Job(network, feed, settings, tmp_path), [stage])
    stored = list((tmp_path / "cache" / "features").iterdir())
    assert len(stored) == 2  # one view of the training pictures, and validation


def test_a_run_that_goes_on_ends_where_the_clock_decided_and_bit_identical(feed, tmp_path, monkeypatch):
    def shortening(self, done, now):
        if self.until is not None and done == 3:
            self.marks = ((3, STEPS + 4),)

    def stop(event):
        if (event.kind, event.message, event.done) == ("epoch", "top", 1):
            raise KeyboardInterrupt

    monkeypatch.setattr(Pace, "stepped", shortening)
    timed, digests = replace(SETTINGS, spans=spans("top")), []
    for name, listener in (("whole", lambda event: None), ("stopped", stop)):
        network = make_network()
        job = Job(network, feed, timed, tmp_path / name, listener)
        if listener is stop:
            with pytest.raises(KeyboardInterrupt):
                trainer.train(job, [TOP])
            network = make_network()
            job = Job(network, feed, SETTINGS, tmp_path / name)  # nobody asks the clock again
        (result,) = trainer.train(job, [TOP])
        assert result.epochs == 2
        digests.append(freezing.digest(network.model.layers))
    assert digests[0] == digests[1]
