"""One file from a clip to its probabilities: every format takes frames and says what the model says."""

import numpy as np
import pytest

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.errors import DataError, UsageError
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract
from keras_transfer.tasks import clips

FRAMES, SIZE = 3, 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    spec = registry.backbone("MobileNetV2")
    built = features.build(spec, image_size=SIZE, weights="none", frames=FRAMES)
    model = clips.attach(built.model, blocks.cut(built.model, spec), classes=3).model
    some = np.random.default_rng(0).integers(0, 256, (8, FRAMES, SIZE, SIZE, 3), np.uint8)
    contract = Contract(class_names=("a", "b", "c"), image_size=SIZE, frames=FRAMES, task="clips")
    names = ["saved_model", "tflite", "tflite-int8", "onnx"]
    artifacts = exporters.export(model, tmp_path_factory.mktemp("exports"), names, contract, calibration=some)
    return model, some, dict(zip(names, artifacts, strict=True)), contract


@pytest.mark.parametrize(
    ("name", "off"), [("saved_model", 1e-4), ("tflite", 1e-4), ("onnx", 1e-4), ("tflite-int8", 0.1)]
)
def test_a_file_says_of_clips_what_the_model_says(exported, name, off):
    model, some, artifacts, _ = exported
    opened = runtime.load(artifacts[name].path)
    said = opened.predict(some)["probabilities"]
    assert opened.artifact.contract.frames == FRAMES
    assert np.abs(said - np.asarray(model(some, training=False))).max() < off


def test_a_file_of_clips_refuses_pictures_in_one_sentence(exported):
    _, some, artifacts, _ = exported
    with pytest.raises(DataError, match=r"takes uint8 clips of shape \(n, 3, 64, 64, 3\). Received: uint8"):
        runtime.load(artifacts["tflite"].path).predict(some[:, 0])


def test_clips_have_no_file_with_channels_first(exported, tmp_path):
    model, _, _, contract = exported
    with pytest.raises(UsageError, match=r"there is no nchw file of it. Export to: onnx"):
        exporters.export(model, tmp_path, ["onnx-nchw"], contract)
