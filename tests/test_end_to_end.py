"""The main job through the command line: real weights, real pictures, real files, each in its own runtime."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.specs import Plan, Stage

FORMATS = {"saved_model": "float32", "model.tflite": "float32", "model-int8.tflite": "int8", "model.onnx": "float32"}


def command(*arguments, folder=None):
    """Run `keras-transfer`; return its exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "keras_transfer", *map(str, arguments), *(("--folder", folder) if folder else ())],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def refused(*arguments, code, folder=None):
    """Run a command that must fail with `code`; return its one sentence."""
    found, stdout, stderr = command(*arguments, folder=folder)
    assert found == code, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    return stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The run of the main job, trained once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path_factory.mktemp("features")))
        code, stdout, stderr = command(
            "train",
            "sample:fashion",
            "--backbone",
            "EfficientNetLite0",
            "--recipe",
            "adapt",
            "--run",
            "main",
            "--json",
            folder=folder,
        )
    assert code == 0, stderr
    return json.loads(stdout)


@pytest.fixture(scope="module")
def exported(trained):
    code, stdout, stderr = command("export", trained["folder"], "--json")
    assert code == 0, stderr
    return {Path(row["artifact"]["path"]).name: row for row in json.loads(stdout)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six classes of drawn pictures, eight of each, as a person would keep them."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee", "cat")):
        (folder / name).mkdir()
        for index in range(12):
            picture = rng.integers(0, 90, (40, 50, 3)).astype("uint8")
            picture[..., number] += 150
            Image.fromarray(picture).save(folder / name / f"{index}.png")
    return folder


def test_a_thousand_pictures_reach_85_percent(trained):
    assert trained["counts"] == {"train": 1000, "validation": 300, "test": 1000}
    assert trained["test"]["accuracy"] >= 0.85


def test_the_record_holds_each_stage_and_the_proof_that_frozen_tensors_stood_still(trained):
    assert [stage["name"] for stage in trained["stages"]] == ["head", "top"]
    for stage in trained["stages"]:
        assert stage["frozen_digest_before"] == stage["frozen_digest_after"]
        assert stage["engine"] in ("litert", "onnxruntime")


@pytest.mark.parametrize(("name", "precision"), FORMATS.items())
def test_every_file_says_what_the_model_says(exported, trained, name, precision):
    row = exported[name]
    assert row["artifact"]["precision"] == precision
    assert row["parity"]["reference_accuracy"] == pytest.approx(trained["test"]["accuracy"])
    if precision == "float32":
        assert row["parity"]["agreement"] == 1.0
        assert row["parity"]["max_difference"] <= 1e-4
    else:
        assert row["parity"]["accuracy_drop_points"] <= 1.0
        assert row["artifact"]["size_bytes"] <= 0.32 * exported["model.tflite"]["artifact"]["size_bytes"]


@pytest.mark.parametrize("name", [*FORMATS, "../model.keras"])
def test_predict_reads_every_format(exported, trained, pictures, name):
    picture = next((pictures / "ant").glob("*.png"))
    code, stdout, stderr = command("predict", Path(trained["folder"]) / "exports" / name, picture, "--json")
    assert code == 0, stderr
    (prediction,) = json.loads(stdout)
    assert prediction["class_name"] in trained["class_names"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=0.02)


def test_evaluate_reads_an_exported_file(exported, trained):
    code, stdout, _ = command("evaluate", Path(trained["folder"]) / "exports" / "model.onnx", "--json")
    assert code == 0
    assert json.loads(stdout)["accuracy"] == pytest.approx(trained["test"]["accuracy"])


def test_a_file_out_of_tolerance_fails_the_command_and_names_the_pictures(exported, trained, tmp_path):
    """A float file whose weights were tampered with is told from the real one by what it says."""
    run = tmp_path / "run"
    shutil.copytree(trained["folder"], run)
    import onnx
    from onnx import numpy_helper

    path = run / "exports" / "model.onnx"
    graph = onnx.load(path)
    largest = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    largest.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(largest) * np.float32(1.5), largest.name))
    onnx.save(graph, path)
    assert "is not the file that was exported" in refused("verify", run, "--file", path, code=1)
    (run / "exports" / "manifest.json").unlink()
    code, _, stderr = command("verify", run, "--file", path)
    assert code == 1
    assert "pictures get another answer" in stderr
    assert "Differ most: test/" in stderr


