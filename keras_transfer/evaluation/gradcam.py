"""Shows where in a picture a classifier looked, for any backbone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import ArtifactError
from keras_transfer.specs import LOGITS_LAYER, POOL_LAYER

BATCH_SIZE = 4
"""A functional model holds what each of its layers gave until the last has run: at 224 pixels 80 MB a picture."""


def gradcam(model: Any, images: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """Return how much each place of a picture spoke for a class.

    >>> gradcam(model, images).shape  # doctest: +SKIP
    (8, 224, 224)

    model: a flat classifier whose layer `pool` takes the feature map and whose layer `logits` gives the scores.
    images: uint8 (n, height, width, 3), of the size the model takes.
    classes: the class asked about for each picture, int (n,); the one the model chose where it is left out.

    Returns float32 (n, height, width), 0-1: 1 is the strongest place of that picture; all 0 where nothing spoke for it.

    Raises ArtifactError where the model has no such layers, or its feature map has no height and width.
    Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks, ICCV 2017, equations 1 and 2.
    """
    body, head = _cut(model)
    heat = []
    for start in range(0, len(images), BATCH_SIZE):
        features = body(images[start : start + BATCH_SIZE], training=False)
        with tf.GradientTape() as tape:
            # A frozen backbone leaves no trace on the tape, so the gradient must be asked for from here.
            tape.watch(features)
            scores = head(features, training=False)
            chosen = tf.argmax(scores, axis=1) if classes is None else tf.constant(classes[start : start + BATCH_SIZE])
            score = tf.gather(scores, chosen, axis=1, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        heat.append(tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy())
    maps = np.concatenate(heat)[..., None] if heat else np.zeros((0, 1, 1, 1), np.float32)
    strongest = maps.max(axis=(1, 2, 3), keepdims=True)
    maps = np.divide(maps, strongest, out=np.zeros_like(maps), where=strongest > 0)
    return np.asarray(tf.image.resize(maps, images.shape[1:3], "bilinear"))[..., 0]


def overlay(image: np.ndarray, heat: np.ndarray, *, strength: float = 0.55) -> np.ndarray:
    """Return the picture, uint8 (height, width, 3), with warm colours where the heat, 0-1, is high.

    >>> overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2))).max()
    np.uint8(0)
    """
    from matplotlib import colormaps

    share = strength * heat[..., None]
    colours = colormaps["inferno"](0.3 + 0.7 * heat)[..., :3] * 255
    return np.clip((1 - share) * image + share * colours, 0, 255).astype(np.uint8)


def _cut(model: Any) -> tuple[Any, Any]:
    names = {layer.name for layer in model.layers}
    if not {POOL_LAYER, LOGITS_LAYER} <= names:
        raise ArtifactError(
            f"Grad-CAM needs a model with the layers '{POOL_LAYER}' and '{LOGITS_LAYER}', as training makes."
        )
    features = model.get_layer(POOL_LAYER).input
    if len(features.shape) != 4:
        raise ArtifactError(
            f"Grad-CAM needs a feature map (batch, height, width, channels) before '{POOL_LAYER}'. "
            f"Received: shape {tuple(features.shape)}"
        )
    return keras.Model(model.inputs[0], features), keras.Model(features, model.get_layer(LOGITS_LAYER).output)
