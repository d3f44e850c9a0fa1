"""The fused batch norm computes what Keras' own does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 0.1}])
def test_fused_gives_the_outputs_gradients_and_statistics_of_keras(options):
    pictures = np.random.default_rng(0).normal(2, 3, (3, 4, 5, 6, 7)).astype("float32")
    ours, theirs = (keras.layers.BatchNormalization(**options) for _ in range(2))
    for layer in (ours, theirs):
        layer.build((None, 5, 6, 7))
    got, expected = trained(ours, pictures, with_fused=True), trained(theirs, pictures, with_fused=False)
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * max(1, np.abs(b).max()))


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
