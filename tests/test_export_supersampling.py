"""Files that take larger pictures than their network and average them."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from colours import trained

from keras_transfer import cli, runs, workflow
from keras_transfer.cli import exporting
from keras_transfer.errors import UsageError
from keras_transfer.export import graph
from keras_transfer.export.clients import InClient
from keras_transfer.export.supersampling import supersampled
from keras_transfer.specs import Output, Run
from keras_transfer.workflow.opened import Opened

SIDE, TIMES = 16, 3


def rescaled():
    return keras.layers.Rescaling(1 / 128, -1.0)


def normalized():
    return keras.layers.Normalization(mean=[10.0, 20.0, 30.0], variance=[4.0, 5.0, 6.0])


def network(*scaling):
    """A model, and the part of it that takes floats."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    behind = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    floats = image
    for layer in scaling:
        floats = layer(floats)
    return keras.Model(image, behind(floats)), behind


@pytest.mark.parametrize(
    "make",
    [(rescaled,), (rescaled, normalized), (normalized,), ()],
    ids=["rescaled", "rescaled and normalized", "normalized", "as they are"],
)
def test_a_model_is_asked_about_the_means_of_squares_of_pixels(make):
    scaling = [each() for each in make]
    model, behind = network(*scaling)
    larger = supersampled(model, TIMES)
    assert larger.input.shape == (None, TIMES * SIDE, TIMES * SIDE, 3)
    pictures = np.random.default_rng(0).integers(0, 256, (4, TIMES * SIDE, TIMES * SIDE, 3), np.uint8)
    means = pictures.reshape(4, SIDE, TIMES, SIDE, TIMES, 3).mean((2, 4)).astype(np.float32)
    for layer in scaling or [lambda exact: np.floor(exact + 0.5)]:
        means = layer(means)
    np.testing.assert_allclose(larger(pictures), behind(means), atol=1e-4)


def test_scaling_stays_what_comes_first_so_that_exporters_fold_it():
    model, _ = network(rescaled())
    traced = graph.trace(supersampled(model, TIMES), [Output(name="logits", shape=(2,))])
    assert traced.affine is not None
    assert traced.affine.factor.tolist() == [1 / 128] * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runs.open_run(Path(shutil.copytree(trained().folder, tmp_path_factory.mktemp("supersampled") / "run")))


@pytest.fixture(scope="module")
def files(run):
    larger = workflow.export(run, ["tflite", "tflite-int8"], supersampling=TIMES)
    return (*larger, *workflow.export(run, ["onnx"]))


def test_every_file_is_proven_on_pictures_as_large_as_it_takes(run, files):
    side = run.record.image_size
    assert [each.artifact.contract.image_size for each in files] == [TIMES * side, TIMES * side, side]
    assert all(each.parity.passed for each in files)
    again = {each.artifact.path.name: each.parity.max_difference for each in workflow.verify(run)}
    assert again == {each.artifact.path.name: each.parity.max_difference for each in files}
    assert {path.name for path in (run.folder / "answers").iterdir()} >= {"test.npz", f"test-x{TIMES}.npz"}


def test_a_client_that_looks_at_two_pixels_a_side_hears_what_a_careful_one_does(run):
    side = run.record.image_size
    photograph = np.random.default_rng(0).integers(0, 256, (2 * TIMES * side, 2 * TIMES * side, 3), np.uint8)
    model = Opened(run).model
    careful = model(cv2.resize(photograph, (side, side), interpolation=cv2.INTER_AREA)[None])
    careless = model(cv2.resize(photograph, (side, side), interpolation=cv2.INTER_LINEAR)[None])
    taken = cv2.resize(photograph, (TIMES * side, TIMES * side), interpolation=cv2.INTER_LINEAR)
    found = supersampled(model, TIMES)(taken[None])
    assert np.abs(careless - careful).max() > 10 * np.abs(found - careful).max()


def test_the_verb_takes_it(run, tmp_path, capsys):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    cli.app(["export", str(folder), "-f", "tflite", "--supersample", "2", "--json"], standalone_mode=False)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["artifact"]["contract"]["image_size"] == 2 * run.record.image_size


@pytest.mark.parametrize(("lost", "verb"), [(2.0, "export"), (0.4, "predict")])
def test_files_that_average_are_suggested_where_a_client_loses_much(run, files, lost, verb, monkeypatch):
    said = []
    monkeypatch.setattr(exporting, "suggest", lambda *words: said.append(words))
    left = InClient(client="opencv", merit=0.5, lost_points=lost, agreement=0.9)
    exporting._suggest_next(run, [files[-1].model_copy(update={"clients": (left,)})])
    wanted = {"export": (run.folder, "--supersample", 3), "predict": (run.exports / "model.onnx", "PICTURE.jpg")}
    assert said == [(verb, *wanted[verb])]


@pytest.mark.parametrize("task", ["segmentation", "detection", "clips"])
def test_what_speaks_of_places_or_of_time_is_refused_in_one_sentence(run, task):
    record = run.record.model_copy(update={"plan": run.record.plan.model_copy(update={"task": task})})
    with pytest.raises(
        UsageError, match=f"^--supersample is for .* as a whole, and this run is of {task}. Leave it out.$"
    ):
        workflow.export(Run(run.folder, record), ["tflite"], calibrate=False, supersampling=2)
