"""Reads and writes `manifest.json`, the list of exported files that other programs read.

Format 1: `{"version": 1, "artifacts": [{"path", "format", "precision", "input_dtype", "output_dtype", "size_bytes",
"sha256", "contract": {...}}, ...]}`. Paths are relative to the manifest's folder; `sha256` of a folder is that of its
files' relative paths and digests, sorted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from keras_transfer.errors import ArtifactError
from keras_transfer.specs import Artifact, Value

MANIFEST_FILE = "manifest.json"


class Manifest(Value):
    """Every file of an export folder."""

    version: Literal[1] = 1
    artifacts: tuple[Artifact, ...] = ()


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder, an empty one where there is none.

    Raises ArtifactError where the file is not a manifest of this version.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        return Manifest()
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ArtifactError(f"'{path}' is not a manifest of version 1: {where}: {first['msg']}.") from None


def write(folder: Path, artifacts: tuple[Artifact, ...]) -> None:
    """Add artifacts, whose paths lie in `folder`, to its manifest; entries whose files are gone leave it."""
    entries = {artifact.path: artifact for artifact in read(folder).artifacts if (folder / artifact.path).exists()}
    for artifact in artifacts:
        relative = artifact.path.relative_to(folder)
        entries[relative] = artifact.model_copy(update={"path": relative})
    manifest = Manifest(artifacts=tuple(entries[path] for path in sorted(entries)))
    temporary = folder / f".{MANIFEST_FILE}.tmp"
    temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST_FILE)


def digest(path: Path) -> tuple[int, str]:
    """Return (size_bytes, sha256) of a file or a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    total, whole = 0, hashlib.sha256()
    for each in sorted(each for each in path.rglob("*") if each.is_file()):
        size, sha256 = digest(each)
        total += size
        whole.update(f"{each.relative_to(path).as_posix()}\0{sha256}\n".encode())
    return total, whole.hexdigest()
