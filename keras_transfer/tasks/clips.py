"""What happens in a clip: features of its frames, their mean, their order, and how places change; softmax."""

from __future__ import annotations

import keras

from keras_transfer.specs import (
    FEATURES,
    IMAGE_INPUT,
    LOGITS_LAYER,
    POOL_LAYER,
    PROBABILITIES_OUTPUT,
    Block,
    Network,
)
from keras_transfer.tasks.classification import LOSSES, merit

WIDTH = 64
"""Numbers that a frame is narrowed to: few clips have to teach what each of them means at each moment."""

WAYS = 4
"""Filters over time for each of those numbers."""

GRID = 6
"""Places a side that an earlier block's map is averaged to: where in the picture something is."""

SEEN = 16
"""Channels that each place keeps for what moves: what is narrowed over all places together has lost where it was."""

MOVED = 32
"""Filters that look at a neighbourhood in one frame and in the next."""

TAPS = (f"{POOL_LAYER}_places", POOL_LAYER)
"""Layers whose outputs are what the head takes of a frame."""

BESIDE_MOVES = ("narrow", "narrow_norm", "of_mean", "order_in_time", "of_order")
"""All of the head but what moves from place to place: numbers of whole frames, which know a few hundred clips by heart
before anything has to move."""


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    classes: int,
    dropout: float = 0.2,
    seed: int = 0,
    loss: str = "cross_entropy",
) -> Network:
    """Return the network that gives each clip one probability per class, in the flat graph of `features`.

    >>> attach(features, blocks, classes=4).model.output.name  # doctest: +SKIP
    'probabilities'

    features: on clips, as `backbones.features.build` gives them. The head takes of each frame the mean of the last map
    and an earlier one by places, and adds up three answers, of which each is nothing before it has learned: of what
    moves from place to place, and of both taps narrowed to `WIDTH` numbers, of their mean over the frames and of their
    order, by a depthwise convolution as long as the clip.
    """
    frames = int(features.input.shape[1])
    places = _by_places(blocks[max(0, len(blocks) - 3)].output)
    taps = (places, keras.layers.GlobalAveragePooling2D(name=TAPS[1], dtype="float32")(features.output))
    normed = [keras.layers.BatchNormalization(name=f"norm_{n}", dtype="float32")(tap) for n, tap in enumerate(taps)]
    in_time = keras.ops.reshape(_narrowed(normed, dropout, seed), (-1, frames, WIDTH))
    start = keras.initializers.GlorotUniform(seed=seed + 1)
    mean = keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")(in_time)
    mean = keras.layers.Dropout(dropout, seed=seed + 2, name="dropout", dtype="float32")(mean)
    of_mean = _answer(classes, "of_mean")(mean)
    order = keras.layers.DepthwiseConv1D(
        frames, depth_multiplier=WAYS, depthwise_initializer=start, name="order_in_time", dtype="float32"
    )(in_time)
    order = keras.layers.Flatten(dtype="float32")(order)
    order = keras.layers.Dropout(dropout, seed=seed + 3, name="dropout_order", dtype="float32")(order)
    moves = _moved(normed[0], frames, seed)
    moves = keras.layers.Dropout(dropout, seed=seed + 7, name="dropout_moves", dtype="float32")(moves)
    answers = [of_mean, _answer(classes, "of_order")(order), _answer(classes, "of_moves")(moves)]
    logits = keras.layers.Add(name=LOGITS_LAYER, dtype="float32")(answers)
    probabilities = keras.layers.Activation("softmax", name=PROBABILITIES_OUTPUT, dtype="float32")(logits)
    return Network(
        model=keras.Model(features.input, probabilities, name="clip_classifier"),
        blocks=blocks,
        features=taps,
        raw=(logits,),
        losses=LOSSES[loss],
        merit=merit,
    )


