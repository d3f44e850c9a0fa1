"""Asks the model about the golden pictures and compares what it says with what it must say."""

from __future__ import annotations

import json
from dataclasses import dataclass

from . import answers
from .model import DATA, Model


@dataclass(frozen=True)
class Compared:
    """One golden picture: how far the answer is from the one that it must be, and whether that is near enough."""

    picture: str
    difference: float
    passed: bool


def selftest(model: Model | None = None) -> tuple[Compared, ...]:
    """Return how the answers to the golden pictures compare, one each.

    >>> all(each.passed for each in selftest())  # doctest: +SKIP
    True
    """
    model = model or Model()
    compared, tolerance = [], model.about["tolerance"]
    for each in json.loads((DATA / "golden.json").read_text(encoding="utf-8"))["pictures"]:
        outputs = model.outputs(model.golden((DATA / each["file"]).read_bytes()))
        far = answers.difference(outputs, each["answer"], model.about)
        compared.append(Compared(each["file"], far, far <= tolerance))
    return tuple(compared)
