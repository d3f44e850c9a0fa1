"""Chooses the smallest TFLite precision that a model survives, from what was measured."""

from __future__ import annotations

import io
from collections.abc import Sequence

from keras_transfer.errors import ExportError
from keras_transfer.specs import Value

CANDIDATES = ("tflite-int8", "tflite-int8-mixed", "tflite-dynamic", "tflite-weight-int8", "tflite-float16", "tflite")
"""What `auto` tries, whatever the backbone: networks with squeeze-excite or swish are said to collapse under full int8
(tensorflow/tpu issue 549, tensorflow/models issue 11274). Of two trained on `sample:fashion` an EfficientNetB0 did, by
6 points, and a MobileNetV3-Small lost 0.1, so measuring decides. Without int16x8, for which LiteRT has no fast kernels
on a CPU (78 ms against 1.6 ms)."""


class Candidate(Value):
    """One precision and what it was measured to be."""

    name: str
    learnt: bool = False
    """Whether the network was trained in these whole numbers; else they were measured on pictures, or are none."""
    size_bytes: int
    accuracy: float
    drop_points: float
    median_ms: float
    pareto: bool = False
    """No other candidate is at least as small, as accurate and as fast, and better in one of these."""
    chosen: bool = False


def choose(measured: Sequence[Candidate], *, max_drop: float) -> tuple[Candidate, ...]:
    """Mark the Pareto front and the smallest candidate that loses at most `max_drop` percentage points.

    Raises ExportError where none stays within the drop.
    """
    allowed = [each for each in measured if each.drop_points <= max_drop]
    if not allowed:
        least = min(measured, key=lambda each: each.drop_points)
        raise ExportError(
            f"No precision stays within a drop of {max_drop:g} points; the least is that of {least.name}: "
            f"{least.drop_points:.2f}. Allow more with --max-drop."
        )
    smallest = min(allowed, key=lambda each: (each.size_bytes, each.median_ms))
    return tuple(
        each.model_copy(
            update={
                "pareto": not any(beats(_costs(other), _costs(each)) for other in measured),
                "chosen": each is smallest,
            }
        )
        for each in measured
    )


def plot(measured: Sequence[Candidate]) -> bytes:
    """Return a PNG of accuracy over size, the Pareto front as filled dots, the chosen one ringed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for each in measured:
        size_mb, accuracy = each.size_bytes / 1e6, 100 * each.accuracy
        axes.scatter(size_mb, accuracy, s=60, color="C0", facecolor="C0" if each.pareto else "none")
        if each.chosen:
            axes.scatter(size_mb, accuracy, s=220, facecolor="none", edgecolor="C3", linewidth=2)
        label = f"{each.name}{', learnt' if each.learnt else ''}\n{each.median_ms:.2f} ms"
        axes.annotate(label, (size_mb, accuracy), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="size in MB", ylabel="accuracy in %", title="precisions (times are this host's)")
    axes.margins(0.2)
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=120)
    return encoded.getvalue()


def beats(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Return whether costs, the smaller the better, are nowhere above others and somewhere below them.

    >>> beats((1, 2), (1, 3)), beats((1, 2), (1, 2)), beats((1, 2), (2, 1))
    (True, False, False)
    """
    pairs = list(zip(ours, theirs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _costs(each: Candidate) -> tuple[float, ...]:
    return each.size_bytes, -each.accuracy, each.median_ms
