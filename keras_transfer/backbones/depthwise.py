"""Puts depthwise convolutions in the place of grouped ones with a group for each channel.

Both compute the same. But Keras compiles every grouped convolution with XLA, anew at each call outside a graph and
slowly on a CPU, and no converter to ONNX knows the call that is left in the graph (all of ConvNeXt).
"""

from __future__ import annotations

from typing import Any

import keras

SHARED = ("name", "trainable", "dtype", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")


def with_depthwise(model: Any) -> Any:
    """Return `model` with its depthwise convolutions written as such, same weights; itself where there are none.

    >>> with_depthwise(keras.applications.ConvNeXtTiny(weights=None)).count_params()  # doctest: +SKIP
    28589128
    """
    if not any(_is_depthwise(layer) for layer in model.layers):
        return model
    twin = keras.models.clone_model(model, clone_function=_twin)
    for old, new in zip(model.layers, twin.layers, strict=True):
        values = old.get_weights()
        if _is_depthwise(old):
            values[0] = values[0].swapaxes(2, 3)  # (height, width, 1, channels) to (height, width, channels, 1)
        new.set_weights(values)
    return twin


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Conv2D) and layer.groups > 1 and layer.kernel.shape[2] == 1


def _twin(layer: Any) -> Any:
    config = layer.get_config()
    if not _is_depthwise(layer):
        return type(layer).from_config(config)
    return keras.layers.DepthwiseConv2D(
        depth_multiplier=layer.filters // layer.groups, **{key: config[key] for key in SHARED}
    )
