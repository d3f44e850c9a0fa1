"""Turns pixels 0-255 into what a backbone was trained on, inside the graph and with built-in Keras layers only.

Always in float32: under a mixed policy half precision would round pixels before the first convolution sees them.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras

from keras_transfer.specs import Scaling

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
BLUE_GREEN_RED = (2, 1, 0)
SCALING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)

AFFINE: dict[Scaling, tuple[Any, Any]] = {
    "inside": (1.0, 0.0),
    "tf": (1 / 127.5, -1.0),
    "caffe": (1.0, [-mean for mean in CAFFE_MEAN_RGB]),
    "signed": (1 / 128, -1.0),
    "torch": (
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
    ),
    "lite": (1 / 128, -127 / 128),
}
"""Per scaling (scale, offset): what comes out is pixel * scale + offset, one number for all channels or one each."""


def scaled(image: Any, scaling: Scaling) -> Any:
    """Return the picture as a backbone takes it, float32 (batch, height, width, 3).

    >>> scaled(keras.Input((96, 96, 3), dtype="uint8"), "tf").dtype
    'float32'

    image: KerasTensor (batch, height, width, 3), RGB 0-255. scaling: see `specs.Scaling`.
    """
    scale, offset = AFFINE[scaling]
    pixels = keras.layers.Rescaling(scale, offset, dtype="float32", name="scaling")(image)
    return keras.ops.take(pixels, list(BLUE_GREEN_RED), axis=-1) if scaling == "caffe" else pixels


def scale_in_float32(model: Any) -> None:
    """Make the layers that scale pixels inside a backbone compute in float32, whatever the policy of the rest."""
    _image, *operations = model.operations
    for operation in itertools.takewhile(lambda each: isinstance(each, SCALING_LAYERS), operations):
        operation.dtype_policy = "float32"
