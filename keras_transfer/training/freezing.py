"""Decides for every layer whether it learns in a stage, applies that, and proves that the rest did not move."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from keras_transfer.errors import TrainingError, UsageError
from keras_transfer.specs import Network, Stage


@dataclass(frozen=True)
class Freeze:
    """The decision for one stage: each layer that has weights is in exactly one of the two."""

    learning: tuple[Any, ...]
    frozen: tuple[Any, ...]
    blocks: tuple[int, ...]
    """Positions of the learning blocks, in order."""
    cut: tuple[Any, ...]
    """All KerasTensors that cross from what neither learns nor is random to what does, in the order they are made: the
    end of the last frozen block, and before it every feature that the head taps there. Without a learning block they
    are the network's features; there are none where the first block learns."""
    prefix_work: int
    """Multiply-adds that one picture costs up to the cut."""
    distance: dict[int, int]
    """Blocks between a learning layer (by id) and the head: 0 for the head and for the last block."""


def decide(network: Network, stage: Stage) -> Freeze:
    """Return what learns in `stage`; every weight is decided or it is an error that names the layer.

    Batch norms of frozen blocks are frozen, which in Keras also means inference mode (Keras FAQ, "trainable"). With
    `batch_norm="frozen"` those of learning blocks are frozen too.
    """
    total = len(network.blocks)
    blocks = _positions(stage, total)
    owner = {id(layer): block.index for block in network.blocks for layer in block.layers}
    head = _head(network, owner)
    _check_still(network, stage, head)
    learning: list[Any] = []
    frozen: list[Any] = []
    distance: dict[int, int] = {}
    for layer in network.model.layers:
        if not layer.weights:
            continue
        if id(layer) not in owner and id(layer) not in head:
            raise TrainingError(
                f"Layer '{layer.name}' is in no block and not in the head: nobody decided if it learns."
            )
        block = owner.get(id(layer), total - 1)
        learns = layer.name not in stage.still if id(layer) in head else block in blocks
        if stage.batch_norm == "frozen" and isinstance(layer, keras.layers.BatchNormalization):
            learns = False
        (learning if learns else frozen).append(layer)
        distance[id(layer)] = total - 1 - block
    cut, work = _cut(network, blocks)
    return Freeze(tuple(learning), tuple(frozen), blocks, cut, work, distance)


def apply(freeze: Freeze) -> None:
    """Set `trainable` on each layer as decided."""
    for layer in freeze.learning:
        layer.trainable = True
    for layer in freeze.frozen:
        layer.trainable = False


def digest(layers: Iterable[Any]) -> str:
    """Return the SHA-256 (hex) of all weights of `layers`, batch-norm statistics included, in order."""
    sha = hashlib.sha256()
    for layer in layers:
        for variable in layer.weights:
            sha.update(variable.numpy().tobytes())
    return sha.hexdigest()


def _cut(network: Network, blocks: tuple[int, ...]) -> tuple[tuple[Any, ...], int]:
    """Return the tensors that cross from what is frozen to what learns, and the multiply-adds up to there."""
    work = [block.multiply_adds for block in network.blocks]
    if not blocks:
        return network.features, sum(work)
    ends = [block.index for block in network.blocks[: blocks[0]] if block.alone]
    if not ends:
        return (), 0
    until = ends[-1] + 1
    end = network.blocks[ends[-1]].output
    frozen = {id(layer.output) for block in network.blocks[:until] for layer in block.layers}
    tapped = [feature for feature in network.features if id(feature) in frozen and feature is not end]
    return (*tapped, end), sum(work[:until])


def _check_still(network: Network, stage: Stage, head: set[int]) -> None:
    names = {layer.name for layer in network.model.layers if id(layer) in head and layer.weights}
    missing = sorted(set(stage.still) - names)
    if missing:
        raise UsageError(
            f"Stage '{stage.name}' holds '{missing[0]}' still, which this head does not have. "
            f"It has: {', '.join(sorted(names))}."
        )


def _positions(stage: Stage, total: int) -> tuple[int, ...]:
    if stage.blocks == "all":
        return tuple(range(total))
    if isinstance(stage.blocks, str):
        raise UsageError(
            f"Stage '{stage.name}': blocks chosen by their gradients ('{stage.blocks}') are trained no more, as on no "
            "task they gave what the last ones give. Name blocks, or take recipe head_then_top."
        )
    for block in stage.blocks:
        if not -total <= block < total:
            raise UsageError(
                f"Stage '{stage.name}' names block {block}, but this backbone has {total} blocks "
                f"(0 to {total - 1}, or -1 to -{total} from the end)."
            )
    return tuple(sorted({block % total for block in stage.blocks}))


def _head(network: Network, owner: dict[int, int]) -> set[int]:
    """Return the ids of the layers that take the features, or what comes of them, and are in no block."""
    reached = {id(feature) for feature in network.features}
    head = set()
    for operation in network.model.operations:  # in the order of the graph
        nodes = operation._inbound_nodes  # `input` is refused of a layer that several strides share
        takes = any(id(tensor) in reached for node in nodes for tensor in node.input_tensors)
        if takes and id(operation) not in owner:
            head.add(id(operation))
            reached |= {id(tensor) for node in nodes for tensor in node.outputs}
    return head
