"""Layers with a kernel, and what of the layer behind them goes into it: a factor and a summand for each channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

Affine = tuple[Any, Any]
"""Factor and summand of each channel, (channels,) each."""


class Kernel(NamedTuple):
    """What of a layer is a kernel, and how it is applied."""

    name: str
    """Of the attribute that holds it."""
    channels: int
    """Last dimensions that together are the output channels."""
    apply: Callable[[Any, Any, Any], Any]
    """`apply(layer, inputs, kernel)`."""


def _depthwise(layer: Any, inputs: Any, kernel: Any) -> Any:
    return keras.ops.depthwise_conv(
        inputs,
        kernel,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )


def _pointwise(layer: Any, inputs: Any, kernel: Any) -> Any:
    return keras.ops.conv(inputs, kernel, strides=1, padding="valid", data_format=layer.data_format)


def _dense(layer: Any, inputs: Any, kernel: Any) -> Any:
    if len(inputs.shape) == 4:  # a map: LiteRT takes the convolution, and would not fold what follows a product
        return keras.ops.conv(inputs, kernel[None, None], strides=1, padding="valid", data_format="channels_last")
    return keras.ops.matmul(inputs, kernel)


KERNELS: dict[type, Kernel] = {
    keras.layers.DepthwiseConv2D: Kernel("kernel", 2, _depthwise),
    keras.layers.Conv2D: Kernel("kernel", 1, lambda layer, inputs, kernel: layer.convolution_op(inputs, kernel)),
    keras.layers.Dense: Kernel("kernel", 1, _dense),
}
"""Of the layers that LiteRT computes in whole numbers."""
OF_DEPTH = Kernel("depthwise_kernel", 2, _depthwise)
OF_POINTS = Kernel("pointwise_kernel", 1, _pointwise)
"""The two halves of a `keras.layers.SeparableConv2D`, which LiteRT computes one after the other."""


def affine(layer: Any, channels: int, dtype: Any = tf.float32) -> Affine:
    """Return factor and summand of each channel, dtype (channels,), of a layer that `scales_channels`."""
    if isinstance(layer, keras.layers.BatchNormalization):
        mean, variance = (tf.cast(each.value, dtype) for each in (layer.moving_mean, layer.moving_variance))
        scale = (tf.cast(layer.gamma.value, dtype) if layer.scale else 1.0) / tf.sqrt(variance + layer.epsilon)
        return scale, (tf.cast(layer.beta.value, dtype) if layer.center else 0.0) - mean * scale
    scaling = isinstance(layer, keras.layers.Rescaling)
    given = (layer.scale, layer.offset) if scaling else (layer.gamma.value, 0.0)
    scale, offset = (tf.broadcast_to(tf.cast(each, dtype), (channels,)) for each in given)
    return scale, offset


def folded(kernel: Any, bias: Any, behind: Affine, channels: int) -> tuple[Any, Any]:
    """Return kernel and bias of a layer and of what scales its channels behind it, as one (Jacob et al. 2018, 3.2).

    kernel: its last dimensions, so many as `channels` says, are the output channels. bias: float32 (width,), or None.
    """
    scale, offset = behind
    return kernel * tf.reshape(scale, kernel.shape[-channels:]), offset if bias is None else bias * scale + offset


def scales_channels(layer: Any) -> bool:
    """Whether a layer gives each channel a factor and a summand: batch norms, and the layer scale of ConvNeXt."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, 3)
    return isinstance(layer, keras.layers.Rescaling) or type(layer).__name__ == "LayerScale"
