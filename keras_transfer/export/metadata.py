"""Writes the contract into each kind of file and reads it back.

| format | where it is |
| --- | --- |
| TFLite | `labels.txt` and `contract.json` packed behind the model, named by `TFLITE_METADATA` for MediaPipe |
| ONNX | `metadata_props` with the keys `labels.txt` and `contract.json` |
| SavedModel | `assets/labels.txt` and `assets/contract.json` |
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
from pydantic import ValidationError

from keras_transfer.errors import ArtifactError
from keras_transfer.export import tflite_tree
from keras_transfer.files import read_bytes
from keras_transfer.specs import IMAGE_INPUT, Contract, Output, Value

MOST_CARD_BYTES = 2**24
"""Of a contract: class names of any number that is told apart take less."""
LABELS_FILE = "labels.txt"
CONTRACT_FILE = "contract.json"
_TFLITE_ENTRY = b"TFLITE_METADATA"
_RGB, _IMAGE_PROPERTIES = 1, 2
_BOX_PROPERTIES, _BOUNDARIES, _LEFT_TOP_RIGHT_BOTTOM = 3, 1, (1, 0, 3, 2)
"""Where a reader finds left, top, right and bottom in y1 x1 y2 x2; their unit, a share of the side, is the default."""
_LABELS_OF = {"axis": 2, "values": 3}
"""Kinds of files of labels in the schema: of the places along an axis, of the values of a tensor."""


class Card(Value):
    """What a file says of itself: its contract and how its numbers are stored."""

    contract: Contract
    precision: str = "float32"


def files(card: Card) -> dict[str, bytes]:
    """Return the files that travel with a model: the labels, one a line, and the contract as JSON.

    >>> files(Card(contract=Contract(class_names=("cat", "dog"), image_size=96)))["labels.txt"]
    b'cat\\ndog\\n'
    """
    labels = "".join(f"{name}\n" for name in card.contract.class_names)
    return {LABELS_FILE: labels.encode(), CONTRACT_FILE: card.model_dump_json(indent=2).encode()}


def parse(text: str | bytes, *, where: str) -> Card:
    """Return the card of a `contract.json`; raises ArtifactError where it is not one."""
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"The contract in '{where}' cannot be read: {field}: {first['msg']}.") from None


def into_tflite(model: bytes, card: Card) -> bytes:
    """Return a TFLite file with the contract, labels and input size that MediaPipe Tasks looks for.

    Source: https://ai.google.dev/edge/litert/conversion/tensorflow/metadata (schema `M001`).
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = tflite_tree.read(model)
    entries = [entry for entry in tree.metadata or [] if entry.name != _TFLITE_ENTRY]
    buffer = schema.BufferT()
    buffer.data = list(_model_metadata(card, _in_file_order(tree, card.contract.outputs)))
    tree.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _TFLITE_ENTRY, len(tree.buffers) - 1
    tree.metadata = [*entries, entry]
    packed = io.BytesIO(tflite_tree.written(tree))
    # Stored, not compressed: MediaPipe maps the labels out of the file where they lie.
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files(card).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def from_tflite(content: bytes, *, where: str) -> Card | None:
    """Return the card packed behind a TFLite model, None where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = archive.getinfo(CONTRACT_FILE).file_size
            if size > MOST_CARD_BYTES:
                raise ArtifactError(f"The contract in '{where}' has {size:,} bytes, which is none.")
            return parse(archive.read(CONTRACT_FILE), where=where)
    except (zipfile.BadZipFile, KeyError):
        return None


def into_onnx(model: Any, card: Card) -> None:
    """Set the `metadata_props` of an onnx.ModelProto, which ONNX Runtime calls its custom metadata map."""
    properties = {name: content.decode() for name, content in files(card).items()}
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key not in properties}
    del model.metadata_props[:]
    for key, value in {**kept, **properties}.items():
        model.metadata_props.add(key=key, value=value)


def from_onnx(properties: Mapping[str, str], *, where: str) -> Card | None:
    """Return the card in ONNX `metadata_props`, None where there is none."""
    return parse(properties[CONTRACT_FILE], where=where) if CONTRACT_FILE in properties else None


def from_saved_model(folder: Path) -> Card | None:
    """Return the card among the assets of a SavedModel, None where there is none."""
    path = folder / "assets" / CONTRACT_FILE
    return parse(read_bytes(path, MOST_CARD_BYTES), where=str(folder)) if path.is_file() else None


def _in_file_order(tree: Any, outputs: Sequence[Output]) -> list[Output]:
    """Outputs in the order of the file, which the converter shuffles; readers pair metadata and tensors by position."""
    if len(outputs) == 1:
        return list(outputs)
    by_tensor = {each.tensorIndex: each.name.decode() for each in tree.signatureDefs[0].outputs}
    by_name = {output.name: output for output in outputs}
    return [by_name[by_tensor[index]] for index in tree.subgraphs[0].outputs]


def _model_metadata(card: Card, outputs: Sequence[Output]) -> bytes:
    """The `ModelMetadata` table; MediaPipe's own writer would bring 200 MB of packages for these few lines."""
    builder = flatbuffers.Builder(1024)
    contract = card.contract

    # Children come before their parents in a flatbuffer, so every value is made before its table is opened.
    def table(slots: int, fields: Mapping[int, tuple[str, int]]) -> tuple[str, int]:
        builder.StartObject(slots)
        for slot, (kind, value) in fields.items():
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
        return "UOffsetTRelative", builder.EndObject()

    def text(value: str) -> tuple[str, int]:
        return "UOffsetTRelative", builder.CreateString(value)

    def vector(*children: tuple[str, int]) -> tuple[str, int]:
        builder.StartVector(4, len(children), 4)
        for _, offset in reversed(children):
            builder.PrependUOffsetTRelative(offset)
        return "UOffsetTRelative", builder.EndVector()

    def numbers(values: Sequence[int]) -> tuple[str, int]:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependUint32(value)
        return "UOffsetTRelative", builder.EndVector()

    def described(output: Output) -> tuple[str, int]:
        fields = {}
        if output.kind == "boxes":
            boxes = table(3, {0: numbers(_LEFT_TOP_RIGHT_BOTTOM), 1: ("Int8", _BOUNDARIES)})
            fields[3] = table(3, {0: ("Uint8", _BOX_PROPERTIES), 1: boxes})
        if output.labels == "none":
            return table(7, {0: text(output.name), **fields})
        labels = table(5, {0: text(LABELS_FILE), 2: ("Int8", _LABELS_OF[output.labels])})
        return table(7, {0: text(output.name), **fields, 6: vector(labels)})

    def taken() -> tuple[str, int]:
        content = {}
        if contract.takes == IMAGE_INPUT:
            side = ("Uint32", contract.image_size)
            picture = table(2, {0: ("Int8", _RGB), 1: table(2, {0: side, 1: side})})
            content = {3: table(3, {0: ("Uint8", _IMAGE_PROPERTIES), 1: picture})}
        return table(7, {0: text(contract.takes), 1: text(contract.normalization), **content})

    source = taken()
    given = [described(output) for output in outputs]
    about = table(5, {0: text(CONTRACT_FILE), 1: text("The artifact contract of keras_transfer")})
    graph = table(10, {2: vector(source), 3: vector(*given)})
    name = f"{contract.backbone or 'model'} {contract.task}"
    root = {0: text(name), 3: vector(graph), 5: text(contract.license), 6: vector(about), 7: text("1.0.0")}
    builder.Finish(table(8, root)[1], file_identifier=b"M001")
    return bytes(builder.Output())
