"""Wide depthwise filters of a TFLite file are taken apart, and the file goes on to say what it said."""

import keras
import numpy as np
import pytest
from export_model import CONTRACT, SIDE, pictures
from test_export_pixels import kinds

from keras_transfer.export import activations, exporters, refine, runtime, wide_kernels

FILTERS = 24
"""So that a kernel of 7 x 7 has more than the 1,024 weights from which on `tflite-dynamic` rounds it."""


def looking_far(sides, strides: int = 1, inner: int = SIDE, *, bias: bool = True) -> keras.Model:
    """A convolution to maps of `inner` places a side, and a wide depthwise one behind it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.Conv2D(FILTERS, SIDE // inner, strides=SIDE // inner, activation="relu")(x)
    wide = keras.layers.DepthwiseConv2D(
        sides, strides=strides, padding="same", bias_initializer="random_normal", use_bias=bias
    )
    x = keras.layers.ReLU()(wide(x) * 4.0)
    logits = keras.layers.Dense(len(CONTRACT.class_names))(keras.layers.GlobalAveragePooling2D()(x) * 4.0)
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(logits))


@pytest.mark.parametrize(
    ("sides", "strides", "inner", "parts"),
    [(7, 1, 16, 3), (7, 2, 16, 3), (7, 2, 8, 3), ((7, 5), 1, 16, 2), ((5, 7), 1, 16, 2), (7, 1, 2, 1), (5, 1, 16, 1)],
)
def test_parts_add_up_to_what_a_wide_filter_gives(sides, strides, inner, parts, tmp_path):
    network = looking_far(sides, strides, inner)
    (artifact,) = exporters.export(network, tmp_path, ["tflite"], CONTRACT)
    content = artifact.path.read_bytes()
    places = [np.prod(layer.weight.shape[1:3]) for layer in refine.Moments(content).layers if "DEPTH" in layer.kind]
    assert max(places) <= wide_kernels.MOST
    found = kinds(content)
    assert (found.count("DEPTHWISE_CONV_2D"), found.count("ADD")) == (1 + parts, parts - 1)  # one scales pixels
    said = runtime.load(artifact.path).predict(pictures())["probabilities"]
    assert np.abs(said - network.predict(pictures(), verbose=0)).max() < 1e-6


def test_a_filter_without_a_bias_is_taken_apart_too(tmp_path):
    network = looking_far(7, bias=False)
    (artifact,) = exporters.export(network, tmp_path, ["tflite"], CONTRACT)
    assert kinds(artifact.path.read_bytes()).count("DEPTHWISE_CONV_2D") == 4
    said = runtime.load(artifact.path).predict(pictures())["probabilities"]
    assert np.abs(said - network.predict(pictures(), verbose=0)).max() < 1e-6


@pytest.mark.parametrize("precision", ["float16", "dynamic", "weight-int8", "int8", "int16x8"])
def test_every_precision_says_the_same(precision, tmp_path):
    network = looking_far(7)
    (artifact,) = exporters.export(network, tmp_path, [f"tflite-{precision}"], CONTRACT, calibration=pictures())
    assert kinds(artifact.path.read_bytes()).count("DEPTHWISE_CONV_2D") >= 3
    said = runtime.load(artifact.path).predict(pictures())["probabilities"]
    assert np.abs(said - network.predict(pictures(), verbose=0)).max() < 0.03


def test_a_file_without_any_stays_as_it_is(tmp_path):
    (artifact,) = exporters.export(looking_far(5), tmp_path, ["tflite"], CONTRACT)
    content = artifact.path.read_bytes()
    assert wide_kernels.taken_apart(content) is content


def test_what_rounds_the_parts_knows_what_they_lie_on(tmp_path):
    (artifact,) = exporters.export(looking_far(7, inner=16), tmp_path, ["tflite"], CONTRACT)  # 256 places: all are seen
    exact = artifact.path.read_bytes()
    moments = refine.Moments(exact)
    (read,) = activations.shown(exact, pictures()[:1])
    moments.see(read)
    checked = 0
    for layer, (mean, _) in zip(moments.layers, moments.found(), strict=True):
        if layer.kind != "DEPTHWISE_CONV_2D" or layer.weight.shape[1] == 1:
            continue
        kernel = read(int(layer.operator.inputs[1]))[0].reshape(-1, layer.weight.shape[3])
        given = (kernel.T * mean).sum(axis=1) + read(int(layer.operator.inputs[2]))
        assert given == pytest.approx(read(int(layer.operator.outputs[0])).mean(axis=(0, 1, 2)), abs=1e-4)
        checked += 1
    assert checked == 3
