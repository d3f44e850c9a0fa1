"""What every page prints with: two consoles, JSON, the next command, one sentence for an error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

PIPE_WIDTH = 120
"""Columns of a table where the output is no terminal that has a width of its own."""

FRAME = 3
"""Characters that a boxed column takes beside its cells."""


def _console(stream: IO[str]) -> Console:
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


out = _console(sys.stdout)
err = _console(sys.stderr)


def show(table: Table) -> None:
    """Print a table: boxed in a terminal, one plain line a row where the output goes into a file or another program.

    The first column is what people copy: it is never cut nor folded, and no word of the others is broken. A terminal
    too narrow for that gets each row as a few lines of text. Columns of plain lines are two blanks apart.
    """
    if not table.columns:
        return
    cells = [_cells(column) for column in table.columns]
    if not out.is_terminal:
        _print_lines(cells)
        return
    whole = [max(map(cell_len, column)) for column in cells]
    words = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in cells]
    widths = _shared(out.width - FRAME * len(cells) - 1, [whole[0], *words[1:]], whole)
    if widths is None:
        _print_blocks(table, cells)
        return
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    out.print(table)


def _shared(room: int, least: Sequence[int], whole: Sequence[int]) -> list[int] | None:
    """Return the width of each column, at least `least` and at most `whole`; None where there is too little room."""
    widths = list(least)
    if sum(widths) > room:
        return None
    while sum(widths) < room and widths != list(whole):
        neediest = max(range(len(widths)), key=lambda column: whole[column] - widths[column])
        widths[neediest] += 1
    return widths


def _print_lines(cells: Sequence[Sequence[str]]) -> None:
    widths = [max(map(cell_len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        padded = (f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _print_blocks(table: Table, cells: Sequence[Sequence[str]]) -> None:
    """Print each row as its first cell, and below it the others with the names of their columns."""
    _, *names = (column[0] for column in cells)
    if table.title:
        out.print(table.title, style="italic")
    for first, *others in list(zip(*cells, strict=True))[1:]:
        out.print(Text(first, "bold"), soft_wrap=True)
        said = [f"{name} {cell}".strip() for name, cell in zip(names, others, strict=True) if cell]
        out.print(Padding(Text(" · ".join(said)), (0, 0, 0, 2)))
    if table.caption:
        out.print(table.caption, style="dim italic")


def _cells(column: Column) -> list[str]:
    """The heading and the cells of a column as plain text, each on one line."""
    texts = (cell if isinstance(cell, Text) else Text.from_markup(str(cell)) for cell in (column.header, *column.cells))
    return [" ".join(text.plain.split()) for text in texts]


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=2))


def suggest(verb: str, *words: object) -> None:
    """Print the likely next command on standard error, its words quoted as a shell wants them when it is pasted."""
    command = shlex.join(["keras-transfer", *verb.split(), *(str(word) for word in words)])
    err.print(f"[dim]next:[/] {plain(command)}", soft_wrap=True, highlight=False)


def explain(meanings: Mapping[str, str]) -> None:
    """Print what names stand for, a line each, where a person reads it; nothing into a file or another program."""
    if out.is_terminal:
        for name, meaning in meanings.items():
            out.print(Padding(f"{plain(name)}: {plain(meaning)}", (0, 0, 0, 2)), style="dim", highlight=False)


def score(value: float | None) -> str:
    """Return three decimals, or a dash for what could not be computed."""
    return "-" if value is None else f"{value:.3f}"


def plain(text: str) -> str:
    """Return `text` with nothing in it that rich takes for markup."""
    return text.replace("[", r"\[")
