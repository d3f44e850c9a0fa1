"""Where things are: a pyramid over three strides; at every place of it a score for each class and a box.

There are no anchors: a place says how far the four sides of its box are away (FCOS: Tian et al. 2019). Which places
answer for a box is decided by how well they do (TOOD: Feng et al. 2021). In exported files boxes that say the same are
removed by operations on whole tensors, which every runtime carries out alike and for any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.specs import Block, Losses, Network

STRIDES = (8, 16, 32)
"""Pixels between the places of a level. Things of a few pixels would need 4, at three times the cost of the others."""

CHANNELS = 64
DEPTH = 2
"""Separable convolutions in each tower."""

MOMENTUM = 0.9
"""Of the moving statistics: Keras' own 0.99 would still remember where a stage of a thousand small steps began."""

RARE = -4.0
"""Logit that scores begin with: one place in fifty shows something (focal loss: Lin et al. 2017, section 4.1)."""

ANSWERING = 10
"""Places that may answer for one box, as in TOOD: a small box teaches as many as a large one."""

SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
"""How well a place answers: score^0.5 * IoU^6 (TOOD, equation 1, with the powers that YOLOv8 uses)."""

SCORE_WEIGHT, BOX_WEIGHT = 0.5, 2.0
"""Of the two parts of the loss."""

CANDIDATES = 200
"""Best scores of a picture that are looked at for copies of each other; a crowd of more is cut off."""

DETECTIONS = 100
"""Boxes that a file gives at most, as COCO counts them."""

OVERLAP = 0.6
"""IoU from which the lower of two boxes of a class is a copy of the higher."""

ROUNDS = 8
"""Rounds of removing copies: as many as boxes can hang on each other in a chain, of which more than four are rare."""

BATCH = 64
"""Pictures whose boxes are compared at once: 10 MB of pairs."""

FAINT = 0.02
"""Score below which nothing is given: what is left are tails that cost precision nothing and runtimes time."""


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    taps: Sequence[Any],
    classes: int,
    dropout: float = 0.0,
    seed: int = 0,
    loss: str = "task_aligned",
) -> Network:
    """Return the detector on features of the strides 8, 16 and 32.

    >>> attach(features, blocks, taps=taps, classes=3).model.output[0].shape  # doctest: +SKIP
    (None, 2100, 3)

    Its model gives `scores`, logits float32 (batch, places, classes), and `distances`, float32 (batch, places, 4), of
    which `boxes_of` makes boxes; `settled` makes the four outputs of exported files of both. taps: KerasTensors
    (batch, height, width, channels), from fine to coarse, one for each of `STRIDES`. dropout: none is here; whole
    features of a place would be missing. Raises UsageError for a side that the coarsest stride does not divide.
    """
    side = int(features.input.shape[1])
    if side % STRIDES[-1] or side < 2 * STRIDES[-1]:
        raise UsageError(
            f"Boxes want pictures of a multiple of {STRIDES[-1]} pixels a side, from {2 * STRIDES[-1]} on, "
            f"so that places of all strides meet. Received: {side}."
        )
    levels = _pyramid(taps, seed)
    scores = _told("scores", levels, classes, RARE, seed)
    distances = _told("distances", levels, 4, 1.0, seed)
    model = keras.Model(features.input, [scores, distances], name="detector")
    return Network(
        model=model,
        blocks=blocks,
        features=tuple(taps),
        raw=(scores, distances),
        losses=LOSSES[loss],
        merit=merit,
        training_merit=False,
    )


def _pyramid(taps: Sequence[Any], seed: int) -> list[Any]:
    """Each tap in the same few channels, and what the coarser ones know added to the finer (Lin et al. 2017, FPN)."""
    narrow = [
        _normed(keras.layers.Conv2D(CHANNELS, 1, **_start(seed), name=f"narrow_{i}")(tap), f"narrow_{i}")
        for i, tap in enumerate(taps)
    ]
    summed = [narrow[-1]]
    for finer in reversed(narrow[:-1]):
        summed.append(keras.layers.Add()([finer, keras.layers.UpSampling2D()(summed[-1])]))
    return [_separable(level, f"smooth_{i}", seed) for i, level in enumerate(reversed(summed))]


