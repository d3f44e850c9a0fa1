"""What a person sees while a verb works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_transfer.cli.showing import err, plain
from keras_transfer.errors import StoppedError
from keras_transfer.specs import Event, Listener


@contextmanager
def progress() -> Iterator[Listener]:
    """Show notes as lines on standard error, and a bar where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
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
                f"  {event.message} {event.done}{of}: loss {values['loss']:.3f}, validation "
                f"{values['validation_accuracy']:.1%}, {values['pictures_per_second']:.0f} pictures/s, "
                f"waiting {values['waiting_share']:.0%}",
                highlight=False,
            )

        shown: dict[str, Callable[[Event], None]] = {
            "progress": bar,
            "epoch": epoch,
            "stage": lambda event: bars.console.print(f"[bold]{plain(event.message)}[/]", highlight=False),
            "note": lambda event: bars.console.print(f"[dim]{plain(event.message)}[/]", highlight=False),
            "warning": lambda event: bars.console.print(f"[yellow]{plain(event.message)}[/]", highlight=False),
        }
        try:
            yield lambda event: shown[event.kind](event)
        except KeyboardInterrupt:
            raise StoppedError("Stopped. What was finished is saved; the same command goes on from there.") from None
