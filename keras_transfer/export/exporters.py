"""Writes models in the formats of the table, and gives files their names when they are proven."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import vouching
from keras_transfer.errors import ArtifactError, ExportError
from keras_transfer.export import graph, halves, manifest, onnx, saved_model, tflite
from keras_transfer.export.formats import Format, check_halves, format_of
from keras_transfer.export.graph import Graph
from keras_transfer.export.halves import Half, Halve
from keras_transfer.export.metadata import Card
from keras_transfer.files import aside, put
from keras_transfer.specs import EMBEDDING_OUTPUT, Artifact, Contract, Event, Listener, silent

REJECTED = ".rejected"
LEARNED = "tflite-int8"
"""The format that a model can be trained for."""
FEW_PICTURES = 8
"""Below so many to calibrate on, ranges of activations are hearsay; more than that need not hold every class."""


@dataclass(frozen=True)
class Material:
    """What every exporter reads: the traced model, the pictures to calibrate on, a place for intermediate files."""

    graph: Graph
    calibration: np.ndarray | None
    scratch: Path
    contract: Contract
    decode: saved_model.Decode | None = None
    halve: Callable[[], tuple[keras.Model, keras.Model]] | None = None
    learned: Graph | None = None
    """Of the model as it was trained in whole numbers, where it was."""

    @cached_property
    def frozen(self) -> tflite.Frozen:
        """A SavedModel of constants with a batch of 1, written once for all TFLite files."""
        return _frozen(self.graph, self.scratch / "frozen")

    def source(self, precision: str) -> tflite.Frozen:
        """What a TFLite file of a precision is converted from: `int8` from what learnt to be right in it."""
        if self.learned is None or precision != "int8":
            return self.frozen
        return _frozen(self.learned, self.scratch / "learned")

    @cached_property
    def halves(self) -> tuple[Half, ...]:
        """The model in two, traced once for all formats that are a pair of files."""
        assert self.halve
        return halves.traced(self.halve(), self.contract)


def _frozen(traced: graph.Graph, path: Path) -> tflite.Frozen:
    saved_model.write_frozen(traced, path, batch=1)
    ends_in_float = any(output.kind == "boxes" or output.name == EMBEDDING_OUTPUT for output in traced.outputs)
    whole = tflite.whole_outputs(traced.outputs)
    return tflite.Frozen(path, traced.affine, whole, ends_in_float, learned=traced.ranged)


def _saved_model(material: Material, path: Path, card: Card, row: Format) -> None:
    saved_model.write(material.graph, path, card, material.decode)


def _tflite(material: Material, path: Path, card: Card, row: Format) -> None:
    path.write_bytes(tflite.convert(material.source(card.precision), card, material.calibration))


def _onnx(material: Material, path: Path, card: Card, row: Format) -> None:
    onnx.write(material.graph, path, card, material.calibration, layout=row.layout)


def _tflite_stream(material: Material, path: Path, card: Card, row: Format) -> None:
    path.mkdir()
    for half in material.halves:
        source = _frozen(half.graph, material.scratch / half.name)
        (path / f"{half.name}.tflite").write_bytes(tflite.convert(source, Card(contract=half.contract)))


def _onnx_stream(material: Material, path: Path, card: Card, row: Format) -> None:
    path.mkdir()
    for half in material.halves:
        onnx.write(half.graph, path / f"{half.name}.onnx", Card(contract=half.contract))


WRITERS: Mapping[tuple[str, bool], Callable[[Material, Path, Card, Format], None]] = {
    ("saved_model", False): _saved_model,
    ("tflite", False): _tflite,
    ("onnx", False): _onnx,
    ("tflite", True): _tflite_stream,
    ("onnx", True): _onnx_stream,
}
"""How a row of `formats.FORMATS` is written, by what it is and whether it is a pair of files."""


def export(
    model: keras.Model,
    folder: Path,
    names: Sequence[str],
    contract: Contract,
    *,
    calibration: np.ndarray | None = None,
    decode: saved_model.Decode | None = None,
    halve: Halve | None = None,
    learned: keras.Model | None = None,
    listener: Listener = silent,
) -> tuple[Artifact, ...]:
    """Write a model in the named formats, unproven, and `manifest.json` beside them; return one artifact per name.

    >>> export(model, Path("exports"), ["tflite", "onnx"], contract)[0].path.name  # doctest: +SKIP
    'model.tflite'

    Takes and raises what `drafted` does.
    """
    given: dict[str, Any] = {"calibration": calibration, "decode": decode, "halve": halve, "learned": learned}
    given["listener"] = listener
    with drafted(model, folder, names, contract, **given) as artifacts:
        return promote(artifacts, folder)


@contextmanager
def drafted(
    model: keras.Model,
    folder: Path,
    names: Sequence[str],
    contract: Contract,
    *,
    calibration: np.ndarray | None = None,
    decode: saved_model.Decode | None = None,
    halve: Halve | None = None,
    learned: keras.Model | None = None,
    listener: Listener = silent,
) -> Iterator[tuple[Artifact, ...]]:
    """Write a model in the named formats where nobody looks for them, and give one artifact per name, in order.

    >>> with drafted(model, Path("exports"), ["tflite"], contract) as drafts:  # doctest: +SKIP
    ...     promote([each for each in drafts if proven(each)], Path("exports"))

    Only `promote` gives a draft its own name and only `reject` keeps one that failed; a draft that got neither is gone
    at the end. Drafts of an export that was killed are swept out by the next one.

    model: `image` uint8 (None, side, side, 3) to the contract's outputs, float32. contract: travels inside every file.
    calibration: uint8 (n, side, side, 3), read by the fully quantized formats. decode: how training read pictures;
    with it the SavedModel also takes encoded ones. halve: makes two of a model of clips, for the pair of files.
    learned: the model as it was trained in whole numbers, with the ranges of what it rounds; `tflite-int8` is then
    written from it, and measures nothing.
    Raises UsageError for a name that the table has not, ExportError where a format cannot be written as promised.
    """
    names = tuple(dict.fromkeys(names))
    rows = [format_of(name) for name in names]
    check_halves(names, halve)
    if measured(names, learned=learned is not None):
        _check_calibration(calibration, listener)
    with _left_alone():
        traced = graph.trace(model, contract.outputs)
        _agree(traced, contract)
        with aside(folder) as place:
            halving = partial(halve, model) if halve else None
            whole = graph.trace(learned, contract.outputs) if learned else None
            material = Material(traced, calibration, place / "scratch", contract, decode, halving, whole)
            artifacts = []
            for position, (name, row) in enumerate(zip(names, rows, strict=True)):
                listener(Event("progress", f"Writing {name}", done=position, total=len(names)))
                artifacts.append(_write(row, material, place, contract))
            listener(Event("progress", "Written", done=len(names), total=len(names)))
            yield tuple(artifacts)


def promote(artifacts: Sequence[Artifact], folder: Path) -> tuple[Artifact, ...]:
    """Give drafts their own names in `folder`, in place of what has them, and enter them in the manifest.

    >>> promote(drafts, Path("exports"))[0].path.name  # doctest: +SKIP
    'model.tflite'

    A rejected file of the same name goes: the promoted one takes its place.
    """
    promoted = []
    for artifact in artifacts:
        final = folder / artifact.path.name
        put(artifact.path, final)
        _remove(final.with_name(final.name + REJECTED))
        promoted.append(artifact.model_copy(update={"path": final}))
    manifest.write(folder, promoted)
    return tuple(promoted)


def reject(artifact: Artifact, folder: Path, reason: str) -> Artifact:
    """Set aside a file that must not be used, under a name that says so, and enter it in the manifest as rejected.

    >>> reject(artifact, Path("exports"), "accuracy drops by 3.00 points (at most 1)").path.name  # doctest: +SKIP
    'model-int8.tflite.rejected'

    artifact: a draft, or a file of `folder` that proved wrong later; what is rejected already stays and gets the new
    reason. An accepted file that has the name of a rejected draft stays as it is: it was proven.
    """
    place = folder / (artifact.path.name.removesuffix(REJECTED) + REJECTED)
    if artifact.path != place:
        put(artifact.path, place)
    moved = artifact.model_copy(update={"path": place})
    manifest.write(folder, rejected=[manifest.Rejected(artifact=moved, reason=reason)])
    return moved


def measured(names: Sequence[str], *, learned: bool = False) -> bool:
    """Return whether any of these formats measures activations on pictures; UsageError for a name that is none.

    >>> measured(["tflite", "tflite-int8"])
    True

    learned: whether `tflite-int8` is written from a model that was trained in whole numbers.
    """
    rows = {name: format_of(name) for name in names}
    return any(row.calibrated and not (learned and name == LEARNED) for name, row in rows.items())


def exported(folder: Path) -> tuple[Path, ...]:
    """Return the accepted files of an export folder; none where every one was rejected.

    >>> exported(Path("saved_models/fashion/exports"))[0].name  # doctest: +SKIP
    'model-int8.tflite'

    Raises ArtifactError where nothing was ever exported.
    """
    if not (folder / manifest.MANIFEST_FILE).is_file():
        raise ArtifactError(f"Nothing has been exported to '{folder}' yet. Run: keras-transfer export")
    return tuple(folder / artifact.path for artifact in manifest.read(folder).artifacts)


def rejected(folder: Path) -> tuple[manifest.Rejected, ...]:
    """Return the files of an export folder that were set aside, each with the reason; none where there are none."""
    return tuple(
        each.model_copy(update={"artifact": each.artifact.model_copy(update={"path": folder / each.artifact.path})})
        for each in manifest.read(folder).rejected
    )


def _agree(traced: graph.Graph, contract: Contract) -> None:
    if traced.shape != contract.shape:
        raise ExportError(f"The contract promises to take {contract.shape}, the model takes {traced.shape}.")


def _check_calibration(calibration: np.ndarray | None, listener: Listener) -> None:
    count = 0 if calibration is None else len(calibration)
    if not count:
        raise ExportError("int8 needs pictures to calibrate on, and none came. Give the training pictures.")
    if count < FEW_PICTURES:
        told = f"int8 is calibrated on {count} pictures: what they do not show, the file cannot tell apart"
        listener(Event("warning", told))


@contextmanager
def _left_alone() -> Iterator[None]:
    """Keep the garbage collector from what is there already: TensorFlow and the model, a million objects that stay.

    Converters make so many objects that it goes through all of them ten times, a twelfth of an export's CPU seconds.
    """
    if gc.get_freeze_count():  # a program that settled this for itself
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(row: Format, material: Material, place: Path, contract: Contract) -> Artifact:
    path = place / row.file
    card = Card(contract=contract, precision=row.precision)
    WRITERS[row.format, row.halved](material, path, card, row)
    size_bytes, sha256 = manifest.digest(path)
    vouching.vouch(sha256)
    return Artifact(
        path=path,
        format=row.format,
        precision=row.precision,
        output_dtype=row.output_dtype if tflite.whole_outputs(contract.outputs) else "float32",
        size_bytes=size_bytes,
        sha256=sha256,
        contract=contract,
    )
