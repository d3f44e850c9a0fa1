"""Frames that come one after another: what a loop in Python and one in JavaScript say of them, each looked at once."""

import itertools
import json
import subprocess
import sys

import export_model
import numpy as np
import pytest
import stock_clients
from clips_model import CONTRACT, FRAMES, SIZE, exported, windows_of

import keras_transfer as kt
from keras_transfer.errors import DataError, UsageError
from keras_transfer.workflow import streaming, using

SHOWN = 9


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(2).integers(0, 256, (SHOWN, SIZE, SIZE, 3), np.uint8)


def probabilities(said):
    return np.array([list(each["probabilities"].values()) for each in said])


@pytest.mark.parametrize("name", ["tflite-stream", "onnx-stream", "onnx"])
def test_each_new_frame_is_answered_as_the_model_answers_the_window_that_ends_with_it(frames, name):
    said = list(kt.stream(exported()[name].path, iter(frames)))
    assert np.abs(probabilities(said) - windows_of(frames)).max() < 1e-4
    assert all(each["class_name"] == max(each["probabilities"], key=each["probabilities"].get) for each in said)


def test_a_stream_may_never_end(frames):
    endless = kt.stream(exported()["tflite-stream"].path, itertools.cycle(frames))
    assert len(list(itertools.islice(endless, 2 * SHOWN))) == 2 * SHOWN


def test_of_a_fast_camera_frames_are_as_far_apart_as_in_a_training_clip(frames):
    said = list(kt.stream(exported()["tflite-stream"].path, frames, per_second=10))
    assert np.abs(probabilities(said) - windows_of(frames[::2])).max() < 1e-4


def test_every_frame_is_described_once(frames):
    described = []

    def describe(batch):
        described.append(len(batch))
        return batch.reshape(len(batch), -1)

    halves = using.Halves(describe, lambda windows: {"first": windows[:, 0, 0]})
    batches = [frames[:4], frames[4:5], frames[5:]]
    answered = list(streaming.answers_of(halves, batches, FRAMES))
    assert described == [4, 1, 4]
    assert (
        np.concatenate([each["first"] for each in answered]).tolist() == frames[: SHOWN - FRAMES + 1, 0, 0, 0].tolist()
    )


def test_a_pair_is_asked_without_tensorflow(frames, tmp_path):
    np.save(tmp_path / "frames.npy", frames)
    code = """
import json, sys
import numpy as np
sys.modules["tensorflow"] = sys.modules["keras"] = None  # an import of either is an error
import keras_transfer as kt
said = kt.stream(sys.argv[1], np.load(sys.argv[2]))
print(json.dumps([each["probabilities"] for each in said]))
"""
    command = [sys.executable, "-c", code, str(exported()["tflite-stream"].path), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    said = [list(each.values()) for each in json.loads(done.stdout)]
    assert np.abs(np.array(said) - windows_of(frames)).max() < 1e-4


@pytest.mark.parametrize("step", [1, 2, 1.5])
def test_the_loop_in_javascript_says_what_the_one_in_python_says(frames, step):
    path = exported()["onnx-stream"].path
    said = stock_clients.streamed_in_node(path, frames, step)
    wanted = probabilities(kt.stream(path, frames, per_second=step / 0.2))
    assert said.shape == wanted.shape
    assert np.abs(said - wanted).max() < 1e-5


def test_a_model_of_pictures_has_no_stream(frames):
    with pytest.raises(UsageError, match=r"looks at pictures one by one: ask it by predict"):
        kt.stream(export_model.exported()["tflite"], frames)


@pytest.mark.parametrize("file", ["frame.tflite", "window.tflite"])
def test_one_file_of_a_pair_cannot_answer_alone(frames, file):
    path = exported()["tflite-stream"].path
    with pytest.raises(
        UsageError, match=r"is one of two files that answer together. Name their folder: .*stream-tflite"
    ):
        kt.stream(path / file, frames)


def test_no_frames_a_second_are_no_camera(frames):
    with pytest.raises(UsageError, match=r"A camera gives more than 0 frames a second. Received: 0"):
        kt.stream(exported()["tflite-stream"].path, frames, per_second=0)


def test_a_model_that_knows_no_times_is_given_the_frames_to_look_at(frames):
    ask = using.Asked(CONTRACT.model_copy(update={"spacing": 0.0}), lambda clip: {})
    with pytest.raises(UsageError, match=r"does not say how far apart .* leave per_second out and give the frames"):
        streaming._step(ask, 30)


def test_a_frame_of_floats_is_refused_in_one_sentence(frames):
    with pytest.raises(DataError, match=r"A frame is uint8 RGB of shape \(height, width, 3\). Received: float32"):
        next(kt.stream(exported()["tflite-stream"].path, frames.astype(np.float32)))
