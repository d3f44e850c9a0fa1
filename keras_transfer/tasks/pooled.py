"""The head on pooled features: what tasks share that say something of a picture as a whole."""

from __future__ import annotations

import keras

from keras_transfer.specs import LOGITS_LAYER, POOL_LAYER, PROBABILITIES_OUTPUT, Block, Losses, Merit, Network


def attach(features: keras.Model, *, classes: int, dropout: float, seed: int, activation: str) -> keras.Model:
    """Return `features` with pooling, dropout, one dense layer and an activation, in the same flat graph.

    >>> attach(features, classes=10, dropout=0.2, seed=0, activation="softmax").output.name  # doctest: +SKIP
    'probabilities'

    features: a functional model that gives (batch, height, width, channels). The head computes in float32 whatever
    the precision of the backbone, so that probabilities are never rounded.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name=POOL_LAYER, dtype="float32")(features.output)
    dropped = keras.layers.Dropout(dropout, seed=seed, name="dropout", dtype="float32")(pooled)
    initializer = keras.initializers.GlorotUniform(seed=seed)
    logits = keras.layers.Dense(classes, kernel_initializer=initializer, name=LOGITS_LAYER, dtype="float32")(dropped)
    probabilities = keras.layers.Activation(activation, name=PROBABILITIES_OUTPUT, dtype="float32")(logits)
    return keras.Model(features.input, probabilities, name="classifier")


def network(model: keras.Model, blocks: tuple[Block, ...], *, losses: Losses, merit: Merit) -> Network:
    """Return a model of `attach` with its places named."""
    return Network(
        model=model,
        blocks=blocks,
        features=(model.get_layer(POOL_LAYER).output,),
        raw=(model.get_layer(LOGITS_LAYER).output,),
        losses=losses,
        merit=merit,
    )
