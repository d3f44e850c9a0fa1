"""Has a head learn from a teacher's answers beside the labels: targets that are followed by what the teacher says.

Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import tensorflow as tf

from keras_transfer.specs import Network

LEAST = 1e-7
"""Of a probability that a teacher says: its logarithm is taken."""

Apart = Callable[[Any, Any, float], Any]
"""`apart(logits, said, temperature)`: how far a student's logits are from the probabilities that a teacher says, both
softened, in nats, float32 (batch,); 0 where they say the same."""


def _taught(network: Network, *, classes: int, share: float, temperature: float, apart: Apart) -> Network:
    """Return the network with a loss of labels and answers, and the merit of labels alone.

    Targets are (batch, 2 * classes): the labels, then the teacher's probabilities. share: of the answers, 0-1.
    """

    def losses(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
        labels, said = tf.split(targets, [classes, classes], axis=-1)
        labels.set_shape((None, classes))
        (logits,) = raw
        # The gradients of softened answers are smaller by the square of the temperature.
        beside = temperature**2 * apart(logits, said, temperature)
        return (1 - share) * network.losses(raw, labels, label_smoothing) + share * beside

    def merit(raw: tuple[Any, ...], targets: Any) -> Any:
        return network.merit(raw, targets[..., :classes])

    return replace(network, losses=losses, merit=merit)


def _one_class(logits: Any, said: Any, temperature: float) -> Any:
    wanted = tf.nn.log_softmax(tf.math.log(tf.maximum(said, LEAST)) / temperature)
    return tf.reduce_sum(tf.exp(wanted) * (wanted - tf.nn.log_softmax(logits / temperature)), axis=-1)


def _several_labels(logits: Any, said: Any, temperature: float) -> Any:
    sure = tf.clip_by_value(said, LEAST, 1 - LEAST)
    wanted = (tf.math.log(sure) - tf.math.log1p(-sure)) / temperature
    given = logits / temperature
    there = tf.sigmoid(wanted) * (tf.math.log_sigmoid(wanted) - tf.math.log_sigmoid(given))
    absent = tf.sigmoid(-wanted) * (tf.math.log_sigmoid(-wanted) - tf.math.log_sigmoid(-given))
    return tf.reduce_mean(there + absent, axis=-1)


of_one_class = partial(_taught, apart=_one_class)
"""`of_one_class(network, classes=, share=, temperature=)`: answers are a softmax over classes."""
of_several_labels = partial(_taught, apart=_several_labels)
"""The same where each label has a probability of its own; the mean over labels."""
