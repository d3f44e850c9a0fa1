"""Operators that ONNX runtimes read differently from TensorFlow are written so that they cannot."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from keras_transfer.export import operators


@pytest.fixture
def padded_pooling():
    """Padding with zeros before a max pooling, as ResNetV2 begins."""
    pads = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads")
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Pad", ["image", "pads"], ["padded"]),
                helper.make_node("MaxPool", ["padded"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]),
            ],
            "padded_pooling",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4, 8, 8])],
            [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", 4, 4, 4])],
            [pads],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@pytest.fixture
def below_zero():
    return -np.random.default_rng(0).uniform(1, 2, (2, 4, 8, 8)).astype(np.float32)


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


def test_a_border_of_zeros_stays_zero_before_a_max_pooling(padded_pooling, below_zero):
    operators.keep_padding(padded_pooling)
    found = run(padded_pooling, below_zero)
    assert found[:, :, 0, :] == pytest.approx(0, abs=1e-30)
    assert (found[:, :, 1:, 1:][:, :, :2, :2] < 0).all()


def test_as_it_was_converted_that_border_is_lost(padded_pooling, below_zero):
    """What the fix is for: once this fails, ONNX Runtime has mended it and the fix can go."""
    assert (run(padded_pooling, below_zero) < 0).all()
