"""Figures of masks, what is kept of answers, and how two sets of them compare."""

from __future__ import annotations

import numpy as np
import pytest

from keras_transfer import drawing
from keras_transfer.errors import UsageError
from keras_transfer.evaluation import segmentation as evaluation
from keras_transfer.masks import VOID
from keras_transfer.specs import Contract

CONTRACT = Contract(class_names=("sky", "road", "car"), image_size=32, task="segmentation")


def _halves(line: int, size: int = 32) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[:, line:] = 1
    return mask


def _scored(said: np.ndarray, mask: np.ndarray) -> evaluation.SegmentationMetrics:
    return evaluation.score({"classes": said[None]}, mask[None], CONTRACT)


def test_a_perfect_answer_has_every_figure_at_one() -> None:
    scored = _scored(_halves(10), _halves(10))
    assert list(scored.figures.values()) == [1, 1, 1, 1]
    assert scored.per_class[2].iou is None
    assert scored.per_class[2].count == 0


def test_overlap_is_counted_in_pixels_that_are_not_void() -> None:
    mask = _halves(16)
    mask[16:] = VOID
    scored = _scored(_halves(24), mask)
    assert scored.mean_iou == pytest.approx((16 / 24 + 8 / 16) / 2)
    assert scored.pixel_accuracy == pytest.approx(24 / 32)
    assert scored.confusion == ((256, 0, 0), (128, 128, 0), (0, 0, 0))


def test_an_edge_within_the_tolerance_is_right_and_one_beyond_it_is_not() -> None:
    assert _scored(_halves(11), _halves(10)).boundary_f1 == 1
    assert _scored(_halves(13), _halves(10)).boundary_f1 == 0


def test_an_edge_against_void_is_no_edge() -> None:
    mask = _halves(10)
    mask[:8] = VOID
    assert _scored(_halves(10), mask).boundary_f1 == 1


def test_the_mean_over_pictures_and_that_over_pixels_are_two_figures() -> None:
    said = np.stack([_halves(16), np.zeros((32, 32), np.uint8)])
    scored = evaluation.score({"classes": said}, np.stack([_halves(16), _halves(31)]), CONTRACT)
    assert scored.iou_of_pictures == pytest.approx((1 + (31 / 32) / 2) / 2)
    assert scored.merit == scored.iou_of_pictures
    assert scored.mean_iou != scored.iou_of_pictures


def test_what_is_kept_of_probabilities_scores_the_same() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), (2, 32, 32)).astype(np.float32)
    labels = np.stack([_halves(16), _halves(9)])
    kept = evaluation.keep({"probabilities": probabilities})
    assert {name: array.dtype.name for name, array in kept.items()} == {"classes": "uint8"}
    assert evaluation.score(kept, labels, CONTRACT) == evaluation.score(
        {"probabilities": probabilities}, labels, CONTRACT
    )


def test_two_sets_of_answers_differ_by_the_share_of_their_pixels() -> None:
    first, second = ({"probabilities": np.eye(3)[_halves(line)][None] * 0.8} for line in (10, 18))
    same, difference = evaluation.differ(first, second, CONTRACT)
    assert same.tolist() == [0.75]
    assert difference.tolist() == [0.25]


def test_answers_to_other_pictures_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Received: \(1, 32, 32\) and \(2, 32, 32\)"):
        evaluation.differ({"classes": np.zeros((1, 32, 32))}, {"classes": np.zeros((2, 32, 32))}, CONTRACT)


def test_an_answer_reads_as_shares_of_the_picture() -> None:
    said = evaluation.read({"classes": _halves(8)[None]}, CONTRACT)
    assert said == {"largest": "road", "share": 0.75, "areas": {"road": 0.75, "sky": 0.25}}


def test_an_overlay_leaves_void_as_the_picture_is() -> None:
    mask = np.array([[0, VOID]], np.uint8)
    drawn = drawing.overlay(np.full((1, 2, 3), 100, np.uint8), mask)
    assert drawn[0, 1].tolist() == [100, 100, 100]
    assert drawn[0, 0].tolist() == [45, 108, 143]
    assert len(drawing.palette_bytes()) == 768


def test_colours_of_the_first_sixteen_classes_are_all_unlike() -> None:
    assert len(set(drawing.PALETTE)) == len(drawing.PALETTE) == 16
