"""Export, verify and bench as verbs on a run: what they keep, what they say, and what they refuse."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from export_model import CONTRACT, exported
from PIL import Image

from keras_transfer import cli, runs, workflow
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.export import precisions
from keras_transfer.specs import Event, Plan, Stage


def command(*arguments) -> None:
    cli.app([str(each) for each in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch on pictures of three colours."""
    folder = tmp_path_factory.mktemp("verbs")
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 90, (40, 40, 3)).astype(np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    stage = Stage(name="head", epochs=1, learning_rate=0.01)
    plan = Plan(data=str(folder / "pictures"), backbone="MobileNetV2", weights="none", stages=(stage,), image_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(folder / "cache"))
        return workflow.train(plan, folder=folder, name="colours")


@pytest.fixture
def run(trained, tmp_path):
    """The run for one test alone."""
    return runs.open_run(Path(shutil.copytree(trained.folder, tmp_path / "run")))


def test_export_proves_what_it_writes_and_verify_proves_it_again(run, capsys):
    command("export", run.folder, "-f", "tflite", "--json")
    (written,) = json.loads(capsys.readouterr().out)
    command("verify", run.folder, "--json")
    (again,) = json.loads(capsys.readouterr().out)
    assert written["parity"]["passed"]
    assert again["artifact"]["sha256"] == written["artifact"]["sha256"]
    assert again["parity"]["max_difference"] == written["parity"]["max_difference"]
    assert (run.exports / "differences" / "model.tflite.png").read_bytes().startswith(b"\x89PNG")


def test_auto_chooses_by_validation_pictures_and_keeps_the_table_and_its_plot(run, monkeypatch):
    monkeypatch.setattr(precisions, "CANDIDATES", ("tflite-float16", "tflite"))
    notes: list[Event] = []
    measured = workflow.choose_precision(run, max_drop=0.5, calibrate=False, listener=notes.append)
    assert [each.name for each in measured if each.chosen] == ["tflite-float16"]
    ran = [each.message for each in notes if each.message.startswith("running ")]
    assert ran
    assert all(message.endswith("on the validation split") for message in ran)
    kept = json.loads((run.exports / "precisions.json").read_text())
    assert kept == [each.model_dump() for each in measured]
    assert (run.exports / "precisions.png").read_bytes().startswith(b"\x89PNG")


def test_bench_tells_of_every_batch_size_and_thread_count(capsys):
    command(
        "bench", "latency", exported()["onnx"], "--batch", 1, "--batch", 4, "--threads", 1, "--repeats", 3, "--json"
    )
    rows = json.loads(capsys.readouterr().out)
    assert [(row["latency"]["batch_size"], row["latency"]["threads"]) for row in rows] == [(1, 1), (4, 1)]
    assert all(row["peak_memory_bytes"] > 0 and row["latency"]["load_ms"] > 0 for row in rows)


def test_a_file_of_another_model_is_not_compared_with_this_one(run):
    assert set(CONTRACT.class_names) != {"red", "green", "blue"}
    with pytest.raises(ArtifactError, match=r"names other classes than the run in '.*'\. Export it again"):
        command("verify", run.folder, "--file", exported()["tflite"])


def test_verify_without_exports_says_what_to_run(run):
    with pytest.raises(ArtifactError, match=r"Nothing has been exported to .* Run: keras-transfer export"):
        command("verify", run.folder)


def test_a_precision_other_than_auto_is_a_format(run):
    with pytest.raises(UsageError, match=r"--precision takes 'auto'; name a format with --format\. Received: 'int8'"):
        command("export", run.folder, "--precision", "int8")


def test_bench_on_a_truncated_file_is_one_sentence(tmp_path):
    (tmp_path / "model.tflite").write_bytes(exported()["tflite"].read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="it may be damaged or incomplete"):
        command("bench", "latency", tmp_path / "model.tflite")
