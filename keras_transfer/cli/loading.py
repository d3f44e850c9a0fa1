"""Verbs whose modules are loaded when they are asked for: what `--help` tells of them stands in a table."""

from __future__ import annotations

import copy
import importlib
from collections import UserDict
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Verb(NamedTuple):
    """Where the function of a verb is, and what it does."""

    place: str
    """`module:function` of this folder."""
    help: str
    """The first line of that function's docstring, told before it is loaded."""


class Verbs(TyperGroup):
    """A group of verbs, each loaded when it is asked for (after click's documentation, Lazily Loading Subcommands).

    Reading all of them took half of what `--help` took. That tells the sentences of the table and loads none.
    """

    table: ClassVar[Mapping[str, Verb]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._rows = _Loaded({**self.table, **self.commands})
        self.commands = self._rows

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the verbs in the order of the table, and load none."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Tell what the verbs do, and load none."""
        told = copy.copy(self)
        told.commands = {name: TyperCommand(name=name, help=row.help) for name, row in self._rows.data.items()}
        super(Verbs, told).format_help(ctx, formatter)


class _Loaded(UserDict[str, Any]):
    """Commands by name; a row of the table becomes one when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        row = super().__getitem__(name)
        if isinstance(row, Verb):
            row = self[name] = _command(name, row)
        return row


def _command(name: str, verb: Verb) -> Any:
    module, _, function = verb.place.partition(":")
    alone = typer.Typer(add_completion=False)
    alone.command(name)(getattr(importlib.import_module(f"{__package__}.{module}"), function))
    return typer.main.get_command(alone)
