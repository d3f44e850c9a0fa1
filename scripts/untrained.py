"""Backbones that learnt nothing, for benchmarks that ask for speed alone."""

import keras
import numpy as np

from keras_transfer.backbones import features, registry

NOISE = 16
"""Pictures that stand for those that a network is exported with."""


def settled(name: str, size: int) -> tuple[keras.Model, np.ndarray]:
    """A backbone of random weights at a picture size or its least one, and pictures of noise as uint8.

    Batch norms take their statistics from the noise. Without that, values vanish from block to block: floats so small
    are computed many times as slowly, and of steps so small XNNPACK takes no operation.
    """
    keras.utils.set_random_seed(0)
    spec = registry.backbone(name)
    base = features.build(spec, image_size=max(size, spec.min_size), weights="none").model
    side = base.input.shape[1]
    pictures = np.random.default_rng(0).integers(0, 256, (NOISE, side, side, 3), np.uint8)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    base(pictures, training=True)
    return base, pictures
