"""The table of annotations: what pictures are labelled with, and what that means wherever labels are handled.

Adding one is a row. A label is *listed* as sources write it (a class name, a tuple of them) and *stored* as one row of
`Split.labels`; everything else a data set does with labels is asked of the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_transfer import masks
from keras_transfer.data import box_labels, mask_labels
from keras_transfer.errors import UsageError
from keras_transfer.order import class_weights

BAR = "|"
"""Stands between the labels of one picture in a table."""

EVERYONE = "everyone"
"""The one stratum of identities: what is divided is they themselves."""

LEAST = 3
"""Different pictures that a stratum needs, one for each split."""


@dataclass(frozen=True)
class Annotation:
    """One row of the table."""

    name: str
    meaning: str
    """For a person, with the option that asks for it."""
    columns: tuple[str, ...]
    """Of a manifest: the ones it needs, the label's last."""
    names: Callable[[Any], tuple[str, ...]]
    """`names(listed label)`: the class names in it."""
    unite: Callable[[Sequence[Any]], Any] | None
    """`unite(listed labels of copies)`: the one label of a picture that comes several times; None: it stays several."""
    strata: Callable[[Sequence[str], Sequence[Any]], Sequence[str]]
    """`strata(contents, listed labels)`: the group in which each picture's split is drawn."""
    stored: Callable[[Sequence[Any], Mapping[Any, int]], np.ndarray]
    """`stored(listed labels, position of each class)`: `Split.labels`."""
    listed: Callable[[Any, Sequence[Any]], Any]
    """`listed(stored label, class names)`: the way back; with a range for the names it gives whole numbers for JSON."""
    text: Callable[[Any], str]
    """`text(listed label)`: what a table's cell and the digest say."""
    counts: Callable[[np.ndarray, int], np.ndarray]
    """`counts(stored labels, classes)`: pictures that show each class, int64 (classes,)."""
    targets: Callable[[np.ndarray, int, int, str], np.ndarray]
    """`targets(stored labels of a batch, classes, side, aspect)`: float32 (batch, …), also of an empty batch."""
    move: Callable[[Any, Any, Any], Any] | None
    """`move(targets, matrices, side)`, inside a graph: what a change of geometry does to targets; matrices float32
    (batch, 8) as keras.ops.image.affine_transform takes them. None: nothing."""
    mixes: bool
    """Whether two pictures may be mixed, and their targets in the same shares."""
    weights: Callable[[np.ndarray], np.ndarray] | None
    """`weights(stored labels)`: what balances classes, float32 (n,) of mean 1; None where nothing does."""
    seen: Callable[[np.ndarray, int, str], Any] = lambda labels, side, aspect: labels
    """`seen(stored labels, side, aspect)`: what answers to square pictures are judged by."""
    targets_of: Callable[[np.ndarray], Callable[[np.ndarray, int, int, str], np.ndarray]] | None = None
    """`targets_of(stored labels of all splits)`: what stands for `targets` where its shape depends on all of them."""
    tile: Callable[[Sequence[Any], Sequence[Any], Sequence[Any], Any], Any] | None = None
    """`tile(targets of each part, their matrices, their windows, side)`, inside a graph: targets of pictures that are
    put together of several, where these can be; see `box_labels.tile`."""
    marked: Callable[[np.ndarray, Any, Sequence[str]], np.ndarray] | None = None
    """`marked(pixels, listed label, class names)`: a picture under its label, uint8 (height, width, 3); None where a
    label says nothing of places."""
    mirrors: bool = True
    """Whether what a moved picture uncovers may mirror it; else it is grey, because targets know nothing of it."""
    resamples: bool = False
    """Whether a picture belongs to one class, so that classes can come equally often."""
    thing: str = "picture"
    """What is labelled, for a person."""
    clips: bool = False
    """Whether that is a clip: several frames of a video, and no picture."""
    apart: bool = False
    """Whether all pictures of a class stand in one split, so that validation and test show classes never trained on;
    each of theirs must have two pictures at least, for one alone can be compared with nothing."""


def annotation_of(source: str, holds: str, asked: str) -> Annotation:
    """Return the row that was asked for, or raise UsageError where the source holds another.

    >>> annotation_of("pets", holds="class", asked="class").name
    'class'
    """
    if holds != asked:
        have, want = ANNOTATIONS[holds].meaning, ANNOTATIONS[asked].meaning
        raise UsageError(f"'{source}' holds {have}, but was asked for {want}.")
    return ANNOTATIONS[asked]


def _targets_of_class(labels: np.ndarray, classes: int, side: int, aspect: str) -> np.ndarray:
    return (labels[:, None] == np.arange(classes)).astype(np.float32)


def _targets_of_classes(labels: np.ndarray, classes: int, side: int, aspect: str) -> np.ndarray:
    return labels.astype(np.float32)


