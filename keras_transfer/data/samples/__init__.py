"""The data sets that travel inside the package, so that a first run needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import numpy as np

from keras_transfer.data import box_labels
from keras_transfer.data.annotations import ANNOTATIONS, annotation_of
from keras_transfer.data.clips import FRAMES
from keras_transfer.data.samples.composed import WIDE, composed, scattered
from keras_transfer.data.samples.moving import MOVES, moving
from keras_transfer.data.splitting import digest_of
from keras_transfer.errors import UsageError, unknown
from keras_transfer.masks import pack
from keras_transfer.specs import SPLIT_NAMES, Listener, Split, Splits, silent

Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Pictures, uint8 (n, height, width), or clips, (n, frames, height, width), and stored labels of each split."""


def load(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return an embedded data set, in the splits that it was published with.

    >>> load("sample:fashion").counts
    {'train': 1000, 'validation': 300, 'test': 1000}

    Grey pictures come as RGB. Raises UsageError for a name that no sample has, or labels of another kind.
    """
    name = source.partition(":")[2]
    if name not in SAMPLES:
        raise UsageError(unknown("sample", name, SAMPLES))
    holds, make = SAMPLES[name]
    row = annotation_of(source, holds, asked=annotation)
    class_names, parts = make()
    listed = {split: [row.listed(label, class_names) for label in labels] for split, (_, labels) in parts.items()}
    splits = {
        split: Split(
            name=split,
            pictures=pictures if pictures.shape[-1] == 3 else np.repeat(pictures[..., None], 3, axis=-1),
            labels=labels,
            keys=tuple(f"{split}/{row.text(label)}/{position:04d}" for position, label in enumerate(listed[split])),
        )
        for split, (pictures, labels) in parts.items()
    }
    return Splits(
        source=source,
        **splits,
        known=None,
        skipped=(),
        annotation=annotation,
        class_names=class_names,
        digest=digest_of(
            (split, row.text(label), picture.tobytes())
            for split, (pictures, _) in parts.items()
            for picture, label in zip(pictures, listed[split], strict=True)
        ),
        typical_size=int(min(splits["train"].pictures.shape[-3:-1])),
        frames=FRAMES if row.clips else 0,
        clip_seconds=0.0,
        given=SPLIT_NAMES,
    )


def fashion() -> tuple[tuple[str, ...], Parts]:
    """Return ten kinds of garment, one in each grey picture of 28 x 28 pixels: class names and parts."""
    with resources.files(__package__).joinpath("fashion.npz").open("rb") as file, np.load(file) as arrays:
        class_names = tuple(str(each) for each in arrays["class_names"])
        return class_names, {name: (arrays[f"{name}_x"], arrays[f"{name}_y"].astype(np.int64)) for name in SPLIT_NAMES}


def fashion_tags() -> tuple[tuple[str, ...], Parts]:
    """Return pictures of one to four garments each, composed of those that `fashion` has in the same split."""
    class_names, garments = fashion()
    stored, places = ANNOTATIONS["classes"].stored, {position: position for position in range(len(class_names))}
    parts = {}
    for seed, (name, (pictures, labels)) in enumerate(garments.items()):
        images, placed = composed(pictures, labels, count=len(pictures), seed=seed)
        parts[name] = images, stored([[each.label for each in things] for things in placed], places)
    return class_names, parts


def fashion_masks() -> tuple[tuple[str, ...], Parts]:
    """Return the pictures of `fashion_tags` and, of each pixel, which garment it shows or that it is background."""
    class_names, garments = fashion()
    parts = {}
    for seed, (name, (pictures, labels)) in enumerate(garments.items()):
        images, placed = composed(pictures, labels, count=len(pictures), seed=seed)
        masks = np.zeros(images.shape, np.uint8)
        for mask, things in zip(masks, placed, strict=True):
            for each in things:  # later things cover earlier ones
                mask[each.mask] = each.label + 1
        parts[name] = images, np.array([pack(mask) for mask in masks], object)
    return ("background", *class_names), parts


def fashion_boxes() -> tuple[tuple[str, ...], Parts]:
    """Return pictures of one to five garments of many sizes on a patterned ground, and the box around each."""
    class_names, garments = fashion()
    row, places = ANNOTATIONS["boxes"], {position: position for position in range(len(class_names))}
    parts = {}
    for seed, (name, (pictures, labels)) in enumerate(garments.items()):
        images, placed = scattered(pictures, labels, count=len(pictures), seed=seed)
        boxes = [[(*_shares(each.box), each.label) for each in things] for things in placed]
        parts[name] = images, row.stored([box_labels.listed(WIDE, WIDE, each) for each in boxes], places)
    return class_names, parts


def fashion_clips() -> tuple[tuple[str, ...], Parts]:
    """Return garments that move over a patterned ground, and the way each moves, which no single frame tells."""
    _, garments = fashion()
    count = {"train": 600, "validation": 200, "test": 400}
    return MOVES, {
        name: moving(pictures, count=count[name], frames=FRAMES, seed=seed)
        for seed, (name, (pictures, _)) in enumerate(garments.items())
    }


def _shares(box: tuple[int, int, int, int]) -> tuple[float, ...]:
    left, top, right, bottom = (side / WIDE for side in box)
    return top, left, bottom, right


SAMPLES = {
    "fashion": ("class", fashion),
    "fashion-tags": ("classes", fashion_tags),
    "fashion-masks": ("mask", fashion_masks),
    "fashion-boxes": ("boxes", fashion_boxes),
    "fashion-clips": ("clip", fashion_clips),
}
"""Name of a sample: what its pictures are labelled with, and what makes its class names and parts."""
