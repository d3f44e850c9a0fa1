"""What every page prints with: two consoles, JSON, the next command, one sentence for an error."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from rich.console import Console

PIPE_WIDTH = 120
"""Columns of a table where the output is no terminal that has a width of its own."""


def _console(stream: IO[str]) -> Console:
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


out = _console(sys.stdout)
err = _console(sys.stderr)


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
