"""Masks and boxes follow their pictures through stages of different sizes, stored or streamed."""

import dataclasses

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones import registry
from keras_transfer.data.sources import load
from keras_transfer.errors import UsageError
from keras_transfer.training import resizing
from keras_transfer.workflow import building, training

PICTURES = {"train": 16, "validation": 8, "test": 8}
SOURCES = {"segmentation": ("sample:fashion-masks", "mask"), "detection": ("sample:fashion-boxes", "boxes")}


def few(task):
    """Some pictures of the sample that is labelled for `task`."""
    source, annotation = SOURCES[task]
    whole = load(source, annotation=annotation)
    return dataclasses.replace(whole, **{name: whole[name].take(np.arange(n)) for name, n in PICTURES.items()})


@pytest.mark.parametrize("task", ["segmentation", pytest.param("detection", marks=pytest.mark.slow)])
def test_stored_pictures_of_places_grow_from_stage_to_stage(task, tmp_path):
    augment = {"segmentation": "scenes", "detection": "strong"}[task]  # a mosaic has more boxes than its pictures
    stages = (
        kt.Stage(name="small", epochs=1, learning_rate=3e-3, augment=augment, image_size=64),
        kt.Stage(name="whole", blocks=(-1,), epochs=1, augment=augment),
    )
    plan = kt.Plan(data=SOURCES[task][0], task=task, image_size=96, weights="none", stages=stages)
    run = training.train(plan, folder=tmp_path, splits=few(task), engine="keras", cache_folder=tmp_path / "cache")
    assert [stage.engine for stage in run.record.stages] == ["keras", "keras"]
    assert all(np.isfinite(row["loss"]) for stage in run.record.stages for row in stage.history)
    assert run.record.image_size == 96
    assert 0 <= run.record.validation_merit <= 1


@pytest.mark.parametrize("task", list(SOURCES))
def test_a_streamed_network_of_places_answers_for_smaller_pictures(task):
    plan = kt.Plan(data=SOURCES[task][0], task=task, image_size=96, weights="none")
    network, _ = building.network_of(plan, registry.backbone(plan.backbone), few(task), "none", lambda event: None)
    smaller = resizing.resized(network.model, [(64, 64, 3)])
    shapes = [tuple(tensor.shape[1:]) for tensor in smaller.outputs]
    assert shapes == ([(64, 64, 11)] if task == "segmentation" else [(84, 10), (84, 4)])
    assert {id(weight) for weight in smaller.weights} == {id(weight) for weight in network.model.weights}


@pytest.mark.parametrize("task", list(SOURCES))
def test_a_size_of_a_stage_that_no_place_fits_is_refused_before_there_is_a_run(task, tmp_path):
    plan = kt.Plan(
        data=SOURCES[task][0], task=task, image_size=96, weights="none", stages=(kt.Stage(name="small", image_size=80),)
    )
    with pytest.raises(
        UsageError, match=r"Stage 'small' asks for pictures of 80 pixels; .* a multiple of 32: 32, 64\."
    ):
        training.train(plan, folder=tmp_path, splits=few(task))
    assert not list(tmp_path.iterdir())
