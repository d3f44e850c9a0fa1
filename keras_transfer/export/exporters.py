"""The table of export formats, and the one function that writes them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from keras_transfer.errors import ArtifactError, ExportError, UsageError, unknown
from keras_transfer.export import graph, manifest, onnx, saved_model, tflite
from keras_transfer.export.metadata import Card
from keras_transfer.specs import Artifact, Contract, Event, Listener, silent

REJECTED = ".rejected"


@dataclass(frozen=True)
class Source:
    """What every exporter reads: the traced model, the pictures to calibrate on, a place for intermediate files."""

    graph: graph.Graph
    calibration: np.ndarray | None
    scratch: Path
    decode: saved_model.Decode | None = None

    @cached_property
    def frozen(self) -> tflite.Frozen:
        """A SavedModel of constants with a batch of 1, written once for all TFLite files."""
        path = self.scratch / "frozen"
        saved_model.write_frozen(self.graph, path, batch=1)
        return tflite.Frozen(path, self.graph.scaling)


@dataclass(frozen=True)
class Exporter:
    """One row: a file name and how to write it."""

    file: str
    format: Literal["saved_model", "tflite", "onnx"]
    write: Callable[[Source, Path, Card], None]
    precision: str = "float32"
    output_dtype: str = "float32"
    calibrated: bool = False
    """Whether it measures activations on pictures."""


def _saved_model(source: Source, path: Path, card: Card) -> None:
    saved_model.write(source.graph, path, card, source.decode)


def _tflite(source: Source, path: Path, card: Card) -> None:
    path.write_bytes(tflite.convert(source.frozen, card, source.calibration))


def _onnx(source: Source, path: Path, card: Card) -> None:
    path.write_bytes(onnx.convert(source.graph, card, source.calibration))


def _onnx_nchw(source: Source, path: Path, card: Card) -> None:
    path.write_bytes(onnx.convert(source.graph, card, layout="nchw"))


EXPORTERS: dict[str, Exporter] = {
    "saved_model": Exporter("saved_model", "saved_model", _saved_model),
    "tflite": Exporter("model.tflite", "tflite", _tflite),
    "tflite-float16": Exporter("model-float16.tflite", "tflite", _tflite, "float16"),
    "tflite-dynamic": Exporter("model-dynamic.tflite", "tflite", _tflite, "dynamic"),
    "tflite-weight-int8": Exporter("model-weight-int8.tflite", "tflite", _tflite, "weight-int8"),
    "tflite-int16x8": Exporter("model-int16x8.tflite", "tflite", _tflite, "int16x8", calibrated=True),
    "tflite-int8": Exporter("model-int8.tflite", "tflite", _tflite, "int8", output_dtype="uint8", calibrated=True),
    "onnx": Exporter("model.onnx", "onnx", _onnx),
    "onnx-float16": Exporter("model-float16.onnx", "onnx", _onnx, "float16"),
    "onnx-int8": Exporter("model-int8.onnx", "onnx", _onnx, "int8", calibrated=True),
    "onnx-nchw": Exporter("model-nchw.onnx", "onnx", _onnx_nchw),
}


def export(
    model: keras.Model,
    folder: Path,
    names: Sequence[str],
    contract: Contract,
    *,
    calibration: np.ndarray | None = None,
    decode: saved_model.Decode | None = None,
    listener: Listener = silent,
) -> tuple[Artifact, ...]:
    """Write a model in the named formats, and `manifest.json` beside them; return one artifact per name, in order.

    >>> export(model, Path("exports"), ["tflite", "onnx"], contract)[0].path.name  # doctest: +SKIP
    'model.tflite'

    model: `image` uint8 (None, side, side, 3) to `probabilities` float32 (None, classes). contract: travels inside
    every file. calibration: uint8 (n, side, side, 3), read by the fully quantized formats. decode: how training
    read pictures; with it the SavedModel also takes encoded ones.
    Raises UsageError for a name that the table has not, ExportError where a format cannot be written as promised;
    a file that could not be finished is not there.
    """
    rows = [_row(name) for name in names]
    if any(row.calibrated for row in rows):
        _check_calibration(calibration, contract)
    traced = graph.trace(model)
    _agree(traced, contract)
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = []
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
        source = Source(traced, calibration, Path(scratch), decode)
        for position, (name, row) in enumerate(zip(names, rows, strict=True)):
            listener(Event("progress", f"Writing {name}", done=position, total=len(names)))
            artifacts.append(_write(row, source, folder, contract))
        listener(Event("progress", "Written", done=len(names), total=len(names)))
    manifest.write(folder, tuple(artifacts))
    return tuple(artifacts)


def reject(path: Path) -> Path:
    """Set aside a file that must not be used, under a name that says so; it leaves the manifest. Return its new path.

    >>> reject(Path("exports/model-int8.tflite")).name  # doctest: +SKIP
    'model-int8.tflite.rejected'
    """
    aside = path.with_name(path.name + REJECTED)
    _remove(aside)
    os.replace(path, aside)
    manifest.write(path.parent, ())
    return aside


def exported(folder: Path) -> tuple[Path, ...]:
    """Return the files that the manifest of an export folder lists.

    >>> exported(Path("saved_models/fashion/exports"))[0].name  # doctest: +SKIP
    'model-int8.tflite'

    Raises ArtifactError where there are none.
    """
    paths = tuple(folder / artifact.path for artifact in manifest.read(folder).artifacts)
    if not paths:
        raise ArtifactError(f"Nothing has been exported to '{folder}' yet. Run: keras-transfer export")
    return paths


def _row(name: str) -> Exporter:
    if name not in EXPORTERS:
        raise UsageError(unknown("export format", name, EXPORTERS))
    return EXPORTERS[name]


def _agree(traced: graph.Graph, contract: Contract) -> None:
    if (traced.image_size, traced.classes) != (contract.image_size, len(contract.class_names)):
        raise ExportError(
            f"The contract names {len(contract.class_names)} classes at {contract.image_size} px, "
            f"the model has {traced.classes} at {traced.image_size} px."
        )


def _check_calibration(calibration: np.ndarray | None, contract: Contract) -> None:
    count, classes = (0 if calibration is None else len(calibration)), len(contract.class_names)
    if count < classes:
        raise ExportError(
            f"int8 needs pictures to calibrate on, at least one for each of the {classes} classes. Received: {count}."
        )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(row: Exporter, source: Source, folder: Path, contract: Contract) -> Artifact:
    temporary, final = source.scratch / row.file, folder / row.file
    row.write(source, temporary, Card(contract=contract, precision=row.precision))
    for old in (final, final.with_name(final.name + REJECTED)):
        _remove(old)
    os.replace(temporary, final)
    size_bytes, sha256 = manifest.digest(final)
    return Artifact(
        path=final,
        format=row.format,
        precision=row.precision,
        output_dtype=row.output_dtype,
        size_bytes=size_bytes,
        sha256=sha256,
        contract=contract,
    )
