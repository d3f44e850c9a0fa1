"""Says in a paragraph what a run is worth, for a person who decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_transfer.specs import RunRecord, Scored


def verdict(scored: Scored, record: RunRecord, exports: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return, in one paragraph, what a person who decides needs to know of a run.

    exports: rows of `shipping.judged`.
    """
    first, *others = scored.worth()
    said = [first, *_gain(scored, record), *others]
    rolled_back = [stage.name for stage in record.stages if not stage.kept]
    if rolled_back:
        said.append(f"Rolled back, because it was no better than what stood before: {', '.join(rolled_back)}.")
    ship = next((row for row in exports if row["advice"] == "ship"), None)
    if ship:
        lost = ship["lost_points"]
        said.append(
            f"The file to ship is {ship['name']} with {ship['size_bytes'] / 1e6:.1f} MB, "
            + (f"{lost:.1f} points below the model." if lost > 0.05 else "as good as the model.")
        )
    refused = [row["name"] for row in exports if row["advice"] == "differs too much"]
    if refused:
        said.append(f"Not to be shipped, for it differs too much from the model: {', '.join(refused)}.")
    return " ".join(said)


def _gain(scored: Scored, record: RunRecord) -> list[str]:
    if not record.scratch:
        return []
    reached = next(iter(record.scratch.values()))
    gain = (scored.merit - reached) * 100
    return [
        f"The same network trained from nothing for as long reaches {reached:.1%}: "
        f"transfer {'brought' if gain >= 0 else 'cost'} {abs(gain):.1f} points."
    ]


def labels_saved(points: Sequence[Mapping[str, Any]]) -> str:
    """Return, in one sentence, what transfer saved over training from scratch; empty where it was not measured.

    points: rows with method (`transfer`, `scratch` among them), per_class, accuracy and cpu_seconds.
    """
    median = {
        key: float(np.median([row["accuracy"] for row in points if (row["method"], row["per_class"]) == key]))
        for key in {(row["method"], row["per_class"]) for row in points}
    }
    scratch = [(accuracy, size) for (method, size), accuracy in median.items() if method == "scratch"]
    transfer = [(size, accuracy) for (method, size), accuracy in median.items() if method == "transfer"]
    if not scratch or not transfer:
        return ""
    goal, most = max(scratch)
    enough = [size for size, accuracy in sorted(transfer) if accuracy >= goal]
    few = min(enough, default=max(size for size, _ in transfer))
    spent = {
        method: float(
            np.median([row["cpu_seconds"] for row in points if row["method"] == method and row["per_class"] == size])
        )
        for method, size in (("transfer", few), ("scratch", most))
    }
    if {size for size, _ in transfer} == {most}:
        return (
            f"With {most} labelled pictures per class, transfer names {median['transfer', most]:.1%} correctly and "
            f"training from scratch {goal:.1%}, in {spent['transfer']:.0f} and {spent['scratch']:.0f} CPU-seconds; how "
            f"many labels that saves shows only where several numbers of them are measured."
        )
    if not enough:
        return (
            f"Transfer saved nothing here: from scratch, {most} pictures per class reach {goal:.1%}, and it does not."
        )
    compared = (
        f"({median['transfer', few]:.1%} against {goal:.1%}), in {spent['transfer']:.0f} instead of "
        f"{spent['scratch']:.0f} CPU-seconds"
    )
    if few >= most:
        return (
            f"Transfer saved no labels here: it takes {few} per class to be at least as good as training from scratch "
            f"with {most} {compared}."
        )
    return (
        f"With {few} labelled pictures per class, transfer is at least as good as training from scratch with "
        f"{most} {compared}: {1 - few / most:.0%} of the labels saved."
    )
