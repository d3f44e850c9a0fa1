"""Stored views that are computed ahead of training: in parts, by one process or by those of a Ray."""

import json
import signal
import subprocess

import numpy as np
import pytest
import working
from conftest import SIZE, make_network
from test_workflow_on_ray import command, given, needs_ray, pictures, until  # noqa: F401  # a fixture among them

from keras_transfer import workflow
from keras_transfer.data.pipeline import make_feed
from keras_transfer.errors import UsageError
from keras_transfer.order import WHOLE
from keras_transfer.specs import Plan
from keras_transfer.training import freezing, in_parts, stage_data
from keras_transfer.training.job import Job, Settings
from keras_transfer.training.stage_data import Way

COUNT = 201
"""Pictures of which the last batch of all parts together holds fewer than there are parts."""


@pytest.fixture
def job(tmp_path):
    splits = working.splits_of(COUNT)
    settings = Settings(
        image_size=SIZE,
        counts=splits.counts,
        batch_size=10,
        data_digest=splits.digest,
        engine="keras",
        cache_folder=tmp_path / "store",
    )
    return Job(make_network(), make_feed(splits), settings, tmp_path)


def test_a_view_put_together_of_parts_is_the_one_that_a_stage_computes(job, tmp_path):
    stage, way = working.HEAD, Way(engine="keras", reason="", dtype="float16", views=2)
    freeze = freezing.decide(job.network, stage)
    ready = stage_data.prefixes(job, freeze, "keras")
    other = Job(job.network, job.feed, Settings(**{**vars(job.settings), "cache_folder": tmp_path / "other"}), tmp_path)
    looks = stage_data.looks(job.settings, stage, way)
    assert [(look.split, look.number) for look in looks] == [("train", 0), ("train", 1), ("validation", 0)]
    for look in looks:
        prefix = ready(look.side)
        assert not in_parts.is_whole(job, way, prefix, look)
        ours = in_parts.put_together(job, way, prefix, look)
        theirs = stage_data._view(other, way, prefix, look)
        np.testing.assert_allclose(ours.features[0], theirs.features[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(ours.targets, theirs.targets)
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        assert in_parts.is_whole(job, way, prefix, look)
    assert not list((tmp_path / "store" / in_parts.FOLDER).iterdir()), "parts are gone when the view is whole"


def test_a_part_that_is_there_is_not_computed_again(job):
    way = Way(engine="keras", reason="", views=1)
    prefix = stage_data.prefixes(job, freezing.decide(job.network, working.HEAD), "keras")(SIZE)
    look = stage_data.looks(job.settings, working.HEAD, way)[0]
    first, *others = in_parts.shares_of(COUNT)
    assert [first.count, len(others)] == [4, 3]
    in_parts.obtain(job, way, prefix, look, first)
    asked = []

    def feed(split, *, share=WHOLE, **how):
        asked.append(share.index)
        return job.feed(split, share=share, **how)

    in_parts.put_together(Job(job.network, feed, job.settings, job.folder), way, prefix, look)
    assert sorted(asked) == [0, 0, 1, 2, 3]  # a data set that nobody reads says what targets look like


@pytest.mark.parametrize(
    ("keys", "what"), [({"teacher": "other"}, "a teacher's answers"), ({"minutes": 1.0}, "what fits into its minutes")]
)
def test_views_that_training_alone_knows_are_refused(keys, what):
    with pytest.raises(UsageError) as raised:
        workflow.features(Plan(data="sample:fashion", **keys))
    assert str(raised.value) == (
        f"The views of this plan depend on {what}, which training alone knows: leave it out here."
    )


@pytest.mark.slow
def test_training_computes_nothing_that_was_stored_ahead_of_it(pictures, tmp_path, monkeypatch):  # noqa: F811
    plan = Plan(
        data=str(pictures), backbone="MobileNetV2", weights="none", recipe="head_then_top", image_size=32, epochs=1
    )
    stored = workflow.features(plan, engine="litert")
    assert {(each.stage, each.split, each.engine) for each in stored} == {
        (stage, split, "litert") for stage in ("head", "top") for split in ("train", "validation")
    }
    assert stored == workflow.features(plan, engine="litert")
    heard = []
    workflow.train(plan, folder=tmp_path, engine="litert", listener=heard.append)
    assert not [each.message for each in heard if each.message.startswith("features of")]


@pytest.mark.slow
def test_features_on_ray_whose_driver_was_killed_go_on_and_are_those_of_one_process(pictures, tmp_path):  # noqa: F811
    needs_ray()
    keys = ("weights=none", "--backbone", "MobileNetV2", "--image-size", 32, "--recipe", "head", "--engine", "litert")
    words = ("features", "sample:fashion", *keys, "--json")
    on = ("--ray", "local", "--cache-folder", tmp_path / "ray")
    driver = subprocess.Popen(command(*words, *on), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: list((tmp_path / "ray").glob("parts/*/*/features/*/key.json")))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "ray").glob("parts/*/*/features/*/features-0.npy")}
    assert there
    done = given(*words, *on, "--workers", 2)
    assert done.returncode == 0, done.stderr
    alone = given(*words, "--cache-folder", tmp_path / "one")
    assert json.loads(done.stdout) == json.loads(alone.stdout)
    for whole in (tmp_path / "one").glob("features/*/*.npy"):
        other = np.load(tmp_path / "ray" / whole.relative_to(tmp_path / "one"))
        np.testing.assert_allclose(other, np.load(whole), rtol=1e-3, atol=1e-3)
    assert len(list((tmp_path / "ray").glob("features/*"))) == len(json.loads(done.stdout))
