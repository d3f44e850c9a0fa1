"""Tables: what people copy is never cut, and what is piped is one plain line a row."""

import io
import sys

import pytest
from rich.console import Console
from rich.table import Table

from keras_transfer import runs
from keras_transfer.cli import showing, training
from keras_transfer.specs import Plan, Run, RunRecord, StageResult

NAMES = ["EfficientNetV2B0", "InceptionResNetV2"]


@pytest.fixture
def table():
    made = Table("name", "what it is known for", "weights")
    for name in NAMES:
        made.add_row(name, "a long cell " * 8, "[bold]imagenet[/]")
    return made


def test_at_80_columns_the_first_column_is_whole(table, monkeypatch):
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(showing, "out", screen)
    showing.show(table)
    assert all(name in screen.file.getvalue() for name in NAMES)


def test_words_are_not_broken_and_a_narrow_terminal_gets_lines_of_text(monkeypatch):
    def said(width):
        made = Table("name", "weights", "exported")
        made.add_row(NAMES[0], "imagenet", "model-int8.tflite, model.onnx")
        screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        monkeypatch.setattr(showing, "out", screen)
        showing.show(made)
        return screen.file.getvalue()

    boxed, text = said(56), said(48)
    assert "┃" in boxed
    assert "model-int8.tflite" in boxed
    assert "┃" not in text
    assert text.splitlines()[0] == NAMES[0]
    assert "weights imagenet · exported model-int8.tflite, model.onnx" in " ".join(text.split())


def test_a_pipe_gets_one_line_a_row_without_boxes(table, monkeypatch, capsys):
    monkeypatch.setattr(showing, "out", Console(file=io.StringIO(), width=120))
    showing.show(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == ["name", *NAMES]
    assert lines[1].endswith("a long cell  imagenet")


def trained(tmp_path, **changes):
    """A run record that nobody trained, of a task whose merit is no accuracy."""
    facts = {"class_names": ("a", "b"), "counts": {}, "data_digest": "", "image_size": 96, "seconds": 12.0}
    worth = {"merit_name": "mean IoU", "test": {"mean_IoU": 0.5, "pixel_accuracy": 0.9}}
    return Run(tmp_path, RunRecord(plan=Plan(data="sample:fashion"), **facts | worth | changes))


def test_what_a_run_is_worth_is_said_by_the_name_of_its_merit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "out", Console(file=sys.stdout, width=120))
    training.show_worth(trained(tmp_path, scratch={"mean IoU": 0.25, "seconds": 13.0}))
    assert capsys.readouterr().out.splitlines() == [
        "test mean IoU with transfer: 50.0% in 12 s",
        "test mean IoU from scratch:  25.0% in 13 s, the same network and budget",
    ]


def test_what_few_pictures_say_comes_with_how_well_it_is_known(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "out", Console(file=sys.stdout, width=120))
    training.show_worth(trained(tmp_path, counts={"test": 100}, scratch={"mean IoU": 0.25, "seconds": 13.0}))
    assert capsys.readouterr().out.splitlines() == [
        "test mean IoU with transfer: 50.0% ± 9.6 in 12 s",
        "test mean IoU from scratch:  25.0% ± 8.4 in 13 s, the same network and budget",
    ]


ROWS = ({"epoch": 1, "loss": 0.5, "merit": 0.25, "validation_merit": 0.125},)


def with_a_history(tmp_path):
    """A finished run of one stage and one epoch."""
    stage = StageResult(
        name="head",
        index=0,
        learned_blocks=(),
        epochs=1,
        seconds=1.0,
        pictures_per_second=1.0,
        engine="none",
        engine_reason="",
        validation_merit=0.125,
        validation_loss=0.5,
        kept=True,
        reason="",
        frozen_tensors=0,
        frozen_digest_before="",
        frozen_digest_after="",
        history=ROWS,
    )
    return trained(tmp_path, stages=(stage,), best_stage="head")


def test_the_history_as_a_table_calls_the_merit_by_its_name(tmp_path):
    runs.write(with_a_history(tmp_path))
    columns = (tmp_path / runs.HISTORY).read_text().splitlines()[0]
    assert columns == "stage,epoch,loss,mean_IoU,validation_mean_IoU"
    assert runs.open_run(tmp_path).record.stages[0].history == ROWS


def test_a_run_is_finished_when_all_else_is_there(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(runs, "write_bytes", lambda path, content: written.append(path.name))
    runs.write(with_a_history(tmp_path))
    assert written == [runs.HISTORY, runs.RECORD]
