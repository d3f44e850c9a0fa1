"""Several labels a picture: figures, thresholds, and what a person is told."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from keras_transfer.evaluation import multilabel
from keras_transfer.specs import Contract

CONTRACT = Contract(class_names=("cat", "dog", "owl"), image_size=96, task="multilabel")
RNG = np.random.default_rng(0)
LABELS = RNG.random((200, 3)) < [0.5, 0.2, 0.05]
ANSWERS = {"probabilities": np.clip(0.3 * LABELS + 0.6 * RNG.random((200, 3)), 0, 1).astype(np.float32)}


def test_mean_average_precision_stands_beside_what_chance_gives():
    found = multilabel.score(ANSWERS, LABELS, CONTRACT)
    wanted = [average_precision_score(LABELS[:, i], ANSWERS["probabilities"][:, i]) for i in range(3)]
    assert found.mean_average_precision == pytest.approx(np.mean(wanted))
    assert found.prevalence == pytest.approx(LABELS.mean())
    assert [row.average_precision for row in found.per_class] == pytest.approx(wanted)


def test_the_merit_comes_first_among_the_figures():
    found = multilabel.score(ANSWERS, LABELS, CONTRACT)
    assert next(iter(found.figures)) == "label ranking"
    assert found.merit == found.ranking


def test_a_label_that_no_picture_has_is_undefined_and_not_zero():
    labels = LABELS.copy()
    labels[:, 2] = False
    found = multilabel.score(ANSWERS, labels, CONTRACT)
    assert found.per_class[2].average_precision is None
    assert found.per_class[2].recall is None
    assert found.mean_average_precision == pytest.approx(
        np.mean([row.average_precision for row in found.per_class[:2]])
    )


def test_pictures_without_any_label_are_legal():
    labels = np.zeros_like(LABELS)
    labels[0, 0] = True
    assert 0 <= multilabel.score(ANSWERS, labels, CONTRACT).ranking <= 1


def test_thresholds_are_those_of_the_largest_f1_and_never_lower_it():
    settled = multilabel.settle(ANSWERS, LABELS)
    contract = CONTRACT.model_copy(update=settled.contract)
    before, after = (multilabel.score(ANSWERS, LABELS, each).macro_f1 for each in (CONTRACT, contract))
    assert after > before
    assert f"{before:.1%} -> {after:.1%}" in settled.sentence


def test_a_label_that_validation_never_shows_keeps_one_half():
    labels = LABELS.copy()
    labels[:, 1] = False
    assert multilabel.settle(ANSWERS, labels).contract["thresholds"][1] == 0.5


def test_a_threshold_stands_between_scores_so_that_a_hair_decides_nothing():
    answers = {"probabilities": np.array([[0.2], [0.4], [0.8], [0.9]])}
    (threshold,) = multilabel.settle(answers, np.array([[0], [0], [1], [1]], bool)).contract["thresholds"]
    assert threshold == pytest.approx(0.6)


def test_read_names_the_labels_above_their_thresholds_likeliest_first():
    contract = CONTRACT.model_copy(update={"thresholds": (0.9, 0.1, 0.5)})
    said = multilabel.read({"probabilities": np.array([[0.8, 0.3, 0.7]])}, contract)
    assert said["labels"] == ["owl", "dog"]
    assert list(said["probabilities"]) == ["cat", "owl", "dog"]


def test_the_same_answer_is_the_same_labels_whatever_the_probabilities():
    one, other = ({"probabilities": np.array([[p, 0.1, 0.1]])} for p in (0.6, 0.9))
    same, difference = multilabel.differ(one, other, CONTRACT)
    assert same.tolist() == [True]
    assert difference.tolist() == pytest.approx([0.3])
