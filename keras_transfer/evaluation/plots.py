"""Draws the report's figures as SVG text that takes on the colours of the page it stands in.

Text and axes are drawn in `currentColor`, so a figure is readable on a light page, on a dark one and on paper; series
have mid-tone colours that stand out on both. Letters stay letters: they can be searched and copied.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from keras_transfer.specs import StageResult

INK = "#010203"
"""Stands for the page's text colour until the figure is written; no series may use it."""

SERIES = ("#3b82c4", "#d97a24", "#2f9e6e", "#b65fb0", "#c9a227", "#7a7f87")
BAD = "#d1495b"
WIDTH_INCHES = 4.6
"""A phone's width at the font's natural size; wider screens set figures side by side."""


@contextmanager
def drawing(name: str, height: float, title: str) -> Iterator[tuple[Any, Any, list[str]]]:
    """Give (figure, axes, out); what is drawn until the end is put into `out` as SVG."""
    style: dict[Any, Any] = {
        "font.size": 9,
        "font.family": "sans-serif",
        "text.parse_math": False,  # names come from data: "$5 to $10" is no formula, and "$^$" is not even a whole one
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.18,
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
        ),
    }
    out: list[str] = []
    with rc_context(style):
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot(), out
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        out.append(_inline(buffer.getvalue(), title))


def _inline(svg: str, title: str) -> str:
    """Return the drawing without its file header, sized by the page, with a name for screen readers."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several figures share a page: what nothing refers to needs no id, and matplotlib's repeat.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def learning_curves(stages: Sequence[StageResult], merit_name: str) -> str:
    """Return the merit on validation and in training by epoch, stage after stage; rolled-back stages are dashed."""
    with drawing("learning", 2.9, f"{merit_name} by epoch and stage") as (_, axes, out):
        start, best = 0, None
        for number, stage in enumerate(stages):
            colour = SERIES[number % len(SERIES)] if stage.kept else BAD
            epochs = [start + row.get("epoch", i + 1) for i, row in enumerate(stage.history)]
            for key, dash, alpha, suffix in (
                ("validation_merit", "-", 1.0, ""),
                ("merit", ":", 0.7, " (training)"),
            ):
                values = [row.get(key, np.nan) for row in stage.history]
                if np.isfinite(values).any():
                    axes.plot(
                        epochs,
                        values,
                        color=colour,
                        linestyle=dash if stage.kept or key == "merit" else "--",
                        alpha=alpha,
                        marker="." if len(epochs) == 1 else None,
                        label=f"{stage.name}{suffix}{'' if stage.kept else ', rolled back'}",
                    )
            if number:
                axes.axvline(start + 0.5, color=INK, alpha=0.35, linewidth=0.8)
            best = max(filter(None, (best, stage.validation_merit if stage.kept else None)), default=None)
            start += max(stage.epochs, len(stage.history))
        if best is not None:
            axes.axhline(best, color=INK, alpha=0.35, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set(xlabel="epoch", ylabel=merit_name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(fontsize=8, frameon=False, labelcolor="linecolor")
    return out[0]


def pareto(exports: Sequence[Mapping[str, Any]], merit_name: str) -> str:
    """Return the exports as size against merit, the dot's area growing with milliseconds per picture.

    exports: rows with name, size_bytes, merit (0-1) and, where measured, latency_ms.
    """
    with drawing("pareto", 2.9, f"Exports: size, {merit_name}, latency") as (_, axes, out):
        for i, row in enumerate(exports):
            latency = row.get("latency_ms")
            x, y = row["size_bytes"] / 1e6, row["merit"]
            axes.scatter(x, y, s=40 + 30 * np.sqrt(latency or 0), color=SERIES[i % len(SERIES)], alpha=0.75)
            text = row["name"] if latency is None else f"{row['name']} · {latency:.1f} ms"
            # Above and below in turn: exports of one size and accuracy stand on each other.
            shift = (10, 22, -16, -28)[i % 4]
            axes.annotate(text, (x, y), xytext=(0, shift), textcoords="offset points", fontsize=7.5, ha="center")
        axes.margins(0.3, 0.45)
        low, high = axes.get_ylim()  # names stand above and below the dots, where no merit may lie
        axes.set_yticks([tick for tick in axes.get_yticks() if max(low, -1e-9) <= tick <= min(high, 1 + 1e-9)])
        axes.set(xlabel="size in MB", ylabel=merit_name)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return out[0]


def trials(rows: Sequence[Mapping[str, Any]], merit_name: str) -> str:
    """Return merit on validation against size, time for a picture and seconds of training; what nothing beats is full.

    rows: with run, backbone, validation_merit (0-1), size_bytes, latency_ms, seconds, pareto.
    """
    with drawing("trials", 6.4, f"Trials: {merit_name} against size, latency and seconds") as (figure, axes, out):
        figure.delaxes(axes)
        beside = {
            "size in MB": lambda row: row["size_bytes"] / 1e6,
            "ms a picture": lambda row: row["latency_ms"],
            "seconds of training": lambda row: row["seconds"],
        }
        colours = {name: SERIES[i % len(SERIES)] for i, name in enumerate(dict.fromkeys(r["backbone"] for r in rows))}
        for number, (name, of) in enumerate(beside.items(), start=1):
            axes = figure.add_subplot(len(beside), 1, number)
            for row in rows:
                colour = colours[row["backbone"]]
                filled = colour if row["pareto"] else "none"
                axes.scatter(of(row), row["validation_merit"], s=28, edgecolors=colour, facecolors=filled)
            axes.margins(0.1, 0.2)
            axes.set(xlabel=name, ylabel=merit_name)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for name, colour in colours.items():
            axes.scatter([], [], s=28, color=colour, label=name)
        axes.legend(fontsize=7.5, frameon=False, labelcolor="linecolor")
    return out[0]


def block_probes(accuracies: Sequence[float], errors: Sequence[float], chosen: Sequence[int] = ()) -> str:
    """Return what a linear probe reads from each block's end; blocks that learn are marked."""
    with drawing("probes", 2.6, "Linear probe at every block end") as (_, axes, out):
        positions = np.arange(len(accuracies))
        axes.errorbar(positions, accuracies, yerr=errors, color=SERIES[0], marker="o", markersize=4, capsize=2)
        learning = [i % len(accuracies) for i in chosen]
        axes.plot(learning, [accuracies[i] for i in learning], "o", color=SERIES[1], markersize=7, label="learns")
        if learning:
            axes.legend(fontsize=8, frameon=False, labelcolor="linecolor")
        axes.set(xlabel="block", ylabel="probe accuracy")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return out[0]