def _told(name: str, levels: Sequence[Any], width: int, start: float, seed: int) -> Any:
    """What one tower says at every place of every level, finest first; convolutions are shared, their norms are not.

    Levels differ in their statistics more than in what they look for (Ghiasi et al. 2019, NAS-FPN, section 3.2).
    """
    depthwise = [
        keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise_{i}")
        for i in range(DEPTH)
    ]
    pointwise = [keras.layers.Conv2D(CHANNELS, 1, **_start(seed), name=f"{name}_pointwise_{i}") for i in range(DEPTH)]
    last = keras.layers.Conv2D(
        width,
        3,
        padding="same",
        bias_initializer=keras.initializers.Constant(start),
        name=f"{name}_last",
        dtype="float32",
    )
    parts = []
    for number, level in enumerate(levels):
        for i in range(DEPTH):
            level = _activated(_normed(pointwise[i](depthwise[i](level)), f"{name}_{i}_{number}"))
        parts.append(keras.layers.Reshape((-1, width), name=f"{name}_{number}", dtype="float32")(last(level)))
    return keras.layers.Concatenate(axis=1, name=name, dtype="float32")(parts)


def _separable(x: Any, name: str, seed: int) -> Any:
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    return _activated(_normed(keras.layers.Conv2D(CHANNELS, 1, **_start(seed), name=f"{name}_pointwise")(x), name))


def _normed(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)


def _activated(x: Any) -> Any:
    return keras.layers.ReLU(6.0)(x)


def _start(seed: int) -> dict[str, Any]:
    return {"use_bias": False, "kernel_initializer": keras.initializers.GlorotUniform(seed=seed)}


