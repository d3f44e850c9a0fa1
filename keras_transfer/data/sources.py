"""The table of sources: from what a person names to splits.

Adding a source is a row: how it is recognised, and the function that loads it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_transfer.data import (
    coco,
    faces,
    folders,
    manifests,
    mask_files,
    pairs,
    records,
    samples,
    tfds_builders,
    voc,
    yolo,
)
from keras_transfer.data.annotations import ANNOTATIONS, annotation_of
from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.files import expanded
from keras_transfer.specs import Listener, Run, Splits, silent


@dataclass(frozen=True)
class Source:
    """One row of the table."""

    name: str
    example: str
    recognises: Callable[[str], bool]
    load: Callable[..., Splits]
    """`load(source, annotation=, seed=, listener=) -> Splits`."""
    annotations: tuple[str, ...] = ("class", "classes")
    """Rows of ANNOTATIONS that it can give; what stands in a source may still be only one of them."""


_ALL = ("class", "classes", "mask", "boxes")
_OF_FILES = (*_ALL, "identity", "clip")

SOURCES = (
    Source("sample", "sample:fashion", lambda text: text.startswith("sample:"), samples.load, (*_ALL, "clip")),
    Source("tfds", "tfds:NAME", lambda text: text.startswith("tfds:"), tfds_builders.load, _ALL),
    Source(
        "faces",
        f"{faces.PREFIX}FOLDER",
        lambda text: text.startswith(faces.PREFIX),
        lambda source, *, listener=silent, **asked: _of_faces(source, listener, asked),
        ("class", "classes", "identity"),
    ),
    Source(
        "manifest",
        "TABLE.csv",
        lambda text: _path(text).suffix.lower() in manifests.READERS and _path(text).is_file(),
        manifests.load,
        _OF_FILES,
    ),
    Source("pairs", "FOLDER/pairs.txt", pairs.are_listed_in, pairs.refuse, _OF_FILES),
    Source("coco", "instances.json", lambda text: _is_coco(_path(text)), coco.load, ("classes", "mask", "boxes")),
    Source("shards", "FOLDER/shards.json", lambda text: records.has_shards(_path(text)), records.load, _ALL),
    Source(
        "masks", "FOLDER/{images,masks}/*", lambda text: mask_files.has_masks(_path(text)), mask_files.load, ("mask",)
    ),
    Source(
        "voc",
        "FOLDER/{JPEGImages,Annotations}/*",
        lambda text: voc.is_laid_out(_path(text)),
        voc.load,
        ("boxes", "mask"),
    ),
    Source("yolo", "FOLDER/data.yaml", lambda text: yolo.is_card(_path(text)), yolo.load, ("boxes",)),
    Source(
        "split folders",
        "FOLDER/train/CLASS/*.jpg",
        lambda text: _is_folder(text) and folders.has_split_folders(_path(text)),
        folders.load_split_folders,
        ("class", "classes", "identity", "clip"),
    ),
    Source(
        "class folders",
        "FOLDER/CLASS/*.jpg",
        lambda text: _is_folder(text),
        folders.load_class_folders,
        ("class", "classes", "identity", "clip"),
    ),
)
"""In the order they are tried."""


def load(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the data set that a source names, as three disjoint splits.

    >>> load("sample:fashion").class_names[:2]
    ('t-shirt', 'trouser')

    annotation: what pictures are labelled with, a row of ANNOTATIONS; seed: of the splits, where the source does not
    bring its own. Raises UsageError where nothing is recognised or the source is labelled otherwise, and DataError
    where pictures or labels are not what training needs.
    """
    if annotation not in ANNOTATIONS:
        raise UsageError(unknown("annotation", annotation, ANNOTATIONS))
    row = recognised(source)
    if annotation not in row.annotations:
        annotation_of(source, row.annotations[0], asked=annotation)
    with _collector_paused():
        return row.load(source, annotation=annotation, seed=seed, listener=listener)


def recognised(source: str) -> Source:
    """Return the row that a source belongs to, by a look at names alone: nothing is read and nothing heavy imported.

    >>> recognised("sample:fashion").name
    'sample'

    Raises as `load` does where nothing is recognised.
    """
    for row in SOURCES:
        if row.recognises(source):
            return row
    path = _path(source)
    if path.is_file():
        raise UsageError(
            f"'{source}' is a file, not a folder or a table of pictures. A source is one of: {_examples()}."
        )
    if path.exists():
        raise UsageError(f"'{source}' is not a source of pictures. A source is one of: {_examples()}.")
    raise DataError(f"There is no folder or file '{source}'. A source is one of: {_examples()}.")


def located(source: str, *, beside: Path | None = None, recorded: Path | None = None) -> str:
    """Return a source as it can be loaded from the current folder, wherever its relative path was written.

    >>> located("sample:fashion", beside=Path("saved_models/first"))
    'sample:fashion'

    beside: a folder that the source was recorded in, such as that of a run: where the path leads nowhere from the
    current folder, it is looked for from there, then from each folder above. recorded: the folder in which the path
    was once written, tried last. A source that is nowhere comes back as it is, so that `load` says what is missing.
    """
    if source.startswith(faces.PREFIX):
        place = source.removeprefix(faces.PREFIX)
        return faces.PREFIX + located(place, beside=beside, recorded=recorded)
    if source.partition(":")[0] in ("sample", "tfds") or _path(source).is_absolute() or _path(source).exists():
        return source
    above = [] if beside is None else [beside.absolute(), *beside.absolute().parents]
    for folder in [*above, *([recorded] if recorded else [])]:
        if (folder / _path(source)).exists():
            return str(folder / _path(source))
    return source


def of_run(run: Run) -> str:
    """Return where the pictures of a run are now: seen from here, from its folder, or from where it was trained."""
    recorded = Path(run.record.data_folder) if run.record.data_folder else None
    return located(run.record.plan.data, beside=run.folder, recorded=recorded)


def _of_faces(source: str, listener: Listener, asked: Mapping[str, Any]) -> Splits:
    place = faces.cropped(faces.folder_of(source), listener=listener)
    row = recognised(str(place))
    return replace(row.load(str(place), listener=listener, **asked), source=source)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let the cycle collector rest: it would go through all of TensorFlow's objects again for each few thousand rows.

    That is a third of the time that listing 100,000 known files takes, and there are no cycles in rows.
    """
    ran = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ran:
            gc.enable()


def _examples() -> str:
    return ", ".join(row.example for row in SOURCES)


def _path(text: str) -> Path:
    if "\0" in text:
        raise UsageError(f"A source must not hold a NUL character. Received: {text!r}")
    return expanded(text)


def _is_coco(path: Path) -> bool:
    return bool(coco.files_in(path)) if path.is_dir() else path.suffix.lower() == ".json" and path.is_file()


def _is_folder(text: str) -> bool:
    return _path(text).is_dir()
