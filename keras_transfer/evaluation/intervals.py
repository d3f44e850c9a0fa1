"""How well a share is known that was counted on so many pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

NORMAL_95 = 1.959963984540054
"""Standard deviations of the normal distribution that hold 95 % of it."""


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 4), round(high, 4)
    (0.4038, 0.5962)

    share: 0-1, of `count` pictures; a mean of numbers in [0, 1] spreads at most as much as a share does.
    Source: Wilson, Probable inference, JASA 1927, which holds near 0 and 1 and with few pictures.
    """
    if count < 1:
        return 0.0, 1.0
    square = NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def margin(share: float, count: int) -> float:
    """Return half the width of the 95 % interval of a share.

    >>> round(margin(0.5, 100), 4)
    0.0962
    """
    low, high = wilson(share, count)
    return (high - low) / 2


def spread_of(figures: Mapping[str, float | None], count: int) -> float:
    """Return half the width of the 95 % interval of the first of some figures, 0-1.

    >>> round(spread_of({"accuracy": 0.5}, 100), 4)
    0.0962
    >>> round(spread_of({"Recall@1": 0.9, "Recall@1 spread": 0.05}, 100), 4)
    0.098

    count: pictures that it is of. A figure whose spread was measured has that: pictures of one identity fail together,
    and so their number promises too much.
    """
    name, value = next(iter(figures.items()))
    ways = (f"{name} spread", f"{name}_spread", f"{name} standard error")
    measured = next((found for way in ways if (found := figures.get(way)) is not None), None)
    return margin(value or 0.0, count) if measured is None else NORMAL_95 * measured
