"""From a clip to its probabilities: every format takes frames and says what the model says, in one file or two."""

import shutil

import clips_model
import numpy as np
import pytest
from clips_model import CONTRACT, FRAMES, SIZE, exported, some_clips
from export_model import CONTRACT as CONTRACT_OF_PICTURES
from export_model import model as of_pictures

from keras_transfer.errors import ArtifactError, DataError, UsageError
from keras_transfer.export import exporters, manifest, runtime
from keras_transfer.specs import Plan
from keras_transfer.tasks import clips
from keras_transfer.workflow import checking


def said_by_model(some):
    return np.asarray(clips_model.model()(some, training=False))


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
def test_a_file_says_of_clips_what_the_model_says(name, off):
    opened = runtime.load(exported()[name].path)
    said = opened.predict(some_clips())["probabilities"]
    assert opened.artifact.contract.frames == FRAMES
    assert np.abs(said - said_by_model(some_clips())).max() < off


def test_a_file_of_clips_refuses_pictures_in_one_sentence():
    with pytest.raises(DataError, match=r"takes uint8 clips of shape \(n, 3, 64, 64, 3\). Received: uint8"):
        runtime.load(exported()["tflite"].path).predict(some_clips()[:, 0])


def test_clips_have_no_file_with_channels_first(tmp_path):
    with pytest.raises(UsageError, match=r"there is no nchw file of it. Export to: onnx"):
        exporters.export(clips_model.model(), tmp_path, ["onnx-nchw"], CONTRACT)


PAIRS = pytest.mark.parametrize("name", ["tflite-stream", "onnx-stream"])


@PAIRS
def test_the_first_file_of_a_pair_is_asked_of_a_frame_once_and_the_second_of_each_window(name):
    frame, window = runtime.load(exported()[name].path).halves
    features = frame.predict(np.concatenate(some_clips()[:2]))["features"]
    assert len(features) == 2 * FRAMES
    windows = np.stack([features[:FRAMES], features[FRAMES:]])
    assert np.abs(window.predict(windows)["probabilities"] - said_by_model(some_clips()[:2])).max() < 1e-4


@PAIRS
def test_each_file_of_a_pair_opens_alone_and_carries_what_it_promises(name):
    path = exported()[name].path
    frame, window = (runtime.load(each).artifact.contract for each in sorted(path.iterdir()))
    numbers = frame.outputs[0].shape[0]
    assert (frame.shape, frame.class_names, frame.temperature) == ((SIZE, SIZE, 3), (), 1)
    assert (window.shape, window.class_names, window.temperature) == ((FRAMES, numbers), ("a", "b", "c"), 1.5)
    assert runtime.load(path).artifact.contract == CONTRACT


@PAIRS
def test_the_manifest_knows_a_pair_as_its_runtime_does(name):
    path = exported()[name].path
    listed = {each.path.name: each for each in manifest.read(path.parent).artifacts}[path.name]
    assert runtime.load(path).artifact == listed.model_copy(update={"path": path})


@PAIRS
def test_a_window_of_another_length_is_refused_in_one_sentence(name):
    _, window = runtime.load(exported()[name].path).halves
    with pytest.raises(DataError, match=r"takes float32 windows of shape \(n, 3, \d+\). Received: float32 \(1, 2, 5\)"):
        window.predict(np.zeros((1, 2, 5), np.float32))


def test_a_pair_with_half_of_another_is_refused(tmp_path):
    other = CONTRACT.model_copy(update={"run_digest": "ab" * 32})
    exporters.export(clips_model.model(), tmp_path, ["onnx-stream"], other, halve=clips.halved)
    shutil.copy(exported()["onnx-stream"].path / "window.onnx", tmp_path / "stream-onnx" / "window.onnx")
    (tmp_path / manifest.MANIFEST_FILE).unlink()
    with pytest.raises(ArtifactError, match=r"holds two files that were not exported together. Export them again"):
        runtime.load(tmp_path / "stream-onnx")


def test_a_model_of_pictures_has_no_pair(tmp_path):
    with pytest.raises(UsageError, match=r"onnx-stream is a pair of files for clips.* Export to: onnx"):
        exporters.export(of_pictures(), tmp_path, ["onnx-stream"], CONTRACT_OF_PICTURES)


def test_a_plan_for_pictures_that_asks_for_a_pair_is_refused_before_any_is_read():
    with pytest.raises(UsageError, match=r"tflite-stream is a pair of files for clips.* Export to: tflite"):
        checking.check(Plan(data="nowhere", exports=("tflite-stream",)))
