"""What a classifier's predictions are worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from keras_transfer.errors import DataError
from keras_transfer.evaluation import classification
from keras_transfer.evaluation.classification import calibration
from keras_transfer.specs import Contract

NAMES = ("cat", "dog", "owl")
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]], np.float32
)
LABELS = np.array([0, 1, 1, 1, 2])


def score(probabilities, labels, names):
    contract = Contract(class_names=tuple(names), image_size=32)
    return classification.score({"probabilities": probabilities}, labels, contract)


def test_accuracy_counts_the_largest_probability():
    assert score(PROBABILITIES, LABELS, NAMES).accuracy == pytest.approx(3 / 5)


def test_balanced_accuracy_and_log_loss_are_those_of_scikit_learn():
    metrics = score(PROBABILITIES, LABELS, NAMES)
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(LABELS, PROBABILITIES.argmax(1)))
    assert metrics.log_loss == pytest.approx(log_loss(LABELS, PROBABILITIES), rel=1e-6)


def test_the_confusion_matrix_has_true_classes_as_rows():
    assert score(PROBABILITIES, LABELS, NAMES).confusion == ((1, 0, 0), (2, 1, 0), (0, 0, 1))


def test_the_most_confused_pair_is_named_with_its_share():
    pair = score(PROBABILITIES, LABELS, NAMES).most_confused[0]
    assert (pair.truth, pair.predicted, pair.count) == ("dog", "cat", 2)
    assert pair.share == pytest.approx(2 / 3)


def test_a_class_without_pictures_has_no_recall_and_does_not_pull_the_mean():
    metrics = score(PROBABILITIES[:4], LABELS[:4], NAMES)
    owl = metrics.per_class[2]
    assert (owl.count, owl.recall, owl.precision, owl.f1) == (0, None, None, None)
    assert metrics.balanced_accuracy == pytest.approx((1 + 1 / 3) / 2)


def test_top_five_is_left_out_where_it_says_nothing():
    assert score(PROBABILITIES, LABELS, NAMES).top5_accuracy is None


def test_top_five_counts_the_five_largest():
    probabilities = np.tile(np.linspace(0.3, 0.0, 7), (7, 1))
    assert score(probabilities, np.arange(7), list("abcdefg")).top5_accuracy == pytest.approx(5 / 7)


@given(st.integers(0, 2**32 - 1), st.integers(6, 12), st.integers(1, 40))
def test_every_count_and_share_is_to_the_last_bit_that_of_scikit_learn(seed, classes, pictures):
    random, positions = np.random.default_rng(seed), np.arange(classes)
    probabilities = random.integers(0, 4, (pictures, classes)) / 4  # of few values, so that many are equal
    labels, predicted = random.integers(0, classes, pictures), probabilities.argmax(1)
    metrics = score(probabilities, labels, [f"class {position}" for position in positions])
    assert metrics.confusion == tuple(map(tuple, confusion_matrix(labels, predicted, labels=positions).tolist()))
    assert metrics.top5_accuracy == top_k_accuracy_score(labels, probabilities, k=5, labels=positions)
    wanted = precision_recall_fscore_support(labels, predicted, labels=positions, zero_division=np.nan)[:3]
    given = [(row.precision, row.recall, row.f1) for row in metrics.per_class]
    np.testing.assert_array_equal(np.array(given, float).T, wanted)


def test_calibration_error_of_an_always_sure_model_is_its_error_rate():
    sure = np.eye(2)[[0, 0, 0, 0]]
    assert score(sure, np.array([0, 0, 0, 1]), ["a", "b"]).expected_calibration_error == pytest.approx(0.25)


def test_calibration_error_of_a_hand_worked_case():
    # bins .6-.8: claims .7 and is right 1 of 2; .8-1: claims .9 and is right 2 of 2
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]])
    bins = calibration(probabilities, np.array([0, 1, 0, 0]), bins=5)
    assert [each.count for each in bins] == [0, 0, 0, 2, 2]
    assert bins[0].accuracy is None
    assert bins[3].accuracy == pytest.approx(0.5)
    metrics = score(probabilities, np.array([0, 1, 0, 0]), ["a", "b"])
    assert metrics.expected_calibration_error == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)


def test_a_probability_of_zero_for_the_truth_is_a_finite_loss():
    assert np.isfinite(score(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"]).log_loss)


def test_rows_of_a_quantized_model_may_miss_one_by_a_step():
    assert score(np.array([[257 / 256, 0.0]]), np.array([0]), ["a", "b"]).accuracy == 1


def test_metrics_survive_json():
    metrics = score(PROBABILITIES, LABELS, NAMES)
    assert type(metrics).model_validate_json(metrics.model_dump_json()) == metrics


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        (np.array([[np.nan, 1.0]]), [0], "must be finite and not negative. Received: 1 of 1 rows that are not"),
        (np.array([[0.5, 0.5]]), [2], "Labels must be class positions 0-1. Received: 2-2."),
        (np.zeros((0, 2)), [], "at least one picture. Received: shape (0, 2) for 0 labels and 2 classes."),
        (np.ones((2, 3)), [0, 1], "Received: shape (2, 3) for 2 labels and 2 classes."),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_sentence(probabilities, labels, said):
    with pytest.raises(DataError) as error:
        score(probabilities, np.array(labels, int), ["a", "b"])
    assert said in str(error.value)


@given(st.integers(2, 12), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_counts_always_add_up(classes, count, seed):
    rng = np.random.default_rng(seed)
    metrics = score(
        rng.dirichlet(np.ones(classes), count), rng.integers(0, classes, count), [f"c{i}" for i in range(classes)]
    )
    assert sum(map(sum, metrics.confusion)) == sum(row.count for row in metrics.per_class) == count
    assert sum(metrics.confusion[i][i] for i in range(classes)) == round(metrics.accuracy * count)


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 60))
def test_calibration_error_is_that_of_a_loop_over_the_pictures(seed, classes, count):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(classes), count), rng.integers(0, classes, count)
    sums: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(probabilities, labels, strict=True):
        sums.setdefault(min(int(row.max() * 15), 14), []).append((row.max(), row.argmax() == label))
    wanted = sum(abs(np.sum([sure - right for sure, right in each])) for each in sums.values()) / count
    names = [f"c{i}" for i in range(classes)]
    assert score(probabilities, labels, names).expected_calibration_error == pytest.approx(wanted)


def test_bins_share_the_line_and_every_picture_is_in_one():
    rng = np.random.default_rng(0)
    bins = calibration(rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200))
    assert [each.low for each in bins[1:]] == [each.high for each in bins[:-1]]
    assert (bins[0].low, bins[-1].high) == (0, 1)
    assert sum(each.count for each in bins) == 200
    assert all(each.low <= each.confidence <= each.high for each in bins if each.count)


def test_full_confidence_belongs_to_the_last_bin():
    bins = calibration(np.array([[1.0, 0.0]]), np.array([0]), bins=4)
    assert [each.count for each in bins] == [0, 0, 0, 1]


def test_figures_do_not_depend_on_the_order_of_the_pictures():
    rng = np.random.default_rng(2)
    probabilities, labels, order = rng.dirichlet(np.ones(3), 40), rng.integers(0, 3, 40), rng.permutation(40)
    one, other = score(probabilities, labels, NAMES), score(probabilities[order], labels[order], NAMES)
    assert other.confusion == one.confusion
    assert dict(other.figures) == pytest.approx(dict(one.figures), nan_ok=True)


def test_classes_by_another_position_keep_their_figures():
    rng = np.random.default_rng(3)
    probabilities, labels = rng.dirichlet(np.ones(3), 60), rng.integers(0, 3, 60)
    order = [2, 0, 1]
    moved = score(probabilities[:, order], np.argsort(order)[labels], [NAMES[i] for i in order])
    plain = score(probabilities, labels, NAMES)
    assert {row.name: row for row in moved.per_class} == {row.name: row for row in plain.per_class}
    assert moved.accuracy == plain.accuracy


def test_of_equal_probabilities_the_first_class_is_what_is_said():
    assert score(np.full((2, 2), 0.5), np.array([0, 1]), ["a", "b"]).accuracy == 0.5


def test_confused_pairs_come_largest_first_and_ten_at_most():
    rng = np.random.default_rng(4)
    labels, said = rng.integers(0, 6, 300), rng.integers(0, 6, 300)
    pairs = score(np.eye(6)[said], labels, list("abcdef")).most_confused
    assert len(pairs) == classification.CONFUSED_PAIRS
    assert [each.count for each in pairs] == sorted((each.count for each in pairs), reverse=True)
    largest = max(int(((labels == i) & (said == j)).sum()) for i in range(6) for j in range(6) if i != j)
    assert pairs[0].count == largest


def test_what_is_read_of_a_picture_is_its_likeliest_class():
    contract = Contract(class_names=NAMES, image_size=32)
    read = classification.read({"probabilities": PROBABILITIES[1:2]}, contract)
    assert (read["class_name"], read["probability"]) == ("dog", pytest.approx(0.7))
    assert list(read["probabilities"]) == list(NAMES)
    assert all(type(each) is float for each in read["probabilities"].values())  # JSON takes no float32


def test_a_model_that_is_always_right_has_no_weakest_class():
    sure = score(np.eye(3)[[0, 1, 2]], np.array([0, 1, 2]), NAMES)
    said = sure.worth()
    assert len(said) == 2
    assert "names 100.0% correctly" in said[0]
    assert said[1].endswith("so a threshold on it can be trusted.")


def test_limits_name_classes_that_are_unseen_weak_and_rare():
    labels = np.array([0] * 40 + [1] * 40 + [2] * 2)
    said = np.array([0] * 40 + [0] * 30 + [1] * 10 + [2] * 2)
    told = score(np.eye(4)[said], labels, ["cat", "dog", "owl", "yak"]).limits()
    assert told == (
        "It knows 4 classes and calls every picture one of them, whatever it shows.",
        "Nothing is known of yak: no test picture shows it.",
        "It finds fewer than half of: dog (25%).",
        "Rare in the test pictures, so their figures are rough: owl.",
        "Do not read its confidence as a probability: it is off by 37 points.",
    )


def test_a_good_model_has_one_limit_alone():
    probabilities = np.where(np.eye(3)[np.arange(90) % 3] > 0, 0.98, 0.01)
    assert len(score(probabilities, np.arange(90) % 3, NAMES).limits()) == 1


def test_a_negative_probability_is_told_with_its_row():
    with pytest.raises(DataError, match=r"Received: 1 of 2 rows that are not, the first at 1\. The model diverged"):
        score(np.array([[0.5, 0.5], [1.1, -0.1]]), np.array([0, 1]), ["a", "b"])