def places(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of every place, float32 (places, 2) as y and x, and its stride, in shares of the side."""
    middles, strides = [], []
    for stride in STRIDES:
        line = (np.arange(side // stride, dtype=np.float32) + 0.5) * stride / side
        middles.append(np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(middles[-1]), stride / side, np.float32))
    return np.concatenate(middles), np.concatenate(strides)


def side_of(count: int) -> int:
    """Return the side of the picture, in pixels, in which there are so many places."""
    cells = sum((STRIDES[-1] // stride) ** 2 for stride in STRIDES)  # in each square of the coarsest stride
    return round((count / cells) ** 0.5) * STRIDES[-1]


def boxes_of(distances: Any) -> Any:
    """Return boxes, float32 (batch, places, 4) as y1, x1, y2, x2 in shares of the side, of what the towers say.

    Distances are positive and grow with the stride: a softplus of what is said, times twice the stride.
    """
    middles, strides = places(side_of(int(distances.shape[1])))
    away = tf.nn.softplus(distances) * (2.0 * strides[:, None])
    return tf.concat([middles - away[..., :2], middles + away[..., 2:]], axis=-1)


def task_aligned(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the loss of each picture, float32 (batch,): cross-entropy of scores with how well places should answer,
    and GIoU of the boxes of those that answer.

    targets: float32 (batch, most, 5): y1, x1, y2, x2 in shares of the side and the class; rows below the picture's
    boxes have class -1. Source: Feng et al., TOOD, ICCV 2021, sections 3.2 and 3.3; GIoU: Rezatofighi et al. 2019.
    """
    scores, distances = raw
    boxes, wanted, kinds = boxes_of(distances), targets[..., :4], tf.cast(tf.maximum(targets[..., 4], 0), tf.int32)
    quality, chosen = _assigned(tf.stop_gradient(tf.sigmoid(scores)), tf.stop_gradient(boxes), targets)
    goal = tf.one_hot(tf.gather(kinds, chosen, batch_dims=1), scores.shape[-1]) * quality[..., None]
    of_scores = tf.nn.sigmoid_cross_entropy_with_logits(labels=goal * (1 - label_smoothing), logits=scores)
    of_boxes = quality * (1 - generalized_iou(boxes, tf.gather(wanted, chosen, batch_dims=1)))
    # By what there is to find, at least one: a picture without objects teaches scores alone, and does not divide by 0.
    found = tf.maximum(tf.reduce_sum(quality, axis=-1), 1.0)
    return (SCORE_WEIGHT * tf.reduce_sum(of_scores, axis=(1, 2)) + BOX_WEIGHT * tf.reduce_sum(of_boxes, axis=1)) / found


LOSSES: dict[str, Losses] = {"task_aligned": task_aligned}


def _assigned(scores: Any, boxes: Any, targets: Any) -> tuple[Any, Any]:
    """Return how well each place should answer, (batch, places) in [0, 1], and which box it answers for."""
    wanted, kinds = targets[..., :4], tf.cast(tf.maximum(targets[..., 4], 0), tf.int32)
    there = tf.cast(targets[..., 4] >= 0, tf.float32)[..., None]
    middles, _ = places(side_of(int(boxes.shape[1])))
    inside = tf.reduce_all((middles > wanted[:, :, None, :2]) & (middles < wanted[:, :, None, 2:]), axis=-1)
    may = there * tf.cast(inside, tf.float32)  # (batch, most, places), as all that follows
    overlap = iou(boxes[:, None], wanted[:, :, None])
    score = tf.gather(tf.transpose(scores, (0, 2, 1)), kinds, batch_dims=1)
    # Before anything is learned nothing overlaps: a hair more than nothing lets places inside a box begin.
    aligned = may * (score**SCORE_POWER * overlap**OVERLAP_POWER + 1e-9)
    least = tf.math.top_k(aligned, ANSWERING).values[..., -1:]
    answers = tf.where((aligned >= least) & (aligned > 0), overlap + 1e-6, -1.0)
    chosen = tf.argmax(answers, axis=1, output_type=tf.int32)  # a place inside two boxes answers for the nearer one
    own = tf.one_hot(chosen, tf.shape(targets)[1], axis=1) * tf.cast(answers > 0, tf.float32)
    aligned, overlap = aligned * own, overlap * own
    best = tf.reduce_max(aligned, axis=-1, keepdims=True)
    quality = tf.math.divide_no_nan(aligned, best) * tf.reduce_max(overlap, axis=-1, keepdims=True)
    return tf.reduce_max(quality, axis=1), chosen


def iou(one: Any, other: Any) -> Any:
    """Return the share of two boxes' union that both cover; (…, 4) and (…, 4) as y1, x1, y2, x2, broadcast."""
    both, union, _ = _areas(one, other)
    return both / union


def generalized_iou(one: Any, other: Any) -> Any:
    """Return IoU less the share of the smallest box around both that neither covers: -1 to 1."""
    both, union, around = _areas(one, other)
    return both / union - (around - union) / around


def _areas(one: Any, other: Any) -> tuple[Any, Any, Any]:
    """Areas of what both cover, of what either covers, and of the box around both; never 0."""

    def area(low: Any, high: Any) -> Any:
        return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)

    low, high, other_low, other_high = one[..., :2], one[..., 2:], other[..., :2], other[..., 2:]
    both = area(tf.maximum(low, other_low), tf.minimum(high, other_high))
    around = area(tf.minimum(low, other_low), tf.maximum(high, other_high))
    return both, area(low, high) + area(other_low, other_high) - both + 1e-9, around + 1e-9


