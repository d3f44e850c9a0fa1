"""Reads picture files once: what they hold, as a hash, and whether that can be a picture at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from keras_transfer.specs import Event, Listener, silent

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".ppm"}
)
"""Names that are taken for pictures; what a file really is, its first bytes say."""

READERS = 4
"""Threads that read: more than cores, because a disk answers late."""


@dataclass(frozen=True)
class FileFacts:
    """What one read of a file tells."""

    content: str
    """SHA-256 of the bytes."""
    size_bytes: int
    problem: str = ""
    """Why this cannot be a picture, in a person's words; empty where nothing speaks against it."""


ENDINGS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND"))
"""First bytes of a format, and bytes that a complete file must hold somewhere after them."""


def picture_paths(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted; hidden ones and other kinds are left out.

    Folders that are symbolic links are not entered, so a loop of links cannot hold the walk.
    """
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(where, name)


def facts_of(paths: Sequence[Path], *, listener: Listener = silent) -> list[FileFacts]:
    """Return the facts of each file, in order; a file that cannot be read has a problem, it raises nothing."""
    facts = []
    with ThreadPoolExecutor(READERS) as readers:
        for done, each in enumerate(readers.map(_facts, paths, chunksize=64), start=1):
            facts.append(each)
            if done % 1000 == 0:
                listener(Event("progress", "Reading pictures", done=done, total=len(paths)))
    return facts


def _facts(path: Path) -> FileFacts:
    try:
        content = path.read_bytes()
    except OSError as error:
        return FileFacts("", 0, f"cannot be read: {error.strerror}")
    return FileFacts(hashlib.sha256(content).hexdigest(), len(content), _problem(content))


def _problem(content: bytes) -> str:
    if not content:
        return "is empty"
    for start, end in ENDINGS:
        if content.startswith(start) and end not in content[len(start) :]:
            return "is cut off"
    return ""
