"""Named augmentation policies: what may change in a picture without changing what it shows.

A policy works on whole batches and draws nothing itself. What it needs by chance comes as noise, a row of uniform
numbers that depends on the seed, the epoch and the picture alone, so a resumed run sees the same pictures again. The
layers of keras-cv and Keras are given the transformations made from it instead of drawing their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.data.annotations import ANNOTATIONS, Annotation
from keras_transfer.errors import UsageError, unknown

NOISE = 32
"""Random numbers per picture and epoch; the last `varied.NUMBERS` are those of its reading."""

CLIENTS = "+clients"
"""Behind the name of a policy: pictures are read by a filter that is drawn, and half of them from JPEG of a quality
that is drawn, so that a model does not mind how programs that use it read theirs (`data.varied`)."""

GREY = 127.0
"""What covered parts show: the middle of the range, which normalization takes to about zero."""

Draw = Callable[[float, float], Any]
"""`draw(low, high)`: the next uniform number for each picture, float32 (batch,)."""

Step = Callable[[Any, Any, Draw], tuple[Any, Any]]
"""`step(images, targets, draw) -> images, targets`: images are float32 (batch, size, size, 3) in 0-255."""

MakeStep = Callable[[Annotation], Step]
"""`make(annotation)`: the step for pictures so labelled; what moves pictures moves their targets, too."""

Policy = Callable[[Any, Any, Any], tuple[Any, Any]]
"""`policy(images, targets, noise) -> images, targets`: uint8 (batch, size, size, 3), float32 (batch, …), and
float32 (batch, NOISE) in [0, 1)."""


def parted(name: str) -> tuple[str, bool]:
    """Return the policy of an augmentation's name, and whether pictures are read as clients read them.

    >>> parted("light"), parted("light+clients")
    (('light', False), ('light', True))
    """
    return name.removesuffix(CLIENTS), name.endswith(CLIENTS)


def policy(name: str, annotation: Annotation = ANNOTATIONS["class"]) -> Policy:
    """Return the batch function of a named policy, for pictures labelled as the annotation says.

    >>> images, targets = np.zeros((2, 8, 8, 3), np.uint8), np.eye(2, dtype=np.float32)
    >>> policy("none")(images, targets, None)[0] is images
    True

    With `+clients` behind a name nothing else is done to pictures: it is their reading that varies. Raises UsageError
    for a name that `POLICIES` does not have, or one that mixes what cannot be mixed.
    """
    if name not in NAMES:
        raise UsageError(unknown("augmentation", name, NAMES))
    name, _ = parted(name)
    if MIXING in POLICIES[name] and not (annotation.mixes or annotation.tile):
        others = ", ".join(each for each, steps in POLICIES.items() if MIXING not in steps and each not in IN_TIME)
        raise UsageError(
            f"Augmentation '{name}' mixes pictures, which those with {annotation.meaning} cannot be. Use: {others}."
        )
    return _traced(name, annotation) if POLICIES[name] else _unchanged


def of_clips(pictures: Policy, frames: int) -> Policy:
    """Return a policy of pictures as one of clips, uint8 (batch, frames, size, size, 3): all frames change alike."""

    def augmented(images: Any, targets: Any, noise: Any) -> tuple[Any, Any]:
        alike = (targets, noise if noise is None else tf.repeat(noise, frames, axis=0))
        side = images.shape[2]
        folded, _ = pictures(tf.reshape(images, (-1, side, side, 3)), *alike)
        return tf.reshape(folded, (-1, frames, side, side, 3)), targets

    return augmented


def _unchanged(images: Any, targets: Any, noise: Any) -> tuple[Any, Any]:
    return images, targets


@cache
def _traced(name: str, annotation: Annotation) -> Policy:
    steps = [make_step(annotation) for make_step in POLICIES[name]]

    def augmented(images: Any, targets: Any, noise: Any) -> tuple[Any, Any]:
        columns = iter(tf.unstack(noise, num=NOISE, axis=1))

        def draw(low: float, high: float) -> Any:
            return low + (high - low) * next(columns)

        floats = tf.cast(images, tf.float32)
        for step in steps:
            floats, targets = step(floats, targets, draw)
        return tf.cast(tf.clip_by_value(floats + 0.5, 0, 255), tf.uint8), targets

    # Traced anew for each size: one trace for all would forget how large targets are, which stores and steps must know.
    return tf.function(augmented, autograph=False)


def noise(seed: int, epoch: int, pictures: int) -> np.ndarray:
    """Return uniform numbers in [0, 1) for each picture of a split: float32 (pictures, NOISE).

    A row depends on (seed, epoch, row) alone: a longer split begins with the same rows.
    """
    return np.random.default_rng((seed, epoch, NOISE)).random((pictures, NOISE), np.float32)


def noise_at(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """Return some rows of `noise` without the others, which take 128 MB for a million pictures: float32 (n, NOISE).

    >>> bool((noise_at(0, 1, np.array([7, 2])) == noise(0, 1, 8)[[7, 2]]).all())
    True

    rows: positions in the split, int (n,); the generator is moved on to where each row begins.
    """
    bits = np.random.PCG64((seed, epoch, NOISE))  # which `default_rng` takes
    rng = np.random.Generator(bits)
    drawn, begins = np.empty((len(rows), NOISE), np.float32), 0
    for numbers, row in zip(drawn, rows.tolist(), strict=True):
        bits.advance(row * NOISE // 2 - begins)  # two of these floats come of one step
        rng.random(out=numbers, dtype=np.float32)
        begins = (row + 1) * NOISE // 2
    return drawn


def moments(name: str, seed: int, epoch: int, clips: int, frames: int) -> np.ndarray | None:
    """Return where in its part of a clip each frame is taken: float32 (clips, frames) in [0, 1).

    None, which means the middle, for policies that are not in `IN_TIME`. A row depends on (seed, epoch, row) alone, and
    parts do not meet, so frames keep their order. Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.
    """
    if name not in IN_TIME:
        return None
    return np.random.default_rng((seed, epoch, NOISE, frames)).random((clips, frames), np.float32)


def geometry(*, shift: float, zoom: float, turn: float = 0.0, flip: float = 0.5) -> MakeStep:
    """Return the step that mirrors pictures left to right and moves all a little, in one interpolation.

    shift: fraction of the side; zoom: fraction of the size; turn: radians; each is drawn from its negative to itself.
    flip: share of the pictures that are mirrored, 0-1.
    """

    def step(images: Any, targets: Any, draw: Draw, *, annotation: Annotation) -> tuple[Any, Any]:
        size = tf.cast(tf.shape(images)[1], tf.float32)
        mirror = tf.where(draw(0, 1) < flip, -1.0, 1.0)
        scale, angle = 1 + draw(-zoom, zoom), draw(-turn, turn)
        right, down = draw(-shift, shift) * size, draw(-shift, shift) * size
        middle = (size - 1) / 2
        a, b = mirror * scale * tf.cos(angle), -scale * tf.sin(angle)
        c, d = mirror * scale * tf.sin(angle), scale * tf.cos(angle)
        nothing = tf.zeros_like(a)
        matrices = tf.stack(
            [
                *(a, b, middle + right - a * middle - b * middle),
                *(c, d, middle + down - c * middle - d * middle),
                *(nothing, nothing),
            ],
            axis=1,
        )
        moved = targets if annotation.move is None else annotation.move(targets, matrices, size)
        beside = {"fill_mode": "reflect"} if annotation.mirrors else {"fill_mode": "constant", "fill_value": GREY}
        return keras.ops.image.affine_transform(images, matrices, **beside), moved

    return lambda annotation: partial(step, annotation=annotation)


def light_and_colour(*, brightness: float, contrast: float, paleness: float) -> MakeStep:
    """Return the step that changes brightness (fraction of 255), contrast (fraction) and how pale colours are."""

    def make(annotation: Annotation) -> Step:
        import keras_cv

        brighten = keras_cv.layers.RandomBrightness(brightness)
        stretch = keras_cv.layers.RandomContrast(value_range=(0, 255), factor=contrast)
        fade = keras_cv.layers.RandomColorDegeneration(paleness)

        def step(images: Any, targets: Any, draw: Draw) -> tuple[Any, Any]:
            images = brighten.augment_images(images, _per_picture(draw(-255 * brightness, 255 * brightness)))
            images = stretch.augment_images(images, _per_picture(draw(1 - contrast, 1 + contrast)))
            return fade.augment_images(images, _per_picture(draw(0, paleness))), targets

        return step

    return cache(make)


def erasing(*, least: float, most: float) -> MakeStep:
    """Return the step that puts a grey rectangle into each picture (Zhong et al. 2017, arXiv:1708.04896).

    least, most: of its sides, as fractions of the picture's.
    """

    def make(annotation: Annotation) -> Step:
        import keras_cv

        cut = keras_cv.layers.RandomCutout((least, most), (least, most), fill_value=GREY)

        def step(images: Any, targets: Any, draw: Draw) -> tuple[Any, Any]:
            size = tf.cast(tf.shape(images)[1], tf.float32)
            places = {
                name: tf.cast(size * draw(*limits), tf.int32)
                for name, limits in (
                    ("centers_x", (0, 1)),
                    ("centers_y", (0, 1)),
                    ("rectangles_height", (least, most)),
                    ("rectangles_width", (least, most)),
                )
            }
            return cut.augment_images(images, places), targets

        return step

    return cache(make)


def grid(*, least: float, most: float, gap: float) -> MakeStep:
    """Return the step that lays a grid of grey squares over half of the pictures (GridMask, Chen 2020).

    least, most: distance of the squares, as a fraction of the picture's side; gap: their side, as a fraction of that.
    keras-cv's own layer draws its grid picture by picture, which takes longer than all of `strong` together.
    """

    def step(images: Any, targets: Any, draw: Draw) -> tuple[Any, Any]:
        size = tf.cast(tf.shape(images)[1], tf.float32)
        unit = size * draw(least, most)
        line = tf.range(size)[None, :]
        across, down = (
            tf.math.floormod(line + (unit * draw(0, 1))[:, None], unit[:, None]) < gap * unit[:, None] for _ in range(2)
        )
        covered = down[:, :, None] & across[:, None, :] & (draw(0, 1) < 0.5)[:, None, None]
        return tf.where(covered[..., None], GREY, images), targets

    return lambda annotation: step


def mixing() -> MakeStep:
    """Return the step that mixes pictures and their targets with the one before in the batch.

    That is the one before in the epoch's order, which the seed and the epoch decide, except for the first picture of a
    batch: its partner is the batch's last, so it alone depends on the batch size (in no batch of another size would
    its true neighbour be at hand).
    A quarter of the pictures is blended (MixUp, Zhang et al. 2018, arXiv:1710.09412), a quarter gets a patch
    (CutMix, Yun et al. 2019, arXiv:1905.04899), each with alpha = 1. Targets are mixed in the same shares: a picture
    with several labels keeps each by the share of it that still shows. Pictures with boxes are tiled instead.
    """

    def make(annotation: Annotation) -> Step:
        if annotation.tile:
            return partial(_mosaic, tile=annotation.tile)
        blend, patch = keras.layers.MixUp(), keras.layers.CutMix()

        def step(images: Any, targets: Any, draw: Draw) -> tuple[Any, Any]:
            shape = tf.shape(images)
            next_one = tf.roll(tf.range(shape[0]), 1, axis=0)
            choice, share = draw(0, 1), draw(0, 1)
            size = tf.cast(shape[1], tf.float32)
            side = tf.where((choice >= 0.25) & (choice < 0.5), size * tf.sqrt(1 - share), 0.0)
            line, masks = tf.range(size)[None, :], []
            for _ in range(2):
                start = draw(0, 1) * (size - side)
                masks.append((line >= start[:, None]) & (line < (start + side)[:, None]))
            covered = (masks[0][:, :, None] & masks[1][:, None, :])[..., None]
            kept = 1 - tf.reduce_mean(tf.cast(covered, tf.float32), axis=(1, 2, 3))
            patched = {"permutation_order": next_one, "batch_masks": covered, "mix_weight": kept}
            blended = {"permutation_order": next_one, "mix_weight": tf.where(choice < 0.25, share, 1.0)}
            for layer, how in ((patch, patched), (blend, blended)):
                images, targets = layer.transform_images(images, how), layer.transform_labels(targets, how)
            return images, targets

        return step

    return cache(make)


def _mosaic(images: Any, targets: Any, draw: Draw, *, tile: Callable[..., Any]) -> tuple[Any, Any]:
    """Put half of the pictures together of themselves and the three before them in the batch, in four quadrants.

    They meet at a point in the middle half of the picture. A quadrant is filled by the middle of its picture, which is
    made smaller to the longer side of the quadrant, so nothing is grey. Source: Bochkovskiy et al., YOLOv4, 2020,
    arXiv:2004.10934, section 3.4.
    """
    side = tf.cast(tf.shape(images)[1], tf.float32)
    alone, *centre = draw(0, 1) < 0.5, draw(0.25, 0.75), draw(0.25, 0.75)
    down, right = (tf.where(alone, side, tf.round(share * side)) for share in centre)  # in whole pixels
    start, end = tf.zeros_like(down), tf.fill(tf.shape(down), side)
    line, made = tf.range(side)[None, :], images
    parts: list[tuple[Any, Any, Any]] = []
    for number, (y1, x1, y2, x2) in enumerate(
        ((start, start, down, right), (start, right, down, end), (down, start, end, right), (down, right, end, end))
    ):
        high, wide = y2 - y1, x2 - x1
        scale = tf.maximum(tf.maximum(high, wide), 1.0) / side
        across, along = (
            (0.5 - first) / scale + (side - extent / scale) / 2 - 0.5 for first, extent in ((x1, wide), (y1, high))
        )
        nothing = tf.zeros_like(scale)
        matrices = tf.stack([1 / scale, nothing, across, nothing, 1 / scale, along, nothing, nothing], axis=1)
        inside_y, inside_x = ((line >= first[:, None]) & (line < last[:, None]) for first, last in ((y1, y2), (x1, x2)))
        inside = (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
        moved = keras.ops.image.affine_transform(tf.roll(images, number, axis=0), matrices)
        made = tf.where(inside, moved, made)
        parts.append((tf.roll(targets, number, axis=0), matrices, tf.stack([y1, x1, y2, x2], axis=1) / side))
    return made, tile(*zip(*parts, strict=True), side)


def _per_picture(numbers: Any) -> Any:
    return numbers[:, None, None, None]


MIXING = mixing()

POLICIES: dict[str, tuple[MakeStep, ...]] = {
    "none": (),
    "light": (geometry(shift=0.05, zoom=0.05),),
    "light_no_flip": (geometry(shift=0.05, zoom=0.05, flip=0.0),),
    "light_in_time": (geometry(shift=0.05, zoom=0.05, flip=0.0),),
    "standard": (
        geometry(shift=0.1, zoom=0.15, turn=0.15),
        light_and_colour(brightness=0.1, contrast=0.2, paleness=0.3),
        erasing(least=0.1, most=0.35),
    ),
    "scenes": (
        geometry(shift=0.1, zoom=0.35, turn=0.05),
        light_and_colour(brightness=0.1, contrast=0.2, paleness=0.2),
    ),
    "strong": (
        geometry(shift=0.15, zoom=0.3, turn=0.35),
        light_and_colour(brightness=0.2, contrast=0.4, paleness=0.6),
        grid(least=0.2, most=0.5, gap=0.4),
        erasing(least=0.1, most=0.4),
        MIXING,
    ),
}
"""Name of a policy: makers of its steps, in order. What needs keras-cv imports it when it is first asked for."""

IN_TIME = frozenset({"light_in_time"})
"""Policies that take each frame of a clip anywhere in its part, in place of the middle; of a picture there is nothing
to take."""

NAMES = (*POLICIES, *(f"{name}{CLIENTS}" for name in POLICIES))
"""All that `Stage.augment` may be."""
