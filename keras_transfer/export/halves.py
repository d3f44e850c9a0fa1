"""Writes a model of clips as two graphs, so that each frame of a stream is computed once: what either is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_transfer.specs import FEATURES, Contract, Output

if TYPE_CHECKING:
    from keras_transfer.export.graph import Graph

NAMES = ("frame", "window")
"""Of the two files in a folder of a pair: a frame to its features, and the features of a window to the answer."""

Halve = Callable[[Any], tuple[Any, Any]]
"""`halve(keras.Model)`: the model in two, in the order of `NAMES`, with the same weights."""


class Half(NamedTuple):
    """One of the two graphs, and what its file promises."""

    name: str
    graph: Graph
    contract: Contract


def traced(models: Sequence[Any], contract: Contract) -> tuple[Half, ...]:
    """Return both halves of a model of clips as traced graphs.

    models: keras.Models in the order of `NAMES`; contract: of the whole.
    """
    from keras_transfer.export import graph

    contracts = contracts_of(contract, features=int(models[0].output.shape[-1]))
    return tuple(
        Half(name, graph.trace(model, own.outputs, own.takes), own)
        for name, model, own in zip(NAMES, models, contracts, strict=True)
    )


def contracts_of(contract: Contract, *, features: int) -> tuple[Contract, Contract]:
    """Return what each half of a model promises, of whose frames `features` numbers are kept.

    >>> whole = Contract(class_names=("fall", "walk"), image_size=96, frames=8, task="clips")
    >>> [each.shape for each in contracts_of(whole, features=2720)]
    [(96, 96, 3), (8, 2720)]
    """
    said = contract.model_dump()
    numbers = Output(name=FEATURES, shape=(features,))
    frame = {"frames": 0, "class_names": (), "outputs": (numbers,), "temperature": 1.0}
    window = {"features": features, "normalization": f"give {FEATURES} of frames as {NAMES[0]} gives them"}
    return Contract.model_validate({**said, **frame}), Contract.model_validate({**said, **window})


def whole_of(window: Contract) -> Contract:
    """Return what both halves together promise, from what the second of them does."""
    pixels = Contract.model_fields["normalization"].default
    return window.model_copy(update={"features": 0, "normalization": pixels})


def suffix_of(folder: Path) -> str | None:
    """Return how the names of a pair's files end, without the dot; None where the folder holds no pair."""
    found = (each.suffix[1:] for each in sorted(folder.glob(f"{NAMES[0]}.*")))
    return next((each for each in found if (folder / f"{NAMES[1]}.{each}").is_file()), None)
