"""The ranges that whole numbers are chosen by are those of what the layers give."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils
from export_model import CONTRACT, SIDE, model, pictures

from keras_transfer.export import activations, graph, saved_model, tflite


@functools.cache
def residual() -> keras.Model:
    """A picture's colours plus the same times minus nine tenths: a sum that is a tenth of its summands."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(3, 1, name="first")(keras.layers.Rescaling(1 / 255)(image))
    added = keras.layers.Add()([keras.layers.DepthwiseConv2D(1, name="second")(x), x])
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(added))
    network = keras.Model(image, keras.layers.Softmax(name="probabilities")(x))
    network.get_layer("first").set_weights([np.eye(3)[None, None], np.zeros(3)])
    network.get_layer("second").set_weights([np.full((1, 1, 3, 1), -0.9), np.zeros(3)])
    return network


def float32(network: keras.Model, folder) -> bytes:
    saved_model.write_frozen(graph.trace(network, CONTRACT.outputs), folder, batch=1)
    return tflite.Frozen(folder).float32


def measured(content: bytes) -> bytes:
    ranges = activations.Ranges(content)
    for read in activations.shown(content, pictures()):
        ranges.see(read)
    return ranges.written()


def written(content: bytes) -> dict[str, tuple[float, float]]:
    """The ranges of a file by the names of its tensors."""
    tensors = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0].tensors
    given = {tensor.name.decode(): tensor.quantization for tensor in tensors}
    return {name: (each.min[0], each.max[0]) for name, each in given.items() if each and each.min is not None}


def test_they_are_those_of_the_converters_calibrator_where_nothing_works_in_place(tmp_path):
    content = float32(model(), tmp_path)
    ours, theirs = written(measured(content)), written(tflite._calibrated(content, pictures()))
    assert ours.keys() == theirs.keys()
    for name, range_ in ours.items():
        assert range_ == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name


def test_the_range_of_a_summand_is_not_that_of_the_sum(tmp_path):
    ranges = written(measured(float32(residual(), tmp_path)))
    lows = {name: low for name, (low, _) in ranges.items() if "second" in name}
    assert min(lows.values()) == pytest.approx(-0.9 * pictures().max() / 255, rel=1e-3)


def test_a_file_with_a_loop_is_not_seen_whole():
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def doubled(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 100, lambda y: (2 * y,), (x,))[0]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([doubled.get_concrete_function()])
    assert not activations.Ranges(converter.convert()).whole


def test_a_file_without_one_is(tmp_path):
    assert activations.Ranges(float32(model(), tmp_path)).whole
