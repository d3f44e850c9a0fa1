"""What plain Keras writes as ONNX for EfficientNet V1, V2-B and ConvNeXt cannot be used; the same networks here can.

Once a test of the first kind fails, Keras or tf2onnx has mended it and the fix here can go.
"""

import backbones_contract as contract
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph

from keras_transfer.backbones.registry import backbone
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract

SIZE = 32
BECOME_INPUTS = (ValueError, r"Required inputs .*normalization.*Sub.*normalization.*Sqrt.* are missing")
A_CALL = (InvalidGraph, "No Op registered for StatefulPartitionedCall")
AN_OPERATOR = (InvalidGraph, "No Op registered for Erfc")

ROWS = {"EfficientNetB0": BECOME_INPUTS, "EfficientNetV2B0": BECOME_INPUTS, "ConvNeXtTiny": A_CALL}
LAYERS = {
    "constants that become inputs": (
        lambda: keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[900.0, 1000.0, 1100.0]),
        BECOME_INPUTS,
    ),
    "a call that ONNX lacks": (lambda: keras.layers.Conv2D(6, 3, groups=3), A_CALL),
    "an operator that ONNX lacks": (lambda: keras.layers.Activation("gelu"), AN_OPERATOR),
}


def run_as_plain_keras_exports(model, path):
    """Give a picture to the file that `model.export` writes."""
    model(keras.Input(model.input.shape[1:]))  # Keras exports no model that was never called
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.zeros((1, *model.input.shape[1:]), np.float32)})


def small(layer, dtype):
    image = keras.Input((SIZE, SIZE, 3), dtype=dtype, name="image")
    x = layer(keras.layers.Rescaling(1.0)(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))


@pytest.mark.parametrize("what", LAYERS)
def test_plain_keras_writes_a_file_that_does_not_run(what, tmp_path):
    layer, (error, words) = LAYERS[what]
    with pytest.raises(error, match=words):
        run_as_plain_keras_exports(small(layer(), "float32"), str(tmp_path / "model.onnx"))


@pytest.mark.parametrize("what", LAYERS)
def test_what_onnx_lacks_is_exported_whichever_network_holds_it(what, tmp_path):
    layer, _ = LAYERS[what]
    model = small(layer(), "uint8")
    contract_of_file = Contract(class_names=("a", "b", "c"), image_size=SIZE, backbone="none")
    (artifact,) = exporters.export(model, tmp_path, ["onnx"], contract_of_file)
    images = contract.pictures(SIZE)
    np.testing.assert_allclose(runtime.load(artifact.path).predict(images)["probabilities"], model(images), atol=1e-4)
    assert len(onnx.load(artifact.path).graph.input) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_plain_keras_writes_a_file_of_this_backbone_that_does_not_run(name, tmp_path):
    error, words = ROWS[name]
    model = getattr(keras.applications, name)(weights=None, classes=3, input_shape=(SIZE, SIZE, 3))
    with pytest.raises(error, match=words):
        run_as_plain_keras_exports(model, str(tmp_path / "model.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_same_backbone_runs_and_agrees_when_exported_here(name, tmp_path):
    spec = backbone(name)
    found = contract.export_errors(spec, contract.lively(spec), tmp_path, formats=("onnx",))
    assert found["onnx"] < contract.TOLERANCE
    assert [value.name for value in onnx.load(tmp_path / "model.onnx").graph.input] == ["image"]
