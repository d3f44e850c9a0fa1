"""Runs a verb that is struck while it writes and looks at what is left, for `kill`, `stop`, `power` and `disk`."""

import errno
import json
import os
import random
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import verbs
import warmed
from losing import Losing

from keras_transfer.files import DRAFTS
from keras_transfer.journal import JOURNAL

WRITING = os.O_WRONLY | os.O_RDWR
MAKING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
UNFORESEEN = "Something unforeseen"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Of a full disk, a quota, a disk that was mounted read-only meanwhile, and one that is broken."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 130
"""The exit code of a verb that was asked to end."""
STRIKES = (1, 1, 2, 3)
"""How often a verb is struck before it may end, chosen by the seed."""

Strike = Callable[[int, str], None]
"""What happens at a writing: its number from the one that was chosen on, and the event that Python has for it."""


def kill(number: int, event: str) -> None:
    """End the process as nothing can be done about."""
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def stop(number: int, event: str, *, by: signal.Signals) -> None:
    """Ask the process to end, once."""
    if number == 0:
        os.kill(os.getpid(), by)


def full(number: int, event: str, *, by: int) -> None:
    """Let nothing be written any more; what is there can be taken away."""
    if event not in ("os.remove", "os.rmdir"):
        raise OSError(by, os.strerror(by))


def strike_of(how: str, seed: int, losing: Losing) -> Strike:
    """The strike of a name; the seed chooses its kind."""
    if how == "stop":
        return lambda number, event: stop(number, event, by=STOPS[seed % len(STOPS)])
    if how == "full":
        return lambda number, event: full(number, event, by=FULL[seed % len(FULL)])
    if how == "power":
        return lambda number, event: losing.lose(names=bool(seed % 2)) if number == 0 else None
    return kill


def struck(folder: str, words: Sequence[str], *, at: int = 0, how: str = "", seed: int = 0, count: str = "") -> None:
    """Run the command line with some words, and strike at its `at`-th writing below a folder.

    A writing is a file that is opened to be written, a folder made, a name given or taken away. count: where to write
    how many there were, in place of a strike.
    """
    from keras_transfer.__main__ import main

    seen, busy = 0, False
    losing = Losing(Path(folder))
    strike = strike_of(how, seed, losing)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen, busy
        writes = event in MAKING or (event == "open" and isinstance(given[2], int) and given[2] & WRITING)
        if busy or not writes or not isinstance(given[0], str | bytes | os.PathLike):
            return
        if not os.path.abspath(os.fsdecode(given[0])).startswith(folder):
            return
        busy = True  # what a strike itself does is no writing
        try:
            if how == "power" and event == "os.rename":
                losing.renames(os.path.abspath(os.fsdecode(given[0])), os.path.abspath(os.fsdecode(given[1])))
            seen += 1
            if at and seen >= at:
                strike(seen - at, event)
        finally:
            busy = False

    if how == "power":
        losing.watch()
    sys.addaudithook(hook)
    sys.argv = ["keras-transfer", *words]
    try:
        main()
    finally:
        if count:
            busy = True
            Path(count).write_text(str(seen))


def attempt(name: str, rng: random.Random, folder: Path, how: str) -> str:
    """Strike a verb at moments that the seed chooses, look at what it left, and run it again; what was lost.

    What is struck again goes on from what the strike before it has left, and may end before it is met.
    """
    base, wanted = verbs.reference(name)
    many, work, words = verbs.writings(name), folder / "work", verbs.VERBS[name].words
    shutil.copytree(base, work)
    when = f"of {many} writings struck at"
    for number in range(rng.choice(STRIKES)):
        at, seed = rng.randrange(1, many + 1), rng.randrange(2**16)
        code, said = warmed.run(words, work, at=at, how=how, seed=seed)
        when += f" {at}"
        if wrong := wrongly_ended(how, code, said, again=number > 0):
            return f"{when}: {wrong}"
        if half := next((str(path.relative_to(work)) for path in work.rglob("*") if is_half(path)), ""):
            return f"{when}: '{half}' is half a file"
        if how == "full" and (left := drafts(work)):
            return f"{when}: '{left}' is left behind"
    code, said = warmed.run(words, work)
    if code:
        return f"{when}: the same command then ended with {code}: {said[-300:]}"
    if left := drafts(work):
        return f"{when}: '{left}' is left behind by all"
    found = verbs.results(name, work)
    others = sorted(each for each in {*wanted, *found} if found.get(each) != wanted.get(each))
    return f"{when}: the same command then ended with other bytes of {others}" if others else ""


def wrongly_ended(how: str, code: int, said: str, *, again: bool) -> str:
    """How a verb that was struck ended, where it should not have ended so; again: it may have had less to do."""
    if UNFORESEEN in said or "Traceback" in said:
        return f"exit code {code}, {said[-300:]}"
    expected = {"kill": (-signal.SIGKILL,), "power": (-signal.SIGKILL,), "stop": (STOPPED, 0), "full": (0, 1)}[how]
    return (
        ""
        if code in expected or (again and code == 0)
        else f"ended with {code} and not with {expected[0]}: {said[-300:]}"
    )


def drafts(folder: Path) -> str:
    """A file that somebody wrote aside and left; an empty folder that was one is no loss."""
    left = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    found = (path.relative_to(folder) for path in left)
    return next((str(path) for path in found if any(part.startswith(DRAFTS) for part in path.parts)), "")


def is_half(path: Path) -> bool:
    """Whether a file that has its final name cannot be what its name says; drafts lie in hidden folders.

    A journal grows line by line from nothing, and whoever reads it passes over half a line.
    """
    if not path.is_file() or path.name == JOURNAL or any(part.startswith(".") for part in path.parts[1:]):
        return False
    try:
        if path.suffix in (".npz", ".keras", ".zip"):
            with zipfile.ZipFile(path) as packed:
                return packed.testzip() is not None
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (ValueError, OSError, zipfile.BadZipFile):
        return True
    return path.stat().st_size == 0
