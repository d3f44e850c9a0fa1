"""Draws what happens when in a video: thumbnails along the time, a band of classes under them, and a legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from keras_transfer.drawing import PALETTE, colour
from keras_transfer.evaluation.plots import short
from keras_transfer.evaluation.timelines import Span

WIDTH, HEIGHT = 1200, 90
"""Of the thumbnails, in pixels."""

_DPI, _BAND, _AXIS, _ROW, _BESIDE = 100, 36, 26, 24, 20
"""Pixels an inch, and of the band, of the axis under it, of a row of the legend, and beside all of them."""

_COLUMNS = 6


def draw(segments: Sequence[Span], class_names: Sequence[str], thumbnails: Sequence[np.ndarray]) -> bytes:
    """Return a PNG of a video's segments, which follow one another from 0 to its end.

    >>> draw([Span(start=0, end=4, class_name="walk", probability=0.9)], ("fall", "walk"), [])[:4]
    b'\\x89PNG'

    class_names: of the model, whose positions are the colours; thumbnails: evenly spaced, uint8 (height, width, 3).
    """
    there = [name for name in class_names if any(each.class_name == name for each in segments)]
    # Of more classes than there are colours, those that the video shows get them in turn.
    colours = {name: _rgb(n) for n, name in enumerate(class_names if len(class_names) <= len(PALETTE) else there)}
    rows, end = -(-len(there) // _COLUMNS), segments[-1].end
    heights = [HEIGHT, _BAND, _AXIS + rows * _ROW]
    whole = (WIDTH + 2 * _BESIDE, sum(heights) + _BESIDE)
    with rc_context({"font.size": 9, "text.parse_math": False}):  # names come from data: "$5" is no formula
        figure = Figure(figsize=(whole[0] / _DPI, whole[1] / _DPI), dpi=_DPI)
        FigureCanvasAgg(figure)
        left, wide, top = _BESIDE / whole[0], WIDTH / whole[0], whole[1] - _BESIDE / 2
        seen = figure.add_axes((left, (top - HEIGHT) / whole[1], wide, HEIGHT / whole[1]))
        band = figure.add_axes((left, (top - HEIGHT - _BAND) / whole[1], wide, _BAND / whole[1]), sharex=seen)
        _place(seen, thumbnails, end)
        band.broken_barh(
            [(each.start, each.end - each.start) for each in segments],
            (0, 1),
            facecolors=[colours[each.class_name] for each in segments],
        )
        _time_axis(band, end)
        entries = [Patch(color=colours[name], label=short(name, 24)) for name in there]
        figure.legend(handles=entries, loc="lower left", bbox_to_anchor=(left, 0), ncols=_COLUMNS, frameon=False)
        encoded = io.BytesIO()
        figure.savefig(encoded, format="png", metadata={"Software": None})
    return encoded.getvalue()


def _place(axes: Any, thumbnails: Sequence[np.ndarray], end: float) -> None:
    step = end / max(len(thumbnails), 1)
    for number, each in enumerate(thumbnails):
        middle, half = (number + 0.5) * step, each.shape[1] / WIDTH * end / 2
        axes.imshow(each, extent=(middle - half, middle + half, 0, 1), aspect="auto")
    axes.set(xlim=(0, end), ylim=(0, 1))
    axes.axis("off")


def _time_axis(axes: Any, end: float) -> None:
    axes.set(xlim=(0, end), ylim=(0, 1), yticks=[])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds, end)))
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def _clock(seconds: float, end: float) -> str:
    if end < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if end >= 3600 else f"{minutes}:{rest:02}"


def _rgb(position: int) -> tuple[float, float, float]:
    red, green, blue = colour(position)
    return red / 255, green / 255, blue / 255
