"""A class for every pixel: features of several strides, one map of logits, softmax.

The target of a picture is a mask: float32 or whole numbers (batch, side, side), class positions, `VOID` where nothing
is said and nothing counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.masks import VOID
from keras_transfer.specs import PROBABILITIES_OUTPUT, Block, Losses, Network

LOGITS_LAYER = "logits"

STRIDES = (4, 8, 16, 32)
"""Pixels of the picture for one of the tapped features, from fine to coarse."""

FINEST = 2
"""Stride of a tap before these, where a backbone has one."""

CHANNELS = 64
"""Of the maps that the head sums."""

STEP = 2
"""Every how manieth pixel of each side losses look at: logits are made at stride 2 or 4 and enlarged, so that
neighbours say nearly the same, and to look at all of them takes four times as long."""

LOVASZ_STEP = 4
"""The same of the Lovász loss: sorting more pixels of all classes takes longer than the network."""

Head = Callable[[Sequence[Any], int, float, int], Any]
"""`head(taps, classes, dropout, seed)`: logits at the stride of the first tap that it takes; a keras.KerasTensor."""


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    taps: Sequence[Any],
    classes: int,
    dropout: float = 0.1,
    seed: int = 0,
    loss: str = "balanced+dice",
    head: str = "fpn",
) -> Network:
    """Return the network that gives each pixel a probability for each class, in the flat graph of `features`.

    >>> attach(features, blocks, taps=taps, classes=11).model.output.shape  # doctest: +SKIP
    (None, 320, 320, 11)

    taps: KerasTensors (batch, height, width, channels), from fine to coarse, one for each of `STRIDES`, perhaps one of
    stride `FINEST` before them. loss: a row of `LOSSES`; head: a row of `HEADS`. The head computes in float32 whatever
    the precision of the backbone. Raises UsageError for a side that the strides do not divide.
    """
    side = features.input.shape[1]
    if side % STRIDES[-1]:
        raise UsageError(
            f"A class for each pixel wants pictures of a multiple of {STRIDES[-1]} pixels a side. Received: {side}."
        )
    coarse = HEADS[head](taps, classes, dropout, seed)
    logits = _enlarged(coarse, side // coarse.shape[1], name=LOGITS_LAYER)
    probabilities = keras.layers.Softmax(name=PROBABILITIES_OUTPUT, dtype="float32")(logits)
    return Network(
        model=keras.Model(features.input, probabilities, name="segmenter"),
        blocks=blocks,
        features=tuple(taps),
        raw=(logits,),
        losses=LOSSES[loss],
        merit=merit,
        training_merit=False,
    )


def fpn(taps: Sequence[Any], classes: int, dropout: float, seed: int) -> Any:
    """Return logits at the finest stride: taps as `CHANNELS` maps, enlarged and summed, then separable convolutions.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3.1. A tap of stride 2 joins after
    the sum, with half of the maps: what is a few pixels wide in the picture has none of its own at stride 4.
    """
    *finer, fine = [tap for tap in taps if tap.shape[1] >= taps[-1].shape[1] * STRIDES[-1] // STRIDES[0]]
    coarse = taps[len(finer) :]
    maps = [
        _enlarged(_convolved(tap, CHANNELS, seed + i), fine.shape[1] // tap.shape[1]) for i, tap in enumerate(coarse)
    ]
    summed = _activated(keras.layers.Add(dtype="float32")(maps))
    for number in range(2):
        summed = _activated(_separable(summed, seed + 10 + number))
    for number, tap in enumerate(finer):
        before = _enlarged(_convolved(summed, CHANNELS // 2, seed + 20 + number), tap.shape[1] // fine.shape[1])
        joined = keras.layers.Add(dtype="float32")([before, _convolved(tap, CHANNELS // 2, seed + 30 + number)])
        summed = _activated(_separable(_activated(joined), seed + 40 + number))
    dropped = keras.layers.Dropout(dropout, seed=seed, dtype="float32")(summed)
    return _pointwise(classes, seed)(dropped)


def lraspp(taps: Sequence[Any], classes: int, dropout: float, seed: int) -> Any:
    """Return logits at stride 8: the coarsest tap, weighed by what the whole picture shows, and one finer tap.

    Less work than `fpn`, and coarser edges. Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 6.4.
    """
    fine, coarse = taps[-3], taps[-1]
    mapped = _activated(_convolved(coarse, 2 * CHANNELS, seed))
    seen = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype="float32")(coarse)
    weighed = keras.layers.Multiply(dtype="float32")([mapped, _pointwise(2 * CHANNELS, seed + 1, "sigmoid")(seen)])
    enlarged = _enlarged(weighed, fine.shape[1] // coarse.shape[1])
    dropped = keras.layers.Dropout(dropout, seed=seed, dtype="float32")(enlarged)
    both = [_pointwise(classes, seed + 2)(dropped), _pointwise(classes, seed + 3)(fine)]
    return keras.layers.Add(dtype="float32")(both)


HEADS: Mapping[str, Head] = {"fpn": fpn, "lraspp": lraspp}
"""By name; the first is the task's own."""


