"""The table of targets, and the one function that writes a bundle: a folder and the same as a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keras_transfer.bundles import data, golden, node, python, server, web
from keras_transfer.bundles.content import Content
from keras_transfer.errors import UsageError, unknown
from keras_transfer.files import drafted
from keras_transfer.specs import Artifact

STAMP = (1980, 1, 1, 0, 0, 0)
"""Time of every entry of a zip: bundles of equal content are equal."""


@dataclass(frozen=True)
class Target:
    """One row: what it can run, and how it is written."""

    runs: Mapping[str, frozenset[str] | None]
    """Precisions by format; None: all of them."""
    write: Callable[[Content, Path], None]
    sentence: str
    """What a person gets."""
    served: bool = False
    """Whether it also holds the run's SavedModel."""

    def takes(self, artifact: Artifact) -> bool:
        """Whether what the target runs on opens this file."""
        precisions = self.runs.get(artifact.format, frozenset())
        return precisions is None or artifact.precision in precisions


TARGETS: Mapping[str, Target] = {
    "python": Target(
        runs={"tflite": None, "onnx": None},
        write=python.write,
        sentence="a Python package with its wheel; needs LiteRT or ONNX Runtime, NumPy and Pillow, no TensorFlow",
    ),
    "web": Target(
        runs={"onnx": None},
        write=web.write,
        sentence="a static page: pictures, the camera and the self-test, all in the browser, by ONNX Runtime Web",
    ),
    "node": Target(
        runs={"onnx": None},
        write=node.write,
        sentence="an ES module with types that needs nothing but Node: runtime and decoders come along",
    ),
    "server": Target(
        runs={"tflite": None, "onnx": None},
        write=server.write,
        sentence="an HTTP service with limits and metrics, its Dockerfile, and a SavedModel for TensorFlow Serving",
        served=True,
    ),
}


def target_of(name: str) -> Target:
    """Return the row of a target; UsageError with the nearest name where there is none.

    >>> target_of("python").runs["onnx"] is None
    True
    """
    if name not in TARGETS:
        raise UsageError(unknown("target", name, TARGETS))
    return TARGETS[name]


def write(target: str, content: Content, folder: Path) -> tuple[Path, Path]:
    """Write `NAME-TARGET/` and `NAME-TARGET.zip` into a folder; return both.

    What was there under these names is replaced when the new ones are whole. Raises UsageError where it was no bundle,
    where the target does not run the file, or where no bundle knows its task.
    """
    row = target_of(target)
    golden.check(content.artifact.contract)
    if not row.takes(content.artifact):
        raise UsageError(f"A bundle for {target} holds {runs_on(target)}. Received: '{content.artifact.path}'")
    place = folder / f"{content.name}-{target}"
    if place.exists() and not (place / data.BUNDLE_FILE).is_file():
        raise UsageError(f"'{place}' is there already and is no bundle. Choose another place with --output.")
    with drafted(place) as draft:
        draft.mkdir()
        row.write(content, draft)
    packed = place.with_name(f"{place.name}.zip")
    with drafted(packed) as draft:
        _pack(place, draft)
    return place, packed


def runs_on(target: str) -> str:
    """Return in words which files a target runs.

    >>> runs_on("python")
    '.tflite or .onnx files'
    """
    kinds = target_of(target).runs.items()
    words = [f".{kind}" + (f" ({', '.join(sorted(only))})" if only else "") for kind, only in kinds]
    return f"{' or '.join(words)} files"


def exported_as(target: str) -> str:
    """Return the export format that gives a file the target runs."""
    return next(iter(target_of(target).runs))


def _pack(place: Path, into: Path) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for each in sorted(each for each in place.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(str(Path(place.name) / each.relative_to(place)), STAMP)
            entry.external_attr = (each.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, each.read_bytes())
