"""Says in a paragraph what a run is worth, for a person who decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.specs import RunRecord


def verdict(metrics: Metrics, record: RunRecord, exports: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return, in one paragraph, what a person who decides needs to know of a run."""
    said = [
        f"On {metrics.count:,} pictures it had never seen, the model names {metrics.accuracy:.1%} correctly "
        f"(give or take {margin(metrics):.1%})."
    ]
    if "accuracy" in record.scratch:
        gain = (metrics.accuracy - record.scratch["accuracy"]) * 100
        said.append(
            f"The same network trained from nothing for as long reaches {record.scratch['accuracy']:.1%}: "
            f"transfer {'brought' if gain >= 0 else 'cost'} {abs(gain):.1f} points."
        )
    judged = [row for row in metrics.per_class if row.recall is not None]
    weakest = min(judged, key=lambda row: row.recall if row.recall is not None else 1.0)
    if weakest.recall is not None and weakest.recall < 1:
        confused = next((pair for pair in metrics.most_confused if pair.truth == weakest.name), None)
        mostly = f", mostly taken for {confused.predicted}" if confused else ""
        said.append(f"It is weakest on {weakest.name}, where it finds {weakest.recall:.0%}{mostly}.")
    error = metrics.expected_calibration_error
    said.append(
        f"The confidence it claims is off by {error * 100:.1f} points on average"
        + (
            ", so a threshold on it can be trusted."
            if error <= 0.05
            else ": calibrate it before relying on a threshold."
        )
    )
    rolled_back = [stage.name for stage in record.stages if not stage.kept]
    if rolled_back:
        said.append(f"Rolled back, because it was no better than what stood before: {', '.join(rolled_back)}.")
    accepted = [row for row in exports if row.get("accepted", True)]
    if accepted:
        smallest = min(accepted, key=lambda row: row["size_bytes"])
        drop = (metrics.accuracy - smallest["accuracy"]) * 100
        said.append(
            f"The smallest file to ship is {smallest['name']} with {smallest['size_bytes'] / 1e6:.1f} MB, "
            + (f"{drop:.1f} points below the model." if drop > 0.05 else "as accurate as the model.")
        )
    refused = [row["name"] for row in exports if not row.get("accepted", True)]
    if refused:
        said.append(f"Not to be shipped, for it differs too much from the model: {', '.join(refused)}.")
    return " ".join(said)


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


def margin(metrics: Metrics) -> float:
    """Return half the width of the 95 % interval of the accuracy.

    Source: Wilson, Probable inference, JASA 1927, which holds near 0 and 1 and with few pictures.
    """
    interval = binomtest(round(metrics.accuracy * metrics.count), metrics.count).proportion_ci(method="wilson")
    return float(interval.high - interval.low) / 2
