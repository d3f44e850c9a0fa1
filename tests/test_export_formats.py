"""Every row of the table of formats keeps the artifact contract."""

from pathlib import Path

import keras
import numpy as np
import pytest
from export_model import CLASS_NAMES, CONTRACT, FORMATS, SIDE, ask, exported, labels, model, pictures, reference

from keras_transfer.errors import ArtifactError, ExportError, UsageError
from keras_transfer.evaluation import agreement
from keras_transfer.export import exporters, manifest, parity, runtime
from keras_transfer.export.formats import format_of
from keras_transfer.specs import Contract, Event


def of_classes(count: int) -> keras.Model:
    """Colours told apart by random weights."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(8, 3, strides=4)(keras.layers.Rescaling(1 / 127.5, offset=-1)(image))
    x = keras.layers.Dense(count)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x))


every_format = pytest.mark.parametrize("name", FORMATS)


@every_format
def test_a_file_says_what_the_model_says(name):
    opened = runtime.load(exported()[name])
    wanted, given = {"probabilities": reference()}, opened.predict(pictures())
    found = parity.compare(
        *agreement.differ_probabilities(wanted, given),
        agreement.right_class(wanted, labels()),
        agreement.right_class(given, labels()),
        [str(number) for number in range(len(pictures()))],
        precision=opened.artifact.precision,
    )
    assert found.passed, found.reason


@every_format
def test_a_file_carries_its_whole_contract(name):
    assert runtime.load(exported()[name]).artifact.contract == CONTRACT


@every_format
def test_the_manifest_knows_a_file_as_its_runtime_does(name):
    path = exported()[name]
    listed = {artifact.path.name: artifact for artifact in manifest.read(path.parent).artifacts}[path.name]
    assert runtime.load(path).artifact == listed.model_copy(update={"path": path})


@every_format
def test_a_file_takes_one_picture_or_many(name):
    opened = runtime.load(exported()[name])
    many = ask(opened, pictures()[:5])
    one = ask(opened, pictures()[:1])
    assert many.shape == (5, len(CLASS_NAMES))
    assert np.allclose(many[:1], one, atol=1e-6)
    assert ask(opened, pictures()[:0]).shape == (0, len(CLASS_NAMES))


@every_format
def test_probabilities_sum_to_one(name):
    total = ask(runtime.load(exported()[name]), pictures()).sum(axis=1)
    assert np.allclose(total, 1, atol=0.02)  # 8-bit answers are multiples of 1/256


def test_nothing_half_written_is_left_beside_the_files():
    folder = exported()["onnx"].parent
    wanted = {format_of(name).file for name in FORMATS} | {manifest.MANIFEST_FILE}
    assert {path.name for path in folder.iterdir()} == wanted


def test_a_second_export_adds_to_the_manifest(tmp_path):
    exporters.export(model(), tmp_path, ["onnx"], CONTRACT)
    exporters.export(model(), tmp_path, ["tflite"], CONTRACT)
    assert [artifact.path.name for artifact in manifest.read(tmp_path).artifacts] == ["model.onnx", "model.tflite"]


def test_what_was_exported_can_be_listed(tmp_path):
    with pytest.raises(ArtifactError, match=r"Nothing has been exported to .* yet"):
        exporters.exported(tmp_path)
    exporters.export(model(), tmp_path, ["onnx"], CONTRACT)
    assert exporters.exported(tmp_path) == (tmp_path / "model.onnx",)


def test_a_relative_export_folder_can_be_listed_from_where_it_was_moved_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exporters.export(model(), Path("runs/exports"), ["onnx"], CONTRACT)
    assert exporters.exported(Path("runs/exports")) == (Path("runs/exports/model.onnx"),)
    Path("runs").rename("moved")
    exporters.export(model(), Path("moved/exports"), ["tflite"], CONTRACT)
    assert [path.name for path in exporters.exported(tmp_path / "moved" / "exports")] == ["model.onnx", "model.tflite"]
    assert all(path.exists() for path in exporters.exported(tmp_path / "moved" / "exports"))


def test_progress_is_told_to_the_listener(tmp_path):
    events: list[Event] = []
    exporters.export(model(), tmp_path, ["onnx"], CONTRACT, listener=events.append)
    assert [(event.done, event.total) for event in events] == [(0, 1), (1, 1)]


def test_an_unknown_format_is_refused_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown export format 'tflite-int'\. Did you mean 'tflite-int8'\?"):
        exporters.export(model(), tmp_path, ["tflite-int"], CONTRACT)


def test_int8_without_pictures_to_calibrate_on_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ExportError, match=r"int8 needs pictures to calibrate on, and none came\. Give the training"):
        exporters.export(model(), tmp_path, ["tflite-int8"], CONTRACT)
    assert not list(tmp_path.iterdir())


def test_more_classes_than_pictures_to_calibrate_on_are_exported(tmp_path):
    told: list[Event] = []
    names = tuple(f"class {number}" for number in range(70))
    many = Contract(class_names=names, image_size=SIDE)
    formats = ["tflite-int8", "onnx-int8"]
    artifacts = exporters.export(of_classes(70), tmp_path, formats, many, calibration=pictures(), listener=told.append)
    assert [artifact.path.name for artifact in artifacts] == ["model-int8.tflite", "model-int8.onnx"]
    assert not [event for event in told if event.kind == "warning"]


def test_calibration_on_a_handful_of_pictures_is_warned_of(tmp_path):
    told: list[Event] = []
    exporters.export(model(), tmp_path, ["onnx-int8"], CONTRACT, calibration=pictures()[:2], listener=told.append)
    (warning,) = [event.message for event in told if event.kind == "warning"]
    assert warning.startswith("int8 is calibrated on 2 pictures")


def test_a_contract_of_another_size_than_the_models_is_refused(tmp_path):
    contract = Contract(class_names=CLASS_NAMES, image_size=96)
    with pytest.raises(ExportError, match=r"promises to take \(96, 96, 3\), the model takes \(32, 32, 3\)"):
        exporters.export(model(), tmp_path, ["onnx"], contract)


def test_a_contract_of_other_classes_than_the_models_is_refused(tmp_path):
    contract = Contract(class_names=("cat", "dog"), image_size=SIDE)
    with pytest.raises(ExportError, match=r"promises probabilities as float32 \(batch, 2\)\. Received: .* \(None, 3\)"):
        exporters.export(model(), tmp_path, ["onnx"], contract)


def test_a_format_named_twice_is_written_once(tmp_path):
    assert len(exporters.export(model(), tmp_path, ["onnx", "onnx"], CONTRACT)) == 1


def test_a_model_that_takes_floats_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    floats = keras.Model(image, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(image)))
    with pytest.raises(ExportError, match=r"must be uint8 .* Received: float32 \(None, 32, 32, 3\)"):
        exporters.export(floats, tmp_path, ["onnx"], CONTRACT)
