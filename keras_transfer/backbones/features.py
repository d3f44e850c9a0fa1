"""Builds a backbone on pixels 0-255, with weights, as one flat graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from keras_transfer.backbones import weights as weights_module
from keras_transfer.backbones.depthwise import with_depthwise
from keras_transfer.backbones.scaling import scale_in_float32, scaled
from keras_transfer.errors import UsageError
from keras_transfer.specs import IMAGE_INPUT, BackboneSpec, Listener, sample_shape, silent


@dataclass(frozen=True)
class Features:
    """A backbone that takes pictures as they are, and where its weights came from."""

    model: Any
    """keras.Model: `image` uint8 (batch, size, size, 3) to the feature map (batch, height, width, channels); of clips
    `image` uint8 (batch, frames, size, size, 3) to the maps of all frames, (batch * frames, height, width, channels),
    those of a clip one after another."""
    weights_source: str
    license: str


def build(
    spec: BackboneSpec,
    *,
    image_size: int,
    weights: str = "imagenet",
    frames: int = 0,
    listener: Listener = silent,
) -> Features:
    """Return the backbone with its weights, scaling inside, every layer in one flat graph.

    >>> build(backbone("MobileNetV2"), image_size=96, weights="none").model.output.shape  # doctest: +SKIP
    (None, 3, 3, 1280)

    image_size: side in pixels, at least the row's `min_size`. weights: `imagenet`, `none` (random), or a path: see
    `weights.load`. frames: of a clip, 0 for pictures.
    Raises UsageError for a size the row does not take, WeightsError where the weights cannot be had.
    """
    if image_size < spec.min_size:
        raise UsageError(
            f"{spec.name} takes pictures of {spec.min_size} pixels a side or more. Received: {image_size}."
        )
    image = keras.Input(sample_shape(frames, image_size), dtype="uint8", name=IMAGE_INPUT)
    pictures = keras.ops.reshape(image, (-1, image_size, image_size, 3)) if frames else image
    loaded = weights_module.load(spec, scaled(pictures, spec.scaling), weights, listener)
    network = loaded.network
    model = with_depthwise(keras.Model(network.inputs[0], network.output, name=spec.name))
    scale_in_float32(model)
    return Features(
        model=model,
        weights_source=loaded.source,
        license=loaded.license,
    )
