"""What a person sees while a verb works: lines, and a bar where there is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_transfer import journal
from keras_transfer.cli.ending import stoppable
from keras_transfer.cli.showing import err, plain
from keras_transfer.specs import Event, Listener

STYLES = {"stage": "bold", "note": "dim", "warning": "yellow"}
"""The events that are a line of text, whatever else is on the screen."""


@contextmanager
def progress(merit_name: str = "accuracy") -> Iterator[Listener]:
    """Show notes as lines on standard error, and a bar where that is a terminal; merit_name: what epochs reach."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar_of = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    with stoppable() as heed, bar_of as bars:
        tasks: dict[str, Any] = {}

        def bar(event: Event) -> None:
            if event.message not in tasks:
                for old in tasks.values():
                    bars.remove_task(old)
                tasks.clear()
                tasks[event.message] = bars.add_task(event.message, total=event.total)
            bars.update(tasks[event.message], completed=event.done)

        def epoch(event: Event) -> None:
            values = event.values
            of = f"/{event.total}" if event.total else ""
            bars.console.print(
                f"  {event.message} {event.done}{of}: loss {values['loss']:.3f}, validation {merit_name} "
                f"{values['validation_merit']:.1%}, {values['pictures_per_second']:.0f} pictures/s, "
                f"{values['waiting_share']:.0%} of the time waiting for pictures",
                highlight=False,
            )

        shown: dict[str, Callable[[Event], None]] = {
            "progress": bar,
            "epoch": epoch,
            **{kind: lambda event: said(bars.console, event) for kind in STYLES},
        }

        def hear(event: Event) -> None:
            heed()
            shown.get(event.kind, _unsaid)(event)

        with journal.asked_for(hear) as kept:
            yield kept


def said(console: Console, event: Event) -> None:
    """Print the line of a stage, a note or a warning."""
    console.print(f"[{STYLES[event.kind]}]{plain(event.message)}[/]", highlight=False)


def _unsaid(event: Event) -> None:
    """Nothing: what the other events tell already stands in the lines."""
