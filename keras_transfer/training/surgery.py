"""Which blocks a task pulls at most: the relative size of their gradients on the training pictures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.specs import Stage
from keras_transfer.training import freezing
from keras_transfer.training.job import Job

BATCHES = 8
"""Enough that the order of the blocks no longer changes; a pass over everything would cost an epoch."""


def chosen(job: Job, stage: Stage, *, count: int = 2) -> Stage:
    """Return `stage` with its blocks named: the `count` of the largest relative gradient norm.

    A stage that already names its blocks comes back as it is. Method: Lee et al. 2023, "Surgical Fine-Tuning Improves
    Adaptation to Distribution Shifts", section 4 (Auto-RGN), per block instead of per tensor.
    """
    if stage.blocks != "surgical":
        return stage
    norms = relative_gradient_norms(job)
    positions = sorted(int(block) for block in np.argsort(norms)[-count:])
    return stage.model_copy(update={"blocks": tuple(positions)})


def relative_gradient_norms(job: Job) -> np.ndarray:
    """Return for each block the norm of its gradient over the norm of its weights, float64 (blocks,).

    Measured in inference mode, so that nothing of the network changes, summed over `BATCHES` batches.
    """
    network, settings = job.network, job.settings
    freezing.apply(freezing.decide(network, Stage(name="measured", blocks="all")))
    model = keras.Model(network.model.input, list(network.raw))
    weights = [[v for layer in block.layers for v in layer.trainable_variables] for block in network.blocks]
    flat = [variable for block in weights for variable in block]

    @tf.function(reduce_retracing=True)
    def gradients(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            raw = tuple(tf.cast(each, tf.float32) for each in tf.nest.flatten(model(images, training=False)))
            losses = network.losses(raw, targets, 0.0)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [variable.value for variable in flat])

    totals: list[Any] = [0.0] * len(flat)
    batches = job.feed("train", image_size=settings.image_size, batch_size=settings.batch_size, shuffle=True)
    for images, targets, _ in batches.take(BATCHES):
        totals = [total + np.asarray(part) for total, part in zip(totals, gradients(images, targets), strict=True)]
    by_variable = {id(variable): total for variable, total in zip(flat, totals, strict=True)}

    def norm(arrays: list[Any]) -> float:
        return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays)))

    return np.array(
        [
            norm([by_variable[id(variable)] for variable in block]) / max(norm([v.numpy() for v in block]), 1e-12)
            for block in weights
        ]
    )
