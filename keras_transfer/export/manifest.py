"""Reads and writes `manifest.json`, the list of exported files that other programs read.

Format 2: `{"version": 2, "artifacts": [{"path", "format", "precision", "input_dtype", "output_dtype", "size_bytes",
"sha256", "contract": {...}}, ...], "rejected": [{"artifact": {...}, "reason"}, ...]}`. `artifacts` are the files to
use; `rejected` those that were set aside, each with the bounds that it missed. Paths are relative to the manifest's
folder; `sha256` of a folder is that of its files' relative paths and digests, sorted. Format 1 had no `rejected` and is
still read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from keras_transfer.errors import ArtifactError
from keras_transfer.files import MOST_MODEL_BYTES, MOST_TEXT_BYTES, read_bytes, regular, write_bytes
from keras_transfer.specs import Artifact, Value

MANIFEST_FILE = "manifest.json"


class Rejected(Value):
    """A file that was set aside, and why."""

    artifact: Artifact
    reason: str


class Manifest(Value):
    """Every file of an export folder."""

    version: int = Field(default=2, ge=1, le=2)
    artifacts: tuple[Artifact, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @property
    def all(self) -> tuple[Artifact, ...]:
        """Accepted and rejected files."""
        return (*self.artifacts, *(each.artifact for each in self.rejected))


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder, an empty one where there is none.

    Raises ArtifactError where the file is not a manifest of a version that is known.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return Manifest()
    try:
        found = Manifest.model_validate_json(read_bytes(path, MOST_TEXT_BYTES))
    except OSError as error:
        raise ArtifactError(f"'{path}' cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ArtifactError(f"'{path}' is not a manifest of version 1 or 2: {where}: {first['msg']}.") from None
    for each in found.all:
        if each.path.is_absolute() or ".." in each.path.parts:
            raise ArtifactError(f"'{path}' names a file outside of its folder: '{each.path}'. Export it again.")
    return found


def write(folder: Path, artifacts: Sequence[Artifact] = (), rejected: Sequence[Rejected] = ()) -> None:
    """Add files, whose paths lie in `folder`, to its manifest; entries whose files are gone leave it."""
    before = read(folder)
    accepted = {artifact.path: artifact for artifact in before.artifacts}
    aside = {each.artifact.path: each for each in before.rejected}
    for artifact in artifacts:
        moved = _relative(artifact, folder)
        accepted[moved.path] = moved
    for each in rejected:
        moved = _relative(each.artifact, folder)
        aside[moved.path] = each.model_copy(update={"artifact": moved})
    manifest = Manifest(
        artifacts=tuple(accepted[path] for path in sorted(accepted) if (folder / path).exists()),
        rejected=tuple(aside[path] for path in sorted(aside) if (folder / path).exists()),
    )
    write_bytes(folder / MANIFEST_FILE, (manifest.model_dump_json(indent=2) + "\n").encode())


def _relative(artifact: Artifact, folder: Path) -> Artifact:
    return artifact.model_copy(update={"path": artifact.path.relative_to(folder)})


def digest(path: Path) -> tuple[int, str]:
    """Return (size_bytes, sha256) of a file or a folder; OSError for what is neither, in it or by itself."""
    if not path.is_dir():
        with regular(path, MOST_MODEL_BYTES) as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    total, whole = 0, hashlib.sha256()
    for each in sorted(each for each in path.rglob("*") if not each.is_dir()):
        size, sha256 = digest(each)
        total += size
        whole.update(f"{each.relative_to(path).as_posix()}\0{sha256}\n".encode())
    return total, whole.hexdigest()