def settled(scores: Any, distances: Any) -> dict[str, Any]:
    """Return what exported files give, of what the network says: the best boxes, without those that are copies.

    `location` float32 (batch, DETECTIONS, 4) as y1, x1, y2, x2 in [0, 1]; `category` and `score` float32 (batch,
    DETECTIONS), best first; `number of detections` float32 (batch,). Rows behind the last detection are 0.
    A box is a copy of a better one of its class that is itself no copy and covers it: greedy suppression, in rounds
    over all boxes at once (Cluster-NMS: Zheng et al. 2021, algorithm 1), which needs no operator of its own.
    """
    classes = scores.shape[-1]
    flat = tf.reshape(tf.sigmoid(scores), (-1, scores.shape[1] * classes))
    best, at = tf.math.top_k(flat, min(CANDIDATES, scores.shape[1] * classes))
    place, kind = at // classes, tf.cast(at % classes, tf.float32)
    boxes = tf.clip_by_value(tf.gather(boxes_of(distances), place, batch_dims=1), 0.0, 1.0)
    apart = boxes + 2.0 * kind[..., None]  # classes side by side: boxes of two never overlap
    covers = tf.cast(iou(apart[:, :, None], apart[:, None]) > OVERLAP, tf.float32)
    better = covers * np.triu(np.ones((CANDIDATES, CANDIDATES), np.float32), 1)[: at.shape[1], : at.shape[1]]
    kept = tf.ones_like(best)
    for _ in range(ROUNDS):
        kept = 1.0 - tf.reduce_max(better * kept[:, :, None], axis=1)
    standing = kept * tf.cast(best > FAINT, tf.float32)
    score, order = tf.math.top_k(best * standing, DETECTIONS)
    there = tf.cast(score > 0, tf.float32)
    return {
        "location": tf.gather(boxes, order, batch_dims=1) * there[..., None],
        "category": tf.gather(kind, order, batch_dims=1) * there,
        "score": score,
        "number of detections": tf.reduce_sum(there, axis=1),
    }


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return the best F1 of each picture's boxes at IoU 0.5, over all scores from which boxes could count; (batch,).

    Of a picture without objects it is 1 less the highest score. No score is fixed here, because what a good one is
    changes while a network learns, by far more than which boxes it finds. Each found box claims the one of its class
    that it covers best, where it covers it by half, and the surest claim is a hit (Everingham et al. 2010, section
    4.2).
    """
    found = settled(*raw)
    there = tf.cast(targets[..., 4] >= 0, tf.float32)
    same = tf.cast(found["category"][:, :, None] == targets[:, None, :, 4], tf.float32)
    overlap = iou(found["location"][:, :, None], targets[:, None, :, :4]) * same * there[:, None]
    best = tf.one_hot(tf.argmax(overlap, axis=2), tf.shape(overlap)[2])
    claims = best * tf.cast((overlap >= 0.5) & (found["score"] > 0)[..., None], tf.float32)
    first = claims * tf.cast(tf.cumsum(claims, axis=1, exclusive=True) == 0, tf.float32)
    hits = tf.cumsum(tf.reduce_max(first, axis=2), axis=1)
    count = tf.reduce_sum(there, axis=1)
    best = tf.reduce_max(2.0 * hits / (tf.range(1.0, hits.shape[1] + 1.0) + count[:, None]), axis=1)
    return tf.where(count > 0, best, 1.0 - found["score"][:, 0])


@keras.saving.register_keras_serializable(package="keras_transfer")
class Settling(keras.layers.Layer):
    """`settled` as the last layer of a model."""

    def call(self, inputs: tuple[Any, Any]) -> dict[str, Any]:
        """Return the four outputs of (scores, distances)."""
        return settled(*inputs)


def with_boxes(model: keras.Model) -> keras.Model:
    """Return a detector that gives the four outputs of exported files, with the weights of `model` and their layers."""
    return keras.Model(model.input, Settling(name="settling", dtype="float32")(list(model.output)), name=model.name)


def answered(scores: np.ndarray, distances: np.ndarray) -> dict[str, np.ndarray]:
    """Return the four outputs of what a trained model gave for any number of pictures."""
    parts = [
        settled(tf.constant(scores[start : start + BATCH]), tf.constant(distances[start : start + BATCH]))
        for start in range(0, max(len(scores), 1), BATCH)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
