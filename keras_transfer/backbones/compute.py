"""Counts the work of a network, from its shapes alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_transfer.specs import Block


def multiply_adds(block: Block) -> int:
    """Return the multiply-adds that a block spends on one picture, biases and activations left out.

    >>> sum(multiply_adds(block) for block in blocks)  # MobileNetV2 at 224 px  # doctest: +SKIP
    299529216

    Every kernel (a weight of two or more dimensions) is applied once at each position of its layer's output.
    """
    return sum(_positions(layer) * _kernel_items(layer) for layer in block.layers)


def _kernel_items(layer: Any) -> int:
    shapes = (tuple(weight.shape) for weight in getattr(layer, "weights", ()))
    return sum(int(np.prod(shape)) for shape in shapes if len(shape) > 1)


def _positions(layer: Any) -> int:
    return int(np.prod(layer.output.shape[1:-1]))
