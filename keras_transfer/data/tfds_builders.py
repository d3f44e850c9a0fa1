"""Takes an image classification data set of TensorFlow Datasets, in its own splits or, where it lacks some, in ours."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import SIZED, check_class_names
from keras_transfer.data.splitting import TEST_SHARE, VALIDATION_SHARE, digest_of, split_by_content
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Split, Splits, silent


def load(source: str, *, seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of `tfds:NAME` (`tfds:mnist`, `tfds:cifar10:3.0.2`) or `tfds:FOLDER` of a prepared data set.

    A data set that is not prepared in TFDS_DATA_DIR is downloaded, where its hosts can be reached. Raises DataError
    where it cannot be had, or is not for image classification.
    """
    import tensorflow_datasets as tfds

    name = source.partition(":")[2]
    try:
        if Path(name).expanduser().is_dir():
            builder = tfds.builder_from_directory(str(Path(name).expanduser()))
        else:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
            if not builder.data_path.exists():
                listener(Event("note", f"Downloading and preparing {name} into {builder.data_path}"))
                builder.download_and_prepare()
    except Exception as error:  # its errors are of every type: registry, network, checksums, files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"'{source}' cannot be had: {reason}") from None
    return load_builder(builder, source=source, seed=seed, listener=listener)


def load_builder(builder: Any, *, source: str, seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a builder whose data stands on disk; `tfds.folder_dataset.ImageFolder` is one.

    Its pictures are read once for their content; they stay where they are and stream from there.
    """
    image, label = _features(builder, source)
    class_names = tuple(builder.info.features[label].names)
    check_class_names(set(class_names))
    recorded = list(builder.info.splits) or ["train"]  # without a record on disk the usual one is asked for
    own = {SPLIT_FOLDERS[each]: each for each in recorded if each in SPLIT_FOLDERS}
    if "train" not in own:
        raise DataError(f"'{source}' has no training split. It has: {', '.join(recorded)}.")
    streams = {name: _stream(builder, split, image, label) for name, split in own.items()}
    read = {name: _read(stream, f"Reading {source}", listener) for name, stream in streams.items()}
    shares = (0.0 if "test" in own else TEST_SHARE, 0.0 if "validation" in own else VALIDATION_SHARE)
    contents, labels, sides = read["train"]
    placed = np.full(len(contents), "train", dtype=object)
    if any(shares):
        placed = split_by_content(contents, [class_names[each] for each in labels], seed=seed, shares=shares)
    kept, skipped = {name: np.ones(len(each[0]), bool) for name, each in read.items()}, []
    held_out = {content for name, each in read.items() if name != "train" for content in each[0]}
    for position, content in enumerate(contents):
        if content in held_out:
            kept["train"][position] = False
            skipped.append(f"{own['train']}/{position} is also a held-out picture, so it is not trained on")
    if skipped:
        listener(Event("warning", f"Left out {len(skipped)} of {len(contents)} training pictures: {skipped[0]} …"))
    splits, rows = {}, []
    for name in SPLIT_NAMES:
        origin = name if name in own else "train"
        mask = kept[origin] & (placed == name) if origin == "train" else kept[origin]
        chosen = np.flatnonzero(mask)
        splits[name] = Split(
            name=name,
            pictures=_some(streams[origin], mask),
            labels=read[origin][1][chosen],
            keys=tuple(f"{own[origin]}/{position}" for position in chosen),
        )
        rows += [(name, class_names[read[origin][1][each]], read[origin][0][each]) for each in chosen.tolist()]
    return Splits(
        source=source,
        **splits,
        class_names=class_names,
        annotation="class",
        digest=digest_of(rows),
        typical_size=int(np.median(sides)) if sides else 0,
        skipped=tuple(skipped),
        given=tuple(name for name in SPLIT_NAMES if name in own),
    )


def _features(builder: Any, source: str) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    found = {
        kind: [name for name, feature in builder.info.features.items() if isinstance(feature, kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    }
    images, labels = found.values()
    if len(images) != 1 or not labels:
        raise DataError(
            f"'{source}' is not for image classification: one image and a class label are needed. "
            f"It has: {', '.join(builder.info.features)}."
        )
    return images[0], "label" if "label" in labels else labels[0]


def _stream(builder: Any, split: str, image: str, label: str) -> Callable[[], Any]:
    """Return what makes the dataset of (encoded picture, label) of a builder's split, always in the same order."""

    def pairs() -> Any:
        import tensorflow_datasets as tfds

        in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        dataset = builder.as_dataset(
            split=split, shuffle_files=False, read_config=in_order, decoders={image: tfds.decode.SkipDecoding()}
        )
        return dataset.map(lambda example: (example[image], example[label]))

    return pairs


def _some(stream: Callable[[], Any], mask: np.ndarray) -> Callable[[], Any]:
    def encoded() -> Any:
        import tensorflow as tf

        pairs = stream()
        if not mask.all():
            wanted = tf.constant(mask)
            pairs = pairs.enumerate().filter(lambda row, pair: wanted[row]).map(lambda row, pair: pair)
        return pairs.map(lambda picture, label: picture)

    return encoded


def _read(stream: Callable[[], Any], what: str, listener: Listener) -> tuple[list[str], np.ndarray, list[int]]:
    contents, labels, sides = [], [], []
    for position, (encoded, label) in enumerate(stream().as_numpy_iterator()):
        contents.append(hashlib.sha256(encoded).hexdigest())
        labels.append(int(label))
        if position < SIZED:
            with Image.open(io.BytesIO(encoded)) as picture:
                sides.append(min(picture.size))
        if position % 5000 == 4999:
            listener(Event("progress", what, done=position + 1))
    return contents, np.array(labels, np.int64), sides
