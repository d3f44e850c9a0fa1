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


def _random(seed: int, pictures: int = 4, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    said, masks = (rng.integers(0, 3, (pictures, size, size)).astype(np.uint8) for _ in range(2))
    masks[rng.random(masks.shape) < 0.1] = VOID
    return said, masks


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_classes_are_those_of_scikit_learn_over_the_pixels_that_count(seed: int) -> None:
    from sklearn.metrics import confusion_matrix, jaccard_score, precision_recall_fscore_support

    said, masks = _random(seed)
    scored = evaluation.score({"classes": said}, masks, CONTRACT)
    counted = masks != VOID
    pixels = masks[counted], said[counted]
    assert scored.confusion == tuple(map(tuple, confusion_matrix(*pixels, labels=range(3)).tolist()))
    ious = jaccard_score(*pixels, average=None, labels=range(3))
    precision, recall, f1, count = precision_recall_fscore_support(*pixels, labels=range(3))
    assert [row.iou for row in scored.per_class] == pytest.approx(ious.tolist())
    assert [row.precision for row in scored.per_class] == pytest.approx(precision.tolist())
    assert [row.recall for row in scored.per_class] == pytest.approx(recall.tolist())
    assert [row.f1 for row in scored.per_class] == pytest.approx(f1.tolist())
    assert [row.share for row in scored.per_class] == pytest.approx((count / counted.sum()).tolist())
    assert scored.mean_iou == pytest.approx(ious.mean())
    assert scored.pixel_accuracy == pytest.approx((pixels[0] == pixels[1]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_worth_of_each_picture_is_its_mean_iou_by_sets_of_pixels(seed: int) -> None:
    said, masks = _random(seed, size=6)
    for found, answer, mask in zip(evaluation.right({"classes": said}, masks), said, masks, strict=True):
        ious = []
        for kind in range(3):
            first = {tuple(each) for each in np.argwhere((answer == kind) & (mask != VOID))}
            second = {tuple(each) for each in np.argwhere(mask == kind)}
            if first | second:
                ious.append(len(first & second) / len(first | second))
        assert found == pytest.approx(np.mean(ious))


def test_a_picture_of_void_alone_is_worth_one_and_moves_no_figure_of_pixels() -> None:
    said, masks = np.stack([_halves(10), _halves(20)]), np.stack([_halves(12), np.full((32, 32), VOID, np.uint8)])
    both = evaluation.score({"classes": said}, masks, CONTRACT)
    alone = evaluation.score({"classes": said[:1]}, masks[:1], CONTRACT)
    assert evaluation.right({"classes": said}, masks)[1] == 1
    assert (both.mean_iou, both.pixel_accuracy) == (alone.mean_iou, alone.pixel_accuracy)
    assert [row.count for row in both.per_class] == [row.count for row in alone.per_class]


def test_void_alone_everywhere_is_scored_and_divides_by_nothing() -> None:
    scored = evaluation.score({"classes": np.zeros((1, 8, 8), np.uint8)}, np.full((1, 8, 8), VOID, np.uint8), CONTRACT)
    assert (scored.iou_of_pictures, scored.mean_iou, scored.pixel_accuracy) == (1, 1, 0)
    assert scored.boundary_f1 is None
    assert all(row.iou is None for row in scored.per_class)


def test_a_model_is_worth_a_sentence_also_where_nothing_counts() -> None:
    nothing = np.full((1, 8, 8), VOID, np.uint8)
    scored = evaluation.score({"classes": np.zeros((1, 8, 8), np.uint8)}, nothing, CONTRACT)
    assert scored.worth() == ("On 1 pictures it had never seen, no pixel counts: their masks are void.",)


def test_worth_names_the_class_that_overlaps_least() -> None:
    scored = _scored(_halves(24), _halves(16))
    assert scored.worth()[2] == "Weakest is 'road' with 50.0%."


def test_an_edge_one_pixel_off_in_a_large_picture_is_within_the_tolerance_and_ten_are_not() -> None:
    for line, wanted in ((101, 1), (103, 1), (110, 0)):
        scored = evaluation.score({"classes": _halves(line, 256)[None]}, _halves(100, 256)[None], CONTRACT)
        assert scored.boundary_f1 == pytest.approx(wanted)


def test_the_boundary_of_a_hand_worked_case() -> None:
    """The answer's area ends half-way down: 16 pixels of its edge run along the true one, 15 along its own end.

    Of these 31, one more lies within a pixel of the true edge; of the 32 of that, one more of the answer's.
    """
    said, mask = _halves(16), _halves(16)
    said[16:] = 1
    precise, found = 17 / 31, 17 / 32
    assert _scored(said, mask).per_class[0].boundary_f1 == pytest.approx(2 * precise * found / (precise + found))


def test_a_class_that_the_answer_leaves_out_has_no_boundary_at_all() -> None:
    scored = _scored(np.zeros((32, 32), np.uint8), _halves(16))
    assert scored.per_class[1].boundary_f1 == 0
    assert scored.per_class[1].precision is None
    assert scored.per_class[1].recall == 0


def test_confusion_of_one_picture_holds_every_pixel_that_counts_once() -> None:
    said, masks = _random(7)
    for answer, mask in zip(said, masks, strict=True):
        confusion = evaluation.confusion_of(answer, mask, 3)
        assert confusion.sum() == (mask != VOID).sum()
        assert confusion.diagonal().sum() == ((answer == mask) & (mask != VOID)).sum()


def test_mean_iou_is_the_same_whatever_the_classes_are_called_by() -> None:
    said, masks = _random(8)
    order = np.array([2, 0, 1])
    moved = np.where(masks == VOID, VOID, order[np.where(masks == VOID, 0, masks)]).astype(np.uint8)
    np.testing.assert_allclose(
        evaluation.right({"classes": order[said].astype(np.uint8)}, moved), evaluation.right({"classes": said}, masks)
    )


def test_areas_are_read_largest_first_and_only_those_there_are() -> None:
    said = evaluation.read({"classes": np.array([[[2, 2], [2, 0]]], np.uint8)}, CONTRACT)
    assert list(said["areas"]) == ["car", "sky"]
    assert sum(said["areas"].values()) == 1


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
def test_a_drawn_answer_is_a_mask_and_an_overlay_as_large_as_the_picture(aspect: str) -> None:
    import io

    from PIL import Image

    contract = CONTRACT.model_copy(update={"aspect": aspect})
    picture = np.full((40, 60, 3), 100, np.uint8)
    drawn = overlays.draw(picture, {"classes": np.ones((1, 32, 32), np.uint8)}, contract)
    mask, over = (Image.open(io.BytesIO(drawn[name])) for name in ("mask.png", "overlay.png"))
    assert mask.size == over.size == (60, 40)
    assert mask.mode == "P"
    indices = np.asarray(mask)
    assert indices[20, 30] == 1
    assert set(np.unique(indices)) == ({1, VOID} if aspect == "crop" else {1})
    wanted = np.rint(0.45 * 100 + 0.55 * np.array(overlays.colour(1))).astype(np.uint8)
    assert np.asarray(over)[20, 30].tolist() == wanted.tolist()


def test_colours_begin_again_behind_the_last_and_the_palette_names_void_white() -> None:
    assert overlays.colour(16) == overlays.colour(0)
    assert overlays.palette_bytes()[-3:] == b"\xff\xff\xff"
    assert overlays.palette_bytes()[:3] == bytes(overlays.colour(0))
