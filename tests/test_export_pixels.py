"""Pixels of a fully quantized file are its whole numbers, where the scaling is the same for every channel."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from export_model import CONTRACT, SIDE, labels, model, pictures

from keras_transfer.export import graph, saved_model, tflite
from keras_transfer.export.metadata import Card


@functools.cache
def by_channel() -> keras.Model:
    """The small model, but for pixels of which each channel is scaled in its own way."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    scale = keras.layers.Normalization(mean=[124.0, 116.0, 104.0], variance=[58.0**2, 57.0**2, 20.0**2])
    layers = [layer for layer in model().layers if not isinstance(layer, (keras.layers.InputLayer,))]
    x = scale(image)
    for layer in layers[1:]:
        x = layer(x)
    return keras.Model(image, x)


def int8(network: keras.Model, folder, *, whole: bool) -> bytes:
    traced = graph.trace(network, CONTRACT.outputs)
    saved_model.write_frozen(traced, folder, batch=1)
    source = tflite.Frozen(folder, traced.affine if whole else None)
    return tflite.convert(source, Card(contract=CONTRACT, precision="int8"), pictures())


def kinds(content: bytes) -> list[str]:
    return [each["op_name"] for each in Interpreter(model_content=content)._get_ops_details()]


def answers(content: bytes) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for picture in pictures():
        interpreter.set_tensor(image["index"], picture[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"])[0].astype(int))
    return np.stack(found)


def test_the_first_convolution_reads_pixels_after_one_change_of_type(tmp_path):
    assert kinds(int8(model(), tmp_path, whole=True))[:3] == ["QUANTIZE", "RESHAPE", "CONV_2D"]


def test_whole_numbers_are_those_of_the_converter_that_starts_from_the_graph(tmp_path, monkeypatch):
    """But for ranges to the last bit, and for what makes files more exact afterwards."""
    traced = graph.trace(model(), CONTRACT.outputs)
    saved_model.write_frozen(traced, tmp_path, batch=1)
    monkeypatch.setattr(tflite, "refine", lambda quantized, moments: quantized)
    monkeypatch.setattr(tflite, "_quickened", lambda quantized, source: quantized)
    ours = tflite._int8(tflite.Frozen(tmp_path), pictures())
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"image": each[None]} for each in tflite._calibration(pictures()))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    theirs = converter.convert()
    assert kinds(ours) == kinds(theirs)
    assert np.abs(answers(ours) - answers(theirs)).max() <= 1


def test_what_the_file_says_stays_but_for_the_rounding_of_half_values(tmp_path):
    scaled, whole = (int8(model(), tmp_path / str(each), whole=each) for each in (False, True))
    assert kinds(scaled)[:3] == ["CAST", "QUANTIZE", "DEPTHWISE_CONV_2D"]
    assert np.abs(answers(scaled) - answers(whole)).max() <= 2
    assert np.mean(answers(whole).argmax(axis=1) == labels()) >= 0.9


def test_channels_that_are_scaled_differently_keep_their_scaling(tmp_path):
    assert kinds(int8(by_channel(), tmp_path, whole=True))[:3] == ["CAST", "QUANTIZE", "DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize("whole", [False, True])
def test_the_file_takes_raw_pixels_either_way(tmp_path, whole):
    (image,) = Interpreter(model_content=int8(model(), tmp_path, whole=whole)).get_input_details()
    assert (image["dtype"], image["shape"].tolist()) == (np.uint8, [1, SIDE, SIDE, 3])
