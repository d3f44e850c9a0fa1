"""A segmenter's files: what they give, what they lose, and how stock clients open them."""

import copy
import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import stock_clients

from keras_transfer.data import graph_decoding
from keras_transfer.data.sources import load
from keras_transfer.evaluation import segmentation as evaluation
from keras_transfer.export import exporters, float_tail, runtime
from keras_transfer.masks import squared
from keras_transfer.specs import Contract, Output
from keras_transfer.tasks import segmentation

SIDE, SHOWN = 64, 8
NAMES = load("sample:fashion-masks", annotation="mask").class_names
CONTRACT = Contract(
    class_names=NAMES,
    image_size=SIDE,
    task="segmentation",
    outputs=(Output(name="probabilities", shape=(SIDE, SIDE, len(NAMES)), labels="axis"),),
)
TFLITE = ("tflite", "tflite-float16", "tflite-dynamic", "tflite-int8")


@functools.cache
def data(split, count):
    part = load("sample:fashion-masks", annotation="mask")[split]
    return part.pictures[:count], squared(part.labels[:count], SIDE, "stretch")


@functools.cache
def model():
    """A small network of four strides with the head, taught what is background and what is not."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x, taps = keras.layers.Rescaling(1 / 127.5, offset=-1)(image), []
    for number, filters in enumerate((8, 16, 24, 32, 48)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(momentum=0.8)(x))
        taps += [x] if number else []
    network = segmentation.attach(keras.Model(image, x), (), taps=taps, classes=len(NAMES))
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    network.model.compile(keras.optimizers.Adam(3e-3), loss)
    network.model.fit(*data("train", 320), batch_size=16, epochs=5, verbose=0)
    return network.model


@functools.cache
def exported():
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    names = (*TFLITE, "onnx", "saved_model")
    calibration = data("train", 60)[0]
    artifacts = exporters.export(
        model(), folder, names, CONTRACT, calibration=calibration, decode=graph_decoding.square_rgb
    )
    return {name: artifact.path for name, artifact in zip(names, artifacts, strict=True)}


@functools.cache
def reference():
    return {"probabilities": model().predict(data("test", SHOWN)[0], verbose=0)}


@pytest.mark.parametrize("name", ["tflite", "onnx", "saved_model"])
def test_a_float_file_gives_nearly_every_pixel_the_models_class(name):
    answers = runtime.load(exported()[name]).predict(data("test", SHOWN)[0])
    same, _ = evaluation.differ(reference(), answers, CONTRACT)
    assert same.min() > 0.999
    assert np.abs(answers["probabilities"] - reference()["probabilities"]).max() < 1e-4


@pytest.mark.parametrize(("name", "client"), stock_clients.OPENED)
def test_another_runtime_gives_nearly_every_pixel_the_models_class(name, client):
    said = stock_clients.shaped(client(exported()[name], data("test", SHOWN)[0]), reference())
    same, _ = evaluation.differ(reference(), said, CONTRACT)
    assert same.min() > 0.999
    assert np.abs(said["probabilities"] - reference()["probabilities"]).max() < 1e-4


def test_whole_numbers_lose_little_of_what_areas_have_in_common():
    pictures, masks = data("test", 60)
    whole = {"probabilities": model().predict(pictures, verbose=0)}
    worth = evaluation.right(whole, masks).mean()
    lost = worth - evaluation.right(runtime.load(exported()["tflite-int8"]).predict(pictures), masks).mean()
    assert worth > 0.1
    assert lost < 0.02


def test_whole_numbers_end_before_the_softmax_whose_probabilities_are_floats():
    from ai_edge_litert.schema_py_generated import BuiltinOperator
    from ai_edge_litert.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model(str(exported()["tflite-int8"]))
    last = [file.operatorCodes[each.opcodeIndex].builtinCode for each in file.subgraphs[0].operators[-4:]]
    kinds = ("DEQUANTIZE", "EXP", "CONV_2D", "DIV")
    assert last == [getattr(BuiltinOperator, kind) for kind in kinds]
    said = runtime.load(exported()["tflite-int8"]).predict(data("test", SHOWN)[0])["probabilities"]
    assert np.abs(said.sum(-1) - 1).max() < 1e-5


def test_a_file_whose_logits_an_exponential_cannot_hold_keeps_its_softmax():
    wide, narrow = (_ending_in_softmax(step) for step in (1.0, 0.1))
    assert float_tail.softmax_in_float(wide) == wide
    assert float_tail.softmax_in_float(narrow) != narrow


def _ending_in_softmax(step):
    """The file of whole numbers as the converter ends it, its logits in steps of so much."""
    from ai_edge_litert.schema_py_generated import (
        BuiltinOperator,
        BuiltinOptions,
        OperatorCodeT,
        OperatorT,
        SoftmaxOptionsT,
    )
    from ai_edge_litert.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model(str(exported()["tflite-int8"]))
    graph, code, softmax = file.subgraphs[0], OperatorCodeT(), OperatorT()
    dequantize, division = graph.operators[-4], graph.operators[-1]
    logits = dequantize.inputs[0]
    graph.tensors[logits].quantization.scale = [step]
    graph.tensors.append(copy.copy(graph.tensors[logits]))
    code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.SOFTMAX
    file.operatorCodes.append(code)
    softmax.opcodeIndex, softmax.inputs = len(file.operatorCodes) - 1, [logits]
    softmax.builtinOptionsType, softmax.builtinOptions = BuiltinOptions.SoftmaxOptions, SoftmaxOptionsT()
    softmax.builtinOptions.beta, softmax.outputs = 1.0, [len(graph.tensors) - 1]
    dequantize.inputs, dequantize.outputs = softmax.outputs, division.outputs
    graph.operators[-4:] = [softmax, dequantize]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


@pytest.mark.parametrize("name", TFLITE)
def test_mediapipe_opens_a_segmenter_without_options_and_gives_our_classes(name):
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    base = mediapipe.tasks.BaseOptions(model_asset_path=str(exported()[name]))
    options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True)
    ours = runtime.load(exported()[name]).predict(data("test", SHOWN)[0])["probabilities"].argmax(-1)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        assert list(segmenter.labels) == list(NAMES)
        for pixels, wanted in zip(data("test", SHOWN)[0], ours, strict=True):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
            found = segmenter.segment(image)
            assert len(found.confidence_masks) == len(NAMES)
            assert (found.category_mask.numpy_view().reshape(SIDE, SIDE) == wanted).mean() > 0.99
