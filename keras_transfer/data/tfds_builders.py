"""Takes an image classification data set of TensorFlow Datasets, in its own splits or, where it lacks some, in ours."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_transfer.data.annotations import ANNOTATIONS, Annotation, annotation_of
from keras_transfer.data.decoding import open_picture
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import SIZED, check_class_names
from keras_transfer.data.splitting import TEST_SHARE, VALIDATION_SHARE, digest_of, split_by_content
from keras_transfer.errors import DataError, first_line
from keras_transfer.files import expanded
from keras_transfer.masks import VOID, pack
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Split, Splits, silent


def load(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of `tfds:NAME` (`tfds:mnist`, `tfds:cifar10:3.0.2`) or `tfds:FOLDER` of a prepared data set.

    A data set that is not prepared in TFDS_DATA_DIR is downloaded, where its hosts can be reached. Raises DataError
    where it cannot be had, or is not for image classification.
    """
    import tensorflow_datasets as tfds

    name = source.partition(":")[2]
    try:
        if expanded(name).is_dir():
            builder = tfds.builder_from_directory(str(expanded(name)))
        else:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
            if not builder.data_path.exists():
                listener(Event("note", f"Downloading and preparing {name} into {builder.data_path}"))
                builder.download_and_prepare()
    except Exception as error:  # its errors are of every type: registry, network, checksums, files
        raise DataError(f"'{source}' cannot be had: {first_line(error)}") from None
    return load_builder(builder, source=source, annotation=annotation, seed=seed, listener=listener)


def load_builder(
    builder: Any, *, source: str, annotation: str = "class", seed: int = 0, listener: Listener = silent
) -> Splits:
    """Return the splits of a builder whose data stands on disk; `tfds.folder_dataset.ImageFolder` is one.

    Its pictures are read once for their content; they stay where they are and stream from there.
    """
    image, label, class_names = _features(builder, source, annotation)
    kind = ANNOTATIONS[annotation]
    check_class_names(set(class_names))
    recorded = list(builder.info.splits) or ["train"]  # without a record on disk the usual one is asked for
    called = {SPLIT_FOLDERS[each]: each for each in recorded if each in SPLIT_FOLDERS}
    if "train" not in called:
        raise DataError(f"'{source}' has no training split. It has: {', '.join(recorded)}.")
    parts = {
        name: _read(each, _stream(builder, each, image, label), f"Reading {source}", kind, class_names, listener)
        for name, each in called.items()
    }
    if not parts["train"].labelled.any():
        raise DataError(f"'{source}' has no label for any training picture: nothing can be learned from it.")
    # A competition hides the labels of its test split: what nothing can be judged by is no split.
    own = {name: part for name, part in parts.items() if part.labelled.any()}
    placed = {name: np.where(part.labelled, name, "") for name, part in own.items()}
    placed["train"] = _placed(own, kind, seed)
    skipped = tuple(_left_out(parts, placed["train"]))
    if skipped:
        total = sum(len(part.contents) for part in parts.values())
        listener(Event("warning", f"Left out {len(skipped)} of {total} pictures: {skipped[0]} …"))
    return _made(source, own, placed, kind, class_names, skipped)


class _Part(NamedTuple):
    """What one pass over a split of the builder told."""

    called: str
    """Its name in the builder."""
    stream: Callable[[], Any]
    contents: list[str]
    labels: list[Any]
    """As the annotation lists them; None where there is none, which TensorFlow Datasets writes as -1."""
    sides: list[int]

    @property
    def labelled(self) -> np.ndarray:
        """Which pictures have a label."""
        return np.array([label is not None for label in self.labels], bool)


def _placed(own: Mapping[str, _Part], kind: Annotation, seed: int) -> np.ndarray:
    """Return the split of each training picture of the builder, empty where it is left out."""
    part = own["train"]
    held_out = {
        content
        for name, each in own.items()
        if name != "train"
        for content, labelled in zip(each.contents, each.labelled, strict=True)
        if labelled
    }
    placed = np.where(part.labelled, "train", "").astype(object)
    shares = (0.0 if "test" in own else TEST_SHARE, 0.0 if "validation" in own else VALIDATION_SHARE)
    if any(shares):
        chosen = np.flatnonzero(part.labelled)
        contents, labels = [part.contents[each] for each in chosen], [part.labels[each] for each in chosen]
        placed[chosen] = split_by_content(contents, kind.strata(contents, labels), seed=seed, shares=shares)
    placed[[content in held_out for content in part.contents]] = ""
    return placed


