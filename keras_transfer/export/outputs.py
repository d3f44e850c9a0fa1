"""Tells which of the tensors that a model gives is which output of its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_transfer.errors import ArtifactError
from keras_transfer.specs import Output


def named(answers: Any, outputs: Sequence[Output]) -> dict[str, Any]:
    """Return what a Keras model gives by the names of its contract, in the contract's order.

    >>> named([0.9, 0.1], (Output(name="near", shape=()), Output(name="far", shape=())))
    {'near': 0.9, 'far': 0.1}

    answers: one tensor, several in the order of `outputs`, or a mapping whose keys are their names.
    Raises ArtifactError where there are more or fewer than the contract names.
    """
    if not isinstance(answers, Mapping):
        answers = dict(enumerate(answers if isinstance(answers, (list, tuple)) else [answers]))
    return {output.name: answers[key] for output, key in zip(outputs, keys(list(answers), outputs), strict=True)}


def keys(found: Sequence[Any], outputs: Sequence[Output]) -> tuple[Any, ...]:
    """Return those of `found` that are the contract's outputs, in its order: by name, else by position.

    >>> keys(["far", "near"], (Output(name="near", shape=()), Output(name="far", shape=())))
    ('near', 'far')

    A model made elsewhere calls its tensors as it likes; then their order must say which is which.
    Raises ArtifactError where there are more or fewer than the contract names.
    """
    names = tuple(output.name for output in outputs)
    if len(found) != len(names):
        raise ArtifactError(
            f"The contract names {len(names)} outputs ({', '.join(names)}), the model has {len(found)}: "
            f"{', '.join(str(key) for key in found)}."
        )
    return names if set(names) == set(found) else tuple(found)
