"""How a verb ends before it is done: by Ctrl-C, by `kill`, by a closed terminal, by an error that is one sentence."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras_transfer.errors import StoppedError

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a verb at its next event: Ctrl-C, `kill`, a terminal that is closed."""


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Turn Ctrl-C, `kill` and a closed terminal into the sentence that says that nothing is lost.

    Gives what is to be called at every event. A hang-up that the caller has set to be ignored (`nohup`) stays ignored;
    an interrupt does not, which every shell has ignored for what it starts in the background.

    Python drops an exception that a signal raises while an object is being deleted, and every epoch deletes its data
    set. So the signal is remembered, and the call raises again what was dropped.
    """
    asked = threading.Event()

    def remember(number: int, frame: Any) -> None:
        asked.set()
        raise KeyboardInterrupt

    def heed() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in STOPS} if in_main else {}
    ignored = {each for each, handler in before.items() if handler is signal.SIG_IGN} - {signal.SIGINT}
    heeded = {each: handler for each, handler in before.items() if each not in ignored}
    for each in heeded:
        signal.signal(each, remember)
    try:
        yield heed
    except KeyboardInterrupt:
        raise StoppedError("Stopped. What was finished is saved; the same command goes on from there.") from None
    finally:
        for each, handler in heeded.items():
            signal.signal(each, handler)


def fail(sentence: str, code: int) -> None:
    """Print one sentence on standard error and exit; without colour where what draws cannot be loaded any more."""
    try:
        from keras_transfer.cli.showing import err, plain
    except (ImportError, OSError, MemoryError):
        print(f"Error: {sentence}", file=sys.stderr)
    else:
        err.print(f"[bold red]Error:[/] {plain(sentence)}", soft_wrap=True, highlight=False)
    sys.exit(code)
