"""The same layers on pictures of another size: what progressive resizing trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.errors import UsageError

STEP = 32
"""Sizes must differ by whole strides: Keras pads by whether a side is even, so other sizes shift the grid."""


def check(size: int, *, stage: str, full_size: int, clips: bool = False) -> None:
    """Raise UsageError where `size` cannot stand in for `full_size`, as of clips none can."""
    if clips:
        raise UsageError(
            f"Stage '{stage}' asks for pictures of {size} pixels; the frames of clips keep the {full_size} of the "
            "model. Leave its image_size out."
        )
    if (full_size - size) % STEP or size > full_size:
        fitting = ", ".join(map(str, range(full_size % STEP or STEP, full_size, STEP))) or "none is smaller"
        raise UsageError(
            f"Stage '{stage}' asks for pictures of {size} pixels; for a model of {full_size} they must be smaller by "
            f"a multiple of {STEP}: {fitting}."
        )


def resized(model: keras.Model, shapes: Sequence[tuple[int | None, ...]]) -> keras.Model:
    """Return `model` on inputs of `shapes`, (height, width, channels) each; layers and weights are shared with it."""
    if [tuple(source.shape[1:]) for source in model.inputs] == [tuple(shape) for shape in shapes]:
        return model
    sources = [keras.Input(shape, dtype=old.dtype) for shape, old in zip(shapes, model.inputs, strict=True)]
    structure = tf.nest.pack_sequence_as(model.input, sources)
    return keras.models.clone_model(model, input_tensors=structure, clone_function=_same)


def _same(layer: Any) -> Any:
    return layer
