"""The Python bundle, run with nothing importable but what its package requires."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from alone import command as of_package
from alone import gathered
from colours import shipped
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_transfer import workflow
from keras_transfer.bundles.templates.python.package import answers
from keras_transfer.bundles.templates.python.package.squaring import square
from keras_transfer.data import squaring


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shipped(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", params=["model.tflite", "model.onnx"])
def bundle(run, request, tmp_path_factory):
    return workflow.bundle(run, "python", file=request.param, output=tmp_path_factory.mktemp("bundles"))


def command(packages, *arguments):
    return of_package("colours", packages, *arguments)


def test_its_wheel_passes_its_self_test_with_its_requirements_alone(bundle, alone, tmp_path):
    (wheel,) = (bundle.folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    assert not list(tmp_path.rglob("clips.py"))  # which reads videos
    code, said, _ = command([tmp_path, alone], "selftest")
    assert (code, said.splitlines()[-1]) == (0, f"self-test passed: {bundle.golden} of {bundle.golden} pictures")


def test_it_says_of_a_file_what_predict_says(bundle, alone, run):
    picture = next(Path(run.record.plan.data).rglob("*.png"))
    photograph = bundle.folder.parent / "photograph.jpg"
    Image.open(picture).resize((900, 700), Image.Resampling.BICUBIC).save(photograph, quality=95)
    code, said, _ = command([bundle.folder, alone], "classify", picture, photograph, "--json")
    assert code == 0
    for row, wanted in zip(
        json.loads(said), workflow.predict(bundle.artifact.path, [picture, photograph]), strict=True
    ):
        assert row["class_name"] == wanted.class_name
        assert max(abs(row["probabilities"][name] - p) for name, p in wanted.probabilities.items()) < 1e-5


def test_it_tells_people_in_a_line(bundle, alone):
    data = bundle.folder / "colours" / "data"
    code, said, errors = command([bundle.folder, alone], "classify", data / "golden" / "1.png", data / "labels.txt")
    assert code == 1
    assert said.count("%") == 3
    assert "labels.txt' is not a picture that can be read" in errors


def test_an_altered_model_or_golden_answer_fails_its_self_test(bundle, alone, tmp_path):
    folder = shutil.copytree(bundle.folder, tmp_path / "copy")
    told = folder / "colours" / "data" / "golden.json"
    rows = json.loads(told.read_text())
    rows["pictures"][1]["answer"]["probabilities"].reverse()
    told.write_text(json.dumps(rows))
    code, said, _ = command([folder, alone], "selftest")
    assert (code, said.splitlines()[1][:4]) == (1, "FAIL")
    with (folder / "colours" / "data" / bundle.artifact.path.name).open("ab") as model:
        model.write(b"more")
    code, _, errors = command([folder, alone], "selftest")
    assert code == 1
    assert "is not the file that was proven" in errors


@settings(max_examples=60)
@given(
    height=st.integers(1, 260),
    width=st.integers(1, 260),
    size=st.integers(1, 48),
    aspect=st.sampled_from(["stretch", "crop", "letterbox"]),
)
def test_pictures_become_square_as_in_training_to_the_last_bit(height, width, size, aspect):
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert np.array_equal(square(pixels, size, aspect), squaring.square(pixels, size, aspect))


ABOUT = {"class_names": ["cat", "dog"], "thresholds": [0.5, 0.5], "tolerance": 0.01}


def boxes(*rows):
    """A detector's outputs: rows of (category, score, left edge)."""
    return {
        "category": np.float32([row[0] for row in rows]),
        "score": np.float32([row[1] for row in rows]),
        "location": np.float32([[0, row[2], 1, row[2] + 0.4] for row in rows]).reshape(-1, 4),
        "number of detections": np.float32(len(rows)),
    }


def kept(*rows):
    return {
        "boxes": [{"category": kind, "score": score, "box": [0, left, 1, left + 0.4]} for kind, score, left in rows]
    }


@pytest.mark.parametrize(
    ("found", "wanted", "far"),
    [
        ([(0, 0.9, 0.1), (1, 0.7, 0.5)], [(1, 0.7, 0.5), (0, 0.9, 0.1)], 0.0),
        ([(0, 0.75, 0.1)], [(0, 0.875, 0.1)], 0.125),
        ([(0, 0.9, 0.1)], [(1, 0.9, 0.1)], 1.0),
        ([(0, 0.9, 0.3)], [(0, 0.9, 0.1)], 1.0),
        ([(0, 0.9, 0.1), (0, 0.8, 0.5)], [(0, 0.9, 0.1)], 1.0),
        ([(0, 0.505, 0.1)], [], 0.0),
        ([], [], 0.0),
    ],
)
def test_boxes_are_compared_with_their_counterparts(found, wanted, far):
    given = {**ABOUT, "task": "detection"}
    assert answers.difference(boxes(*found), kept(*wanted), given) == pytest.approx(far, abs=1e-6)


def test_masks_are_compared_by_the_share_of_their_pixels():
    outputs = {"probabilities": np.eye(2)[np.array([[0, 0], [1, 1]])]}
    given = {**ABOUT, "task": "segmentation"}
    assert answers.difference(outputs, {"classes": [[0, 2], [1, 2]]}, given) == 0
    assert answers.difference(outputs, {"classes": [[0, 3], [1, 1]]}, given) == 0.25
    assert answers.read(outputs, given) == {"largest": "cat", "areas": {"cat": 0.5, "dog": 0.5}}


def test_labels_are_said_from_their_thresholds_on():
    given = {**ABOUT, "task": "multilabel", "thresholds": [0.1, 0.8]}
    said = answers.read({"probabilities": np.float32([0.1, 0.7])}, given)
    assert said["labels"] == ["cat"]
    assert list(said["probabilities"]) == ["dog", "cat"]


def test_an_answer_of_a_detector_and_of_an_embedder_is_plain():
    found = answers.read(boxes((1, 0.75, 0.5), (0, 0.25, 0.1)), {**ABOUT, "task": "detection"})
    assert (found["count"], found["boxes"][0]["class_name"], found["boxes"][0]["score"]) == (1, "dog", 0.75)
    assert answers.read({"embedding": np.float32([1, 0])}, {"task": "embedding"}) == {"embedding": [1.0, 0.0]}
