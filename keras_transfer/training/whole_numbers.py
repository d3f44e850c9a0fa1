"""Makes a network's twin that computes as LiteRT does in whole numbers, so that it can learn to be right in them.

The twin is a network like another: stages train it, gates judge it, checkpoints hold it, files are written from it. It
shares every weight with the network that it was made of, which stays plain Keras, and adds a range for each tensor that
LiteRT rounds. What is rounded where is in `lowering`, how in `rounding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.specs import Block, Network
from keras_transfer.training.lowering import RANGE, Lowering
from keras_transfer.training.rounding import Rounding

Ranges = Mapping[str, tuple[float, float]]
"""The least and the largest value of each tensor that is rounded, by what gives it and `RANGE`."""

__all__ = ["RANGE", "Ranges", "alike", "look", "of", "ranges", "roundings", "twin"]


def of(network: Network) -> Network:
    """Return the network in whole numbers: same weights, same blocks, same loss.

    >>> of(network).model.output.shape == network.model.output.shape  # doctest: +SKIP
    True

    Its ranges are not known yet: `look` measures them. Raises UsageError for a layer whose kernel nobody here knows how
    to round.
    """
    lowered = Lowering(network.model, (*network.raw, *network.features))
    made = lowered.tensors
    blocks = tuple(
        Block(block.index, lowered.made_of(block.layers), made.get(id(block.output)), block.alone)
        for block in network.blocks
    )
    # What is made of the last block on the way to the head, a mean, has a range: to be decided on, it joins the head.
    ends = {id(block.output) for block in network.blocks}
    features = [each if id(each) in ends else network.blocks[-1].output for each in network.features]
    return replace(
        network,
        model=lowered.model,
        blocks=blocks,
        features=tuple(made[id(each)] for each in features),
        raw=tuple(made[id(each)] for each in network.raw),
    )


def twin(model: keras.Model, found: Ranges) -> keras.Model:
    """Return a model in whole numbers, with the ranges that another twin of the same network has learnt.

    >>> ranges(twin(model, found)) == found  # doctest: +SKIP
    True
    """
    made = Lowering(model).model
    for each in roundings(made):
        if each.fixed is None:
            low, high = found[each.name]
            each.low.assign(low)
            each.high.assign(high)
    return made


def look(model: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Take in how far the tensors of a twin reach on pictures, and let them be rounded to that from now on.

    batches: uint8 (n, side, side, 3) each. Kernels are rounded already while it looks, tensors are not.
    """
    measured = roundings(model)
    for each in measured:
        each.measures = True
    try:
        pass_through = tf.function(lambda images: model(images, training=False), reduce_retracing=True, autograph=False)
        for images in batches:
            pass_through(images)
    finally:
        for each in measured:
            each.measures = False


def ranges(model: keras.Model) -> dict[str, tuple[float, float]]:
    """Return the ranges of a twin as numbers, without those that LiteRT has fixed."""
    return {each.name: (float(each.low), float(each.high)) for each in roundings(model) if each.fixed is None}


def alike(model: keras.Model, picture: np.ndarray, given: Sequence[tuple[np.ndarray, float]]) -> dict[str, float]:
    """Return how far a file computes as its twin does: the share of what each operation gives that lies within one
    step, by the name of its range.

    picture: uint8 (side, side, 3). given: what the file's operators gave for it, each as floats and with its step.
    Every operation of the twin goes on with what the file had there. Else one number that is rounded otherwise, of a
    hundred thousand, would be enough: each layer behind it adds a hundred of its inputs and rounds them again, and in
    the end a deep network has nothing left that is alike to the last step. Ranges that no operator of the file has, as
    it computes more in one go, are missing.
    """
    found: dict[str, float] = {}

    def compared(operation: Any, *arguments: Any, **options: Any) -> Any:
        made = operation(*arguments, **options)
        if not isinstance(operation, Rounding):
            return made
        wanted, step = np.asarray(made), float(operation.step())
        # A file may keep as (1, 1, 1, n) what the twin has as (1, n).
        fitting = [
            each.reshape(wanted.shape)
            for each, own in given
            if each.squeeze().shape == wanted.squeeze().shape and abs(own - step) < 1e-4 * step
        ]
        if not fitting:
            return made
        nearest = min(fitting, key=lambda each: float(np.abs(each - wanted).mean()))
        share = float(np.mean(np.abs(nearest - wanted) < 1.01 * step))
        found[operation.name] = min(share, found.get(operation.name, 1.0))
        return tf.constant(nearest)

    model._run_through_graph([tf.constant(picture[None])], call_fn=compared)
    return found


def roundings(model: keras.Model) -> list[Rounding]:
    """Return the layers of a twin that round what flows."""
    return [each for each in model.layers if isinstance(each, Rounding)]