def halved(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return a model of clips in two, with the same weights: what a frame goes through once, and what a window does.

    >>> [half.output.shape for half in halved(model)]  # doctest: +SKIP
    [(None, 2720), (None, 4)]

    model: as `attach` gives it, whatever was folded into it. The first takes `image`, uint8 (batch, side, side, 3), and
    gives what the head takes of a frame as one row of `features`; the second takes `features`, float32
    (batch, frames, numbers), and gives what the model gives.
    """
    taps = [model.get_layer(name).output for name in TAPS]
    (clip,) = model.inputs
    _, frames, *picture = clip.shape
    unfolded = next(each.output for each in model.operations if each.input is clip)
    image = keras.Input(picture, dtype=clip.dtype, name=IMAGE_INPUT)
    rows = [keras.layers.Flatten(dtype="float32")(tap) for tap in keras.Model(unfolded, taps)(image)]
    numbers = [int(row.shape[1]) for row in rows]
    described = keras.layers.Concatenate(name=FEATURES, dtype="float32")(rows)

    window = keras.Input((frames, sum(numbers)), name=FEATURES)
    parts = keras.ops.split(keras.ops.reshape(window, (-1, sum(numbers))), [numbers[0]], axis=1)
    given = [keras.ops.reshape(part, (-1, *tap.shape[1:])) for part, tap in zip(parts, taps, strict=True)]
    answer = keras.Model(taps, model.output)(given)
    return keras.Model(image, described, name="frame"), keras.Model(window, answer, name="window")


def _answer(classes: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(classes, kernel_initializer="zeros", name=name, dtype="float32")


def _by_places(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Return maps averaged to at most `GRID` places a side: float32 (batch * frames, places, places, channels)."""
    step = max(1, -(-maps.shape[1] // GRID))
    return keras.layers.AveragePooling2D(step, padding="same", name=TAPS[0], dtype="float32")(maps)


def _moved(places: keras.KerasTensor, frames: int, seed: int) -> keras.KerasTensor:
    """Return how much of each of `MOVED` kinds of movement a clip shows, wherever it is: (batch, MOVED).

    A frame and the next one stand side by side as channels, so that a filter over both sees which way something goes,
    as it does for the same shift in Lin et al., TSM, ICCV 2019.
    """
    side = int(places.shape[1])
    x = _convolved(places, SEEN, 1, "seen", seed + 4)
    in_time = keras.ops.reshape(x, (-1, frames, side * side * SEEN))
    both = [keras.layers.Cropping1D(ends, dtype="float32")(in_time) for ends in ((0, 1), (1, 0))]
    both = [keras.ops.reshape(each, (-1, side, side, SEEN)) for each in both]
    x = keras.layers.Concatenate(dtype="float32")(both)
    x = _convolved(x, MOVED, 3, "moved_1", seed + 5)
    x = _convolved(x, MOVED, 3, "moved_2", seed + 6)
    x = keras.layers.GlobalAveragePooling2D(name="moved_anywhere", dtype="float32")(x)
    x = keras.ops.reshape(x, (-1, frames - 1, MOVED))
    return keras.layers.GlobalAveragePooling1D(name="moved", dtype="float32")(x)


def _convolved(x: keras.KerasTensor, filters: int, width: int, name: str, seed: int) -> keras.KerasTensor:
    start = keras.initializers.GlorotUniform(seed=seed)
    x = keras.layers.Conv2D(
        filters, width, padding="same", use_bias=False, kernel_initializer=start, name=name, dtype="float32"
    )(x)
    x = keras.layers.BatchNormalization(name=f"{name}_norm", dtype="float32")(x)
    return keras.layers.ReLU(dtype="float32")(x)


def _narrowed(normed: list[keras.KerasTensor], dropout: float, seed: int) -> keras.KerasTensor:
    """Return `WIDTH` numbers for each frame; taps are normed before, so that many channels do not drown few."""
    start = keras.initializers.GlorotUniform(seed=seed)
    x = keras.layers.Concatenate(dtype="float32")([keras.layers.Flatten(dtype="float32")(tap) for tap in normed])
    x = keras.layers.Dropout(dropout, seed=seed, name="dropout_frames", dtype="float32")(x)
    x = keras.layers.Dense(WIDTH, use_bias=False, kernel_initializer=start, name="narrow", dtype="float32")(x)
    x = keras.layers.BatchNormalization(name="narrow_norm", dtype="float32")(x)
    return keras.layers.ReLU(dtype="float32")(x)
