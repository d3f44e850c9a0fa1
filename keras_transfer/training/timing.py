"""Times a step of training before there is a stage to train."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from keras_transfer.training.kernels import quick

PICTURES, STEPS = 32, 2
"""In a step that is timed, and steps after the one that builds it."""


def learning_ms(model: Any, images: np.ndarray) -> float:
    """Return what a picture costs where every weight learns: a step of the backbone on a batch, batch norms frozen.

    >>> learning_ms(features.model, images[:PICTURES])  # doctest: +SKIP
    5.6

    model: `image` to the feature map; its weights stay as they are. images: uint8 (n, side, side, 3). By the kernels
    that a stage trains with.
    """
    learning = keras.models.clone_model(model)
    for layer in learning.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    nothing = np.zeros((len(images), *learning.output.shape[1:]), np.float32)
    times = []
    with quick(learning, [layer for layer in learning.layers if layer.trainable]):
        learning.compile(optimizer="adamw", loss="mse", jit_compile=False)
        for _ in range(1 + STEPS):
            began = time.perf_counter()
            learning.train_on_batch(images, nothing)
            times.append(time.perf_counter() - began)
    # The first builds the step, and is no part of what the others take.
    return float(min(times[1:]) * 1000 / len(images))
