"""Layers that round as LiteRT does in whole numbers, around layers of a network whose weights stay what they are.

Kernels: 255 steps about zero, for each output channel its own. What flows between operations: 256 steps from the least
to the largest value, for the whole tensor. Gradients pass through rounding as if it were not there, and stop where
values lie outside of the range. Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.training.folding import Kernel, affine, folded

STEPS = 255
"""Of a range; of a kernel half as many on either side of zero, less one."""
MOMENTUM = 0.99
"""Of ranges while the network learns, as in the paper: a batch shows fewer extremes than the pictures looked at first,
and what single pixels reach is not worth a coarser step for all others."""
LEAST_STEP = 1e-12
LEAST_WIDTH = 1e-6
"""Of a range: where a tensor is zero throughout, any step will do."""


class Rounding(keras.layers.Layer):
    """Rounds what passes to 256 steps of a range; the range follows what passes while a network learns.

    >>> float(Rounding(fixed=(0.0, 255.0))(tf.constant(3.4)))
    3.0

    fixed: the range, where it is known and stays. lean: what is taken off first, for values that all lie in the middle
    between two steps: they shall go the same way.
    """

    def __init__(self, *, fixed: tuple[float, float] | None = None, lean: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.fixed, self._lean = fixed, lean
        self.measures = False
        """Whether it lets everything pass as it is and takes in how far that reaches."""
        low, high = fixed or (0.0, LEAST_WIDTH)
        self.low = self.add_weight((), keras.initializers.Constant(low), trainable=False, name="low")
        self.high = self.add_weight((), keras.initializers.Constant(high), trainable=False, name="high")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return inputs, float32 of any shape, on the grid of the range."""
        if self.fixed is None and self.measures:
            self._widen(inputs)
        if self.measures:
            return inputs if self.fixed is None else tf.clip_by_value(inputs, *self.fixed)
        if self.fixed is None and training:
            self._follow(inputs)
        given = inputs - self._lean if self._lean else inputs
        return tf.quantization.fake_quant_with_min_max_vars(given, self.low.value, self.high.value)

    def step(self) -> Any:
        """Return the distance of two neighbouring values, float32 ()."""
        return (self.high.value - self.low.value) / STEPS

    def _widen(self, inputs: Any) -> None:
        self.low.assign(tf.minimum(self.low, tf.reduce_min(inputs)))
        self.high.assign(tf.maximum(self.high, tf.reduce_max(inputs)))

    def _follow(self, inputs: Any) -> None:
        # Zero stays in the range: LiteRT pads with it, and what a ReLU cuts off has to be exactly that.
        low = tf.minimum(tf.reduce_min(inputs), 0.0)
        high = tf.maximum(tf.reduce_max(inputs), low + LEAST_WIDTH)
        self.low.assign(self.low * MOMENTUM + low * (1 - MOMENTUM))
        self.high.assign(self.high * MOMENTUM + high * (1 - MOMENTUM))


class Rounded(keras.layers.Layer):
    """A layer with a rounded kernel, and what LiteRT computes in one go with it: a batch norm, a ReLU.

    layer: of the network; its variables are used as they are, so that what this one learns that one has learnt.
    given: the step of what it takes, of which those of its bias are made. factors: the layers behind it that scale
    channels, in their order. taken_in: a factor and a summand of all channels behind these. activation: what ends it.
    """

    def __init__(
        self,
        layer: Any,
        kernel: Kernel,
        given: Callable[[], Any],
        *,
        factors: Sequence[Any] = (),
        taken_in: tuple[float, float] | None = None,
        activation: Callable[[Any], Any] | None = None,
        biased: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.layer, self.factors = layer, tuple(factors)
        self._kernel, self._given, self._taken_in = kernel, given, taken_in
        self._activation, self._biased = activation, biased

    def call(self, inputs: Any) -> Any:
        """Return what the layers give together, (batch, …, channels), their kernel rounded."""
        kernel = tf.convert_to_tensor(getattr(self.layer, self._kernel.name))
        bias = self.layer.bias if self._biased and self.layer.use_bias else None
        width = math.prod(kernel.shape[-self._kernel.channels :])
        behind = [affine(each, width) for each in self.factors]
        if self._taken_in is not None:
            scale, offset = self._taken_in
            behind.append((tf.fill((width,), scale), tf.fill((width,), offset)))
        for each in behind:
            kernel, bias = folded(kernel, bias, each, self._kernel.channels)
        steps = steps_of(kernel, self._kernel.channels)
        given = self._kernel.apply(self.layer, inputs, rounded(kernel, steps))
        if bias is not None:
            given += rounded(bias, tf.reshape(steps, (-1,)) * self._given())
        return self._activation(given) if self._activation else given


class Scaled(keras.layers.Layer):
    """A layer that scales channels and has no kernel before it to become a part of, as one depthwise convolution.

    A multiplication and an addition would each be rounded for the whole tensor; a kernel of one weight has a step of
    its own for every channel, and its bias is exact.
    """

    def __init__(
        self,
        factors: Any,
        given: Callable[[], Any],
        *,
        activation: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.factors, self._given, self._activation = factors, given, activation

    def call(self, inputs: Any) -> Any:
        """Return inputs (batch, height, width, channels), each channel by its factor and its summand."""
        scale, offset = affine(self.factors, inputs.shape[-1])
        kernel = tf.reshape(scale, (1, 1, -1, 1))
        steps = steps_of(kernel, 2)
        given = tf.nn.depthwise_conv2d(inputs, rounded(kernel, steps), [1, 1, 1, 1], "VALID")
        given += rounded(offset, tf.reshape(steps, (-1,)) * self._given())
        return self._activation(given) if self._activation else given


class Shared(keras.layers.Layer):
    """An operation of a network as it is: called through this, it keeps the one place that it has in its own graph."""

    def __init__(self, node: Any, **options: Any) -> None:
        super().__init__(**options)
        self.operation = node.operation
        self._arguments = node.arguments

    def call(self, inputs: Any) -> Any:
        """Return what the operation gives for the tensors in place of those it had, in their order."""
        given = zip(map(id, self._arguments.keras_tensors), tf.nest.flatten(inputs), strict=True)
        arguments, named = self._arguments.fill_in(dict(given))
        return self.operation(*arguments, **named)


def steps_of(kernel: Any, channels: int) -> Any:
    """Return the step of each output channel, of which 127 reach to its largest weight, (1, …, channels).

    channels: how many of the last dimensions are output channels together.
    """
    largest = tf.reduce_max(tf.abs(kernel), list(range(kernel.shape.rank - channels)), keepdims=True)
    return tf.stop_gradient(tf.maximum(largest / (STEPS // 2), LEAST_STEP))


def rounded(values: Any, steps: Any) -> Any:
    """Return values as the nearest multiples of their steps; the gradient is that of the values themselves."""
    return values + tf.stop_gradient(tf.round(values / steps) * steps - values)
