"""Segmentation from pictures to files: trained on few pictures of the sample, exported, reported and asked."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer import cli
from keras_transfer.data.sources import load
from keras_transfer.errors import UsageError
from keras_transfer.workflow import reporting, tasks, training

PICTURES = {"train": 48, "validation": 16, "test": 16}


@pytest.fixture(scope="module")
def splits():
    whole = load("sample:fashion-masks", annotation="mask")
    few = {name: whole[name].take(np.arange(count)) for name, count in PICTURES.items()}
    return dataclasses.replace(whole, **few)


@pytest.fixture(scope="module")
def run(splits, tmp_path_factory):
    stages = (
        kt.Stage(name="head", epochs=2, learning_rate=3e-3, augment="scenes"),
        kt.Stage(name="top", blocks=(-1,), epochs=1, augment="light"),
    )
    plan = kt.Plan(data="sample:fashion-masks", task="segmentation", image_size=64, weights="none", stages=stages)
    folder = tmp_path_factory.mktemp("runs")
    return training.train(plan, folder=folder, splits=splits, engine="litert", cache_folder=folder / "cache")


@pytest.fixture(scope="module")
def files(run, splits):
    """Exported from the few pictures as they were trained on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("keras_transfer.workflow.opened.sources.load", lambda *arguments, **options: splits)
        checked = kt.export(run, formats=["tflite", "tflite-int8", "onnx"], max_drop=5.0)
        reporting.report_of([run])
    return checked


def test_a_plan_takes_what_its_task_is_used_to_where_it_says_nothing(run):
    assert run.record.plan.batch_size == 8
    assert run.record.merit_name == "mean IoU of a picture"
    assert list(run.record.test) == ["mean_IoU_of_a_picture", "mean_IoU", "pixel_accuracy", "boundary_F1"]


def test_stages_with_a_frozen_part_store_the_taps(run):
    assert [stage.engine for stage in run.record.stages] == ["litert", "litert"]


def test_answers_are_kept_as_classes(run):
    with np.load(run.folder / "answers" / "test.npz") as kept:
        assert kept["classes"].dtype == np.uint8
        assert kept["classes"].shape == (16, 64, 64)


def test_every_file_is_proven_by_its_pixels(files):
    assert all(each.parity.passed for each in files)
    assert files[0].parity.agreement > 0.999


def test_the_report_shows_pictures_under_masks_and_confused_classes(run, files):
    page = (run.folder / "report.html").read_text()
    assert "Worst pictures" in page
    assert "what the model says" in page
    assert "Most confused" in page


def test_predicting_writes_a_mask_of_the_pictures_own_size_and_an_overlay(run, files, tmp_path, capsys):
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "a.png")
    arguments = ["predict", files[0].artifact.path, tmp_path / "a.png", "--output", tmp_path / "out", "--json"]
    cli.app([str(each) for each in arguments], standalone_mode=False)
    (said,) = json.loads(capsys.readouterr().out)
    assert sum(said["areas"].values()) == pytest.approx(1)
    with Image.open(tmp_path / "out" / "a-mask.png") as mask, Image.open(tmp_path / "out" / "a-overlay.png") as overlay:
        assert mask.size == overlay.size == (50, 40)
        assert mask.mode == "P"
        assert np.asarray(mask).max() < 11
    assert said["files"] == [str(tmp_path / "out" / name) for name in ("a-mask.png", "a-overlay.png")]


def test_pictures_of_one_name_do_not_overwrite_each_other(run, tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name / "a.png")
    kt.predict(run.folder, [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"], output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a-1-mask.png",
        "a-1-overlay.png",
        "a-2-mask.png",
        "a-2-overlay.png",
    ]


def test_advice_names_the_recipe_to_train_by_instead():
    with pytest.raises(UsageError, match=r"--task segmentation --recipe dense"):
        kt.advise("sample:fashion-masks", task="segmentation")


def test_a_batch_of_maps_is_smaller_than_one_of_labels():
    outputs = {name: tasks.TASKS[name].outputs(11, 352) for name in ("classification", "segmentation")}
    contracts = {
        name: kt.specs.Contract(class_names=tuple("abcdefghijk"), image_size=352, outputs=given)
        for name, given in outputs.items()
    }
    assert tasks.batch_of(contracts["classification"]) == 128
    assert tasks.batch_of(contracts["segmentation"]) == 12
