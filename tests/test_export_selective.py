"""Operations that whole numbers hurt are found by what they add to the noise, and stay in float."""

import keras
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType
from ai_edge_litert.tools import flatbuffer_utils

from keras_transfer.export import exporters, runtime, selective
from keras_transfer.specs import Contract

FORMATS = ("tflite", "tflite-int8", "tflite-int8-mixed")


@pytest.fixture
def written(network, stripes, tmp_path):
    """Files of a network whose third convolution has large weights on a channel that is zero: all others round away."""
    convolutions, norms = (
        [layer for layer in network.model.layers if isinstance(layer, kind)]
        for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization)
    )
    first = np.arange(16) == 0
    norms[1].gamma.assign(np.where(first, 0.0, 1.0))
    norms[1].beta.assign(np.where(first, -1.0, 0.0))
    kernel = np.array(convolutions[2].kernel)
    kernel[:, :, 0] = 100 * np.abs(kernel).max()
    convolutions[2].kernel.assign(kernel)
    images, _ = stripes["train"]
    contract = Contract(class_names=("a", "b", "c"), image_size=32)
    files = exporters.export(network.model, tmp_path, FORMATS, contract, calibration=images)
    return {name: file.path for name, file in zip(FORMATS, files, strict=True)}


def types(path):
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes())).subgraphs[0]
    return [graph.tensors[operator.outputs[0]].type for operator in graph.operators]


def test_the_worst_operation_is_named_as_the_float_file_names_what_it_gives(written, stripes):
    images, _ = stripes["train"]
    exact, quantized = (written[name].read_bytes() for name in FORMATS[:2])
    found = selective.worst(exact, quantized, images)
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(exact)).subgraphs[0]
    assert len(found) == 1
    assert found <= {tensor.name.decode() for tensor in graph.tensors}


def test_what_is_left_in_float_makes_the_file_say_more_of_what_the_model_says(written, stripes):
    images, _ = stripes["test"]
    said = {name: runtime.load(path).predict(images)["probabilities"] for name, path in written.items()}
    apart = {name: np.abs(each - said["tflite"]).mean() for name, each in said.items()}
    assert apart["tflite-int8-mixed"] < apart["tflite-int8"]
    counts = [types(written[name]).count(TensorType.INT8) for name in FORMATS[1:]]
    assert 0 < counts[1] < counts[0]