def test_a_plan_is_resumed_where_a_killed_run_stopped(pictures, folder, monkeypatch, tmp_path):
    """A run whose first stage is on disk goes on with the second and computes nothing of the first again."""
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path))
    stages = (
        Stage(name="head", epochs=1, learning_rate=0.01),
        Stage(name="top", blocks=(-1,), epochs=1, learning_rate=1e-3),
    )
    plan = Plan(data=str(pictures), backbone="MobileNetV2", weights="none", stages=stages, image_size=96)
    (tmp_path / "plan.toml").write_text(plans.to_toml(plan))
    code, _, stderr = command("train", "--plan", tmp_path / "plan.toml", "--run", "resumed", folder=folder)
    assert code == 0, stderr
    done = folder / "resumed"
    shutil.rmtree(done / "stages" / "1-top")
    (done / runs.RECORD).unlink()
    head = (done / "stages" / "0-head" / "result.json").stat().st_mtime_ns
    code, stdout, stderr = command(
        "train", "--plan", tmp_path / "plan.toml", "--run", "resumed", "--json", folder=folder
    )
    assert code == 0, stderr
    assert [stage["name"] for stage in json.loads(stdout)["stages"]] == ["head", "top"]
    assert (done / "stages" / "0-head" / "result.json").stat().st_mtime_ns == head


def test_a_run_that_a_person_stops_says_so_and_goes_on_later(pictures, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path))
    stage = Stage(name="head", epochs=10_000, learning_rate=0.01)
    plan = Plan(data=str(pictures), backbone="MobileNetV2", weights="none", stages=(stage,), image_size=96)
    (tmp_path / "plan.toml").write_text(plans.to_toml(plan))
    asked = ["train", "--plan", tmp_path / "plan.toml", "--run", "stopped", "--folder", folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_transfer", *map(str, asked)], stderr=subprocess.PIPE, text=True
    )
    lines = iter(process.stderr.readline, "")
    next(line for line in lines if "head 3/10000" in line)
    process.send_signal(signal.SIGINT)
    last = process.communicate(timeout=120)[1].strip().splitlines()[-1]
    assert process.returncode == 130
    assert last == "Error: Stopped. What was finished is saved; the same command goes on from there."
    assert (folder / "stopped" / "checkpoint.npz").exists()


def test_a_run_that_another_process_writes_is_left_alone(folder):
    place = folder / "taken"
    place.mkdir()
    with FileLock(place / ".lock"):
        sentence = refused("train", "sample:fashion", "--run", "taken", code=1, folder=folder)
    assert "is being written by another process" in sentence


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(pictures, tmp_path):
    """The run goes to a real file system of two megabytes."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        sentence = refused(
            "train", pictures, "--backbone", "MobileNetV2", "--weights", "none", "--recipe", "head", "--run", "full",
            code=1, folder=mount,
        )  # fmt: skip
        assert "No space left on device" in sentence
        assert not list((mount / "full").glob("**/.*-*"))
        assert not (mount / "full" / "model.keras").exists()
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["train"], 2, "Which pictures?"),
        (["train", "nowhere"], 1, "There is no folder or file 'nowhere'"),
        (["train", "sample:fashio"], 2, "Did you mean 'fashion'?"),
        (["train", "sample:fashion", "--backbone", "mobilnetv2"], 2, "Did you mean 'MobileNetV2'? See: keras-transfer"),
        (["train", "sample:fashion", "sed=1"], 2, "Unknown key 'sed'. Did you mean 'seed'?"),
        (["train", "sample:fashion", "batch_size=0"], 2, "greater than or equal to 1"),
        (["train", "sample:fashion", "--weights", "gone.h5"], 1, "gone.h5"),
        (["train", "sample:fashion", "--recipe", "heads"], 2, "Did you mean 'head'?"),
        (["train", "--plan", "gone.toml"], 2, "There is no plan at 'gone.toml'"),
        (["export", "nowhere"], 1, "There is no run in 'nowhere'"),
        (["predict", "nowhere.tflite", "x.jpg"], 1, "nowhere.tflite"),
        (["evaluate", "--split", "tests"], 2, "--split takes train, validation or test"),
    ],
)
def test_what_cannot_work_is_one_clear_sentence(arguments, code, sentence, tmp_path):
    folder = tmp_path if arguments[0] == "train" else None
    assert sentence in refused(*arguments, code=code, folder=folder)


def test_weights_that_cannot_be_had_are_never_replaced_by_random_ones(pictures, tmp_path, monkeypatch):
    """Keras' own download has nowhere to go here."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    sentence = refused("train", pictures, "--backbone", "MobileNetV2", code=1, folder=tmp_path)
    assert "MobileNetV2" in sentence
    assert str(tmp_path / "keras") in sentence


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ({}, "holds no class folders. Make one folder per class"),
        ({"ant": 12, "bee": 0}, "bee' holds no pictures. Put some in or remove the folder."),
        ({"ant": 12}, "At least two classes are needed"),
    ],
)
def test_a_folder_that_training_cannot_use_is_one_clear_sentence(classes, sentence, pictures, tmp_path):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    for name, count in classes.items():
        (chosen / name).mkdir()
        for picture in sorted((pictures / name).iterdir())[:count]:
            shutil.copy(picture, chosen / name)
    assert sentence in refused("train", chosen, code=1, folder=tmp_path)


def test_help_answers_for_every_verb():
    verbs = ("train", "evaluate", "predict", "export", "verify", "backbones", "advise", "report", "bench", "doctor")
    _, stdout, _ = command("--help")
    assert all(verb in stdout for verb in verbs)
