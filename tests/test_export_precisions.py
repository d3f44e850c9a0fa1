"""How `auto` decides."""

import pytest

from keras_transfer.errors import ExportError
from keras_transfer.export import formats, precisions
from keras_transfer.export.precisions import Candidate

MEASURED = (
    Candidate(name="tflite-int8", size_bytes=4, accuracy=0.70, drop_points=15.0, median_ms=1.0),
    Candidate(name="tflite-weight-int8", size_bytes=5, accuracy=0.848, drop_points=0.2, median_ms=2.0),
    Candidate(name="tflite-dynamic", size_bytes=6, accuracy=0.845, drop_points=0.5, median_ms=3.0),
    Candidate(name="tflite", size_bytes=16, accuracy=0.85, drop_points=0.0, median_ms=2.0),
)


def test_the_smallest_within_the_drop_is_chosen():
    chosen = [each.name for each in precisions.choose(MEASURED, max_drop=0.5) if each.chosen]
    assert chosen == ["tflite-weight-int8"]


def test_a_candidate_that_another_beats_everywhere_is_not_on_the_pareto_front():
    front = [each.name for each in precisions.choose(MEASURED, max_drop=0.5) if each.pareto]
    assert front == ["tflite-int8", "tflite-weight-int8", "tflite"]


def test_a_drop_that_none_keeps_is_refused_with_the_nearest():
    with pytest.raises(ExportError, match=r"No precision stays within a drop of 0\.1 points; .*dynamic: 0\.50"):
        precisions.choose(MEASURED[2:3], max_drop=0.1)


def test_every_candidate_is_a_format_of_the_table():
    assert set(precisions.CANDIDATES) <= set(formats.FORMATS)


def test_the_plot_is_a_picture():
    assert precisions.plot(precisions.choose(MEASURED, max_drop=0.5)).startswith(b"\x89PNG")
