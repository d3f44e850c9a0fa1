"""Grouped convolutions with a group for each channel are written as depthwise ones, in the graph that is there."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones.depthwise import with_depthwise


def block(filters=6):
    """A grouped convolution on a branch, as ConvNeXt has it."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1)(image)
    y = keras.layers.Conv2D(filters, 3, padding="same", groups=3, bias_initializer="normal")(x)
    return keras.Model(image, keras.layers.Conv2D(3, 1)(y) + x)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("filters", [3, 6])
def test_both_compute_the_same(pictures, filters):
    grouped = block(filters)
    expected = np.asarray(grouped(pictures))
    np.testing.assert_allclose(with_depthwise(grouped)(pictures), expected, atol=1e-6)


def test_no_grouped_convolution_is_left_and_no_weight_is_new():
    grouped = block()
    twin = with_depthwise(grouped)
    assert not [layer for layer in twin.layers if getattr(layer, "groups", 1) > 1]
    assert twin.count_params() == grouped.count_params()


def test_all_other_layers_are_the_same_objects_and_not_built_a_second_time():
    grouped = block()
    twin = with_depthwise(grouped)
    assert [old is new for old, new in zip(grouped.layers, twin.layers, strict=True)].count(False) == 1


def test_the_result_can_be_saved_cloned_and_cut(pictures, tmp_path):
    twin = with_depthwise(block())
    expected = np.asarray(twin(pictures))
    twin.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(pictures), expected, atol=1e-6)
    clone = keras.models.clone_model(twin)
    clone.set_weights(twin.get_weights())
    np.testing.assert_allclose(clone(pictures), expected, atol=1e-6)
    prefix = keras.Model(twin.input, twin.layers[2].output)
    assert prefix.layers[-1] is twin.layers[2]


def test_a_network_without_any_stays_as_it_is():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    assert with_depthwise(model) is model