def _activated(tensor: Any) -> Any:
    return keras.layers.ReLU(dtype="float32")(tensor)


def _pointwise(channels: int, seed: int, activation: str | None = None) -> keras.layers.Conv2D:
    initializer = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Conv2D(channels, 1, activation=activation, kernel_initializer=initializer, dtype="float32")


def _convolved(tensor: Any, channels: int, seed: int) -> Any:
    """A pointwise convolution and its batch norm: taps of one backbone differ in scale by an order of magnitude."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    convolution = keras.layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=initializer, dtype="float32")
    return keras.layers.BatchNormalization(momentum=0.9, dtype="float32")(convolution(tensor))


def _separable(tensor: Any, seed: int) -> Any:
    initializer = keras.initializers.GlorotUniform(seed=seed)
    depthwise = keras.layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, depthwise_initializer=initializer, dtype="float32"
    )
    normalized = keras.layers.BatchNormalization(momentum=0.9, dtype="float32")(depthwise(tensor))
    return _convolved(normalized, tensor.shape[-1], seed)


def _enlarged(tensor: Any, times: int, name: str | None = None) -> Any:
    if times == 1 and name is None:
        return tensor
    return keras.layers.UpSampling2D(times, interpolation="bilinear", dtype="float32", name=name)(tensor)


def thinned(loss: Losses, step: int = STEP) -> Losses:
    """Return a loss that looks at every `step`th pixel of both sides of logits and masks, the first included."""

    def of_fewer(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
        return loss(tuple(each[:, ::step, ::step] for each in raw), targets[:, ::step, ::step], label_smoothing)

    return of_fewer


def cross_entropy(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the cross-entropy of each picture, float32 (batch,): the mean over its pixels that count.

    label_smoothing: the share of a pixel's target that is spread over all classes.
    """
    positions, counts = _counted(targets)
    return _mean(_of_pixels(raw[0], positions, label_smoothing), counts)


