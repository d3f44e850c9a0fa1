"""From a clip to its probabilities: every format takes frames and says what the model says, in one file or two."""

import shutil

import numpy as np
import pytest
from export_model import CONTRACT
from export_model import model as of_pictures

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.errors import ArtifactError, DataError, UsageError
from keras_transfer.export import exporters, manifest, runtime, temperature
from keras_transfer.specs import Contract, Plan
from keras_transfer.tasks import clips
from keras_transfer.workflow import checking

FRAMES, SIZE = 3, 64


def teach(model):
    """Random weights for what begins at nothing, so that frames and their order say something."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.startswith("of_"):
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    spec = registry.backbone("MobileNetV2")
    built = features.build(spec, image_size=SIZE, weights="none", frames=FRAMES)
    model = clips.attach(built.model, blocks.cut(built.model, spec), classes=3).model
    teach(model)
    some = np.random.default_rng(0).integers(0, 256, (8, FRAMES, SIZE, SIZE, 3), np.uint8)
    contract = Contract(
        class_names=("a", "b", "c"), image_size=SIZE, frames=FRAMES, spacing=0.2, task="clips", temperature=1.5
    )
    model = temperature.fold(model, contract.temperature)
    names = ["saved_model", "tflite", "tflite-int8", "onnx", "tflite-stream", "onnx-stream"]
    folder = tmp_path_factory.mktemp("exports")
    artifacts = exporters.export(model, folder, names, contract, calibration=some, halve=clips.halved)
    return model, some, dict(zip(names, artifacts, strict=True)), contract


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("saved_model", 1e-4),
        ("tflite", 1e-4),
        ("onnx", 1e-4),
        ("tflite-int8", 0.1),
        ("tflite-stream", 1e-4),
        ("onnx-stream", 1e-4),
    ],
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


PAIRS = pytest.mark.parametrize("name", ["tflite-stream", "onnx-stream"])


@PAIRS
def test_the_first_file_of_a_pair_is_asked_of_a_frame_once_and_the_second_of_each_window(exported, name):
    model, some, artifacts, contract = exported
    frame, window = runtime.load(artifacts[name].path).halves
    features = frame.predict(np.concatenate(some[:2]))["features"]
    assert len(features) == 2 * FRAMES
    windows = np.stack([features[:FRAMES], features[FRAMES:]])
    assert np.abs(window.predict(windows)["probabilities"] - np.asarray(model(some[:2], training=False))).max() < 1e-4


@PAIRS
def test_each_file_of_a_pair_opens_alone_and_carries_what_it_promises(exported, name):
    _, _, artifacts, contract = exported
    path = artifacts[name].path
    frame, window = (runtime.load(each).artifact.contract for each in sorted(path.iterdir()))
    numbers = frame.outputs[0].shape[0]
    assert (frame.shape, frame.class_names, frame.temperature) == ((SIZE, SIZE, 3), (), 1)
    assert (window.shape, window.class_names, window.temperature) == ((FRAMES, numbers), ("a", "b", "c"), 1.5)
    assert runtime.load(path).artifact.contract == contract


@PAIRS
def test_the_manifest_knows_a_pair_as_its_runtime_does(exported, name):
    _, _, artifacts, _ = exported
    path = artifacts[name].path
    listed = {each.path.name: each for each in manifest.read(path.parent).artifacts}[path.name]
    assert runtime.load(path).artifact == listed.model_copy(update={"path": path})


@PAIRS
def test_a_window_of_another_length_is_refused_in_one_sentence(exported, name):
    _, _, artifacts, _ = exported
    _, window = runtime.load(artifacts[name].path).halves
    with pytest.raises(DataError, match=r"takes float32 windows of shape \(n, 3, \d+\). Received: float32 \(1, 2, 5\)"):
        window.predict(np.zeros((1, 2, 5), np.float32))


def test_a_pair_with_half_of_another_is_refused(exported, tmp_path):
    model, _, artifacts, contract = exported
    other = contract.model_copy(update={"run_digest": "ab" * 32})
    exporters.export(model, tmp_path, ["onnx-stream"], other, halve=clips.halved)
    shutil.copy(artifacts["onnx-stream"].path / "window.onnx", tmp_path / "stream-onnx" / "window.onnx")
    (tmp_path / manifest.MANIFEST_FILE).unlink()
    with pytest.raises(ArtifactError, match=r"holds two files that were not exported together. Export them again"):
        runtime.load(tmp_path / "stream-onnx")


def test_a_model_of_pictures_has_no_pair(tmp_path):
    with pytest.raises(UsageError, match=r"onnx-stream is a pair of files for clips.* Export to: onnx"):
        exporters.export(of_pictures(), tmp_path, ["onnx-stream"], CONTRACT)


def test_a_plan_for_pictures_that_asks_for_a_pair_is_refused_before_any_is_read():
    with pytest.raises(UsageError, match=r"tflite-stream is a pair of files for clips.* Export to: tflite"):
        checking.check(Plan(data="nowhere", exports=("tflite-stream",)))