def _left_out(parts: Mapping[str, _Part], placed: np.ndarray) -> Iterator[str]:
    for name, part in parts.items():
        for position, labelled in enumerate(part.labelled.tolist()):
            if not labelled:
                yield f"{part.called}/{position} has no label"
            elif name == "train" and not placed[position]:
                yield f"{part.called}/{position} is also a held-out picture, so it is not trained on"


def _made(
    source: str,
    own: Mapping[str, _Part],
    placed: Mapping[str, np.ndarray],
    kind: Annotation,
    class_names: tuple[str, ...],
    skipped: tuple[str, ...],
) -> Splits:
    splits, rows, positions = {}, [], {each: position for position, each in enumerate(class_names)}
    for name in SPLIT_NAMES:
        origin = name if name in own else "train"
        part, mask = own[origin], placed[origin] == name
        chosen = np.flatnonzero(mask).tolist()
        splits[name] = Split(
            name=name,
            pictures=_some(part.stream, mask),
            labels=kind.stored([part.labels[each] for each in chosen], positions),
            keys=tuple(f"{part.called}/{position}" for position in chosen),
        )
        rows += [(name, kind.text(part.labels[each]), part.contents[each]) for each in chosen]
    sides = own["train"].sides
    return Splits(
        source=source,
        **splits,
        frames=0,
        clip_seconds=0.0,
        known=None,
        class_names=class_names,
        annotation=kind.name,
        digest=digest_of(rows),
        typical_size=int(np.median(sides)) if sides else 0,
        skipped=skipped,
        given=tuple(name for name in SPLIT_NAMES if name in own),
    )


def _features(builder: Any, source: str, annotation: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the names of the picture and of what labels it, and the class names."""
    import tensorflow_datasets as tfds

    labels: dict[str, dict[str, Any]] = {"class": {}, "classes": {}, "mask": {}}
    for name, feature in builder.info.features.items():
        if isinstance(feature, tfds.features.LabeledImage):
            labels["mask"][name] = feature
        inner = feature.feature if isinstance(feature, tfds.features.Sequence) else feature
        if isinstance(inner, tfds.features.ClassLabel):
            labels["class" if inner is feature else "classes"][name] = inner
    pictures = {name for name, each in builder.info.features.items() if isinstance(each, tfds.features.Image)}
    images = sorted(pictures - set(labels["mask"]))
    held = [each for each, found in labels.items() if found]
    if len(images) != 1 or not held:
        raise DataError(
            f"'{source}' is not for image classification: one image and a class label are needed. "
            f"It has: {', '.join(builder.info.features)}."
        )
    annotation_of(source, annotation if annotation in held else held[0], asked=annotation)
    found = labels[annotation]
    label = next((usual for usual in ("label", "labels") if usual in found), next(iter(found)))
    return images[0], label, tuple(found[label].names)


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


def _read(
    called: str,
    stream: Callable[[], Any],
    what: str,
    kind: Annotation,
    class_names: tuple[str, ...],
    listener: Listener,
) -> _Part:
    """Go through a split of the builder once."""
    contents, labels, sides = [], [], []
    for position, (encoded, label) in enumerate(stream().as_numpy_iterator()):
        contents.append(hashlib.sha256(encoded).hexdigest())
        stored = _STORED[kind.name](label, len(class_names))
        unlabelled = kind.name == "class" and label < 0
        labels.append(None if unlabelled else kind.listed(stored, class_names))
        if position < SIZED:
            with open_picture(io.BytesIO(encoded)) as picture:
                sides.append(min(picture.size))
        if position % 5000 == 4999:
            listener(Event("progress", what, done=position + 1))
    return _Part(called, stream, contents, labels, sides)


def _packed(mask: np.ndarray, classes: int) -> bytes:
    positions = mask[..., 0]
    strange = positions[(positions >= classes) & (positions != VOID)]
    if strange.size:
        raise DataError(f"A mask has {strange.size} pixels of {strange[0]}, but there are {classes} classes.")
    return pack(positions.astype(np.uint8))


_STORED: dict[str, Callable[[Any, int], Any]] = {
    "class": lambda label, classes: label,
    "classes": lambda label, classes: np.isin(np.arange(classes), label),
    "mask": _packed,
}
"""How an annotation stores what a builder gives as the label of one picture, by the number of classes."""
