"""Reads picture files once: what they hold, as a hash, and whether that can be a picture at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_transfer.data.texts import encoded
from keras_transfer.errors import RunError
from keras_transfer.files import MOST_PICTURE_BYTES, MOST_VIDEO_BYTES, cache_folder, read_bytes, regular, write_bytes
from keras_transfer.specs import Event, Listener, silent

HEIC_SUFFIXES = frozenset({".heic", ".heif"})

SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".avif",
        ".ppm",
        ".pgm",
        ".heic",
        ".heif",
    }
)
"""Names that are taken for pictures; what a file really is, its first bytes say."""

READERS = 4
"""Threads that read: more than cores, because a disk answers late."""


BLOCK = 50
"""Files that a reader reads in a row: to hand each of a million over alone takes as long as to read it."""

VERSION = {b"version": b"3"}
"""Of what is remembered: a path, its size in bytes and its time of change in nanoseconds (while they stay, so does the
content), the SHA-256 and what is wrong, a column each."""


class FileFacts(NamedTuple):
    """What one read of a file tells."""

    content: str
    """SHA-256 of the bytes."""
    size_bytes: int
    problem: str = ""
    """Why this cannot be a picture, in a person's words; empty where nothing speaks against it."""


ENDINGS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND"))
"""First bytes of a format, and bytes that a complete file must hold somewhere after them."""


def paths_below(folder: Path, suffixes: Collection[str] = SUFFIXES) -> tuple[list[str], list[str]]:
    """Return the files below a folder that have such names, and the others, both sorted; hidden ones are neither.

    Folders that are symbolic links are not entered, so a loop of links cannot hold the walk.
    """
    wanted: list[str] = []
    others: list[str] = []
    for where, folders, names in os.walk(str(folder), followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                taken = wanted if os.path.splitext(name)[1].lower() in suffixes else others
                taken.append(os.path.join(where, name))
    return sorted(wanted), sorted(others)  # as text: sorting 100,000 Path objects takes seconds


def picture_paths(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files below a folder that are named as pictures, and the others, as `paths_below` does."""
    return paths_below(folder)


def facts_of(paths: Sequence[str], *, videos: bool = False, listener: Listener = silent) -> list[FileFacts]:
    """Return the facts of each file, in order; a file that cannot be read has a problem, it raises nothing.

    What was read before is remembered in the cache folder, by path, size and time of change: a second look at
    100,000 files takes a second. Without a place to remember, all is read again.
    videos: whether these are; a picture is held in memory as a whole and may be less large.
    """
    index, stamps = _index_file(paths), _stamps(paths)
    facts = _remembered(index, paths, stamps)
    unread = list(dict.fromkeys(path for path, known in zip(paths, facts, strict=True) if known is None))
    if not unread:
        return [known for known in facts if known]
    read = dict(zip(unread, _read(unread, _facts_of_video if videos else _facts, listener), strict=True))
    found = [known or read[path] for path, known in zip(paths, facts, strict=True)]
    _remember(index, paths, stamps, found)
    return found


def _read(paths: Sequence[str], read: Callable[[str], FileFacts], listener: Listener) -> Iterator[FileFacts]:
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    with ThreadPoolExecutor(READERS) as readers:
        for done, facts in enumerate(readers.map(lambda block: [read(path) for path in block], blocks), start=1):
            yield from facts
            if done * BLOCK % 1000 == 0:
                listener(Event("progress", "Reading pictures", done=done * BLOCK, total=len(paths)))


def _index_file(paths: Sequence[str]) -> Path:
    common = os.path.commonpath([os.path.abspath(path) for path in (*paths[:1], *paths[-1:])]) if paths else ""
    return cache_folder() / "files" / (hashlib.sha256(common.encode()).hexdigest()[:24] + ".arrow")


def _stamps(paths: Sequence[str]) -> np.ndarray:
    """Size in bytes and time of change in nanoseconds of each file, int64 (n, 2); -1 of what is none."""
    stamps = np.full((len(paths), 2), -1, np.int64)
    for place, path in enumerate(paths):
        with suppress(OSError):
            status = os.stat(path)
            stamps[place] = status.st_size, status.st_mtime_ns
    return stamps


def _remembered(index: Path, paths: Sequence[str], stamps: np.ndarray) -> list[FileFacts | None]:
    """What is known of each file; None of one that was never read, or changed since."""
    import pyarrow
    import pyarrow.compute

    facts: list[FileFacts | None] = [None] * len(paths)
    try:
        table = pyarrow.ipc.open_file(pyarrow.py_buffer(index.read_bytes())).read_all()
        if table.schema.metadata != VERSION:
            return facts
        places = pyarrow.compute.index_in(encoded(paths), table["path"]).fill_null(-1).to_numpy()
        before = np.stack([table[name].to_numpy() for name in ("size", "time")], axis=1)
        before = np.concatenate([before, [(-1, -1)]])[places]  # a place of -1 is the last row
        same = np.flatnonzero((places >= 0) & (before == stamps).all(1))
        known = table.take(places[same])
        columns = (known["content"].to_pylist(), known["size"].to_pylist(), known["problem"].to_pylist())
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's own errors are ValueErrors and KeyErrors, too
        return facts
    for place, content, size, problem in zip(same.tolist(), *columns, strict=True):
        facts[place] = FileFacts(content.hex(), size, problem)
    return facts


def _remember(index: Path, paths: Sequence[str], stamps: np.ndarray, facts: Sequence[FileFacts]) -> None:
    import pyarrow

    kept = [place for place, fact in enumerate(facts) if stamps[place, 0] >= 0 and fact.content]
    columns = {
        "path": encoded(paths[place] for place in kept),
        "size": pyarrow.array(stamps[kept, 0]),
        "time": pyarrow.array(stamps[kept, 1]),
        "content": pyarrow.array([bytes.fromhex(facts[place].content) for place in kept], pyarrow.binary(32)),
        "problem": pyarrow.array([facts[place].problem for place in kept], pyarrow.string()),
    }
    written = pyarrow.BufferOutputStream()
    table = pyarrow.table(columns).replace_schema_metadata(VERSION)
    with pyarrow.ipc.new_file(written, table.schema) as file:
        file.write_table(table)
    with suppress(RunError):  # it would only have saved time
        write_bytes(index, written.getvalue().to_pybytes())


def _facts(path: str) -> FileFacts:
    try:
        content = read_bytes(path, MOST_PICTURE_BYTES)
    except OSError as error:
        return FileFacts("", 0, f"cannot be read: {error.strerror}")
    return FileFacts(hashlib.sha256(content).hexdigest(), len(content), _problem(content))


def _facts_of_video(path: str) -> FileFacts:
    try:
        with regular(path, MOST_VIDEO_BYTES) as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        return FileFacts("", 0, f"cannot be read: {error.strerror}")
    return FileFacts(digest, size, "" if size else "is empty")


def _problem(content: bytes) -> str:
    if not content:
        return "is empty"
    for start, end in ENDINGS:
        if content.startswith(start) and end not in content[len(start) :]:
            return "is cut off"
    return ""
