"""What a plan leaves open, and what it cannot ask for."""

import numpy as np
import pytest

from keras_transfer.backbones import registry
from keras_transfer.errors import DataError, UsageError
from keras_transfer.specs import Plan, Split, Splits, silent
from keras_transfer.tasks import detection, segmentation
from keras_transfer.workflow import checking, tasks, training
from keras_transfer.workflow.building import fitting_size, network_of, resolved

SPEC = registry.backbone("EfficientNetLite0")


def splits(annotation="class", typical_size=28):
    one = Split("train", np.zeros((1, 8, 8, 3), np.uint8), np.array([0]), ("a",))
    return Splits("pictures", one, one, one, ("cat", "dog"), "", annotation=annotation, typical_size=typical_size)


@pytest.mark.parametrize(("typical", "size"), [(8, 96), (40, 128), (50, 160), (1000, 224)])
def test_small_pictures_are_enlarged_threefold_between_96_pixels_and_the_size_of_the_backbone(typical, size):
    assert fitting_size(SPEC, typical) == size


def test_a_size_that_was_chosen_is_said():
    told = []
    assert resolved(Plan(data="x"), SPEC, splits(), told.append).image_size == 96
    assert told[0].message == "image size 96: the pictures are about 28 pixels"


def test_pictures_smaller_than_the_backbone_takes_are_refused():
    with pytest.raises(UsageError, match=r"InceptionV3 takes pictures of at least 75 pixels\. Received: 32"):
        resolved(Plan(data="x", image_size=32), registry.backbone("InceptionV3"), splits(), silent)


def test_a_loss_that_the_task_has_not_is_named_with_those_it_has():
    with pytest.raises(UsageError, match=r"Unknown loss of classification 'asymmetric'\. Known: cross_entropy"):
        network_of(Plan(data="x", image_size=64, loss="asymmetric"), SPEC, splits(), "none", silent)


def test_pictures_with_several_labels_are_refused_by_a_task_of_one_before_anything_is_built():
    with pytest.raises(DataError, match="'pictures' is labelled with 'classes', and classification takes 'class'"):
        network_of(Plan(data="x", image_size=64), SPEC, splits("classes"), "none", silent)


@pytest.mark.parametrize(
    ("task", "backbone", "strides"),
    [
        ("segmentation", "VGG16", "4, 8, 16, 32, and no block of VGG16 ends at 16"),
        ("segmentation", "Xception", "4, 8, 16, 32, and no block of Xception ends at 4"),
        ("detection", "InceptionV3", "8, 16, 32, and no block of InceptionV3 ends at 8, 16, 32"),
    ],
)
def test_a_backbone_without_the_strides_of_a_task_is_refused_before_pictures_are_read(task, backbone, strides):
    with pytest.raises(UsageError, match=f"{task} takes features of strides {strides}\\. Take a backbone of: "):
        training.train(Plan(data="pictures-that-are-nowhere", task=task, backbone=backbone))


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_the_command_that_a_refusal_of_strides_names_lists_backbones_that_are_taken(task):
    with pytest.raises(UsageError) as told:
        checking.check(Plan(data="x", task=task, backbone="VGG16"))
    words = [word for word in str(told.value).split("keras-transfer backbones ")[1].split() if word != "--without"]
    fitting = registry.select(lacking=words)
    assert len(fitting) > 30
    assert {checking.check(Plan(data="x", task=task, backbone=row.name)).name for row in fitting} == {
        row.name for row in fitting
    }


def test_strides_are_known_without_tensorflow_as_the_heads_have_them():
    assert (tasks.MAP_STRIDES, tasks.PLACE_STRIDES) == (segmentation.STRIDES, detection.STRIDES)
