"""Remembers which model files this machine wrote or was told to trust, each by its SHA-256."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def state_folder() -> Path | None:
    """Return where is kept what nobody can compute again: `$KERAS_TRANSFER_STATE`, else the user's state folder.

    None for a user without a home. A manifest cannot stand for this: whoever makes a file can write one beside it.
    """
    base = os.environ.get("KERAS_TRANSFER_STATE")
    if base:
        return Path(base)
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "keras_transfer"
    except RuntimeError:
        return None


def vouch(sha256: str) -> None:
    """Remember a file, or a folder as `export.manifest.digest` has it; where nothing can be kept, nothing is."""
    folder = state_folder()
    if folder:
        with suppress(OSError):
            (folder / "vouched").mkdir(parents=True, exist_ok=True)
            (folder / "vouched" / sha256).touch()


def is_vouched(sha256: str) -> bool:
    """Return whether a file was written here, was opened here without harm, or is trusted.

    >>> is_vouched("0" * 64)
    False
    """
    folder = state_folder()
    return folder is not None and (folder / "vouched" / sha256).is_file()
