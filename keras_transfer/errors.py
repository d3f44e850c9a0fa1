"""Every error this package raises on purpose, and the one way to suggest a name that was meant.

KerasTransferError            what the command line shows as one sentence (exit code 1)
├── UsageError                the request itself is wrong: option, plan, name (exit code 2)
├── DataError                 pictures, labels or splits are not what training needs
├── WeightsError              pretrained weights are missing, altered or of another model
├── TrainingError             a stage could not go on; what was reached is kept
├── RunError                  a run folder is missing, locked, full, or of another version
├── ExportError               a format could not be written as promised
├── ArtifactError             an exported file is unreadable or breaks its contract
└── StoppedError              a person stopped the work; what was finished is saved (exit code 130)
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class KerasTransferError(Exception):
    """Base of all deliberate errors. Its text is one clear sentence: what, what must hold, what came, what to do."""

    exit_code = 1


class UsageError(KerasTransferError):
    """The request is wrong before any work began."""

    exit_code = 2


class DataError(KerasTransferError):
    """Pictures, labels or splits are not what training needs."""


class WeightsError(KerasTransferError):
    """Pretrained weights are missing, altered, or belong to another model."""


class TrainingError(KerasTransferError):
    """A stage could not go on; what was reached before it is kept."""


class RunError(KerasTransferError):
    """A run folder is missing, locked by another process, or of another version."""


class ExportError(KerasTransferError):
    """A format could not be written as promised."""


class ArtifactError(KerasTransferError):
    """An exported file cannot be read, or breaks its contract."""


class StoppedError(KerasTransferError):
    """A person stopped the work; what was finished is on disk."""

    exit_code = 130


REFUSALS = {
    errno.EMFILE: "Raise the number of files that may be open: ulimit -n 1024.",
    errno.ENFILE: "Close other programs: all of them together have too many files open.",
    errno.ENOMEM: "Free some memory, raise the limit (ulimit -v), or take smaller pictures (--image-size) or batches "
    "(--batch-size).",
    errno.EAGAIN: "Raise the limits of memory (ulimit -v) and of processes (ulimit -u), or end other programs.",
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some space, or ask for a larger quota.",
    errno.EFBIG: "Raise the size that files may have: ulimit -f unlimited.",
    errno.EROFS: "Choose a folder on another disk.",
    errno.EIO: "The disk or what it hangs on is broken.",
}
"""What a system answers when it can or may not do any more, and what a person can do about it."""


def of_system(error: BaseException) -> str:
    """Return in one sentence what the system refused, and what to do; empty where the error is another.

    >>> of_system(OSError(errno.EMFILE, "Too many open files"))[:56]
    'The system refuses to go on: Too many open files. Raise '
    >>> of_system(ValueError("no"))
    ''
    """
    again = "Then run the same command again: what was finished is saved."
    number = _refused(error)
    if number is None:
        return ""
    where = f" at '{error.filename}'" if isinstance(error, OSError) and error.filename else ""
    return f"The system refuses to go on{where}: {os.strerror(number)}. {REFUSALS[number]} {again}"


def _refused(error: BaseException) -> int | None:
    """The number of what the system refused, as far as it is among `REFUSALS`."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's own
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return error.errno
    said = str(error)  # Python's threads, the loader of libraries and HDF5 tell of it in words alone
    if "can't start new thread" in said:
        return errno.EAGAIN
    if "failed to map segment" in said or "received an exception:Status: 1," in said:  # oneDNN's dnnl_out_of_memory
        return errno.ENOMEM
    return next((number for number in REFUSALS if os.strerror(number) in said), None)


def first_line(error: BaseException, most: int | None = None) -> str:
    """Return what an error says, as much of it as fits a sentence: its first line, else what kind of error it is.

    >>> first_line(ValueError("no such op\\nat line 3")), first_line(KeyError())
    ('no such op', 'KeyError')

    most: letters; all of them where it is left out.
    """
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:most]


def unknown(kind: str, received: str, known: Iterable[str], *, see: str = "") -> str:
    """Return the sentence for a name that no table has, with the nearest name that one has.

    >>> unknown("backbone", "mobilnetv2", ["MobileNetV2", "ResNet50"], see="keras-transfer backbones")
    "Unknown backbone 'mobilnetv2'. Did you mean 'MobileNetV2'? See: keras-transfer backbones"
    """
    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(received.casefold(), by_folded, n=1, cutoff=0.6)
    meant = f" Did you mean '{by_folded[near[0]]}'?" if near else f" Known: {', '.join(names[:12])}."
    return f"Unknown {kind} '{received}'.{meant}" + (f" See: {see}" if see else "")
