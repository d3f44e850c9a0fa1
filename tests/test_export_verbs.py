"""Export, verify and bench as verbs on a run: what they keep, what they say, and what they refuse."""

import json
import shutil
from pathlib import Path

import pytest
from colours import trained
from export_model import CONTRACT, exported
from filelock import FileLock

from keras_transfer import cli, runs, workflow
from keras_transfer.errors import ArtifactError, RunError, UsageError
from keras_transfer.export import precisions
from keras_transfer.specs import Event


def command(*arguments) -> None:
    cli.app([str(each) for each in arguments], standalone_mode=False)


@pytest.fixture
def run(tmp_path):
    """The run for one test alone."""
    return runs.open_run(Path(shutil.copytree(trained().folder, tmp_path / "run")))


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


def test_a_run_whose_every_export_was_rejected_is_told_of_by_verify_and_report(run):
    (row,) = workflow.export(run, ["tflite-dynamic"], max_drop=-200)
    assert row.artifact.path.name == "model-dynamic.tflite.rejected"
    with pytest.raises(
        ArtifactError, match=r"was set aside \(model-dynamic\.tflite\.rejected: accuracy drops by .*larger"
    ):
        workflow.verify(run)
    page = workflow.report_of([run]).read_text()
    assert "model-dynamic.tflite.rejected" in page
    assert "differs too much" in page


def test_a_partly_rejected_export_is_told_of_and_its_report_renames_nothing(run):
    workflow.export(run, ["tflite", "tflite-dynamic"], max_drop=-200)
    notes: list[Event] = []
    (kept,) = workflow.verify(run, listener=notes.append)
    assert kept.artifact.path.name == "model.tflite"
    assert any("model-dynamic.tflite.rejected: accuracy drops" in note.message for note in notes)
    before = sorted(path.name for path in run.exports.iterdir())
    assert "model-dynamic.tflite.rejected" in workflow.report_of([run]).read_text()
    assert sorted(path.name for path in run.exports.iterdir()) == before


def test_files_that_another_process_writes_are_not_renamed_under_it(run):
    workflow.export(run, ["tflite"], check=False)
    with FileLock(run.folder / ".lock"), pytest.raises(RunError, match="is being written by another process"):
        workflow.verify(run)


def test_the_card_beside_the_files_lists_every_format_and_the_figures_of_what_they_answer(run):
    workflow.export(run, ["tflite"])
    workflow.export(run, ["onnx"])
    card = json.loads((run.exports / "model_card.json").read_text())
    assert [row["name"] for row in card["exports"]] == ["model.onnx", "model.tflite"]
    shipped = workflow.evaluate(run.exports / "model.onnx")
    assert shipped.temperature != 1
    assert card["metrics"]["calibration error"] == pytest.approx(shipped.expected_calibration_error, abs=1e-3)


def test_a_report_after_an_export_predicts_nothing_and_reads_only_what_it_shows(run, monkeypatch):
    workflow.export(run, ["tflite"])

    def refused(*arguments, **options):
        raise AssertionError("nothing is predicted, and no split is gone through")

    for place in ("opened.predicted", "opened.feed_of", "proving.runtime.load"):
        monkeypatch.setattr(f"keras_transfer.workflow.{place}", refused)
    page = workflow.report_of([run]).read_text()
    assert "model.tflite" in page
    assert ">ship<" in page


def test_files_that_were_never_proven_are_said_to_be_so(run):
    workflow.export(run, ["tflite"], check=False)
    notes: list[Event] = []
    assert "not verified" in workflow.report_of([run], listener=notes.append).read_text()
    assert any(f"Run: keras-transfer verify {run.folder}" in note.message for note in notes)


def test_a_precision_other_than_auto_is_a_format(run):
    with pytest.raises(UsageError, match=r"--precision takes 'auto'; name a format with --format\. Received: 'int8'"):
        command("export", run.folder, "--precision", "int8")


def test_bench_on_a_truncated_file_is_one_sentence(tmp_path):
    (tmp_path / "model.tflite").write_bytes(exported()["tflite"].read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="it may be damaged or incomplete"):
        command("bench", "latency", tmp_path / "model.tflite")
