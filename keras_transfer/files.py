"""Writes files so that a crash or a full disk leaves the old file or the new one, and says where the cache is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_transfer.errors import RunError


def cache_folder() -> Path:
    """Return where what can be computed again is kept: `$KERAS_TRANSFER_CACHE`, else the user's cache folder."""
    base = os.environ.get("KERAS_TRANSFER_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "keras_transfer"


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`: written aside, synced, renamed. RunError where the disk does not take it.

    >>> write_bytes(Path("run.json"), b"{}")  # doctest: +SKIP
    """
    with drafted(path) as draft, open(draft, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write a file or a folder at; it becomes `path` if nothing is raised inside.

    A folder that is already at `path` is replaced; whatever was written aside is removed on any error. The draft
    keeps the suffix of `path`, because some writers look at it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    except OSError as error:
        raise _refused(path, error) from error
    try:
        yield aside / path.name
        if path.is_dir():
            path.rename(aside / "old")
        (aside / path.name).replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _refused(path: Path, error: OSError) -> RunError:
    return RunError(
        f"'{path}' could not be written ({error.strerror or error}); what was there before is kept. "
        "Free some space or choose another folder, then run the same command again to go on."
    )
