"""What happens in a clip: features of its frames, their mean, and which of them comes first; softmax."""

from __future__ import annotations

import keras

from keras_transfer.specs import LOGITS_LAYER, POOL_LAYER, PROBABILITIES_OUTPUT, Block, Network
from keras_transfer.tasks.classification import LOSSES, merit

WIDTH = 64
"""Numbers that a frame is narrowed to: few clips have to teach what each of them means at each moment."""

WAYS = 4
"""Filters over time for each of those numbers."""

GRID = 4
"""Places a side that an earlier block's map is averaged to: where in the picture something is."""

ORDER_LAYERS = ("order_in_time", "order")
"""What knows which frame comes first. It gives nothing until it has learned, so that without it the head is that of the
mean alone."""


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
    and that of an earlier one by places, narrows both to `WIDTH` numbers, and adds up two views of them: their mean
    over the frames, and a depthwise convolution over time that is as long as the clip.
    """
    frames = int(features.input.shape[1])
    earlier = blocks[max(0, len(blocks) - 3)].output
    taps = (_by_places(earlier), keras.layers.GlobalAveragePooling2D(name=POOL_LAYER, dtype="float32")(features.output))
    by_frame = _narrowed(taps, dropout, seed)
    in_time = keras.ops.reshape(by_frame, (-1, frames, WIDTH))
    start = keras.initializers.GlorotUniform(seed=seed + 1)
    mean = keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")(in_time)
    mean = keras.layers.Dropout(dropout, seed=seed + 2, name="dropout", dtype="float32")(mean)
    of_mean = keras.layers.Dense(classes, kernel_initializer=start, name="of_mean", dtype="float32")(mean)
    order = keras.layers.DepthwiseConv1D(
        frames, depth_multiplier=WAYS, depthwise_initializer=start, name=ORDER_LAYERS[0], dtype="float32"
    )(in_time)
    order = keras.layers.Flatten(dtype="float32")(order)
    order = keras.layers.Dropout(dropout, seed=seed + 3, name="dropout_order", dtype="float32")(order)
    of_order = keras.layers.Dense(classes, kernel_initializer="zeros", name=ORDER_LAYERS[1], dtype="float32")(order)
    logits = keras.layers.Add(name=LOGITS_LAYER, dtype="float32")([of_mean, of_order])
    probabilities = keras.layers.Activation("softmax", name=PROBABILITIES_OUTPUT, dtype="float32")(logits)
    return Network(
        model=keras.Model(features.input, probabilities, name="clip_classifier"),
        blocks=blocks,
        features=taps,
        raw=(logits,),
        losses=LOSSES[loss],
        merit=merit,
    )


def _by_places(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Return maps averaged to at most `GRID` places a side: float32 (batch * frames, places * channels)."""
    step = max(1, -(-maps.shape[1] // GRID))
    coarse = keras.layers.AveragePooling2D(step, padding="same", name=f"{POOL_LAYER}_places", dtype="float32")(maps)
    return keras.layers.Flatten(dtype="float32")(coarse)


def _narrowed(taps: tuple[keras.KerasTensor, ...], dropout: float, seed: int) -> keras.KerasTensor:
    """Return `WIDTH` numbers for each frame; taps are normed first, so that many channels do not drown few."""
    start = keras.initializers.GlorotUniform(seed=seed)
    normed = [keras.layers.BatchNormalization(name=f"norm_{n}", dtype="float32")(tap) for n, tap in enumerate(taps)]
    x = keras.layers.Concatenate(dtype="float32")(normed)
    x = keras.layers.Dropout(dropout, seed=seed, name="dropout_frames", dtype="float32")(x)
    x = keras.layers.Dense(WIDTH, use_bias=False, kernel_initializer=start, name="narrow", dtype="float32")(x)
    x = keras.layers.BatchNormalization(name="narrow_norm", dtype="float32")(x)
    return keras.layers.ReLU(dtype="float32")(x)
