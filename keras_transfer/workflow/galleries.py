"""Galleries: who is known by an embedding, in a file of their own, to which anyone is added without training.

A gallery is an npz: `embeddings` float32 (n, width), a row for each picture; `names` str (n,); `digest`, that of the
run whose model made them; `threshold`, the cosine from which a picture shows the same one, and `version`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data import faces
from keras_transfer.data.files import picture_paths
from keras_transfer.errors import ArtifactError, DataError, UsageError, first_line
from keras_transfer.files import alone, read_arrays, write_bytes
from keras_transfer.specs import EMBEDDING_OUTPUT, Contract, Event, Listener, silent
from keras_transfer.workflow.using import asked, cuts_faces, located, read_as

VERSION = 1

UNKNOWN = "unknown"

NAME = "gallery.npz"

COPY = 0.999
"""Cosine from which two pictures are copies of each other: two of one person are hardly ever so near."""

BLOCK = 2_048
"""Rows that are compared with all others at once."""


@dataclass(frozen=True)
class Gallery:
    """Who is known, a row for each picture."""

    names: tuple[str, ...]
    embeddings: np.ndarray
    """float32 (n, width), of unit length."""
    digest: str
    threshold: float

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.embeddings):
            raise ValueError(f"{len(self.names)} names but {len(self.embeddings)} embeddings.")

    @property
    def people(self) -> int:
        """How many names."""
        return len(set(self.names))


def gallery(
    model: Path | str,
    folder: Path | str,
    *,
    file: Path | str | None = None,
    add: bool = False,
    crop: str | None = None,
    listener: Listener = silent,
) -> Path:
    """Make a gallery of the pictures in `folder`, one folder for each name; return its path.

    >>> gallery("saved_models/faces-EfficientNetLite0", "people")  # doctest: +SKIP
    PosixPath('saved_models/faces-EfficientNetLite0/gallery.npz')

    model: a run folder or a file of any format that gives embeddings. folder: `faces:FOLDER` takes the largest face of
    each picture. file: where it is kept, `gallery.npz` of the run where it is left out. add: to whom the file knows
    already; someone who is added again has the pictures of both. crop: as `using.predict` takes it; here a picture
    without a face is left out and told.
    Raises DataError for a folder without pictures or one picture under two names, UsageError for a model that gives no
    embeddings, ArtifactError for a file of another model.
    """
    path, run = located(model)
    ask = asked(path, run, None)
    place = Path(file) if file else (run.folder if run else path.parent) / NAME
    check(ask.contract)
    cut = str(folder).startswith(faces.PREFIX) or cuts_faces(ask.contract, run, crop)
    given = faces.folder_of(str(folder))
    names, paths = _listed(faces.cropped(given, listener=listener) if cut and given.is_dir() else given)
    points = np.ascontiguousarray(ask.answers(read_as(ask.contract, paths))[EMBEDDING_OUTPUT], np.float32)
    keys = [str(each) for each in paths]
    with alone(place):
        if add:
            before = read(place, ask.contract)
            names, points = [*before.names, *names], np.concatenate([before.embeddings, points])
            keys = [*(f"a picture of '{name}' in the gallery" for name in before.names), *keys]
        _check_names(names, points, keys)
        _write(Gallery(tuple(names), points, ask.contract.run_digest, ask.contract.thresholds[0]), place)
    once = [name for name, count in Counter(names).items() if count == 1]
    if once:
        listener(Event("warning", f"Known by one picture alone: {len(once)}, the first '{once[0]}'. Add others."))
    return place


def read(path: Path | str, contract: Contract) -> Gallery:
    """Return the gallery in a file; ArtifactError where it is none, or is of another model than the contract's."""
    try:
        arrays = read_arrays(path)
        found = Gallery(
            names=tuple(str(name) for name in arrays["names"]),
            embeddings=np.ascontiguousarray(arrays["embeddings"], np.float32),
            digest=str(arrays["digest"]),
            threshold=float(arrays["threshold"]),
        )
    except FileNotFoundError:
        raise ArtifactError(f"There is no gallery at '{path}'. Make one: keras-transfer gallery RUN FOLDER") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"'{path}' is not a gallery that can be read: {first_line(error)}") from None
    if found.digest != contract.run_digest:
        raise ArtifactError(
            f"'{path}' was made by another model, and places of two models cannot be compared. It is of the run "
            f"{found.digest[:12] or '(none)'}, the model of {contract.run_digest[:12] or '(none)'}. Make it anew: "
            f"keras-transfer gallery RUN FOLDER"
        )
    if not found.names:
        raise ArtifactError(f"The gallery '{path}' knows nobody. Make it anew: keras-transfer gallery RUN FOLDER")
    return found


def recognized(known: Gallery, points: np.ndarray) -> list[Mapping[str, Any]]:
    """Return who each picture shows: the name of the nearest, or `unknown` where it lies below the threshold.

    >>> known = Gallery(("ann", "bob"), np.eye(2, dtype=np.float32), digest="", threshold=0.5)
    >>> recognized(known, np.array([[0.8, 0.6], [-1.0, 0.0]], np.float32))[0]["name"]
    'ann'

    points: float32 (n, width), of unit length.
    """
    found: list[Mapping[str, Any]] = []
    for point in np.asarray(points, np.float32):
        # One thread reads 100,000 rows in 2 ms; the threads of `@` wait for each other, 300 ms where others compute.
        cosines = np.einsum("ij,j->i", known.embeddings, point)
        nearest = int(cosines.argmax())
        cosine = float(cosines[nearest])
        name = known.names[nearest] if cosine >= known.threshold else UNKNOWN
        found.append({"name": name, "cosine": cosine, "nearest": known.names[nearest], "threshold": known.threshold})
    return found


def check(contract: Contract) -> None:
    """Raise UsageError where a model is none that a gallery could be of."""
    if EMBEDDING_OUTPUT not in {output.name for output in contract.outputs}:
        raise UsageError(
            f"A gallery takes a model that gives embeddings, and this one is of {contract.task}. "
            f"Train one: keras-transfer train SOURCE --task embedding"
        )
    if not contract.thresholds:
        raise UsageError("The model carries no threshold, so nobody could be unknown. Export its run again.")


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. A gallery is made of a folder for each name: ann/1.jpg.")
    names, paths = [], []
    for each in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        found, _ = picture_paths(each)
        names += [each.name] * len(found)
        paths += found
    if not paths:
        raise DataError(
            f"'{folder}' would make an empty gallery. Put in a folder with pictures for each name: ann/1.jpg."
        )
    return names, paths


def _check_names(names: Sequence[str], points: np.ndarray, keys: Sequence[str]) -> None:
    """Raise DataError where one picture stands under two names."""
    who = np.array(names)
    for start in range(0, len(who), BLOCK):
        copies = points[start : start + BLOCK] @ points.T > COPY
        copies &= who[start : start + BLOCK, None] != who[None, :]
        if copies.any():
            first, second = np.argwhere(copies)[0] + [start, 0]
            raise DataError(
                f"One face under two names: {keys[first]} is '{names[first]}' and {keys[second]} is '{names[second]}'. "
                f"Put both under one name, or take the wrong one out."
            )


def _write(made: Gallery, place: Path) -> None:
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "names": np.array(made.names, dtype=str),
        "embeddings": made.embeddings,
        "digest": np.array(made.digest),
        "threshold": np.array(made.threshold),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(place, content.getvalue())
