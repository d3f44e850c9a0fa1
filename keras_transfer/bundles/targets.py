"""The table of targets, and the one function that writes a bundle: a folder and the same as a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keras_transfer.bundles import data, golden, node, phones, python, server, web
from keras_transfer.bundles.content import Content
from keras_transfer.errors import UsageError, unknown
from keras_transfer.files import alone, drafted
from keras_transfer.specs import Contract

STAMP = (1980, 1, 1, 0, 0, 0)
"""Time of every entry of a zip: bundles of equal content are equal."""


@dataclass(frozen=True)
class Target:
    """One row: what it can run, and how it is written."""

    title: str
    """For people."""
    runs: tuple[str, ...]
    """Formats of the files that what it is for opens; the first is the one to export where there is none."""
    write: Callable[[Content, Path], None]
    tasks: tuple[str, ...] = golden.PICTURES
    """Of the files that it can ask about something."""
    gallery: bool = False
    """Whether it compares embeddings with those of a gallery."""
    served: bool = False
    """Whether it also holds the run's SavedModel."""


TARGETS: Mapping[str, Target] = {
    "web": Target("Web page", runs=("onnx",), write=web.write, gallery=True),
    "python": Target("Python package", runs=("tflite", "onnx"), write=python.write, tasks=golden.TASKS),
    "node": Target("Node module", runs=("onnx",), write=node.write),
    "server": Target("HTTP service", runs=("tflite", "onnx"), write=server.write, served=True),
    "android": Target("Android app", runs=("tflite",), write=phones.write_android),
    "ios": Target("iOS app", runs=("tflite",), write=phones.write_ios),
}


def target_of(name: str) -> Target:
    """Return the row of a target; UsageError with the nearest name where there is none.

    >>> target_of("node").runs
    ('onnx',)
    """
    if name not in TARGETS:
        raise UsageError(unknown("target", name, TARGETS))
    return TARGETS[name]


def check(target: str, contract: Contract) -> None:
    """Raise UsageError where a target does not know the task of a file, or is none."""
    row, task = target_of(target), contract.task
    if task not in row.tasks:
        others = [name for name, each in TARGETS.items() if task in each.tasks]
        todo = f"Make one for: {', '.join(others)}" if others else "Use it as it is: keras-transfer predict FILE"
        raise UsageError(
            f"A bundle for {target} answers single pictures, of {', '.join(row.tasks)}. "
            f"Received: a file of {task}. {todo}"
        )


def write(target: str, content: Content, folder: Path) -> tuple[Path, Path]:
    """Write `NAME-TARGET/` and `NAME-TARGET.zip` into a folder; return both.

    What was there under these names is replaced when the new ones are whole. Raises UsageError where it was no bundle,
    where the target does not run the file, or does not know its task.
    """
    check(target, content.artifact.contract)
    row = target_of(target)
    if content.gallery and not row.gallery:
        others = ", ".join(name for name, each in TARGETS.items() if each.gallery)
        raise UsageError(f"A bundle for {target} compares with no gallery: leave --gallery out. One for {others} does.")
    in_two = content.artifact.path.is_dir()  # a pair of files for streaming
    if content.artifact.format not in row.runs or in_two:
        raise UsageError(f"A bundle for {target} holds {runs_on(target)}. Received: '{content.artifact.path}'")
    place = folder / f"{content.name}-{target}"
    if place.exists() and not (place / data.BUNDLE_FILE).is_file():
        raise UsageError(f"'{place}' is there already and is no bundle. Choose another place with --output.")
    packed = place.with_name(f"{place.name}.zip")
    with alone(place):  # the zip is of the folder beside it, whoever else writes one
        with drafted(place) as draft:
            draft.mkdir()
            row.write(content, draft)
        with drafted(packed) as draft:
            _pack(place, draft)
    return place, packed


def runs_on(target: str) -> str:
    """Return in words which files a target runs.

    >>> runs_on("python")
    '.tflite or .onnx files'
    """
    return f"{' or '.join(f'.{each}' for each in target_of(target).runs)} files"


def _pack(place: Path, into: Path) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for each in sorted(each for each in place.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(str(Path(place.name) / each.relative_to(place)), STAMP)
            entry.external_attr = (each.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, each.read_bytes())