def labels_against_accuracy(points: Sequence[Mapping[str, Any]]) -> str:
    """Return accuracy against labelled pictures per class, one line and its spread over seeds for each method.

    points: rows with method, per_class (pictures), accuracy (0-1); one row for each seed.
    """
    with drawing("transfer", 2.9, "Accuracy against labelled pictures") as (_, axes, out):
        for i, method in enumerate(dict.fromkeys(row["method"] for row in points)):
            rows = [row for row in points if row["method"] == method]
            sizes = sorted({row["per_class"] for row in rows})
            by_size = [[row["accuracy"] for row in rows if row["per_class"] == size] for size in sizes]
            colour = SERIES[i % len(SERIES)]
            axes.plot(sizes, [np.median(each) for each in by_size], "o-", markersize=3, color=colour, label=method)
            axes.fill_between(sizes, [min(e) for e in by_size], [max(e) for e in by_size], color=colour, alpha=0.2)
        axes.set_xscale("log")
        ticks = sorted({row["per_class"] for row in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, position: ""))
        axes.set(xlabel="labelled pictures per class", ylabel="test accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(fontsize=8, frameon=False, labelcolor="linecolor")
    return out[0]


def short(name: str, length: int = 14) -> str:
    """Return a class name that fits beside an axis.

    >>> short("a-class-with-a-long-name")
    'a-class-with-…'
    """
    return name if len(name) <= length else name[: length - 1] + "…"


def learning_rates(rates: Sequence[float], losses: Sequence[float], suggestion: float) -> str:
    """Return the loss at each learning rate that was tried, the one to take marked."""
    with drawing("learning-rates", 2.9, "Loss by learning rate") as (_, axes, out):
        axes.plot(rates, losses, color=SERIES[0], label="loss, smoothed")
        axes.axvline(suggestion, color=SERIES[1], linestyle="--", label=f"falls fastest at {suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, position: ""))
        axes.legend(fontsize=8, frameon=False, labelcolor="linecolor")
    return out[0]
