"""What the report shows of tasks other than classification, beside its text; and pictures as a page carries them."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from keras_transfer.drawing import colour
from keras_transfer.evaluation import (
    detection,
    detection_page,
    multilabel,
    multilabel_page,
    report,
    segmentation,
    segmentation_page,
    thumbnails,
)
from keras_transfer.masks import VOID
from keras_transfer.specs import Contract, Plan, RunRecord

NAMES = ("cat", "dog", "a|b & <i>c</i>")
SIDE = 32


def evidence(scored, answers, labels, *, names=NAMES, explain=None):
    record = RunRecord(
        plan=Plan(data="pictures"),
        merit_name=scored.merit_name,
        class_names=names,
        counts={"train": 10, "validation": 5, "test": len(labels)},
        data_digest="cd" * 32,
        image_size=SIDE,
    )
    return report.Evidence(
        name="run",
        record=record,
        scored=scored,
        answers=answers,
        labels=labels,
        keys=[f"test/{number}.png" for number in range(len(labels))],
        pictures=lambda rows: {row: np.full((SIDE, SIDE, 3), 5 * row % 255, np.uint8) for row in rows},
        explain=explain,
    )


def opened(address):
    kind, content = address.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


# Several labels.


def tagged(count=40, names=NAMES, explain=None, scores=None, labels=None):
    rng = np.random.default_rng(0)
    labels = rng.random((count, len(names))) < 0.4 if labels is None else labels
    scores = np.clip(0.35 * labels + 0.6 * rng.random(labels.shape), 0, 1) if scores is None else scores
    answers = {"probabilities": scores.astype(np.float32)}
    contract = Contract(class_names=names, image_size=SIDE)
    return evidence(multilabel.score(answers, labels, contract), answers, labels, names=names, explain=explain)


def test_labels_stand_weakest_first_and_those_that_cannot_be_ranked_last():
    given = tagged()
    labels = given.labels.copy()
    labels[:, 0] = True
    shown = multilabel_page.show(tagged(labels=labels))
    precisions = [row.average_precision for row in shown["in_sight"]]
    assert precisions[-1] is None
    assert precisions[:-1] == sorted(precisions[:-1])


def test_twenty_labels_stand_open_and_the_others_are_folded():
    names = tuple(f"label {number}" for number in range(25))
    given = tagged(names=names)
    shown = multilabel_page.show(given)
    assert (len(shown["in_sight"]), len(shown["folded"])) == (20, 5)
    html = report.render(given, "sections/multilabel.html.j2", multilabel_page.show)
    assert "<summary>The other 5 labels</summary>" in html


def test_a_picture_at_odds_names_what_it_misses_adds_and_has_rightly():
    labels = np.array([[True, True, False], [True, False, False]])
    scores = np.array([[0.9, 0.1, 0.8], [0.9, 0.1, 0.1]])
    (only,) = multilabel_page.show(tagged(labels=labels, scores=scores))["worst"]
    assert only.key == "test/0.png"
    assert (only.rest, only.missed, only.invented) == (("cat",), ("dog",), (NAMES[2],))
    assert only.asked == "dog"  # 0.4 on the wrong side of its threshold, the other 0.3


def test_pictures_at_odds_come_furthest_first_and_no_more_than_whole_rows_of_them():
    given = tagged(count=80)
    shown = multilabel_page.show(given)["worst"]
    assert len(shown) == multilabel_page.SHOWN
    rows = [int(re.findall(r"\d+", each.key)[0]) for each in shown]
    odds = np.where(
        (given.answers["probabilities"] >= 0.5) != given.labels, np.abs(given.answers["probabilities"] - 0.5), 0
    ).max(axis=1)
    assert odds[rows].tolist() == sorted(odds, reverse=True)[: len(rows)]


def test_a_label_that_is_said_by_a_hair_is_at_odds_where_the_picture_has_it_not():
    labels = np.array([[True, False, False], [True, False, False]])
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.1, 0.1]])  # 0.5 is said, and lies on its threshold
    (only,) = multilabel_page.show(tagged(labels=labels, scores=scores))["worst"]
    assert (only.key, only.invented) == ("test/0.png", ("dog",))


def test_where_a_model_looked_is_asked_for_the_label_at_odds():
    asked = {}

    def explain(images, classes):
        asked.update(images=images.shape, classes=classes.tolist())
        return np.zeros((len(images), 8, 8), np.float32)

    labels = np.array([[True, False, False], [True, True, False]])
    scores = np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.1]])
    given = tagged(labels=labels, scores=scores, explain=explain)
    shown = multilabel_page.show(given)["worst"]
    assert asked == {"images": (2, SIDE, SIDE, 3), "classes": [1, 0]}
    assert all(each.heat.startswith("data:") for each in shown)
    assert "Where the model looked for dog" in report.render(given, "sections/multilabel.html.j2", multilabel_page.show)


def test_a_perfect_tagger_has_nothing_at_odds():
    labels = np.eye(3, dtype=bool)
    given = tagged(labels=labels, scores=0.2 + 0.6 * labels)
    assert multilabel_page.show(given)["worst"] == []
    assert "Most at odds" not in report.render(given, "sections/multilabel.html.j2", multilabel_page.show)


# A class for every pixel.


def masked(count=14):
    rng = np.random.default_rng(0)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    masks[:, 16:] = 1
    said = masks.copy()
    for row in range(count):  # each picture a little worse than the one before it
        said[row, :, : 2 * row] = 1 - said[row, :, : 2 * row]
    masks[:, 0, 0] = VOID
    order = rng.permutation(count)
    answers = {"classes": said[order]}
    contract = Contract(class_names=NAMES, image_size=SIDE, task="segmentation")
    return evidence(segmentation.score(answers, masks[order], contract), answers, masks[order]), order


def test_the_worst_masks_stand_worst_first_and_the_best_best_first():
    given, order = masked()
    shown = segmentation_page.show(given)
    badness = {f"test/{place}.png": int(each) for place, each in enumerate(order)}
    assert [badness[each.key] for each in shown["worst"]] == [13, 12, 11, 10, 9, 8]
    assert [badness[each.key] for each in shown["best"]] == [0, 1, 2, 3, 4, 5]
    assert shown["best"][0].worth == 1


def test_no_picture_stands_among_the_worst_and_the_best_where_there_are_few():
    given, _ = masked(count=8)
    shown = segmentation_page.show(given)
    worst, best = ({each.key for each in shown[name]} for name in ("worst", "best"))
    assert (len(worst), len(best)) == (6, 2)
    assert not worst & best


def test_a_picture_is_shown_as_it_is_under_its_mask_and_under_the_answer():
    given, order = masked()
    first = segmentation_page.show(given)["best"][0]
    row = int(np.flatnonzero(order == 0)[0])
    plain, truth = opened(first.image), opened(first.truth)
    assert np.abs(plain.astype(int) - 5 * row % 255).max() < 6
    wanted = 0.45 * (5 * row % 255) + 0.55 * np.array(colour(1))
    assert np.abs(truth[28, 16] - wanted).max() < 25  # of a compressed thumbnail
    assert np.abs(opened(first.said).astype(int) - truth).mean() < 3


def test_confused_classes_are_told_by_the_share_of_their_pixels():
    mask = np.array([[[0, 0, 0, 0], [1, 1, 2, 2]]], np.uint8)
    said = np.array([[[0, 0, 0, 1], [1, 0, 0, 0]]], np.uint8)
    contract = Contract(class_names=NAMES, image_size=SIDE, task="segmentation")
    found = segmentation_page.confused(segmentation.score({"classes": said}, mask, contract))
    assert [(each.truth, each.said, each.share, each.pixels) for each in found] == [
        (NAMES[2], "cat", 1.0, 2),
        ("dog", "cat", 0.5, 1),
        ("cat", "dog", 0.25, 1),
    ]


def test_a_perfect_segmenter_confuses_nothing_and_its_classes_have_their_colours():
    given, _ = masked(count=1)
    html = report.render(given, "sections/segmentation.html.j2", segmentation_page.show)
    assert "Most confused" not in html
    assert "color: #{:02x}{:02x}{:02x}".format(*colour(0)) in html
    assert "a|b &amp; &lt;i&gt;c&lt;/i&gt;" in html
    assert "Best pictures" not in html  # one picture alone: it stands among the worst


# Boxes.


def boxed():
    location = np.zeros((3, 2, 4), np.float32)
    location[:, 0] = (0.1, 0.1, 0.5, 0.5)
    answers = {
        "location": location,
        "category": np.zeros((3, 2), np.float32),
        "score": np.array([[0.9, 0], [0.8, 0], [0.7, 0]], np.float32),
        "number of detections": np.ones(3, np.float32),
    }
    labels = [
        np.array([[0.1, 0.1, 0.5, 0.5, 0]], np.float32),
        np.array([[0.6, 0.6, 0.9, 0.9, 1]], np.float32),
        np.zeros((0, 5), np.float32),
    ]
    contract = Contract(class_names=NAMES, image_size=SIDE, task="detection")
    return evidence(detection.score(answers, labels, contract), answers, labels)


def test_classes_of_a_detector_stand_weakest_first_and_those_that_no_picture_shows_last():
    shown = detection_page.show(boxed())
    assert [row.metrics.name for row in shown["classes"]] == ["dog", "cat", NAMES[2]]
    assert shown["classes"][2].curve == ""


def test_the_worst_pictures_of_a_detector_come_first_with_their_best_f1():
    shown = detection_page.show(boxed())["worst"]
    assert [(each.key, round(each.worth, 2)) for each in shown] == [
        ("test/1.png", 0),
        ("test/2.png", 0.3),
        ("test/0.png", 1),
    ]


def test_the_page_of_a_detector_says_what_it_misses_by_size():
    html = report.render(boxed(), "sections/detection.html.j2", detection_page.show)
    assert "Missed, by size" in html
    assert re.search(r"large</td><td class=\"n\">2</td><td class=\"n\">50\.0%", html)


# Pictures of a page.


def test_a_thumbnail_keeps_its_proportions_and_never_grows():
    assert opened(thumbnails.data_address(np.zeros((300, 600, 3), np.uint8))).shape == (56, 112, 3)
    assert opened(thumbnails.data_address(np.zeros((10, 20, 3), np.uint8))).shape == (10, 20, 3)
    assert opened(thumbnails.data_address(np.zeros((1, 900, 3), np.uint8))).shape == (1, 112, 3)


def test_all_pictures_of_a_page_are_read_and_explained_at_once_and_each_one_once():
    read, explained = [], []

    def pictures(rows):
        read.append(list(rows))
        return {row: np.zeros((8, 8, 3), np.uint8) for row in rows}

    def explain(images):
        explained.append(len(images))
        return np.zeros((len(images), 4, 4), np.float32)

    found = thumbnails.drawn([5, 2, 5, np.int64(2), 7], pictures, explain)
    assert (read, explained) == ([[2, 5, 7]], [3])
    assert set(found) == {2, 5, 7}


def test_no_picture_is_read_where_none_is_shown():
    assert thumbnails.drawn([], pictures=None) == {}


def test_what_nothing_explains_has_no_second_picture():
    found = thumbnails.drawn([0], lambda rows: {0: np.zeros((8, 8, 3), np.uint8)})
    assert found[0][1] == ""


@pytest.mark.parametrize("shape", [(8, 8), (30, 50), (3, 4)])
def test_a_heat_map_fits_its_picture_and_stays_between_0_and_1(shape):
    heat = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    fitted = thumbnails.fitted(heat, shape)
    assert fitted.shape == shape
    assert 0 <= fitted.min() <= fitted.max() <= 1
    assert (thumbnails.fitted(np.ones((8, 8), np.float32), shape) == 1).all()
