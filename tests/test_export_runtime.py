"""What opens, and what a person is told about a file that does not."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from export_model import CONTRACT, FORMATS, SIDE, ask, exported, model, pictures, reference

from keras_transfer.errors import ArtifactError, DataError
from keras_transfer.export import runtime

every_format = pytest.mark.parametrize("name", FORMATS)


def test_a_keras_file_opens_with_a_contract_given(tmp_path):
    path = tmp_path / "model.keras"
    model().save(path)
    opened = runtime.load(path, contract=CONTRACT)
    assert np.allclose(ask(opened, pictures()), reference(), atol=1e-5)
    assert opened.artifact.contract == CONTRACT


def test_a_keras_file_alone_asks_for_its_labels(tmp_path):
    path = tmp_path / "model.keras"
    model().save(path)
    with pytest.raises(ArtifactError, match=r"does not carry its class names\. Give them with --labels"):
        runtime.load(path)


@every_format
def test_a_truncated_file_is_one_clear_sentence(name, tmp_path):
    path = exported()[name]
    copy = tmp_path / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
        damaged = copy / "saved_model.pb"
    else:
        damaged = copy.parent / copy.name
        shutil.copy(path, copy)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    opening = runtime.trust if copy.is_dir() else runtime.load
    with pytest.raises(ArtifactError, match="can be opened; it may be damaged or incomplete") as caught:
        opening(copy)
    assert "\n" not in str(caught.value)


@every_format
def test_a_file_that_differs_from_its_manifest_is_refused(name, tmp_path):
    folder = exported()[name].parent
    copied = shutil.copytree(folder, tmp_path / "exports")
    path = copied / exported()[name].name
    altered = path / "assets" / "labels.txt" if path.is_dir() else path
    altered.write_bytes(altered.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=r"its SHA-256 differs from the one in manifest\.json"):
        runtime.load(path)


def test_metadata_that_disagrees_with_the_tensors_is_refused(tmp_path):
    changed = onnx.load(exported()["onnx"])
    for entry in changed.metadata_props:
        entry.value = entry.value.replace('"image_size": 32', '"image_size": 64')
    onnx.save(changed, tmp_path / "model.onnx")
    with pytest.raises(
        ArtifactError, match=r"promises uint8 pictures of 64 x 64 px, but its input is uint8 \(None, 32"
    ):
        runtime.load(tmp_path / "model.onnx")


def test_a_contract_that_cannot_be_read_names_the_field(tmp_path):
    changed = onnx.load(exported()["onnx"])
    for entry in changed.metadata_props:
        entry.value = entry.value.replace('"image_size": 32', '"image_size": "large"')
    onnx.save(changed, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match=r"cannot be read: contract\.image_size"):
        runtime.load(tmp_path / "model.onnx")


def test_a_model_made_elsewhere_opens_with_labels(tmp_path):
    foreign = onnx.load(exported()["onnx"])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ArtifactError, match="--labels"):
        runtime.load(tmp_path / "foreign.onnx")
    assert ask(runtime.load(tmp_path / "foreign.onnx", contract=CONTRACT), pictures()).shape == reference().shape


def test_labels_are_enough_to_open_a_model_made_elsewhere(tmp_path):
    model().save(tmp_path / "model.keras")
    opened = runtime.load(tmp_path / "model.keras", labels=["boot", "bag", "castle"])
    assert (opened.artifact.contract.class_names, opened.artifact.contract.image_size) == (
        ("boot", "bag", "castle"),
        32,
    )


def test_labels_for_another_number_of_classes_are_refused(tmp_path):
    model().save(tmp_path / "model.keras")
    with pytest.raises(
        ArtifactError, match=r"promises probabilities of 2 classes, but its output is float32 \(None, 3"
    ):
        runtime.load(tmp_path / "model.keras", labels=["boot", "bag"])


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ArtifactError, match=r"There is no model at '.*none\.tflite'"):
        runtime.load(tmp_path / "none.tflite")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ArtifactError, match=r"is a file; a model is a \.keras, \.tflite or \.onnx file"):
        runtime.load(tmp_path / "notes.txt")
    with pytest.raises(ArtifactError, match=r"is a folder without saved_model\.pb"):
        runtime.load(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, SIDE, SIDE, 3), np.float32), np.zeros((1, 8, 8, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)],
    ids=["floats", "another size", "no batch"],
)
def test_pictures_that_break_the_contract_are_refused(wrong):
    with pytest.raises(DataError, match=rf"takes uint8 pictures of shape \(n, {SIDE}, {SIDE}, 3\)"):
        runtime.load(exported()["tflite"]).predict(wrong)


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_file_answers_without_tensorflow(name):
    code = f"""
import pathlib, sys
import numpy as np
from keras_transfer.export import runtime
runtime.load(pathlib.Path({str(exported()[name])!r})).predict(np.zeros((1, {SIDE}, {SIDE}, 3), np.uint8))
print(sorted({{"tensorflow", "keras", "sklearn", "scipy"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@every_format
def test_a_file_says_the_same_on_one_thread_as_on_all_cores(name):
    path = exported()[name]
    one, all_cores = runtime.load(path, threads=1), runtime.load(path, threads=4)
    assert np.array_equal(ask(one, pictures()), ask(all_cores, pictures()))
    assert one.threads == (1 if one.artifact.format in runtime.THREADED else all_cores.threads)
