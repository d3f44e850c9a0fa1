"""One label per picture: pooled features, dropout, one dense layer, softmax."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_transfer.specs import PROBABILITIES_OUTPUT, Block, Network

EMBEDDING_LAYER = "pool"
LOGITS_LAYER = "logits"


def attach(features: keras.Model, *, classes: int, dropout: float = 0.2, seed: int = 0) -> keras.Model:
    """Return the classifier: `features` with a head, in the same flat graph.

    >>> attach(features, classes=10).output.name  # doctest: +SKIP
    'probabilities'

    features: a functional model that gives (batch, height, width, channels). The head computes in float32 whatever
    the precision of the backbone, so that probabilities are never rounded.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name=EMBEDDING_LAYER, dtype="float32")(features.output)
    dropped = keras.layers.Dropout(dropout, seed=seed, name="dropout", dtype="float32")(pooled)
    initializer = keras.initializers.GlorotUniform(seed=seed)
    logits = keras.layers.Dense(classes, kernel_initializer=initializer, name=LOGITS_LAYER, dtype="float32")(dropped)
    probabilities = keras.layers.Activation("softmax", name=PROBABILITIES_OUTPUT, dtype="float32")(logits)
    return keras.Model(features.input, probabilities, name="classifier")


def features_of(classifier: keras.Model) -> Any:
    """Return the feature map (KerasTensor) that the head of `classifier` takes; ValueError where it is not ours."""
    return classifier.get_layer(EMBEDDING_LAYER).input


def network(classifier: keras.Model, blocks: tuple[Block, ...]) -> Network:
    """Return `classifier` with its places named."""
    return Network(
        model=classifier,
        blocks=blocks,
        features=(classifier.get_layer(EMBEDDING_LAYER).output,),
        raw=(classifier.get_layer(LOGITS_LAYER).output,),
        losses=losses,
        merit=merit,
    )


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return 1 for each picture whose likeliest class is the target's, else 0: float32 (batch,)."""
    (logits,) = raw
    return tf.cast(tf.argmax(logits, -1) == tf.argmax(targets, -1), tf.float32)


def losses(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the cross-entropy of each picture, float32 (batch,).

    targets: float32 (batch, classes), rows that sum to 1; label_smoothing: the share of a target that is spread
    over all classes (Szegedy et al. 2016, section 7).
    """
    (logits,) = raw
    smoothed = targets * (1 - label_smoothing) + label_smoothing / targets.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(labels=smoothed, logits=logits)
