"""The live table of a training: what each stage reached, how fast it goes, how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from keras_transfer.cli.ending import stoppable
from keras_transfer.cli.progress import STYLES, progress, said
from keras_transfer.cli.showing import err
from keras_transfer.following import Seen, after, running, seconds_left
from keras_transfer.specs import Event, Listener

RECENT = 5
"""Epochs of the running stage that have a line of their own; all of them are in history.csv."""


def table(seen: Seen, now: float, merit_name: str = "accuracy") -> RenderableType:
    """Return what to show: a line for each stage, the last epochs of the running one, and what is being done."""
    if not seen.stages:
        return _doing(seen, now)
    shown = Table("stage", "epoch", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("loss", "validation", "pictures/s", "waiting", "left"):
        shown.add_column(column, justify="right")
    for name, stage in seen.stages.items():
        of = f"{stage.done}/{stage.epochs}" if stage.epochs else str(stage.done)
        if stage.state != "learns":
            style = "dim" if stage.state == "to come" else None
            shown.add_row(name, of, *_figures(stage.result), stage.state, style=style)
            continue
        left = seconds_left(stage, now)
        best = max(stage.rows, key=lambda row: row["validation_merit"], default={})
        shown.add_row(name, of, *_figures(best), "" if left is None else _clock(left), style="bold")
        for row in stage.rows[-RECENT:]:
            shown.add_row("", f"{row['epoch']:.0f}", *_figures(row), "", style="dim")
    meanings = (
        f"validation: {merit_name} on pictures that are not trained on",
        "waiting: share of the time spent waiting for pictures",
    )
    return Group(shown, _doing(seen, now), *(Text(meaning, "dim") for meaning in meanings))


def _figures(row: Mapping[str, float]) -> tuple[str, str, str, str]:
    formats = {
        "loss": "{:.3f}",
        "validation_merit": "{:.1%}",
        "pictures_per_second": "{:,.0f}",
        "waiting_share": "{:.0%}",
    }
    loss, merit, rate, waiting = (form.format(row[name]) if name in row else "" for name, form in formats.items())
    return loss, merit, rate, waiting


def _doing(seen: Seen, now: float) -> RenderableType:
    if not seen.doing:
        return Text()
    line = Table.grid(padding=(0, 2))
    line.add_row(Text(seen.doing), ProgressBar(seen.total, seen.done, width=30), Text(_outlook(seen, now), "dim"))
    return line


def _outlook(seen: Seen, now: float) -> str:
    """How long the run still takes, as far as that can be known: a stage that has not begun has no pace yet."""
    name = running(seen)
    left = seconds_left(seen.stages[name], now) if name else None
    coming = [f"{each} ({stage.epochs} epochs)" for each, stage in seen.stages.items() if stage.state == "to come"]
    if left is None:
        return f"then {', '.join(coming)}" if coming else ""
    return f"{name}: {_clock(left)} left, then {', '.join(coming)}" if coming else f"{_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def live(merit_name: str = "accuracy", console: Console = err) -> Iterator[Listener]:
    """Keep the table on `console` up to date while it lasts; lines of text where that is no terminal.

    merit_name: what pictures are judged by.
    """
    if not console.is_terminal:
        with progress(merit_name) as lines:
            yield lines
        return
    seen = Seen()
    with (
        stoppable() as heed,
        Live(
            get_renderable=lambda: table(seen, time.monotonic(), merit_name), console=console, refresh_per_second=4
        ) as shown,
    ):

        def hear(event: Event) -> None:
            nonlocal seen
            heed()
            seen = after(seen, event, time.monotonic())
            if event.kind in STYLES:
                said(shown.console, event)

        try:
            yield hear
        finally:
            seen = replace(seen, doing="")
