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


def figures_of(seed, count=60):
    rng = np.random.default_rng(seed)
    labels = rng.random((count, 3)) < [0.6, 0.3, 0.2]
    scores = np.round(np.clip(0.3 * labels + 0.7 * rng.random((count, 3)), 0, 1), 2).astype(np.float32)
    return {"probabilities": scores}, labels


@pytest.mark.parametrize("seed", range(5))
def test_figures_at_the_thresholds_are_those_of_counting(seed):
    answers, labels = figures_of(seed)
    contract = CONTRACT.model_copy(update={"thresholds": (0.3, 0.5, 0.7)})
    found = multilabel.score(answers, labels, contract)
    said = answers["probabilities"] >= np.array([0.3, 0.5, 0.7], np.float32)
    hits, named, there = (said & labels).sum(0), said.sum(0), labels.sum(0)
    assert [row.count for row in found.per_class] == there.tolist()
    assert [row.precision for row in found.per_class] == pytest.approx((hits / named).tolist())
    assert [row.recall for row in found.per_class] == pytest.approx((hits / there).tolist())
    assert [row.f1 for row in found.per_class] == pytest.approx((2 * hits / (named + there)).tolist())
    assert found.macro_f1 == pytest.approx(np.mean(2 * hits / (named + there)))
    assert found.micro_f1 == pytest.approx(2 * hits.sum() / (named.sum() + there.sum()))
    assert found.exact_match == pytest.approx(np.mean([(a == b).all() for a, b in zip(said, labels, strict=True)]))
    assert [row.threshold for row in found.per_class] == [0.3, 0.5, 0.7]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_larger_f1_on_validation(seed):
    answers, labels = figures_of(seed)
    settled = multilabel.settle(answers, labels)

    def f1(column, threshold):
        said = answers["probabilities"][:, column] >= np.float32(threshold)
        return 2 * (said & labels[:, column]).sum() / (said.sum() + labels[:, column].sum())

    for column, threshold in enumerate(settled.contract["thresholds"]):
        best = max(f1(column, each) for each in np.linspace(0, 1, 401))
        assert f1(column, threshold) == pytest.approx(best)
        assert f1(column, threshold - 1e-4) == f1(column, threshold + 1e-4)  # a hair decides nothing


def test_ranking_is_right_where_every_label_that_is_there_stands_first():
    answers = {"probabilities": np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3]])}
    assert multilabel.right(answers, np.array([[1, 1, 0], [0, 0, 1]], bool)).tolist() == [1, 1]


def test_ranking_of_a_hand_worked_case():
    # Of two labels that are there one is first (1 of 1), the other third (2 of 3).
    answers = {"probabilities": np.array([[0.9, 0.5, 0.4]])}
    assert multilabel.right(answers, np.array([[1, 0, 1]], bool)) == pytest.approx([(1 + 2 / 3) / 2])


def test_equal_scores_count_against_the_model():
    answers = {"probabilities": np.full((1, 4), 0.5)}
    assert multilabel.right(answers, np.array([[1, 0, 0, 0]], bool)) == pytest.approx([1 / 4])


def test_a_label_that_all_pictures_have_is_counted_but_not_ranked():
    labels = LABELS.copy()
    labels[:, 0] = True
    found = multilabel.score(ANSWERS, labels, CONTRACT)
    assert found.per_class[0].average_precision is None
    assert found.per_class[0].recall is not None
    assert found.prevalence == pytest.approx(np.mean([labels[:, 1].mean(), labels[:, 2].mean()]))


def test_where_no_label_can_be_ranked_there_is_no_map_and_no_weakest():
    found = multilabel.score(ANSWERS, np.ones_like(LABELS), CONTRACT)
    assert found.mean_average_precision is None
    assert found.prevalence == 0
    assert len(found.worth()) == 1


def test_a_label_that_is_never_said_has_no_precision_and_no_part_of_the_micro_f1():
    answers = {"probabilities": np.where([True, False, False], ANSWERS["probabilities"], 0)}
    found = multilabel.score(answers, LABELS, CONTRACT)
    assert found.per_class[1].precision is None
    assert found.per_class[1].recall == 0
    assert found.per_class[1].f1 == 0


def test_worth_and_limits_name_the_weakest_the_unseen_and_the_rare():
    labels = LABELS[:40].copy()
    labels[:, 2] = False
    labels[:, 1] = np.arange(40) < 3
    found = multilabel.score({"probabilities": ANSWERS["probabilities"][:40]}, labels, CONTRACT)
    assert found.worth()[2].startswith("It is weakest on dog, with an average precision of ")
    assert found.limits() == (
        "It knows 3 labels and says of any picture which it has, whatever it shows.",
        "Nothing is known of owl: no test picture has it.",
        "Fewer than 10 test pictures have these, so their figures are guesses: dog.",
    )


def test_labels_at_their_threshold_are_said_also_in_half_the_digits():
    """A threshold that JSON wrote with 17 digits and a score of float32 are compared as float32."""
    contract = CONTRACT.model_copy(update={"thresholds": (float(np.float32(0.1)), 0.1, 0.1)})
    said = multilabel.decided({"probabilities": np.full((1, 3), 0.1, np.float32)}, contract)
    assert said.tolist() == [[True, True, True]]


def test_figures_survive_json():
    found = multilabel.score(ANSWERS, LABELS, CONTRACT)
    assert type(found).model_validate_json(found.model_dump_json()) == found
