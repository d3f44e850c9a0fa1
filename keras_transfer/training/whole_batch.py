"""Layers that look at the whole batch while each device has a part of it: its moments, and what is drawn for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.specs import Network, Stage
from keras_transfer.training import kernels
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.strategy import Strategy


def learning(strategy: Strategy, network: Network, freeze: Freeze, stage: Stage) -> AbstractContextManager[Any]:
    """Return the context in which the layers of `network` compute as fast as they can while `stage` learns.

    One device takes one kernel for each batch norm that learns; several take the moments of all their parts, so that
    what is learnt does not depend on their number.
    """
    if strategy.replicas == 1:
        return kernels.of_stage(network, freeze, stage)
    stack = ExitStack()
    stack.enter_context(shared(strategy, network.model.layers, freeze.learning, momentum=stage.batch_norm_momentum))
    stack.enter_context(kernels.quick(network.model, freeze.learning, (*network.features, *freeze.cut)))
    return stack


@contextmanager
def shared(
    strategy: Strategy, layers: Iterable[Any], learning: Iterable[Any], *, momentum: float | None = None
) -> Iterator[None]:
    """Let plain batch norms among `learning` and plain dropouts among `layers` see whole batches while it lasts."""
    norms = [layer for layer in learning if type(layer) is keras.layers.BatchNormalization]
    dropouts = [layer for layer in layers if type(layer) is keras.layers.Dropout]
    own = [layer.momentum for layer in norms]
    of_norms, of_dropouts = _normalization(strategy), _dropout(strategy)
    try:
        for layer in norms:
            layer.__class__ = of_norms
            layer.momentum = layer.momentum if momentum is None else momentum
        for layer in dropouts:
            layer.__class__ = of_dropouts
        yield
    finally:
        for layer, value in zip(norms, own, strict=True):
            layer.__class__, layer.momentum = keras.layers.BatchNormalization, value
        for layer in dropouts:
            layer.__class__ = keras.layers.Dropout


def _normalization(strategy: Strategy) -> type[keras.layers.BatchNormalization]:
    class WholeBatchNormalization(keras.layers.BatchNormalization):
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not (training and self.trainable) or mask is not None or self.axis not in (-1, len(inputs.shape) - 1):
                return super().call(inputs, training=training, mask=mask)
            whole = tf.cast(inputs, tf.float32)
            mean, variance = _moments(strategy, whole)
            outputs = tf.nn.batch_normalization(
                whole,
                mean,
                variance,
                tf.cast(self.beta, tf.float32) if self.center else None,
                tf.cast(self.gamma, tf.float32) if self.scale else None,
                self.epsilon,
            )
            keep = self.momentum
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * keep + tf.cast(now, moving.dtype) * (1 - keep))
            return tf.cast(outputs, self.compute_dtype)

    return WholeBatchNormalization


def _moments(strategy: Strategy, inputs: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel over the parts of all devices, put together as Chan et al. 1979 do.

    The difference of squares that Keras takes loses digits where the mean is large.
    """
    axes = list(range(len(inputs.shape) - 1))
    mean, variance = tf.nn.moments(inputs, axes)
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    ours = tf.stack([mean, variance, tf.fill(mean.shape, count)])
    means, variances, counts = tf.unstack(strategy.beside(ours), axis=1)
    of_all = tf.reduce_sum(counts, 0)
    mean = tf.reduce_sum(means * counts, 0) / of_all
    return mean, tf.reduce_sum((variances + tf.square(means - mean)) * counts, 0) / of_all


def _dropout(strategy: Strategy) -> type[keras.layers.Dropout]:
    class WholeBatchDropout(keras.layers.Dropout):
        def call(self, inputs: Any, training: bool | None = False) -> Any:
            if not training or self.rate == 0:
                return inputs
            # Random numbers come row by row: enough rows for every device hold those that one alone would draw. Where
            # a number goes for a whole side (a picture that skips a block), that side is 1: a step of two workers spent
            # a tenth of its time on filling, multiplying and slicing the full activations.
            first, step = strategy.rows()
            drawn_for = self.noise_shape or (None,) * len(inputs.shape)
            sides = [own if own == 1 else side for own, side in zip(drawn_for[1:], inputs.shape[1:], strict=True)]
            ones = tf.ones([tf.shape(inputs)[0] * step, *sides], inputs.dtype)
            drawn = keras.random.dropout(ones, self.rate, noise_shape=self.noise_shape, seed=self.seed_generator)
            return inputs * drawn[first::step]

    return WholeBatchDropout
