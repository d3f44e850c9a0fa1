"""Reads files alone, no more of them than they may hold, and writes so that a crash leaves the old or the new."""

from __future__ import annotations

import atexit
import errno
import fcntl
import math
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from keras_transfer.errors import RunError

if TYPE_CHECKING:
    import numpy as np

MOST_PICTURE_BYTES = 2**28
"""Of a picture file: 256 MB. The largest photographs that cameras write raw take half of that."""
MOST_VIDEO_BYTES = 2**36
"""Of a video file: 64 GB. It is never in memory as a whole."""
MOST_TEXT_BYTES = 2**30
"""Of a table, an annotation file, a plan or a record: 1 GB. The largest that COCO publishes takes half of that."""
MOST_MODEL_BYTES = 2**33
"""Of a model, a gallery or a checkpoint: 8 GB."""

DRAFTS = ".keras-transfer-"
"""What the names of folders begin with in which files are written before they get their own names."""

LOCK = ".lock"
"""Of a folder that one process at a time may hold."""

_KINDS = {
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


def cache_folder() -> Path:
    """Return where what can be computed again is kept: `$KERAS_TRANSFER_CACHE`, else the user's cache folder.

    A user without a home, as services and containers have, has one for as long as the process lasts.
    """
    base = os.environ.get("KERAS_TRANSFER_CACHE")
    if base:
        return Path(base)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_transfer"
    except RuntimeError:
        return _passing_folder()


@cache
def _passing_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def expanded(text: Path | str) -> Path:
    """Return the path that a text names: `~` and `~ann` are homes where there are such, and names like any other else.

    >>> expanded("~nobody-of-that-name/pictures")
    PosixPath('~nobody-of-that-name/pictures')
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


@contextmanager
def regular(path: Path | str, most: int) -> Iterator[BufferedReader]:
    """Open a file to read it, if it is a file and holds at most so many bytes, or a link to one.

    >>> with regular("/dev/zero", MOST_PICTURE_BYTES) as file:  # doctest: +ELLIPSIS
    ...     file.read()
    Traceback (most recent call last):
    OSError: [Errno 22] it is a device, and only files are read: '/dev/zero'

    A device never ends, and a pipe or a socket keeps whoever opens it waiting for somebody at its other end.
    Raises OSError, with the reason in a person's words as its `strerror`.
    """
    with open(path, "rb", opener=_opened) as file:
        _size(path, file.fileno(), most)
        yield file


def read_bytes(path: Path | str, most: int) -> bytes:
    """Return what a file holds; raises what `regular` does."""
    handle = _opened(path, os.O_RDONLY | os.O_CLOEXEC)  # without a file object a million small ones take half the time
    try:
        size = _size(path, handle, most)  # no more, though the file may be growing
        content = os.read(handle, size)
        while len(content) < size and (more := os.read(handle, size - len(content))):  # 2 GB at a time
            content += more
        return content
    finally:
        os.close(handle)


def _opened(path: Path | str, flags: int) -> int:
    _check_kind(path, os.stat(path))  # before it is opened, which is already too much for some devices
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _size(path: Path | str, handle: int, most: int) -> int:
    status = os.fstat(handle)
    _check_kind(path, status)
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it holds {status.st_size:,} bytes, and at most {most:,} are read", str(path))
    return status.st_size


def read_text(path: Path | str, most: int = MOST_TEXT_BYTES, *, encoding: str = "utf-8") -> str:
    """Return the text that a file holds; UnicodeDecodeError for what is none, else raises what `regular` does."""
    return read_bytes(path, most).decode(encoding)


def read_arrays(path: Path | str, most: int = MOST_MODEL_BYTES) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` file by name, as `np.savez` wrote them; they take no more memory than the file.

    Raises OSError as `regular` does, and ValueError for a file that is none such, holds objects, which would be run
    when they are read, or is compressed: no file of this program is, and a small one can unpack to any size.
    """
    import numpy as np

    with regular(path, most) as file:
        try:
            _check_members(file)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except OSError:
            raise
        except Exception as error:  # zipfile and numpy raise nearly every type on a broken file
            raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None


def _check_members(file: BufferedReader) -> None:
    """Raise ValueError where an array declares more than stands there: it would be made before it is read."""
    import numpy as np

    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with zipfile.ZipFile(file) as packed:
        for each in packed.infolist():
            if each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size:
                raise ValueError(f"'{each.filename}' is compressed")
            with packed.open(each) as member:
                shape, _, dtype = headers[np.lib.format.read_magic(member)](member)
            if math.prod(shape) * dtype.itemsize > each.file_size:
                raise ValueError(f"'{each.filename}' declares {shape} of {dtype}, more than the file holds")
    file.seek(0)


def _check_kind(path: Path | str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_one, kind in _KINDS.items():
        if is_one(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {kind}, and only files are read", str(path))


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`: written aside, synced, renamed. RunError where the disk does not take it.

    >>> write_bytes(Path("run.json"), b"{}")  # doctest: +SKIP
    """
    with drafted(path) as draft:
        draft.write_bytes(content)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write a file or a folder at; it becomes `path` if nothing is raised inside.

    A folder that is already at `path` is replaced; whatever was written aside is removed on any error. The draft
    keeps the suffix of `path`, because some writers look at it.
    """
    try:
        with aside(path.parent) as place:
            yield place / path.name
            put(place / path.name, path)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Give a hidden folder inside `folder` to write in; it is gone at the end, and those of processes that died first.

    The system lets go of the lock on it when its process ends, however it ends: what can be locked is abandoned.
    Raises OSError where there is no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    place, held = _made(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if held is not None:
            os.close(held)


@contextmanager
def held(folder: Path, *, unmade: Callable[[OSError], str], taken: Callable[[], str]) -> Iterator[None]:
    """Hold a folder for this process, made where it is not there; RunError, at once, where another process holds it.

    unmade: says of an error why the folder cannot be made; taken: that somebody else has it.
    """
    from filelock import FileLock, Timeout  # here, because it brings asyncio along and most verbs lock nothing

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(unmade(error)) from None
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RunError(taken()) from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process changes what is at `path`, and keep others waiting until the end.

    For what is read, changed and written again: of two that do so at once, one would be forgotten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without such locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def put(draft: Path, path: Path) -> None:
    """Give a file or a folder that was written aside its name, in place of what has it, for good.

    Its content is on the disk before it has the name, and the name when this returns. What it replaces goes last, but
    for a folder, which cannot be written over: that steps aside one moment before.
    """
    sync(draft)
    old = draft.with_name(f"{DRAFTS}old")  # swept out like a draft by whoever writes here next
    if path.is_dir():
        path.rename(old)
    try:
        draft.replace(path)
    except OSError:
        if old.is_dir():
            old.rename(path)
        raise
    _sync_one(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _made(folder: Path) -> tuple[Path, int | None]:
    """A new hidden folder, and the lock on it; no lock where the file system has none, and so nobody sweeps there."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=DRAFTS, dir=folder))
        try:
            return place, _locked(place)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process took it for abandoned before it was locked, and sweeps it out
        except OSError:
            return place, None


def _sweep(folder: Path) -> None:
    with os.scandir(folder) as found:
        drafts = [Path(each.path) for each in found if each.name.startswith(DRAFTS)]
    for place in drafts:
        with suppress(OSError):  # somebody is writing there, has ended meanwhile, or is another user
            held = _locked(place)
            shutil.rmtree(place, ignore_errors=True)
            os.close(held)


def _locked(place: Path) -> int:
    """A folder, open and locked for this process; OSError where another one holds it, or it is gone."""
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(held), os.stat(place)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    except OSError:
        os.close(held)
        raise
    return held


def sync(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk: a name that is given earlier can outlive a
    power failure that what it names does not.
    """
    for each in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _sync_one(each)


def _sync_one(path: Path) -> None:
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what some network file systems say of folders
            raise
    finally:
        os.close(held)


def _refused(path: Path, error: OSError) -> RunError:
    return RunError(
        f"'{path}' could not be written ({error.strerror or error}); what was there before is kept. "
        "Free some space or choose another folder, then run the same command again to go on."
    )
