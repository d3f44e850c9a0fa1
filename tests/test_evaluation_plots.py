"""Figures of the report: what stands in their text, in what colours, and that any name can."""

import xml.etree.ElementTree as ElementTree

import pytest

from keras_transfer.evaluation import plots
from keras_transfer.specs import StageResult

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(each.itertext()).strip() for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def stage(name, merits, *, kept=True, epochs=None, training=True):
    rows = [
        {"epoch": number, "validation_merit": each, **({"merit": each + 0.1} if training else {})}
        for number, each in enumerate(merits, start=1)
    ]
    return StageResult(
        name=name,
        index=0,
        learned_blocks=(),
        epochs=epochs or len(merits),
        seconds=1,
        pictures_per_second=1,
        engine="none",
        engine_reason="",
        validation_merit=max(merits, default=0.0),
        validation_loss=1,
        kept=kept,
        reason="",
        frozen_tensors=0,
        frozen_digest_before="",
        frozen_digest_after="",
        history=tuple(rows),
    )


EXPORTS = (
    {"name": "model.tflite", "size_bytes": 13_500_000, "merit": 0.79, "latency_ms": 0.79},
    {"name": "model.onnx", "size_bytes": 13_400_000, "merit": 0.785},
)
POINTS = tuple(
    {"method": method, "per_class": size, "accuracy": accuracy}
    for method in ("transfer", "scratch")
    for size, accuracy in ((5, 0.5), (25, 0.6), (25, 0.7))
)
FIGURES = {
    "curves": lambda: plots.learning_curves([stage("head", [0.5, 0.6])], "accuracy"),
    "exports": lambda: plots.pareto(EXPORTS, "accuracy"),
    "probes": lambda: plots.block_probes([0.3, 0.6, 0.5], [0.02] * 3, [-1]),
    "labels": lambda: plots.labels_against_accuracy(POINTS),
    "rates": lambda: plots.learning_rates([1e-4, 1e-3, 1e-2], [2.0, 1.0, 3.0], 1e-3),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_xml_with_a_name_and_the_colours_of_its_page_and_the_same_each_time(name):
    svg = FIGURES[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("width") is None  # the page says how wide it is
    assert "currentColor" in svg
    assert plots.INK not in svg
    assert FIGURES[name]() == svg


def test_no_series_has_the_colour_that_stands_for_the_page():
    assert plots.INK not in (*plots.SERIES, plots.BAD)
    assert len(set(plots.SERIES)) == len(plots.SERIES)


def test_a_title_of_any_letters_is_one_attribute():
    with plots.drawing("any", 1.0, '"R&D" <2>') as (_, axes, out):
        axes.plot([0, 1])
    assert ElementTree.fromstring(out[0]).get("aria-label") == '"R&D" <2>'


@pytest.mark.parametrize("name", ["$5 to $10", "$^$", r"\alpha_1", "a_b^c", "<b>&amp;", "猫"])
def test_a_name_is_drawn_letter_by_letter_and_never_as_a_formula(name):
    with plots.drawing("names", 2.0, "Names") as (_, axes, out):
        axes.set_xticks([0], [name])
        axes.text(0.5, 0.5, name)
    assert texts(out[0]).count(name) == 2


def test_stages_follow_each_other_and_one_that_was_rolled_back_says_so():
    said = texts(
        plots.learning_curves([stage("head", [0.5, 0.6, 0.7]), stage("top", [0.65, 0.6], kept=False)], "mean IoU")
    )
    assert {"head", "head (training)", "top, rolled back", "epoch", "mean IoU"} <= set(said)
    assert {"1", "5"} <= set(said)  # five epochs in all: the second stage goes on where the first ended


def test_stages_that_were_not_watched_in_training_have_one_line_each():
    said = texts(plots.learning_curves([stage("head", [0.5, 0.6], training=False)], "accuracy"))
    assert "head" in said
    assert "head (training)" not in said


def test_every_export_is_named_with_its_milliseconds_where_they_are_known():
    said = texts(plots.pareto(EXPORTS, "accuracy"))
    assert "model.tflite · 0.8 ms" in said
    assert "model.onnx" in said
    assert "size in MB" in said


def test_blocks_that_learn_are_marked_and_none_is_where_none_does():
    assert "learns" in texts(plots.block_probes([0.3, 0.6], [0.02] * 2, [1]))
    assert "learns" not in texts(plots.block_probes([0.3, 0.6], [0.02] * 2))


def test_numbers_of_labels_stand_as_they_were_measured():
    said = texts(plots.labels_against_accuracy(POINTS))
    assert {"5", "25", "transfer", "scratch", "labelled pictures per class"} <= set(said)


def test_the_rate_to_take_is_said_in_two_digits():
    said = texts(plots.learning_rates([1e-4, 1e-3, 1e-2], [2.0, 1.0, 3.0], 0.00123456))
    assert "falls fastest at 0.0012" in said
    assert {"0.0001", "0.001", "0.01"} <= set(said)


@pytest.mark.parametrize(("name", "length"), [("cat", 14), ("a" * 14, 14), ("a" * 40, 14), ("abc", 2)])
def test_a_short_name_is_never_longer_than_asked_and_begins_as_the_name_does(name, length):
    made = plots.short(name, length)
    assert len(made) <= length
    assert name.startswith(made.rstrip("…"))
    assert (made == name) == (len(name) <= length)


def test_many_colours_begin_again_and_nothing_breaks():
    many = [stage(f"s{number}", [0.1 * number]) for number in range(9)]
    assert "s8" in texts(plots.learning_curves(many, "accuracy"))