def balanced_cross_entropy(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the cross-entropy of each picture, float32 (batch,), in which a class weighs as the root of its area.

    Poles are half a percent of a street: by its area alone a class like that is not worth being named. A whole
    share for each class (median frequency balancing: Eigen & Fergus 2015, section 4.3.1) says too many of them.
    """
    positions, counts = _counted(targets)
    areas = tf.reduce_sum(tf.one_hot(positions, raw[0].shape[-1]) * counts[..., None], (1, 2))
    weights = counts * tf.math.rsqrt(tf.maximum(tf.gather(areas, positions, batch_dims=1), 1.0))
    return _mean(_of_pixels(raw[0], positions, label_smoothing), weights)


def balanced_dice(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the balanced cross-entropy plus Dice loss of each picture, float32 (batch,)."""
    return balanced_cross_entropy(raw, targets, label_smoothing) + dice_loss(raw, targets)


def dice(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return cross-entropy plus Dice loss of each picture, float32 (batch,)."""
    return cross_entropy(raw, targets, label_smoothing) + dice_loss(raw, targets)


def dice_loss(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return the Dice loss of each picture, float32 (batch,): small classes weigh as much as large ones.

    The mean is over the classes that the picture shows. Source: Milletari et al., V-Net, 3DV 2016, section 3, with one
    pixel added above and below, so that classes of a few pixels do not swing.
    """
    positions, counts = _counted(targets)
    shares = tf.nn.softmax(raw[0]) * counts[..., None]
    there = tf.one_hot(positions, shares.shape[-1]) * counts[..., None]
    size = tf.reduce_sum(there, (1, 2))
    overlap, both = tf.reduce_sum(shares * there, (1, 2)), tf.reduce_sum(shares, (1, 2)) + size
    return _over_shown(1 - (2 * overlap + 1) / (both + 1), size)


def lovasz(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the Lovász softmax loss of each picture, float32 (batch,): what IoU itself comes down to.

    Of the classes that the picture shows.
    Source: Berman, Rannen Triki & Blaschko, The Lovász-Softmax Loss, CVPR 2018, algorithm 1.
    """
    (logits,) = raw
    positions, counts = _counted(targets)
    there = tf.one_hot(positions, logits.shape[-1]) * counts[..., None]
    errors = tf.abs(there - tf.nn.softmax(logits)) * counts[..., None]
    errors, there = (_by_class(each) for each in (errors, there))
    worst_first, order = tf.math.top_k(errors, k=tf.shape(errors)[-1])
    hits = tf.gather(there, order, batch_dims=2)
    size = tf.reduce_sum(there, -1)
    missed = 1 - (size[..., None] - tf.cumsum(hits, -1)) / tf.maximum(size[..., None] + tf.cumsum(1 - hits, -1), 1.0)
    steps = tf.concat([missed[..., :1], missed[..., 1:] - missed[..., :-1]], -1)
    surrogate = tf.reduce_sum(worst_first * tf.stop_gradient(steps), -1)
    return _over_shown(surrogate, size)


def cross_entropy_lovasz(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return cross-entropy plus Lovász loss of each picture, float32 (batch,), the latter of fewer pixels."""
    sorted_out = thinned(lovasz, LOVASZ_STEP // STEP)
    return cross_entropy(raw, targets, label_smoothing) + sorted_out(raw, targets, label_smoothing)


LOSSES: dict[str, Losses] = {
    "balanced+dice": thinned(balanced_dice),
    "cross_entropy+dice": thinned(dice),
    "cross_entropy": thinned(cross_entropy),
    "cross_entropy+lovasz": thinned(cross_entropy_lovasz),
}
"""By the name a plan calls them; the first is the task's own."""


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return the mean IoU of each picture, float32 (batch,) in [0, 1]; 1 where no pixel counts.

    The mean is over the classes that the picture shows or that are said of one of its pixels that count.
    """
    (logits,) = raw
    classes = logits.shape[-1]
    positions, counts = _counted(targets)
    pictures = tf.range(tf.shape(logits)[0])[:, None, None] * classes**2
    cells = pictures + positions * classes + tf.argmax(logits, -1, tf.int32)
    confusion = tf.math.unsorted_segment_sum(
        tf.reshape(counts, [-1]), tf.reshape(cells, [-1]), tf.shape(logits)[0] * classes**2
    )
    confusion = tf.reshape(confusion, (-1, classes, classes))
    both = tf.linalg.diag_part(confusion)
    either = tf.reduce_sum(confusion, 1) + tf.reduce_sum(confusion, 2) - both
    ious = tf.math.divide_no_nan(both, either)
    any_class = tf.reduce_any(either > 0, -1)
    return tf.where(any_class, _over_shown(ious, either), 1.0)


def _of_pixels(logits: Any, positions: Any, label_smoothing: float) -> Any:
    """The cross-entropy of every pixel, float32 (batch, side, side)."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=positions, logits=logits)
    if not label_smoothing:
        return losses
    spread = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
    return losses * (1 - label_smoothing) + spread * label_smoothing


def _mean(losses: Any, weights: Any) -> Any:
    """The weighed mean over the pixels of each picture, float32 (batch,); 0 where none counts."""
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights, (1, 2)), tf.reduce_sum(weights, (1, 2)))


def _counted(targets: Any) -> tuple[Any, Any]:
    """The classes of pixels, int32, 0 for void, and 1 where a pixel counts, float32: both (batch, side, side)."""
    positions = tf.cast(targets, tf.int32)
    counts = positions != VOID
    return tf.where(counts, positions, 0), tf.cast(counts, tf.float32)


def _over_shown(values: Any, sizes: Any) -> Any:
    """The mean of (batch, classes) over the classes whose size is not 0: float32 (batch,)."""
    shown = tf.cast(sizes > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(values * shown, -1), tf.reduce_sum(shown, -1))


def _by_class(maps: Any) -> Any:
    """(batch, height, width, classes) as (batch, classes, pixels)."""
    shape = tf.shape(maps)
    return tf.transpose(tf.reshape(maps, (shape[0], -1, maps.shape[-1])), (0, 2, 1))
