"""What boxes are worth: COCO's figures, the best F1 of a picture, settled scores, parity, and what is drawn."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer import drawing
from keras_transfer.evaluation import box_drawing, detection
from keras_transfer.specs import Contract
from keras_transfer.tasks import detection as head

CONTRACT = Contract(class_names=("cat", "dog"), image_size=96, task="detection")
CAT, DOG = (0.1, 0.1, 0.5, 0.5), (0.4, 0.5, 0.9, 0.9)


def said(*pictures, most=6):
    """Answers of boxes (y1, x1, y2, x2, class, score), the surest first."""
    location, category, score = (
        np.zeros(shape, np.float32)
        for shape in ((len(pictures), most, 4), (len(pictures), most), (len(pictures), most))
    )
    for row, boxes in enumerate(pictures):
        for place, (*box, kind, value) in enumerate(boxes):
            location[row, place], category[row, place], score[row, place] = box, kind, value
    numbers = np.array([len(boxes) for boxes in pictures], np.float32)
    return {"location": location, "category": category, "score": score, "number of detections": numbers}


def truth(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 5)


LABELS = [truth((*CAT, 0), (*DOG, 1)), truth()]


def test_boxes_that_are_all_found_are_worth_everything():
    scored = detection.score(said([(*CAT, 0, 0.9), (*DOG, 1, 0.8)], []), LABELS, CONTRACT)
    assert dict(scored.figures) == pytest.approx(dict.fromkeys(scored.figures, 1.0), abs=1e-6)
    assert next(iter(scored.figures)) == "best F1 of a picture"
    assert [row.count for row in scored.per_class] == [1, 1]


def test_a_box_of_the_wrong_class_and_a_second_one_of_the_same_are_not_found():
    answers = said([(*CAT, 1, 0.9), (*DOG, 1, 0.8), (*DOG, 1, 0.7)], [])
    scored = detection.score(answers, LABELS, CONTRACT)
    assert scored.per_class[0].recall == 0
    assert scored.per_class[1].precision == pytest.approx(1 / 3)
    assert scored.ap50 == pytest.approx((0 + 0.5) / 2, abs=0.01)


def test_nothing_found_and_nothing_there_are_figures_and_no_errors():
    assert detection.score(said([], []), LABELS, CONTRACT).ap50 == 0
    empty = detection.score(said([(*CAT, 0, 0.9)]), [truth()], CONTRACT)
    assert empty.ap50 is None
    assert empty.best_f1 == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(3))
def test_merit_in_the_graph_and_in_figures_are_one(seed):
    rng = np.random.default_rng(seed)
    count = sum((96 // stride) ** 2 for stride in head.STRIDES)
    raw = (
        tf.constant(rng.normal(-3, 2, (2, count, 2)), tf.float32),
        tf.constant(rng.normal(0.5, 1, (2, count, 4)), tf.float32),
    )
    found = head.answered(raw[0].numpy(), raw[1].numpy())
    near = np.clip(found["location"][0, :5] + rng.normal(0, 0.02, (5, 4)), 0, 1)
    labels = [truth(*np.column_stack([near, found["category"][0, :5]])), truth()]
    padded = np.full((2, 6, 5), -1, np.float32)
    padded[0, :5] = labels[0]
    assert detection.right(found, labels) == pytest.approx(head.merit(raw, tf.constant(padded)).numpy(), abs=1e-5)
    assert detection.right(found, labels)[0] > 0


def test_the_score_from_which_boxes_count_is_the_one_with_the_best_f1():
    answers = said([(*CAT, 0, 0.6), (0.6, 0.6, 0.7, 0.7, 0, 0.2)])
    settled = detection.settle(answers, [truth((*CAT, 0))], 2)
    assert settled.contract["thresholds"] == pytest.approx((0.4, detection.SURE))


def test_answers_differ_by_boxes_that_only_one_has_and_by_scores():
    one, other = said([(*CAT, 0, 0.9)], [(*CAT, 0, 0.9)]), said([(*CAT, 0, 0.8)], [(*CAT, 1, 0.9)])
    same, difference = detection.differ(one, other, CONTRACT)
    assert same.tolist() == [True, False]
    assert difference[0] == pytest.approx(0.1)


def test_a_score_that_slips_under_what_counts_is_no_other_answer():
    same, _ = detection.differ(said([(*CAT, 0, 0.501)]), said([(*CAT, 0, 0.499)]), CONTRACT)
    assert same.tolist() == [True]


def test_an_answer_that_is_not_a_number_is_another_one():
    same, difference = detection.differ(said([(*CAT, 0, 0.9)]), said([(*CAT, 0, np.nan)]), CONTRACT)
    assert not same[0]
    assert np.isnan(difference[0])


def test_what_is_read_of_a_picture_counts_and_lists_its_boxes():
    read = detection.read(said([(*CAT, 0, 0.9), (*DOG, 1, 0.8), (*DOG, 0, 0.1)]), CONTRACT)
    assert read["found"] == "1 cat, 1 dog"
    assert read["boxes"][1]["bbox"] == pytest.approx([0.5, 0.4, 0.4, 0.5])
    assert detection.read(said([]), CONTRACT)["found"] == "nothing"


@pytest.mark.parametrize(
    ("aspect", "bbox"), [("stretch", [120, 48, 96, 60]), ("letterbox", [120, 36, 96, 84]), ("crop", [120, 48, 48, 60])]
)
def test_boxes_are_told_in_pixels_of_the_picture_as_cocos_results(aspect, bbox):
    contract = CONTRACT.model_copy(update={"aspect": aspect})
    box = {"stretch": (0.4, 0.5, 0.9, 0.9), "letterbox": (0.4, 0.5, 0.75, 0.9), "crop": (0.4, 0.5, 0.9, 0.9)}[aspect]
    read = detection.placed(detection.read(said([(*box, 1, 0.75)]), contract), 120, 240, contract)
    (row,) = detection.results("some/000042.jpg", read)
    assert row.pop("bbox") == pytest.approx(bbox, abs=0.02)
    assert row == {
        "image_id": 42,
        "file_name": "000042.jpg",
        "category_id": 1,
        "category_name": "dog",
        "score": 0.75,
    }


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
def test_boxes_of_a_square_are_drawn_where_the_picture_has_them(aspect):
    from keras_transfer.data import box_labels

    inside = (0.3, 0.4, 0.7, 0.6, 0)
    (label,) = box_labels.stored([box_labels.listed(120, 240, [inside])], {0: 0})
    (square,) = box_labels.squared([label], 96, aspect)
    back = detection.on_picture(square[:, :4], 120, 240, aspect)
    assert back[0] == pytest.approx(inside[:4], abs=1e-5)


def test_a_drawn_answer_is_a_picture_of_the_same_size():
    picture = np.full((60, 90, 3), 200, np.uint8)
    drawn = box_drawing.draw(picture, said([(*CAT, 0, 0.9)]), CONTRACT)["boxes.png"]
    pixels = np.asarray(Image.open(io.BytesIO(drawn)))
    assert pixels.shape == picture.shape
    assert (pixels != picture).any()
    assert (picture == 200).all()


def at_random(seed, pictures=6, there=4, found=7):
    """Labels of some pictures and answers near them, of both classes, the surest first."""
    rng = np.random.default_rng(seed)
    labels, answers = [], []
    for _ in range(pictures):
        corner = rng.uniform(0, 0.6, (there, 2))
        boxes = np.hstack([corner, corner + rng.uniform(0.1, 0.4, (there, 2))])
        kinds = rng.integers(0, 2, there)
        labels.append(truth(*np.column_stack([boxes, kinds])))
        near = np.clip(boxes[rng.integers(0, there, found)] + rng.normal(0, 0.03, (found, 4)), 0, 1)
        scores = np.sort(rng.random(found))[::-1]
        answers.append([(*box, rng.integers(0, 2), value) for box, value in zip(near, scores, strict=True)])
    return said(*answers, most=found), labels


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_what_pycocotools_sums_up_itself(seed):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    answers, labels = at_random(seed)
    there, found = COCO(), []
    there.dataset = {
        "images": [{"id": row} for row in range(len(labels))],
        "categories": [{"id": 0}, {"id": 1}],
        "annotations": [],
    }
    for row, boxes in enumerate(labels):
        for y1, x1, y2, x2, kind in boxes.tolist():
            flat = [x1 * 640, y1 * 640, (x2 - x1) * 640, (y2 - y1) * 640]
            identity = len(there.dataset["annotations"]) + 1
            there.dataset["annotations"].append(
                {"id": identity, "image_id": row, "category_id": int(kind), "bbox": flat, "iscrowd": 0}
                | {"area": flat[2] * flat[3]}
            )
        for (y1, x1, y2, x2), kind, value in zip(
            answers["location"][row].tolist(), answers["category"][row], answers["score"][row], strict=True
        ):
            flat = [x1 * 640, y1 * 640, (x2 - x1) * 640, (y2 - y1) * 640]
            found.append({"image_id": row, "category_id": int(kind), "bbox": flat, "score": float(value)})
    there.createIndex()
    wanted = COCOeval(there, there.loadRes(found), "bbox")
    wanted.evaluate()
    wanted.accumulate()
    wanted.summarize()
    scored = detection.score(answers, labels, CONTRACT)
    assert [scored.ap, scored.ap50, scored.ap75] == pytest.approx(wanted.stats[:3].tolist(), abs=1e-6)


def test_average_precision_of_a_hand_worked_case():
    """Surest first: right, wrong, right, of two that are there. Precision is 1 up to recall 1/2, then 2/3."""
    second, wrong = (0.6, 0.1, 0.9, 0.4), (0.0, 0.8, 0.1, 0.9)
    answers = said([(*CAT, 0, 0.9), (*wrong, 0, 0.8), (*second, 0, 0.7)])
    scored = detection.score(answers, [truth((*CAT, 0), (*second, 0))], CONTRACT)
    assert scored.per_class[0].ap50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101, abs=1e-6)
    assert scored.per_class[1].ap50 is None
    assert scored.ap50 == scored.per_class[0].ap50


def test_average_precision_of_half_an_overlap_is_that_of_the_steps_it_passes():
    """IoU 2/3: it is found at 0.5, 0.55, 0.6 and 0.65, four of ten steps."""
    answers = said([(0.0, 0.0, 0.5, 0.4, 0, 0.9)])
    scored = detection.score(answers, [truth((0.0, 0.0, 0.5, 0.6, 0))], CONTRACT)
    assert (scored.ap50, scored.ap75) == pytest.approx((1, 0))
    assert scored.ap == pytest.approx(0.4)


def test_figures_do_not_depend_on_the_order_of_the_pictures():
    answers, labels = at_random(3)
    order = [4, 2, 0, 5, 1, 3]
    moved = {name: each[order] for name, each in answers.items()}
    one, other = (detection.score(*each, CONTRACT) for each in ((answers, labels), (moved, [labels[i] for i in order])))
    assert dict(other.figures) == pytest.approx(dict(one.figures))
    assert other.missed == one.missed


def test_what_lies_behind_the_last_detection_counts_nowhere():
    answers, labels = at_random(5)
    cut = {**answers, "number of detections": np.full(len(labels), 3, np.float32)}
    gone = {name: each.copy() for name, each in cut.items()}
    for name in ("location", "category", "score"):
        gone[name][:, 3:] = 0
    assert detection.score(cut, labels, CONTRACT) == detection.score(gone, labels, CONTRACT)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_is_that_of_counting_cells(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, (5, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 8, (5, 2))])
    cells = np.zeros((5, 20, 20), bool)
    for cell, (y1, x1, y2, x2) in zip(cells, boxes, strict=True):
        cell[y1:y2, x1:x2] = True
    wanted = [[(a & b).sum() / (a | b).sum() for b in cells] for a in cells]
    np.testing.assert_allclose(detection.iou(boxes / 20, boxes / 20), wanted, atol=1e-6)


def test_boxes_without_area_overlap_nothing_and_divide_by_nothing():
    flat = np.array([[0.5, 0.5, 0.5, 0.9], [0.2, 0.2, 0.1, 0.1]])
    assert (detection.iou(flat, flat) == 0).all()
    assert detection.iou(np.zeros((0, 4)), flat).shape == (0, 2)


def test_two_things_that_overlap_by_half_are_both_found():
    """IoU 0.54: less than what removes copies, more than what a hit takes. Each box is of the thing it covers best."""
    one, other = (0.0, 0.0, 0.5, 1.0), (0.15, 0.0, 0.65, 1.0)
    labels = [truth((*one, 0), (*other, 0))]
    assert detection.iou(labels[0][:1], labels[0][1:])[0, 0] == pytest.approx(0.35 / 0.65)
    scored = detection.score(said([(*one, 0, 0.9), (*other, 0, 0.8)]), labels, CONTRACT)
    assert scored.best_f1 == pytest.approx(1)
    assert scored.f1 == pytest.approx(1)
    assert scored.missed == {"large": (2, 0.0)}


def test_one_box_finds_one_thing_though_it_covers_two():
    one, other = (0.0, 0.0, 0.5, 1.0), (0.15, 0.0, 0.65, 1.0)
    scored = detection.score(said([(*one, 0, 0.9)]), [truth((*one, 0), (*other, 0))], CONTRACT)
    assert scored.per_class[0].recall == 0.5
    assert scored.missed == {"large": (2, 0.5)}


def test_merit_in_the_graph_knows_of_things_that_overlap_by_half_too():
    count = sum((96 // stride) ** 2 for stride in head.STRIDES)
    middles, strides = head.places(96)
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.15, 0.0, 0.65, 1.0]], np.float32)
    places = [int(np.argmin(np.abs(middles - [y, 0.5]).sum(axis=1))) for y in (0.1, 0.6)]
    logits, distances = np.full((1, count, 2), -9, np.float32), np.ones((1, count, 4), np.float32)
    for place, box, value in zip(places, boxes, (3, 2), strict=True):
        away = np.concatenate([middles[place] - box[:2], box[2:] - middles[place]]) / (2 * strides[place])
        distances[0, place] = np.log(np.expm1(np.maximum(away, 1e-4)))
        logits[0, place, 0] = value
    padded = np.full((1, 4, 5), -1, np.float32)
    padded[0, :2] = np.column_stack([boxes, [0, 0]])
    raw = (tf.constant(logits), tf.constant(distances))
    assert head.merit(raw, tf.constant(padded)).numpy() == pytest.approx([1], abs=1e-5)
    assert detection.right(head.answered(logits, distances), [padded[0, :2]]) == pytest.approx([1], abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_score_has_a_better_f1_than_the_settled_one(seed):
    answers, labels = at_random(seed)
    answers["score"] = np.round(answers["score"], 1)  # of few values, so that many are equal
    settled = detection.settle(answers, labels, 2).contract["thresholds"]

    def f1(kind, threshold):
        given = [threshold if i == kind else 0.5 for i in range(2)]
        return detection.score(answers, labels, CONTRACT.model_copy(update={"thresholds": given})).per_class[kind].f1

    for kind, threshold in enumerate(settled):
        best = max(f1(kind, (step + 0.5) / 10) for step in range(10))
        assert f1(kind, threshold) == pytest.approx(best)


def test_boxes_of_one_score_count_or_fall_together():
    """Counting the first of the 0.5 alone would be best, and no threshold does that."""
    wrong = [(0.6, 0.1 * step, 0.7, 0.1 * step + 0.1, 0, 0.5) for step in range(5)]
    answers = said([(*CAT, 0, 0.9), (*DOG, 0, 0.5), *wrong], most=7)
    third = (0.8, 0.0, 0.95, 0.2, 0)
    (threshold, _) = detection.settle(answers, [truth((*CAT, 0), (*DOG, 0), third)], 2).contract["thresholds"]
    assert threshold == pytest.approx(0.7)


def test_a_class_that_validation_does_not_show_or_find_keeps_one_half():
    answers = said([(*CAT, 0, 0.9)], [])
    assert detection.settle(answers, [truth(), truth((*DOG, 1))], 2).contract["thresholds"] == (0.5, 0.5)


def test_what_was_settled_is_told_of_eight_classes_at_most():
    answers = said([(*CAT, 0, 0.9)])
    assert detection.settle(answers, [truth((*CAT, 0))], 3).sentence.endswith("by class: 0.45, 0.50, 0.50")
    assert detection.settle(answers, [truth((*CAT, 0))], 12).sentence.endswith("0.50, …")


def test_missed_boxes_are_told_by_size():
    tiny, middling = (0.1, 0.1, 0.15, 0.15), (0.3, 0.3, 0.45, 0.45)
    scored = detection.score(said([(*middling, 0, 0.9)]), [truth((*tiny, 0), (*middling, 0), (*CAT, 0))], CONTRACT)
    assert scored.missed == {"small": (1, 1.0), "middling": (1, 0.0), "large": (1, 1.0)}
    assert scored.limits() == (
        "Of 1 small boxes, 100% are not found.",
        "Of 1 middling boxes, 0% are not found.",
        "Of 1 large boxes, 100% are not found.",
    )


def test_worth_names_the_weakest_class_and_stays_silent_where_nothing_is_there():
    scored = detection.score(said([(*CAT, 0, 0.9)], []), LABELS, CONTRACT)
    assert scored.worth()[1] == "Weakest is 'dog' with 0.0%."
    assert len(detection.score(said([]), [truth()], CONTRACT).worth()) == 1


def test_two_answers_differ_alike_whichever_comes_first():
    one, other = at_random(1)[0], at_random(2)[0]
    for given, back in zip(detection.differ(one, other, CONTRACT), detection.differ(other, one, CONTRACT), strict=True):
        np.testing.assert_array_equal(given, back)
    same, difference = detection.differ(one, one, CONTRACT)
    assert same.all()
    assert not difference.any()


def test_colours_of_drawn_boxes_are_those_of_their_classes_and_void_of_names_stays_so():
    picture = np.zeros((64, 64, 3), np.uint8)
    drawn = drawing.boxed(picture, np.array([[0.25, 0.25, 0.75, 0.75]]), [1])
    edge = round(0.25 * 63)
    assert tuple(drawn[edge, 30]) == drawing.colour(1)
    assert not drawn[32, 32].any()
    assert not picture.any()  # the picture that came is left as it was
