"""What every page prints with: two consoles, JSON, the next command, one sentence for an error."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

PIPE_WIDTH = 120
"""Columns of a table where the output is no terminal that has a width of its own."""


def _console(stream: IO[str]) -> Console:
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


out = _console(sys.stdout)
err = _console(sys.stderr)


def show(table: Table) -> None:
    """Print a table: boxed in a terminal, one plain line a row where the output goes into a file or another program.

    The first column is what people copy: it is never cut nor folded. Columns of plain lines are two blanks apart.
    """
    for column in table.columns:
        column.overflow = "fold"
    if not table.columns:
        return
    if out.is_terminal:
        table.columns[0].no_wrap = True
        table.columns[0].min_width = max(map(cell_len, _cells(table.columns[0])))
        out.print(table)
        return
    cells = [_cells(column) for column in table.columns]
    widths = [max(map(cell_len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        padded = (f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _cells(column: Column) -> list[str]:
    """The heading and the cells of a column as plain text, each on one line."""
    texts = (cell if isinstance(cell, Text) else Text.from_markup(str(cell)) for cell in (column.header, *column.cells))
    return [" ".join(text.plain.split()) for text in texts]


def fail(sentence: str, code: int) -> None:
    """Print one sentence on standard error and exit."""
    err.print(f"[bold red]Error:[/] {plain(sentence)}", soft_wrap=True, highlight=False)
    sys.exit(code)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=2))


def suggest(command: str) -> None:
    """Print the likely next command on standard error."""
    err.print(f"[dim]next:[/] {plain(command)}", soft_wrap=True, highlight=False)


def score(value: float | None) -> str:
    """Return three decimals, or a dash for what could not be computed."""
    return "-" if value is None else f"{value:.3f}"


def plain(text: str) -> str:
    """Return `text` with nothing in it that rich takes for markup."""
    return text.replace("[", r"\[")
