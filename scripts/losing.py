"""Loses what a power failure loses: what was written and never synced, and names that were given and never synced.

A file system may write names before contents: a file then is there and empty. It may also forget the latest names. What
is promised by fsync stays (POSIX, fsync; Pillai et al., All File Systems Are Not Created Equal, OSDI 2014).
"""

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

Stamp = tuple[int, int]
"""Time of change in nanoseconds, and size in bytes."""


class Losing:
    """Watches what a process writes below a folder and what of it is synced, and loses the rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.safe: dict[int, Stamp] = {}
        """Of each file by its inode, as it was when it was synced, or before the process began."""
        self.given: list[tuple[str, str, str]] = []
        """Names that no sync of their folder followed yet: from, to, and a second name of what was replaced."""

    def watch(self) -> None:
        """Begin: what is there already stays, and what is synced from now on."""
        self.kept = tempfile.mkdtemp(dir=self.folder.parent, prefix="campaign-replaced-")
        for path in self.folder.rglob("*"):
            self._note(path.stat())
        sync, set_times = os.fsync, os.utime

        def synced(file: int) -> None:
            sync(file)
            number = file if isinstance(file, int) else file.fileno()
            self._note(os.fstat(number))
            name = os.readlink(f"/proc/self/fd/{number}")
            self.given = [each for each in self.given if os.path.dirname(each[1]) != name]

        def timed(path: Any, *given: Any, **named: Any) -> None:
            safe = self._is_safe(os.stat(path))
            set_times(path, *given, **named)
            if safe:  # no byte of it is another
                self._note(os.stat(path))

        os.fsync, os.utime = synced, timed

    def _is_safe(self, status: os.stat_result) -> bool:
        return self.safe.get(status.st_ino) == (status.st_mtime_ns, status.st_size)

    def _note(self, status: os.stat_result) -> None:
        self.safe[status.st_ino] = (status.st_mtime_ns, status.st_size)

    def renames(self, old: str, new: str) -> None:
        """Note that a name is about to be given."""
        replaced = ""
        if os.path.isfile(new):
            replaced = os.path.join(self.kept, str(len(os.listdir(self.kept))))
            os.link(new, replaced)
        self.given.append((old, new, replaced))

    def lose(self, *, names: bool) -> None:
        """Fail: what was never synced is empty, and the process is gone. names: forget those never synced, too."""
        for path in list(self.folder.rglob("*")):
            with suppress(FileNotFoundError):  # another thread may clear up
                status = path.lstat()
                if path.is_file() and not self._is_safe(status):
                    os.truncate(path, 0)
        for old, new, replaced in reversed(self.given) if names else ():
            with suppress(FileNotFoundError):
                os.makedirs(os.path.dirname(old), exist_ok=True)
                os.rename(new, old)
                if replaced:
                    os.rename(replaced, new)
        os.kill(os.getpid(), signal.SIGKILL)
