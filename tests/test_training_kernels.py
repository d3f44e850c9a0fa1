"""Convolutions by faster kernels compute what Keras' own do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.backbones import features, registry
from keras_transfer.training.kernels import quick

layers = keras.layers


def network(convolution, *, side=9, norm=None, between=None):
    """A convolution, what may stand between, a batch norm with statistics of its own, an activation, a mean."""
    image = keras.Input((side, side, 4))
    middle = convolution(image)
    if between is not None:
        middle = between(middle)
    norm = norm or layers.BatchNormalization()
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU(6)(norm(middle))))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        spread = [rng.uniform(0.5, 2, each.shape) for each in layer.get_weights()]  # above 0: a variance is among them
        layer.set_weights([each - isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D) for each in spread])
    norm.trainable = False
    return model


def learnt(model):
    """What comes out, and how it changes with the picture and with every weight that learns."""
    images = tf.constant(np.random.default_rng(1).normal(size=(5, *model.input.shape[1:])), model.compute_dtype)

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=True)
            value = tf.reduce_sum(outputs**3)
        return outputs, tape.gradient(value, [images, *(each.value for each in model.trainable_variables)])

    return [np.asarray(each, np.float64) for each in tf.nest.flatten(step(images))]


def in_64_bits(model):
    exact = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    )
    exact.set_weights(model.get_weights())
    return exact


def assert_same(model, *, folded, depthwise):
    """Compare both with 64 bits; raise where the quick one is further off than rounding explains (as in batch norm)."""
    expected, truth = learnt(model), learnt(in_64_bits(model))
    with quick(model, [layer for layer in model.layers if layer.trainable]) as counts:
        got = learnt(model)
    assert counts == (folded, depthwise)
    for a, b, c in zip(got, expected, truth, strict=True):
        allowed = max(6 * np.abs(b - c).max(), 16 * np.finfo(np.float32).eps * np.abs(c).max())
        assert np.abs(a - c).max() <= allowed
    assert all(type(layer) in vars(layers).values() for layer in model.layers)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("side", [8, 9])
def test_a_depthwise_convolution_of_any_shape(side, size, stride, padding):
    conv = layers.DepthwiseConv2D(size, stride, padding, depth_multiplier=2, use_bias=False)
    assert_same(network(conv, side=side), folded=1, depthwise=int(size > 3))


@pytest.mark.parametrize("options", [{}, {"use_bias": False, "strides": 2}, {"groups": 2}, {"dilation_rate": 2}])
def test_a_convolution(options):
    assert_same(network(layers.Conv2D(6, 3, **options)), folded=1, depthwise=0)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"epsilon": 0.1}])
def test_a_norm_of_any_kind(options):
    assert_same(network(layers.Conv2D(6, 3), norm=layers.BatchNormalization(**options)), folded=1, depthwise=0)


def test_what_does_not_end_in_a_norm_is_not_folded():
    assert_same(network(layers.Conv2D(6, 3, activation="relu")), folded=0, depthwise=0)
    assert_same(network(layers.Conv2D(6, 3), between=layers.ZeroPadding2D()), folded=0, depthwise=0)


def test_a_norm_that_learns_is_not_folded():
    model = network(layers.Conv2D(6, 3))
    with quick(model, model.layers) as counts:
        assert counts == (0, 0)


def test_what_somebody_else_reads_is_not_folded():
    conv = layers.Conv2D(6, 3)
    model = network(conv)
    with quick(model, [conv], kept=[conv.output]) as counts:
        assert counts == (0, 0)
    both = keras.Model(model.input, [model.output, layers.Flatten()(conv.output)])
    with quick(both, [conv]) as counts:
        assert counts == (0, 0)


def test_half_precision_is_left_alone():
    model = network(layers.DepthwiseConv2D(5, dtype="mixed_float16"), norm=layers.BatchNormalization())
    with quick(model, [layer for layer in model.layers if layer.trainable]) as counts:
        assert counts == (0, 0)


def test_layers_are_plain_keras_again_even_after_an_error():
    model = network(layers.DepthwiseConv2D(5))
    kinds = [type(layer) for layer in model.layers]
    with pytest.raises(ZeroDivisionError), quick(model, [layer for layer in model.layers if layer.trainable]):
        1 / 0  # noqa: B018
    assert [type(layer) for layer in model.layers] == kinds


def test_every_norm_of_efficientnet_lite_is_folded():
    model = features.build(registry.backbone("EfficientNetLite0"), image_size=32, weights="none").model
    for layer in model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    with quick(model, [layer for layer in model.layers if layer.trainable]) as counts:
        assert counts == (49, 9)
