"""The table of backbones: found by exact name, or with a hint."""

import pytest

from keras_transfer.backbones import registry
from keras_transfer.errors import UsageError


def test_a_row_is_found_by_its_name():
    assert registry.backbone("MobileNetV2").input_size == 224


def test_a_misspelt_name_gets_the_nearest_one_as_a_hint():
    with pytest.raises(UsageError) as caught:
        registry.backbone("mobilnetv2")
    assert str(caught.value) == (
        "Unknown backbone 'mobilnetv2'. Did you mean 'MobileNetV2'? See: keras-transfer backbones"
    )


def test_names_are_unique():
    assert len({row.name for row in registry.rows()}) == len(registry.rows())
