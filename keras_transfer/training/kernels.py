"""The layers of a stage by faster kernels while it trains; they stay plain Keras outside of that.

Beside batch norms (`batch_norm.fused`) two things are computed otherwise, with the same results up to rounding:

    folded     A batch norm that keeps its statistics is a factor and a summand for each channel. They go into the
               kernel and the bias of the convolution before it (`folding`), in each step anew: two passes over the
               activations less on the way there and one less on the way back, and an activation that follows is
               computed with the convolution.
    depthwise  oneDNN is slow with the gradient of a depthwise kernel above 3 x 3. TensorFlow's own is asked for by
               spelling the padding out: oneDNN leaves explicit padding alone.

What both are worth: `scripts/bench training FOLDER --only speed`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.devices import best_device
from keras_transfer.specs import Network, Stage
from keras_transfer.training.batch_norm import fused
from keras_transfer.training.folding import KERNELS, Affine, affine, folded
from keras_transfer.training.freezing import Freeze

WELL_DONE = 3
"""Side of the largest depthwise kernel whose gradient oneDNN has fast code for."""


@contextmanager
def of_stage(network: Network, freeze: Freeze, stage: Stage) -> Iterator[None]:
    """Compute all that `stage` trains by the fastest kernels there are, batch norms included, while it lasts."""
    fast_norms = fused(freeze.learning, momentum=stage.batch_norm_momentum)
    with fast_norms, quick(network.model, freeze.learning, (*network.features, *freeze.cut)):
        yield


@contextmanager
def quick(model: Any, learning: Iterable[Any], kept: Iterable[Any] = ()) -> Iterator[tuple[int, int]]:
    """Compute convolutions of `learning` faster while it lasts; yields how many norms were folded, and how many
    depthwise gradients are computed otherwise.

    >>> with quick(network.model, freeze.learning, freeze.cut) as (folded, depthwise):  # doctest: +SKIP
    ...     folded, depthwise
    (49, 9)

    model: the graph that the layers stand in. kept: tensors of it that somebody reads, beside its outputs; what comes
    out of a convolution there stays as it is. Only exact Keras layers in float32 are changed, and changed back whatever
    happens inside.
    """
    learns = {id(layer) for layer in learning}
    pairs = [(conv, norm) for conv, norm in _pairs(model, kept) if id(conv) in learns and id(norm) not in learns]
    behind = {id(conv): _constant(norm) for conv, norm in pairs}
    large = [layer for layer in model.layers if id(layer) in learns and _is_large(layer)]
    changed = {id(layer): layer for layer in (*(conv for conv, _ in pairs), *large)}
    was = [(layer, layer.__class__) for layer in (*changed.values(), *(norm for _, norm in pairs))]
    try:
        for layer in changed.values():
            layer.__class__ = _quicker(layer, behind.get(id(layer)))
        for _, norm in pairs:
            norm.__class__ = _Folded
        yield len(pairs), len(large)
    finally:
        for layer, kind in was:
            layer.__class__ = kind


class _Folded(keras.layers.BatchNormalization):
    """What is left of a batch norm whose work the convolution before it does."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return inputs


def _quicker(layer: Any, behind: Affine | None) -> type:
    """Return the class that computes `layer` and, where it is given, what scales its channels behind it."""
    kind: Any = type(layer)
    own, apply = KERNELS[kind], _with_own_gradient if _is_large(layer) else KERNELS[kind].apply

    class Quicker(kind):
        def call(self, inputs: Any) -> Any:
            kernel, bias = tf.convert_to_tensor(self.kernel), self.bias
            if behind is not None:
                kernel, bias = folded(kernel, bias, behind, own.channels)
            outputs = apply(self, inputs, kernel)
            return self.activation(outputs if bias is None else tf.nn.bias_add(outputs, bias))

    Quicker.__name__ = kind.__name__
    return Quicker


def _with_own_gradient(layer: Any, inputs: Any, kernel: Any) -> Any:
    """A depthwise convolution whose kernel's gradient TensorFlow computes itself."""
    if None in inputs.shape[1:3]:  # padding cannot be spelt out
        return KERNELS[keras.layers.DepthwiseConv2D].apply(layer, inputs, kernel)
    stride, size = layer.strides[0], kernel.shape[0]
    steps, named = [1, *layer.strides, 1], layer.padding.upper()

    def spelt_out(side: int) -> list[int]:
        missing = max((-(-side // stride) - 1) * stride + size - side, 0) if named == "SAME" else 0
        return [missing // 2, missing - missing // 2]  # an odd one at the end, as TensorFlow has it

    explicit = [0, 0, *spelt_out(inputs.shape[1]), *spelt_out(inputs.shape[2]), 0, 0]

    @tf.custom_gradient
    def convolve(inputs: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            shared = {"out_backprop": upstream, "strides": steps}
            of_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, padding=named, **shared
            )
            of_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=inputs, filter_sizes=kernel.shape, padding="EXPLICIT", explicit_paddings=explicit, **shared
            )
            return of_inputs, of_kernel

        return tf.nn.depthwise_conv2d(inputs, kernel, steps, named), gradient

    return convolve(inputs, kernel)


def _pairs(model: Any, kept: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Every convolution whose result one batch norm alone takes, and that norm."""
    takers: defaultdict[int, list[Any]] = defaultdict(list)
    for operation in model.operations:
        for tensor in _inputs(operation):
            takers[id(tensor)].append(operation)
    read = {id(tensor) for tensor in (*model.outputs, *kept)}
    pairs = []
    for norm in model.layers:
        makers = {id(tensor._keras_history.operation): tensor._keras_history.operation for tensor in _inputs(norm)}
        if type(norm) is not keras.layers.BatchNormalization or norm.axis not in (-1, 3) or len(makers) != 1:
            continue
        (conv,) = makers.values()
        results = [tensor for node in conv._inbound_nodes for tensor in node.outputs]
        alone = all(takers[id(each)] in ([norm], []) and id(each) not in read for each in results)
        if alone and norm.compute_dtype == "float32" and _is_plain(conv):
            pairs.append((conv, norm))
    return pairs


def _inputs(operation: Any) -> list[Any]:
    return [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def _is_plain(layer: Any) -> bool:
    if type(layer) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
        return False
    linear = layer.activation is keras.activations.linear
    return linear and layer.compute_dtype == "float32" and layer.data_format == "channels_last"


def _is_large(layer: Any) -> bool:
    """Whether a depthwise convolution's gradient is one that oneDNN, which computes on CPUs, is slow with."""
    if type(layer) is not keras.layers.DepthwiseConv2D or layer.compute_dtype != "float32":
        return False
    alike = len(set(layer.strides)) == len(set(layer.kernel_size)) == 1 and set(layer.dilation_rate) == {1}
    large = alike and layer.kernel_size[0] > WELL_DONE and layer.data_format == "channels_last"
    return large and best_device().startswith("/CPU")


def _constant(norm: Any) -> Affine:
    """What a batch norm that keeps its statistics does, in 64 bits until the end."""
    factor, summand = (
        tf.cast(each, tf.float32).numpy() for each in affine(norm, norm.moving_mean.shape[0], tf.float64)
    )
    return factor, summand
