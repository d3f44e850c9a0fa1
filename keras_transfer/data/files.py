"""Reads picture files once: what they hold, as a hash, and whether that can be a picture at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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


INDEX_VERSION = 2

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: while they stay, so does the content."""


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
    read = _facts_of_video if videos else _facts
    index = _index_file(paths)
    remembered = _remembered(index)
    stamps = [_stamp(path) for path in paths]
    facts: dict[str, FileFacts] = {}
    for path, stamp in zip(paths, stamps, strict=True):
        before = remembered.get(path)
        if before and before[0] == stamp:
            facts[path] = before[1]
    unread = [path for path in dict.fromkeys(paths) if path not in facts]
    with ThreadPoolExecutor(READERS) as readers:
        for done, (path, each) in enumerate(zip(unread, readers.map(read, unread), strict=True), start=1):
            facts[path] = each
            if done % 1000 == 0:
                listener(Event("progress", "Reading pictures", done=done, total=len(unread)))
    if unread:
        _remember(index, paths, stamps, facts)
    return [facts[path] for path in paths]


def _index_file(paths: Sequence[str]) -> Path:
    common = os.path.commonpath([os.path.abspath(path) for path in (*paths[:1], *paths[-1:])]) if paths else ""
    return cache_folder() / "files" / (hashlib.sha256(common.encode()).hexdigest()[:24] + ".json")


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _remembered(index: Path) -> dict[str, tuple[Stamp, FileFacts]]:
    try:
        read = json.loads(index.read_bytes())
        if read["version"] != INDEX_VERSION:
            return {}
        sizes, times, contents, problems = (read[name] for name in ("sizes", "times", "contents", "problems"))
        facts = map(FileFacts, contents, sizes, problems)
        return dict(zip(read["paths"], zip(zip(sizes, times, strict=True), facts, strict=True), strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(index: Path, paths: Sequence[str], stamps: Sequence[Stamp | None], facts: dict[str, FileFacts]) -> None:
    rows = [
        (path, *stamp, facts[path].content, facts[path].problem)
        for path, stamp in zip(paths, stamps, strict=True)
        if stamp and facts[path].content
    ]
    # A list for each column: 100,000 little lists take three times as long to read.
    columns = dict(zip(("paths", "sizes", "times", "contents", "problems"), zip(*rows, strict=True), strict=False))
    with suppress(RunError):  # it would only have saved time
        write_bytes(index, json.dumps({"version": INDEX_VERSION, **columns}).encode())


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
