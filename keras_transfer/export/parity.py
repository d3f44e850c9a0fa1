"""Judges whether an artifact says what the model says, from figures that its task measured picture by picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import Value

WITHIN_A_STEP = 0.99
"""Least share of its numbers that each operation of a file gives, to one step, as in training in whole numbers."""
WORST = 10
"""How many of the pictures that differ most are named."""


class Tolerance(Value):
    """How far an artifact may be from the model; a bound that is None is not looked at."""

    agreement: float | None = None
    """Least share of pictures that get the same answer."""
    max_difference: float | None = None
    """Largest difference of any answer, in the measure of the task: of classification, of a probability."""
    drop_points: float | None = None
    """Largest loss of the task's merit in percentage points."""


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(agreement=1.0, max_difference=1e-4),
    "float16": Tolerance(agreement=1.0, max_difference=5e-3),
    "dynamic": Tolerance(drop_points=1.0),
    "weight-int8": Tolerance(drop_points=1.0),
    "int16x8": Tolerance(drop_points=0.5),
    "int8": Tolerance(drop_points=1.0),
    "int8-mixed": Tolerance(drop_points=1.0),
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
    """Of the artifact: the mean merit of the task, 0-1; of classification, the share of pictures it is right on."""
    reference_accuracy: float
    """The same of the model."""
    accuracy_drop_points: float
    """Percentage points of merit lost; negative where the artifact is worth more."""
    agreement: float
    """Share of pictures that get the same answer."""
    max_difference: float
    """Largest over the pictures, in the measure of the task: of classification, of a probability."""
    mean_difference: float
    """Mean over the pictures of what `max_difference` is the largest of."""
    kl_divergence: float | None = None
    """Mean over pictures, in nats, of the artifact's answer from the model's; None where answers are no
    probabilities over classes."""
    worst: tuple[tuple[str, float], ...]
    """The pictures that differ most and by how much, the largest first."""
    tolerance: Tolerance
    passed: bool
    reason: str
    """Empty where it passed; else every bound that was not met."""
    within_a_step: float | None = None
    """Of a file whose network was trained in whole numbers: the least share, of its operations, of numbers that lie at
    most one step from what that network makes of the same inputs; None of other files."""


def compare(
    same: np.ndarray,
    difference: np.ndarray,
    right_reference: np.ndarray,
    right_candidate: np.ndarray,
    keys: Sequence[str],
    *,
    precision: str,
    tolerance: Tolerance | None = None,
    kl: np.ndarray | None = None,
    merit_name: str = "accuracy",
) -> Parity:
    """Judge an artifact by what its task measured on each picture.

    >>> right = np.array([1.0, 0.0])
    >>> compare(np.array([True, True]), np.zeros(2), right, right, ["a", "b"], precision="float32").passed
    True

    same: whether each picture gets the same answer from both, bool (n,). difference: how far apart the two answers
    are, float (n,), not negative. right_reference, right_candidate: the merit of each picture in the model's answer
    and in the artifact's, float (n,), 0-1. keys: the pictures' names. tolerance: that of the precision where it is
    left out. kl: the divergence of each picture in nats, where answers are probabilities over classes.
    Raises UsageError for a precision without a tolerance, or where the figures are not of the same pictures.
    """
    if precision not in TOLERANCES:
        raise UsageError(unknown("precision", precision, TOLERANCES))
    counts = [len(each) for each in (same, difference, right_reference, right_candidate, keys)]
    if len(set(counts)) != 1 or not counts[0]:
        raise UsageError(
            f"Two sets of answers to the same pictures are compared, of one at least. Received: figures of "
            f"{', '.join(map(str, counts))} pictures."
        )
    bounds, pictures = tolerance or TOLERANCES[precision], counts[0]
    worth, worth_wanted = float(np.sum(right_candidate)), float(np.sum(right_reference))
    agreement, largest = float(np.mean(same)), float(np.max(difference))
    drop_points = 100 * (worth_wanted - worth) / pictures  # of whole sums: 10 of 1,000 are 1 point exactly
    order = np.argsort(-difference, kind="stable")[:WORST]
    reasons = _unmet(bounds, agreement, largest, drop_points, pictures, merit_name)
    return Parity(
        precision=precision,
        pictures=pictures,
        accuracy=worth / pictures,
        reference_accuracy=worth_wanted / pictures,
        accuracy_drop_points=drop_points,
        agreement=agreement,
        max_difference=largest,
        mean_difference=float(np.mean(difference)),
        kl_divergence=None if kl is None else float(np.mean(kl)),
        worst=tuple((keys[index], float(difference[index])) for index in order),
        tolerance=bounds,
        passed=not reasons,
        reason="; ".join(reasons),
    )


def held_to_training(found: Parity, within_a_step: float) -> Parity:
    """Return what was found of a file whose network was trained in whole numbers, held to that network as well.

    within_a_step: the least share, of the file's operations, of numbers that lie at most one step from the network's.
    """
    now = found.model_copy(update={"within_a_step": within_a_step})
    if within_a_step >= WITHIN_A_STEP:
        return now
    told = f"an operation gives {within_a_step:.2%} of its numbers as in training ({WITHIN_A_STEP:.0%} must be)"
    return now.model_copy(update={"passed": False, "reason": "; ".join(filter(None, (found.reason, told)))})


def _unmet(
    bounds: Tolerance, agreement: float, largest: float, drop_points: float, pictures: int, merit_name: str
) -> list[str]:
    reasons = []
    # `not (x <= bound)` rather than `x > bound`: an answer that is not a number must fail.
    if bounds.agreement is not None and not agreement >= bounds.agreement:
        others = round((1 - agreement) * pictures)
        reasons.append(f"{others} of {pictures} pictures get another answer (agreement must be {bounds.agreement:.2%})")
    if bounds.max_difference is not None and not largest <= bounds.max_difference:
        reasons.append(f"an answer differs by {largest:.2g} (at most {bounds.max_difference:g})")
    if bounds.drop_points is not None and not drop_points <= bounds.drop_points:
        reasons.append(f"{merit_name} drops by {drop_points:.2f} points (at most {bounds.drop_points:g})")
    return reasons
