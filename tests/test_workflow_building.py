"""What a plan leaves open, and what it cannot ask for."""

import numpy as np
import pytest

from keras_transfer.backbones import registry
from keras_transfer.errors import DataError, UsageError
from keras_transfer.specs import Plan, Split, Splits, silent
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
