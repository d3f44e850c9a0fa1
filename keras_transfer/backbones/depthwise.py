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

    Where there are some `model` is used up: what is returned is made of its graph, its other layers and its weights.
    """
    grouped = [layer for layer in model.layers if _is_depthwise(layer)]
    for layer in grouped:
        _replace(layer, _twin(layer))
    return keras.Model(model.input, model.output, name=model.name) if grouped else model


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Conv2D) and layer.groups > 1 and layer.kernel.shape[2] == 1


def _twin(layer: Any) -> Any:
    config = layer.get_config()
    twin = keras.layers.DepthwiseConv2D(
        depth_multiplier=layer.filters // layer.groups, **{key: config[key] for key in SHARED}
    )
    twin.build(layer.input.shape)
    kernel, *bias = layer.get_weights()
    twin.set_weights([kernel.reshape(twin.kernel.shape), *bias])  # (.., 1, filters) to (.., channels, multiplier)
    return twin


def _replace(old: Any, new: Any) -> None:
    """Put layer `new` where `old` stands in the graph.

    Keras' public way, `clone_model`, makes every layer of the network a second time, and their first random weights
    with them: it took twice as long as Keras itself.
    """
    new._inbound_nodes, new._outbound_nodes = old._inbound_nodes, old._outbound_nodes
    for node in new._inbound_nodes:
        node.operation = new
        for tensor in node.outputs:
            tensor._keras_history = tensor._keras_history._replace(operation=new)
