"""Tables: what people copy is never cut, and what is piped is one plain line a row."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from keras_transfer.cli import showing

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


def test_a_pipe_gets_one_line_a_row_without_boxes(table, monkeypatch, capsys):
    monkeypatch.setattr(showing, "out", Console(file=io.StringIO(), width=120))
    showing.show(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == ["name", *NAMES]
    assert lines[1].endswith("a long cell  imagenet")
