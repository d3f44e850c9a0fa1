"""The fused batch norm computes what Keras' own does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.backbones.registry import rows
from keras_transfer.training.batch_norm import FusedBatchNormalization, fused


def trained(layer, pictures, *, with_fused):
    """Outputs, gradients of the input and moving statistics after three training steps and one of inference."""
    outputs, gradients = [], []
    with fused([layer] if with_fused else []):
        for batch in pictures:
            with tf.GradientTape() as tape:
                inputs = tf.constant(batch)
                tape.watch(inputs)
                result = layer(inputs, training=True)
                value = tf.reduce_sum(result**3)
            outputs.append(result.numpy())
            gradients.append(tape.gradient(value, [inputs, *(each.value for each in layer.trainable_variables)]))
        outputs.append(layer(pictures[0], training=False).numpy())
    return outputs, gradients, [weight.numpy() for weight in layer.weights]


def assert_fused_equals_keras(options):
    """Compare both with Keras' own layer in 64 bits; raise where the fused one is further off than rounding explains.

    Sums over a channel are rounded in another order, so the two differ; how much float32 allows is what Keras' own
    differs from 64 bits. Up to four times that passes, or eight units in the last place where Keras' own is luckier.
    """
    pictures = np.random.default_rng(0).normal(2, 3, (3, 4, 5, 6, 7)).astype("float32")
    ours, theirs, exact = (
        keras.layers.BatchNormalization(**options, dtype=dtype) for dtype in ("float32", "float32", "float64")
    )
    for layer in (ours, theirs, exact):
        layer.build((None, 5, 6, 7))
    got = tf.nest.flatten(trained(ours, pictures, with_fused=True))
    expected = tf.nest.flatten(trained(theirs, pictures, with_fused=False))
    truth = tf.nest.flatten(trained(exact, pictures.astype("float64"), with_fused=False))
    for a, b, c in zip(*(map(np.asarray, each) for each in (got, expected, truth)), strict=True):
        rounding = np.abs(b - c).max()
        unit = np.finfo(np.float32).eps * np.abs(c).max()
        assert np.abs(a - c).max() <= max(4 * rounding, 8 * unit), (options, np.abs(a - c).max(), rounding, unit)


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 0.1}])
def test_fused_gives_the_outputs_gradients_and_statistics_of_keras(options):
    assert_fused_equals_keras(options)


def kinds(spec):
    """Every way in which the batch norms of a catalogue row are configured, and whether all of them can be fused."""
    keras.backend.clear_session()
    model = spec.build(keras.Input((spec.min_size, spec.min_size, 3)))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    names = ("axis", "momentum", "epsilon", "center", "scale")
    found = {tuple(getattr(layer, name) for name in names) for layer in norms}
    with fused(norms) as count:
        return [dict(zip(names, values, strict=True)) for values in sorted(found)], count == len(norms)


SMALLEST = {spec.family: spec for spec in sorted(rows(), key=lambda spec: -spec.parameters)}.values()


@pytest.mark.parametrize(
    "spec",
    [pytest.param(each, marks=() if each in SMALLEST else pytest.mark.slow, id=each.name) for each in rows()],
)
def test_every_batch_norm_of_the_catalogue_can_be_fused_without_a_difference(spec):
    configured, all_fused = kinds(spec)
    assert all_fused
    for options in configured:
        assert_fused_equals_keras({**options, "axis": -1 if options["axis"] in (-1, 3) else options["axis"]})


def test_layers_are_plain_keras_again_even_after_an_error():
    layer = keras.layers.BatchNormalization()
    with fused([layer], momentum=0.5) as count:
        assert (count, type(layer), layer.momentum) == (1, FusedBatchNormalization, 0.5)
    with pytest.raises(ZeroDivisionError), fused([layer]):
        1 / 0  # noqa: B018
    assert (type(layer), layer.momentum) == (keras.layers.BatchNormalization, 0.99)


def test_a_frozen_layer_keeps_its_statistics():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 4, 4, 2))
    layer.trainable = False
    with fused([layer]):
        layer(np.random.default_rng(0).normal(5, 1, (8, 4, 4, 2)).astype("float32"), training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(2))
