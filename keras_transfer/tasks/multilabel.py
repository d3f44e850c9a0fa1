"""Any number of labels per picture: pooled features, dropout, one dense layer, a sigmoid for each label."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_transfer.specs import Block, Losses, Network
from keras_transfer.tasks import pooled

GAMMA_POSITIVE, GAMMA_NEGATIVE, MARGIN = 1.0, 4.0, 0.05
"""Of the asymmetric loss, as its authors recommend (Ridnik et al. 2021, section 4.1): labels that are not there are
many and easy, so they count by the fourth power of their probability, and not at all below the margin."""


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    classes: int,
    dropout: float = 0.2,
    seed: int = 0,
    loss: str = "binary_cross_entropy",
) -> Network:
    """Return the network that gives each label a probability of its own, in the flat graph of `features`.

    >>> attach(features, blocks, classes=20, loss="asymmetric").model.output.name  # doctest: +SKIP
    'probabilities'

    loss: a row of `LOSSES`.
    """
    model = pooled.attach(features, classes=classes, dropout=dropout, seed=seed, activation="sigmoid")
    return pooled.network(model, blocks, losses=LOSSES[loss], merit=merit)


def binary_cross_entropy(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the cross-entropy of each picture, float32 (batch,), the mean over its labels.

    targets: float32 (batch, classes), 0 to 1; label_smoothing: how far both are drawn towards a half.
    """
    (logits,) = raw
    smoothed = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=smoothed, logits=logits), axis=-1)


def asymmetric(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the asymmetric loss of each picture, float32 (batch,), the mean over its labels.

    Source: Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, equations 4 to 7.
    """
    (logits,) = raw
    smoothed = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    there = tf.sigmoid(logits)
    # What is surely not there has no gradient at all: most of the negatives, in most pictures.
    absent = tf.maximum(there - MARGIN, 0.0)
    tiny = 1e-8
    positive = (1 - there) ** GAMMA_POSITIVE * tf.math.log_sigmoid(logits)
    negative = absent**GAMMA_NEGATIVE * tf.math.log(tf.maximum(1 - absent, tiny))
    return -tf.reduce_mean(smoothed * positive + (1 - smoothed) * negative, axis=-1)


LOSSES: dict[str, Losses] = {"binary_cross_entropy": binary_cross_entropy, "asymmetric": asymmetric}
"""By the name a plan calls them; the first is the task's own."""


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return how well each picture's labels are ranked, float32 (batch,) in (0, 1]; 1 where all or none are there.

    For each label that is there, the share of right ones among those ranked as high: their mean is the label ranking
    average precision (Tsoumakas, Katakis & Vlahavas 2010, section 3.2).
    """
    (logits,) = raw
    there = targets > 0.5
    as_high = logits[:, None, :] >= logits[:, :, None]  # [picture, label, other]: equal scores count as higher
    rank = tf.reduce_sum(tf.cast(as_high, tf.float32), axis=-1)
    right = tf.reduce_sum(tf.cast(as_high & there[:, None, :], tf.float32), axis=-1)
    mask = tf.cast(there, tf.float32)
    precise = tf.math.divide_no_nan(tf.reduce_sum(mask * right / rank, axis=-1), tf.reduce_sum(mask, axis=-1))
    return tf.where(tf.reduce_any(there, axis=-1), precise, tf.ones_like(precise))
