"""What boxes are worth: COCO's figures, the best F1 of a picture, settled scores, parity, and what is drawn."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

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
