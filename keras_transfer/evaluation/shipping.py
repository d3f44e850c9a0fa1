"""Says of each exported file whether to ship it: one is recommended, the others hold, differ, or were never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LITTLE_POINTS = 0.5
"""Percentage points of merit that the recommended file may lose, as `--precision auto` allows where nothing is said."""


def judged(exports: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the rows with `advice`: `ship` for one file, else `holds`, `differs too much` or `not verified`.

    >>> rows = [{"name": "a", "size_bytes": 4, "lost_points": 0.1}, {"name": "b", "size_bytes": 9, "lost_points": 0.0}]
    >>> [row["advice"] for row in judged(rows)]
    ['ship', 'holds']

    exports: rows with name, size_bytes and, where measured, lost_points and accepted. Recommended is the smallest
    accepted file that loses at most half a point; where all lose more, the one that loses least.
    """
    accepted = [row for row in exports if row.get("lost_points") is not None and row.get("accepted", True)]
    little = [row for row in accepted if row["lost_points"] <= LITTLE_POINTS]
    best = (
        min(little, key=lambda row: (row["size_bytes"], row["lost_points"]))
        if little
        else min(accepted, key=lambda row: (row["lost_points"], row["size_bytes"]), default=None)
    )
    return tuple({**row, "advice": "ship" if row is best else _said(row)} for row in exports)


def _said(row: Mapping[str, Any]) -> str:
    if row.get("lost_points") is None:
        return "not verified"
    return "holds" if row.get("accepted", True) else "differs too much"
