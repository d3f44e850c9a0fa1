"""Programs that watch a training: each is told every epoch, goes on after a resume, and never ends a run."""

import contextlib
import sys

import pytest
from conftest import SIZE, make_network

from keras_transfer.errors import UsageError
from keras_transfer.specs import Event, Stage, silent
from keras_transfer.training import trainer, watchers
from keras_transfer.training.job import Job, Settings

SETTINGS = Settings(image_size=SIZE, counts={"train": 96, "validation": 48, "test": 48}, batch_size=16)
STAGES = [Stage(name="head", epochs=2, learning_rate=0.01), Stage(name="top", blocks=(-1,), epochs=2)]
FACTS = {"backbone": "EfficientNetLite0", "seed": 3}


def epoch(stage, number, **values):
    return Event("epoch", stage, number, 3, {"epoch": float(number), **values})


def told(name, folder, events):
    with watchers.watching([name], folder, FACTS, silent) as listener:
        for event in events:
            listener(event)


def test_tensorboard_reads_back_what_the_history_holds(feed, tmp_path):
    """A run that is stopped and goes on writes each epoch once, in a folder of its stage."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def stop(event):
        if (event.kind, event.message, event.done) == ("epoch", "top", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watchers.watching(["tensorboard"], tmp_path, FACTS, silent) as listener:
        trainer.train(Job(make_network(), feed, SETTINGS, tmp_path, lambda each: (listener(each), stop(each))), STAGES)
    with watchers.watching(["tensorboard"], tmp_path, FACTS, silent) as listener:
        results = trainer.train(Job(make_network(), feed, SETTINGS, tmp_path, listener), STAGES)
    for result in results:
        read = EventAccumulator(str(tmp_path / "tensorboard" / result.name)).Reload()
        names = {*result.history[0], "pictures_per_second"} - {"epoch"}
        assert names == set(read.Tags()["tensors"])
        for name in names & set(result.history[0]):
            points = read.Tensors(name)
            assert [point.step for point in points] == [1, 2]
            values = [float(tf.make_ndarray(point.tensor_proto)) for point in points]
            assert values == pytest.approx([row[name] for row in result.history], rel=1e-6)


def test_mlflow_keeps_one_run_of_both_processes_beside_the_run_folders(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "saved_models" / "pets"
    told("mlflow", folder, [epoch("head", 1, loss=1.0), epoch("head", 2, loss=0.5)])
    told("mlflow", folder, [epoch("head", 3, loss=0.25), epoch("top", 1, loss=0.1)])
    client = MlflowClient((tmp_path / "saved_models" / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("keras-transfer").experiment_id])
    assert (run.info.run_name, run.info.status) == ("pets", "FINISHED")
    assert run.data.params == {"backbone": "EfficientNetLite0", "seed": "3"}
    history = client.get_metric_history(run.info.run_id, "head/loss")
    assert [(each.step, each.value) for each in history] == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert run.data.metrics == {"head/loss": 0.25, "top/loss": 0.1}


def test_wandb_works_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    told("wandb", tmp_path, [epoch("head", 1, loss=1.0), epoch("head", 2, loss=0.5)])
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert (tmp_path / "wandb-run").read_text() in kept.name
    assert b"head/loss" in kept.read_bytes()


def test_a_name_that_nobody_knows_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"Unknown watcher 'tensorbord'\. Did you mean 'tensorboard'\?"):
        watchers.check(["tensorbord"])


@pytest.mark.parametrize("name", watchers.WATCHERS)
def test_a_package_that_is_missing_is_one_sentence_that_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, watchers.WATCHERS[name].module, None)
    with pytest.raises(UsageError) as error:
        watchers.check([name])
    assert str(error.value) == f"--watch {name} needs a package: pip install 'keras-transfer[{name}]'"


def test_every_watcher_has_an_extra_of_its_name():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(watchers.WATCHERS) <= set(project["optional-dependencies"])


def test_a_watcher_that_cannot_start_says_why(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def locked(folder, facts):
        raise RuntimeError("log in first\nand more")
        yield

    monkeypatch.setitem(watchers.WATCHERS, "locked", watchers.Watcher("json", locked))
    with pytest.raises(UsageError, match=r"^--watch locked could not start: log in first$"):
        told("locked", tmp_path, [])


def test_a_watcher_that_fails_is_left_behind_and_training_goes_on(tmp_path, monkeypatch):
    calls, heard = [], []

    @contextlib.contextmanager
    def unreachable(folder, facts):
        def record(stage, epoch, values):
            calls.append(epoch)
            raise ConnectionError("no route to host")

        yield record

    monkeypatch.setitem(watchers.WATCHERS, "unreachable", watchers.Watcher("json", unreachable))
    with watchers.watching(["unreachable"], tmp_path, FACTS, heard.append) as listener:
        for number in (1, 2):
            listener(epoch("head", number, loss=1.0))
    assert calls == [1]
    assert [event.kind for event in heard] == ["epoch", "warning", "epoch"]
    assert heard[1].message == "unreachable no longer watches (no route to host); training goes on"
