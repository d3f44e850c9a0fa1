"""Writes and reads data sets as TFRecord shards, for those too big to be small files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data import shard_columns
from keras_transfer.data.annotations import ANNOTATIONS, Annotation, annotation_of
from keras_transfer.data.pictures import content_of
from keras_transfer.errors import DataError
from keras_transfer.files import aside, expanded, put, read_text
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Split, Splits, silent

INDEX = "shards.json"
"""What stands beside the shards: class names, and for each split its files and those of its columns."""

VERSION = 3
"""Version 1 knew one label a picture alone and does not say so; up to version 2 the index held all columns itself, as
lists of a million objects. Both are still read."""

SHARD_BYTES = 128 * 2**20
"""A shard is closed once it holds so much: large enough to read in one go, small enough to copy."""


def write(splits: Splits, folder: Path, *, listener: Listener = silent) -> Path:
    """Write a data set as shards into a new folder and return that folder.

    Each record is a tf.train.Example with `image/encoded`, `image/class/label`, `image/class/text` and `image/key`.
    Training pictures are written in an order that is stirred once: what is too big for the memory is shuffled by a
    buffer as it streams, and classes that came one after another would stay so. A stream keeps its own order.
    The folder appears under its name when all is written. Raises DataError where it stands already.
    """
    if folder.exists():
        raise DataError(f"'{folder}' is there already. Name a folder that is not.")
    try:
        with aside(folder.parent) as place:
            unfinished = place / folder.name
            unfinished.mkdir()
            index = {
                "version": VERSION,
                "annotation": splits.annotation,
                "class_names": list(splits.class_names),
                "digest": splits.digest,
                "typical_size": splits.typical_size,
                "given": list(splits.given),
                "splits": {
                    name: _write_split(splits, _stirred(splits[name]), unfinished, listener) for name in SPLIT_NAMES
                },
            }
            (unfinished / INDEX).write_text(json.dumps(index), encoding="utf-8")
            put(unfinished, folder)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written: {error.strerror}.") from None
    return folder


def load(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder of shards, as they were written; the index is read, and its columns are mapped.

    Raises DataError for an index of another version or shards that are missing.
    """
    folder = expanded(source)
    try:
        index = json.loads(read_text(folder / INDEX))
        if index["version"] not in range(1, VERSION + 1):
            raise DataError(f"'{folder / INDEX}' is of version {index['version']}, but this reads up to {VERSION}.")
        kind = annotation_of(source, index.get("annotation", "class"), asked=annotation)
        class_names = tuple(index["class_names"])
        splits = {name: _split(folder, name, index["splits"][name], kind, len(class_names)) for name in SPLIT_NAMES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{folder / INDEX}' is not an index of shards ({error}). Write the shards anew.") from None
    return Splits(
        source=source,
        **splits,
        frames=0,
        clip_seconds=0.0,
        known=None,
        skipped=(),
        annotation=annotation,
        class_names=class_names,
        digest=index["digest"],
        typical_size=index["typical_size"],
        given=tuple(index.get("given", ())),  # older shards do not say, and a split of ours proves nothing
    )


def has_shards(folder: Path) -> bool:
    """Return whether a folder was written by `write`."""
    return (folder / INDEX).is_file()


def _split(folder: Path, name: str, index: dict[str, Any], kind: Annotation, classes: int) -> Split:
    files = [folder / os.path.basename(file) for file in index["files"]]
    beside = index.get("columns", {})
    for file in [*files, *(folder / os.path.basename(each) for each in beside.values())]:
        if not file.is_file():
            raise DataError(f"'{file}' is missing. Copy it back or write the shards anew.")
    columns = shard_columns.read(folder, beside, kind, classes) if beside else _listed(index)
    if "labels" not in columns:
        columns["labels"] = kind.stored(index["labels"], {position: position for position in range(classes)})
    return Split(name=name, pictures=_stream([str(file) for file in files]), **columns)


def _listed(index: dict[str, Any]) -> dict[str, Any]:
    """The columns of an index that holds them itself."""
    weights, groups = index["weights"], index.get("groups")
    return {
        "keys": tuple(index["keys"]),
        "weights": None if weights is None else np.array(weights, np.float32),
        "groups": None if groups is None else np.array(groups, dtype=str),
    }


def _stream(files: list[str]) -> Callable[[], Any]:
    def encoded() -> Any:
        import tensorflow as tf

        feature = {"image/encoded": tf.io.FixedLenFeature((), tf.string)}
        records = tf.data.TFRecordDataset(files, buffer_size=2**20)
        return records.map(lambda record: tf.io.parse_single_example(record, feature)["image/encoded"])

    return encoded


def _stirred(split: Split) -> Split:
    if split.name != "train" or callable(split.pictures):
        return split
    return split.take(np.random.default_rng(0).permutation(len(split)))


def _write_split(splits: Splits, split: Split, folder: Path, listener: Listener) -> dict[str, Any]:
    import tensorflow as tf

    files: list[str] = []
    kind, places = ANNOTATIONS[splits.annotation], range(len(splits.class_names))
    listed = [kind.listed(label, places) for label in split.labels]
    writer, written = None, SHARD_BYTES
    for position, encoded in enumerate(encoded_pictures(split)):
        if written >= SHARD_BYTES:
            if writer is not None:
                writer.close()
            files.append(f"{split.name}-{len(files):05d}.tfrecord")
            writer, written = tf.io.TFRecordWriter(str(folder / files[-1])), 0
        positions: tuple[Any, ...] = kind.names(listed[position])
        example = tf.train.Example(
            features=tf.train.Features(
                feature={
                    "image/encoded": _bytes(encoded),
                    "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=positions)),
                    "image/class/text": _bytes(*(splits.class_names[each].encode() for each in positions)),
                    "image/key": _bytes(split.keys[position].encode()),
                }
            )
        )
        writer.write(example.SerializeToString())  # type: ignore[union-attr]
        written += len(encoded)
        if position % 1000 == 999:
            listener(Event("progress", f"Writing {split.name}", done=position + 1, total=len(split)))
    if writer is not None:
        writer.close()
    columns = shard_columns.write(split, folder)
    return {"files": files, "columns": columns, **({} if "labels" in columns else {"labels": listed})}


def encoded_pictures(split: Split) -> Iterator[bytes]:
    """Yield the encoded bytes of each picture of a split, in order; arrays come as PNG."""
    if callable(split.pictures):
        yield from split.pictures().as_numpy_iterator()
    elif split.pictures.dtype.kind == "U":
        yield from (_encoded(path) for path in split.pictures)
    else:
        import tensorflow as tf

        yield from (tf.io.encode_png(pixels).numpy() for pixels in split.pictures)


def _encoded(path: str) -> bytes:
    try:
        return content_of(path)
    except DataError as error:  # it was there when the source was listed
        raise DataError(f"'{path}' {error}.") from None


def _bytes(*values: bytes) -> Any:
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
