"""Judges whether an artifact says what the model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import rel_entr

from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import Value

WORST = 10
"""How many of the pictures that differ most are named."""


class Tolerance(Value):
    """How far an artifact may be from the model; a bound that is None is not looked at."""

    agreement: float | None = None
    """Least share of pictures that get the same class."""
    max_difference: float | None = None
    """Largest difference of any probability."""
    drop_points: float | None = None
    """Largest loss of accuracy in percentage points."""


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(agreement=1.0, max_difference=1e-4),
    "float16": Tolerance(agreement=1.0, max_difference=5e-3),
    "dynamic": Tolerance(drop_points=1.0),
    "weight-int8": Tolerance(drop_points=1.0),
    "int16x8": Tolerance(drop_points=0.5),
    "int8": Tolerance(drop_points=1.0),
}
"""Floats must decide alike; whole numbers may decide otherwise as long as they are right about as often."""


def tolerance(precision: str, **bounds: float | None) -> Tolerance:
    """Return the tolerance of a precision with the given bounds in place of its own.

    >>> tolerance("int8", drop_points=0.5).drop_points
    0.5
    """
    if precision not in TOLERANCES:
        raise UsageError(unknown("precision", precision, TOLERANCES))
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return Tolerance.model_validate({**TOLERANCES[precision].model_dump(), **given})


class Parity(Value):
    """An artifact's answers beside the model's on the same pictures."""

    precision: str
    pictures: int
    accuracy: float
    reference_accuracy: float
    accuracy_drop_points: float
    """Percentage points lost; negative where the artifact is right more often."""
    agreement: float
    """Share of pictures that get the same class."""
    max_difference: float
    mean_difference: float
    kl_divergence: float
    """Mean over pictures, in nats, of the artifact's answer from the model's (Kullback & Leibler 1951)."""
    worst: tuple[tuple[str, float], ...]
    """The pictures that differ most and by how much, the largest first."""
    tolerance: Tolerance
    passed: bool
    reason: str
    """Empty where it passed; else every bound that was not met."""


def compare(
    reference: np.ndarray,
    candidate: np.ndarray,
    labels: np.ndarray,
    keys: Sequence[str],
    *,
    precision: str,
    tolerance: Tolerance | None = None,
) -> Parity:
    """Compare probabilities of an artifact with those of the model.

    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> compare(answers, answers, np.array([0, 1]), ["a", "b"], precision="float32").passed
    True

    reference, candidate: float (n, classes), rows sum to 1. labels: class positions (n,). keys: the pictures' names.
    tolerance: that of the precision where it is left out. Raises UsageError for a precision without one.
    """
    if precision not in TOLERANCES:
        raise UsageError(unknown("precision", precision, TOLERANCES))
    if not reference.shape == candidate.shape == (len(labels), reference.shape[1]) or len(keys) != len(labels):
        raise UsageError(
            f"Two sets of answers to the same pictures are compared. Received: {reference.shape} and "
            f"{candidate.shape} for {len(labels)} labels and {len(keys)} keys."
        )
    bounds = tolerance or TOLERANCES[precision]
    # In double precision, so that the comparison itself adds nothing to what it measures.
    wanted, given = reference.astype(np.float64), candidate.astype(np.float64)
    difference = np.abs(wanted - given)
    by_picture = difference.max(axis=1)
    decided, decided_wanted = given.argmax(axis=1), wanted.argmax(axis=1)
    right, right_wanted = int(np.sum(decided == labels)), int(np.sum(decided_wanted == labels))
    agreement = float(np.mean(decided == decided_wanted))
    drop_points = 100 * (right_wanted - right) / len(labels)  # of whole counts: 10 of 1,000 are 1 point exactly
    # An 8-bit answer says 0 for whatever is under 1/256; the floor keeps the divergence finite.
    floor = np.finfo(np.float32).eps
    order = np.argsort(-by_picture, kind="stable")[:WORST]
    reasons = _unmet(bounds, agreement, float(by_picture.max()), drop_points, len(labels))
    return Parity(
        precision=precision,
        pictures=len(labels),
        accuracy=right / len(labels),
        reference_accuracy=right_wanted / len(labels),
        accuracy_drop_points=drop_points,
        agreement=agreement,
        max_difference=float(by_picture.max()),
        mean_difference=float(difference.mean()),
        kl_divergence=float(rel_entr(np.maximum(wanted, floor), np.maximum(given, floor)).sum(axis=1).mean()),
        worst=tuple((keys[index], float(by_picture[index])) for index in order),
        tolerance=bounds,
        passed=not reasons,
        reason="; ".join(reasons),
    )


def _unmet(bounds: Tolerance, agreement: float, largest: float, drop_points: float, pictures: int) -> list[str]:
    reasons = []
    # `not (x <= bound)` rather than `x > bound`: an answer that is not a number must fail.
    if bounds.agreement is not None and not agreement >= bounds.agreement:
        others = round((1 - agreement) * pictures)
        reasons.append(f"{others} of {pictures} pictures get another class (agreement must be {bounds.agreement:.2%})")
    if bounds.max_difference is not None and not largest <= bounds.max_difference:
        reasons.append(f"a probability differs by {largest:.2g} (at most {bounds.max_difference:g})")
    if bounds.drop_points is not None and not drop_points <= bounds.drop_points:
        reasons.append(f"accuracy drops by {drop_points:.2f} points (at most {bounds.drop_points:g})")
    return reasons