def _targets_of_identity(labels: np.ndarray, classes: int, side: int, aspect: str) -> np.ndarray:
    return labels[:, None].astype(np.float32)


def _class_positions(listed: Sequence[str], positions: Mapping[Any, int]) -> np.ndarray:
    return np.array([positions[each] for each in listed], np.int64)


def _class_matrix(listed: Sequence[Sequence[str]], positions: Mapping[Any, int]) -> np.ndarray:
    there = np.zeros((len(listed), len(positions)), bool)
    for row, names in enumerate(listed):
        there[row, [positions[name] for name in names]] = True
    return there


def _rarest(contents: Sequence[str], listed: Sequence[tuple[str, ...]]) -> list[str]:
    """Return each picture's rarest label, so that rare ones stand in every split; too small groups join the largest."""
    different = dict(zip(reversed(contents), reversed(listed), strict=True))
    counts = Counter(name for names in different.values() for name in names)
    rarest = {content: min(names, key=lambda n: (counts[n], n), default="") for content, names in different.items()}
    sizes = Counter(rarest.values())
    largest = max(sizes, key=lambda name: (sizes[name], name), default="")
    return [rarest[each] if sizes[rarest[each]] >= LEAST else largest for each in contents]


def _weights_of_classes(labels: np.ndarray) -> np.ndarray:
    """Return the mean, over a picture's labels, of one by how often they occur; no label counts as one more label."""
    with_none = np.hstack([labels, ~labels.any(1, keepdims=True)]).astype(np.float64)
    raw = with_none @ (1 / np.maximum(1, with_none.sum(0))) / with_none.sum(1)
    return (raw / raw.mean()).astype(np.float32)


_CLASS = Annotation(
    name="class",
    meaning="one label a picture (--task classification)",
    columns=("path", "label"),
    names=lambda label: (label,),
    unite=None,
    strata=lambda contents, labels: labels,
    stored=_class_positions,
    listed=lambda label, names: names[int(label)],
    text=lambda label: label,
    counts=lambda labels, classes: np.bincount(labels, minlength=classes),
    targets=_targets_of_class,
    move=None,
    mixes=True,
    weights=class_weights,
    resamples=True,
)

ANNOTATIONS = {
    row.name: row
    for row in (
        _CLASS,
        Annotation(
            name="classes",
            meaning="any number of labels a picture (--task multilabel)",
            columns=("path", "labels"),
            names=lambda labels: labels,
            unite=lambda copies: tuple(sorted({name for labels in copies for name in labels})),
            strata=_rarest,
            stored=_class_matrix,
            listed=lambda labels, names: tuple(names[each] for each in np.flatnonzero(labels).tolist()),
            text=lambda labels: BAR.join(sorted(labels)),
            counts=lambda labels, classes: labels.sum(0, dtype=np.int64),
            targets=_targets_of_classes,
            move=None,
            mixes=True,
            weights=_weights_of_classes,
        ),
        replace(
            _CLASS,
            name="identity",
            meaning="who or what it is, of which others are recognized (--task embedding)",
            columns=("path", "identity"),
            strata=lambda contents, labels: [EVERYONE] * len(labels),
            targets=_targets_of_identity,
            mixes=False,
            apart=True,
        ),
        replace(
            _CLASS,
            name="clip",
            meaning="one label a clip of video (--task clips)",
            mixes=False,
            thing="video",
            clips=True,
        ),
        Annotation(
            name="mask",
            meaning="a class for each pixel (--task segmentation)",
            columns=("path", "mask"),
            names=mask_labels.names,
            unite=None,
            strata=lambda contents, labels: _rarest(contents, [mask_labels.names(each) for each in labels]),
            stored=mask_labels.stored,
            listed=mask_labels.from_stored,
            text=mask_labels.text,
            counts=mask_labels.counts,
            targets=mask_labels.targets,
            move=mask_labels.move,
            seen=masks.squared,
            marked=mask_labels.marked,
            mixes=False,
            weights=None,
        ),
        Annotation(
            name="boxes",
            meaning="any number of boxes a picture, each with a label (--task detection)",
            columns=("path", "label", "x1", "y1", "x2", "y2"),
            names=box_labels.names,
            unite=None,
            strata=lambda contents, labels: _rarest(contents, [box_labels.names(each) for each in labels]),
            stored=box_labels.stored,
            listed=box_labels.from_stored,
            text=box_labels.text,
            counts=box_labels.counts,
            targets=box_labels.targets,
            targets_of=box_labels.targets_of,
            move=box_labels.move,
            tile=box_labels.tile,
            mirrors=False,
            seen=box_labels.squared,
            marked=box_labels.marked,
            mixes=False,
            weights=None,
        ),
    )
}
"""By name. `classes` mixes as `class` does: MixUp and CutMix take targets in the shares of the pictures' parts; an
`identity` is one or another, and half of each is nobody; a `clip` would be mixed frame by frame, with itself."""
