"""Cuts any backbone into ordered blocks, from its graph and never from its layers' names.

Built twice in one process, 188 of InceptionV3's 188 weighted layers change their names; the graph does not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.specs import BackboneSpec, Block

EXPANSION = 2.5
"""A tensor this many times the smallest of its resolution is the wide inside of a bottleneck (3 to 6 times), not the
end of a stage (at most twice); storing it would cost as many times the space."""


def cut(model: Any, spec: BackboneSpec, output: Any = None) -> tuple[Block, ...]:
    """Return the blocks of a backbone, from the picture to the features: disjoint, and every weight in one of them.

    >>> blocks = cut(features.model, backbone("MobileNetV2"))  # doctest: +SKIP
    >>> [block.resolution for block in blocks]  # doctest: +SKIP
    [48, 24, 12, 6, 3]

    An operation after which nothing earlier is needed is a cut. Of the cuts at one resolution the last one that is
    not the inside of the next bottleneck ends a block.

    model: a flat functional keras.Model with one picture input. output: the KerasTensor of the feature map where
    `model` goes on behind it (a whole classifier, also one that was saved and loaded); the model's own if left out.
    """
    output = model.output if output is None else output
    operations = _leading_to(model.operations, output)
    positions = _named(operations, spec.block_ends) if spec.block_ends else _by_resolution(operations)
    blocks: list[Block] = []
    done: set[int] = set()
    for end in [*(operations[position] for position in positions), operations[-1]]:
        reached = _leading_to(operations, end.output)
        layers = tuple(operation for operation in reached if id(operation) not in done)
        done |= {id(operation) for operation in layers}
        if any(getattr(layer, "weights", ()) for layer in layers) or not blocks:
            blocks.append(Block(len(blocks), layers, end.output, alone=_alone(operations, done, end)))
        else:  # what holds no weights, such as a last pooling, ends the block before it
            before = blocks.pop()
            blocks.append(replace(before, layers=before.layers + layers, output=end.output))
    return tuple(blocks)


def taps(blocks: Sequence[Block], strides: Sequence[int], side: int) -> tuple[Any, ...]:
    """Return for each stride the output of the last block whose features are that much smaller than the picture.

    >>> [tensor.shape[1] for tensor in taps(blocks, (4, 8, 16, 32), 224)]  # doctest: +SKIP
    [56, 28, 14, 7]

    side: of the picture, in pixels; a side that is no multiple of the stride is rounded up, as padding does. Raises
    UsageError for a stride at which no block ends.
    """
    last = {block.resolution: block.output for block in blocks}
    for stride in strides:
        if -(-side // stride) not in last:
            found = ", ".join(str(resolution) for resolution in last)
            raise UsageError(
                f"No block of this backbone ends at stride {stride}: of a picture of {side} pixels that is "
                f"{-(-side // stride)}. Received blocks of {found}; take another backbone, or another image size."
            )
    return tuple(last[-(-side // stride)] for stride in strides)


def _tensors(nested: Any) -> list[Any]:
    return list(nested) if isinstance(nested, (list, tuple)) else [nested]


def _inputs(operation: Any) -> list[Any]:
    """The tensors an operation takes; none for the model's input, whose layer names itself as its own."""
    return [tensor for tensor in _tensors(operation.input) if tensor is not operation.output]


def _leading_to(operations: Sequence[Any], output: Any) -> list[Any]:
    """The operations that `output` depends on, its own included, in the order given."""
    makers = {id(tensor): operation for operation in operations for tensor in _tensors(operation.output)}
    needed, waiting = set(), [output]
    while waiting:
        operation = makers[id(waiting.pop())]
        if id(operation) not in needed:
            needed.add(id(operation))
            waiting.extend(_inputs(operation))
    return [operation for operation in operations if id(operation) in needed]


def _alone(operations: Sequence[Any], done: set[int], end: Any) -> bool:
    """Whether operations that are not done take nothing from those that are but the output of `end`."""
    inside = {id(operation.output) for operation in operations if id(operation) in done and operation is not end}
    later = (operation for operation in operations if id(operation) not in done)
    return not any(id(tensor) in inside for operation in later for tensor in _inputs(operation))


def cuts(operations: Sequence[Any]) -> Iterator[int]:
    """Yield the positions after which only that operation's output is needed of all that came before."""
    position_of = {id(tensor): i for i, operation in enumerate(operations) for tensor in _tensors(operation.output)}
    last_use = list(range(len(operations)))
    for position, operation in enumerate(operations):
        for tensor in _inputs(operation):
            last_use[position_of[id(tensor)]] = position
    reach = 0
    for position, last in enumerate(last_use):
        if reach <= position:
            yield position
        reach = max(reach, last)


def _by_resolution(operations: Sequence[Any]) -> list[int]:
    """The last cut of each resolution but the lowest, which the features end; what prepares the next is left out."""
    picture = operations[0].output.shape
    levels: dict[int, list[int]] = {}
    for position in cuts(operations):
        shape, before = operations[position].output.shape, _inputs(operations[position])
        padding = before and shape[1] > before[0].shape[1]
        if not padding and shape != picture:  # scaled pixels are no features yet
            levels.setdefault(round(math.log2(picture[1] / shape[1])), []).append(position)
    return [_stage_end(operations, candidates) for candidates in list(levels.values())[:-1]]


def _stage_end(operations: Sequence[Any], candidates: Sequence[int]) -> int:
    """The last candidate that is no bottleneck's inside, judged from the last join of branches on."""
    joins = [index for index, position in enumerate(candidates) if len(_inputs(operations[position])) > 1]
    tail = candidates[joins[-1] if joins else 0 :]
    sizes = [int(np.prod(operations[position].output.shape[1:])) for position in tail]
    return [position for position, size in zip(tail, sizes, strict=True) if size <= EXPANSION * min(sizes)][-1]


def _named(operations: Sequence[Any], names: Sequence[str]) -> list[int]:
    positions = {operation.name: position for position, operation in enumerate(operations)}
    return [positions[name] for name in names]
