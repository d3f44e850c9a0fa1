"""One label per picture: pooled features, dropout, one dense layer, softmax."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_transfer.specs import Block, Losses, Network
from keras_transfer.tasks import pooled


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    classes: int,
    dropout: float = 0.2,
    seed: int = 0,
    loss: str = "cross_entropy",
) -> Network:
    """Return the network that gives each picture one probability per class, in the flat graph of `features`.

    >>> attach(features, blocks, classes=10).model.output.name  # doctest: +SKIP
    'probabilities'

    loss: a row of `LOSSES`.
    """
    model = pooled.attach(features, classes=classes, dropout=dropout, seed=seed, activation="softmax")
    return pooled.network(model, blocks, losses=LOSSES[loss], merit=merit)


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return 1 for each picture whose likeliest class is the target's, else 0: float32 (batch,)."""
    (logits,) = raw
    return tf.cast(tf.argmax(logits, -1) == tf.argmax(targets, -1), tf.float32)


def cross_entropy(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the cross-entropy of each picture, float32 (batch,).

    targets: float32 (batch, classes), rows that sum to 1; label_smoothing: the share of a target that is spread
    over all classes (Szegedy et al. 2016, section 7).
    """
    (logits,) = raw
    smoothed = targets * (1 - label_smoothing) + label_smoothing / targets.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(labels=smoothed, logits=logits)


LOSSES: dict[str, Losses] = {"cross_entropy": cross_entropy}
"""By the name a plan calls them."""
