"""Scores of features against labels: the authors' values on small public data, and what cannot be scored.

Reference values were printed by the authors' own code (LogME and LEEP: thuml/LogME; H-score and its regularized
variant: thuml/Transfer-Learning-Library; TwoNN: scikit-dimension 0.5.0; confident learning: cleanlab 2.9.0).
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from keras_transfer.errors import DataError
from keras_transfer.selection import scores
from keras_transfer.selection.alike import look_alikes

IRIS, WINE, DIGITS = load_iris(), load_wine(), load_digits()
NEED_FEATURES_THAT_VARY = (scores.logme, scores.h_score, scores.regularized_h_score, scores.linear_probe)


def softmax_of_first_four(data):
    logits = np.exp(data.data[:, :4] - data.data[:, :4].mean(axis=0))
    return logits / logits.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("method", "iris", "wine"),
    [
        (scores.logme, -0.1600602436621256, -0.004461018100426715),
        (scores.h_score, 1.1918988250416636, 1.705820802129252),
        (scores.regularized_h_score, 1.177842499331402, 0.7660975647222728),
    ],
    ids=["logme", "h_score", "regularized_h_score"],
)
def test_scores_of_features_are_those_of_the_authors_code(method, iris, wine):
    assert method(IRIS.data, IRIS.target) == pytest.approx(iris, abs=1e-5)
    assert method(WINE.data, WINE.target) == pytest.approx(wine, abs=1e-5)


def test_leep_is_that_of_the_authors_code():
    assert scores.leep(softmax_of_first_four(IRIS), IRIS.target) == pytest.approx(-0.834259670282589, abs=1e-9)
    assert scores.leep(softmax_of_first_four(WINE), WINE.target) == pytest.approx(-0.9097146106395764, abs=1e-9)


def test_leep_of_a_source_that_says_nothing_is_the_entropy_of_the_labels():
    labels = np.array([0, 0, 0, 1])
    uniform = np.full((4, 3), 1 / 3) + np.array([[0], [0], [0], [1e-12]])
    entropy = 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    assert scores.leep(uniform, labels) == pytest.approx(entropy, abs=1e-6)


def test_intrinsic_dimension_is_that_of_scikit_dimension():
    assert scores.intrinsic_dimension(IRIS.data) == pytest.approx(3.3122135043258094, rel=1e-6)
    assert scores.intrinsic_dimension(WINE.data) == pytest.approx(2.4314370860904577, rel=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_intrinsic_dimension_sees_through_the_number_of_features(dimension):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, dimension)) @ rng.normal(size=(dimension, 40))
    assert scores.intrinsic_dimension(features) == pytest.approx(dimension, rel=0.1)


def test_h_score_of_perfectly_separated_classes_is_their_number_less_one():
    labels = np.repeat([0, 1, 2], 10)
    assert scores.h_score(np.eye(3)[labels], labels) == pytest.approx(2)


def test_h_score_saturates_with_as_many_features_as_pictures_and_its_regularized_variant_does_not():
    features, labels = np.random.default_rng(0).normal(size=(30, 60)), np.repeat([0, 1, 2], 10)
    assert scores.h_score(features, labels) == pytest.approx(2)
    assert scores.regularized_h_score(features, labels) < 1


@pytest.mark.parametrize("method", [scores.logme, scores.h_score, scores.regularized_h_score])
def test_features_that_tell_the_classes_apart_score_higher_than_noise(method):
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(4), 50)
    noise = rng.normal(size=(200, 8))
    assert method(noise + 3 * np.eye(8)[labels], labels) > method(noise, labels)


def test_a_probe_of_noise_is_at_chance_within_three_standard_errors():
    rng = np.random.default_rng(0)
    probe = scores.linear_probe(rng.normal(size=(400, 600)), np.tile([0, 1], 200))
    assert abs(probe.accuracy - 0.5) < 3 * probe.standard_error


def test_a_class_of_one_picture_is_probed_and_missed():
    labels = np.array([0] * 6 + [1] * 6 + [2])
    probe = scores.linear_probe(np.eye(3)[labels] + np.random.default_rng(0).normal(0, 0.01, (13, 3)), labels)
    assert probe.accuracy == pytest.approx(12 / 13)


@pytest.fixture(scope="module")
def flipped():
    """Digits with a tenth of their labels flipped: (labels, positions flipped)."""
    rng, labels = np.random.default_rng(0), DIGITS.target.copy()
    positions = rng.choice(len(labels), len(labels) // 10, replace=False)
    labels[positions] = (labels[positions] + 1 + rng.integers(0, 9, len(positions))) % 10
    return labels, positions


def test_label_noise_is_that_of_cleanlab(flipped):
    labels, _ = flipped
    probabilities = cross_val_predict(LinearDiscriminantAnalysis(), DIGITS.data, labels, method="predict_proba")
    # cleanlab rounds the joint's counts: half a picture in each of 100 cells.
    assert scores.label_noise(probabilities, labels).rate == pytest.approx(0.14913745, abs=2e-3)


def test_most_of_what_is_suspected_was_flipped(flipped):
    labels, positions = flipped
    suspects = scores.label_noise(scores.linear_probe(DIGITS.data, labels).probabilities, labels).suspects
    assert np.isin(suspects, positions).mean() > 0.9


def test_leaving_one_out_in_closed_form_is_leaving_one_out():
    labels = IRIS.target[::3]
    features = StandardScaler().fit_transform(IRIS.data[::3])
    probe = scores.linear_probe(features, labels)
    right = []
    for i in range(len(labels)):
        rest = np.arange(len(labels)) != i
        fits = [
            Ridge(len(labels) * each).fit(features[rest], np.eye(3)[labels[rest]]) for each in scores.PROBE_PENALTIES
        ]
        right.append([int(fit.predict(features[i : i + 1]).argmax() == labels[i]) for fit in fits])
    assert probe.accuracy in np.mean(right, axis=0)


def test_clean_labels_are_not_suspected():
    probe = scores.linear_probe(DIGITS.data, DIGITS.target)
    assert scores.label_noise(probe.probabilities, DIGITS.target).rate < 0.02


def test_statistics_one_deviation_away_are_at_distance_one():
    zero, one = np.zeros(8), np.ones(8)
    assert scores.statistics_distance(zero, one, zero, one) == 0
    assert scores.statistics_distance(one, one, zero, one) == pytest.approx(1)
    assert scores.statistics_distance(zero, 4 * one, zero, one) == pytest.approx(1)


def test_a_channel_dead_at_the_source_does_not_divide_by_zero():
    source_variance = np.array([1.0, 1.0, 0.0])
    distance = scores.statistics_distance(np.array([0, 0, 1e-3]), np.ones(3), np.zeros(3), source_variance)
    assert np.isfinite(distance)


@pytest.mark.parametrize("method", NEED_FEATURES_THAT_VARY)
@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (np.ones((6, 3)), [0, 0, 0, 1, 1, 1], "All pictures give the same features"),
        (np.full((6, 3), np.nan), [0, 0, 0, 1, 1, 1], "Features must be finite. Received: NaN or infinity in 6 of 6"),
        (np.eye(6), [2] * 6, "at least two classes. Received: 1."),
        (np.eye(5), [0] * 6, "one row per label. Received: (5, 5) for 6 labels."),
    ],
    ids=["constant", "nan", "one class", "shape"],
)
def test_what_cannot_be_scored_is_an_error_and_not_a_number(method, features, labels, said):
    with pytest.raises(DataError) as error:
        method(features, np.array(labels))
    assert said in str(error.value)


def test_an_intrinsic_dimension_of_copies_is_an_error():
    with pytest.raises(DataError, match=r"at least 20 pictures whose features are finite and differ. Received: 2."):
        scores.intrinsic_dimension(np.tile(np.eye(2), (50, 1)))


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(1, 60), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_scores_are_finite_whatever_the_shape(count, width, classes, seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(count, width)), np.arange(count) % classes
    assert np.isfinite([method(features, labels) for method in NEED_FEATURES_THAT_VARY[:3]]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_do_not_depend_on_the_order_of_the_pictures(seed):
    order = np.random.default_rng(seed).permutation(len(IRIS.target))
    for method in NEED_FEATURES_THAT_VARY[:3]:
        assert method(IRIS.data[order], IRIS.target[order]) == pytest.approx(method(IRIS.data, IRIS.target), rel=1e-6)


def test_a_gain_is_judged_on_the_pictures_that_two_probes_name_differently():
    probe = scores.linear_probe(np.eye(2)[[0, 0, 1, 1]] + 0.1, np.array([0, 0, 1, 1]))
    before, after = (replace(probe, right=np.array(right)) for right in ([1, 1, 0, 0], [1, 1, 1, 0]))
    assert scores.gain(before, after) == pytest.approx((0.25, np.sqrt(0.25 * 0.75 / 4)))
    assert scores.gain(after, before)[0] == -0.25


def test_features_that_turn_into_those_of_another_class_lose_a_probe():
    order = np.random.default_rng(0).permutation(len(IRIS.target))
    features, labels = IRIS.data[order], IRIS.target[order]
    lost, error = scores.lost_by(features[:50, ::-1], features, labels)
    assert lost > 2 * error > 0
    assert scores.lost_by(features[:50], features, labels) == (0.0, 0.0)
    with pytest.raises(DataError, match=r"told from 20 pictures or more\. Received: 5\."):
        scores.lost_by(features[:5], features, labels)
    with pytest.raises(DataError, match="must be finite"):
        scores.lost_by(np.full((20, 4), np.nan), features, labels)


def sessions(seed=0):
    """Pictures of which ten at a time look alike, and others of the same classes taken elsewhere."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(40) % 4, 10)
    places = rng.normal(size=(40, 60)) + 0.3 * np.eye(60)[np.arange(40) % 4]
    features = np.repeat(places, 10, axis=0) + rng.normal(0, 0.05, (400, 60))
    elsewhere = rng.normal(size=(200, 60)) + 0.3 * np.eye(60)[np.arange(200) % 4]
    return features, labels, np.repeat(np.arange(40), 10), (elsewhere, np.arange(200) % 4)


def test_a_probe_is_not_fooled_by_pictures_of_one_session():
    features, labels, groups, elsewhere = sessions()
    one_out = scores.linear_probe(features, labels)
    judged = scores.linear_probe(features, labels, validation=elsewhere)
    group_out = scores.linear_probe(features, labels, groups=groups)
    assert one_out.accuracy > 0.95
    assert max(judged.accuracy, group_out.accuracy) < 0.5
    assert len(judged.right) == 200
    assert judged.probabilities.shape == group_out.probabilities.shape == (400, 4)


def test_leaving_groups_out_in_closed_form_is_leaving_groups_out():
    labels, groups = IRIS.target, np.arange(150) % 7
    rows, targets = StandardScaler().fit_transform(IRIS.data), np.eye(3)[IRIS.target]
    fits = []
    for penalty in 150 * scores.PROBE_PENALTIES:
        out = np.zeros_like(targets)
        for each in range(7):
            kept = groups != each
            out[~kept] = Ridge(penalty).fit(rows[kept], targets[kept]).predict(rows[~kept])
        fits.append((((out - targets) ** 2).mean(), (out.argmax(axis=1) == labels).mean()))
    assert scores.linear_probe(IRIS.data, labels, groups=groups).accuracy == pytest.approx(min(fits)[1])


def test_pictures_of_a_group_count_as_one_in_the_standard_error():
    features, labels, groups, _ = sessions()
    probe = scores.linear_probe(features, labels, groups=groups)
    assert probe.standard_error > 2 * np.sqrt(probe.accuracy * (1 - probe.accuracy) / 400)


def test_a_probe_needs_two_groups():
    with pytest.raises(DataError, match="All pictures belong to one"):
        scores.linear_probe(IRIS.data, IRIS.target, groups=np.zeros(150))


def test_several_labels_are_judged_by_their_ranking():
    rng = np.random.default_rng(0)
    labels = rng.random((300, 6)) < 0.3
    answers = rng.normal(size=(300, 6))
    ranking = label_ranking_average_precision_score(labels, answers)
    assert scores._right(answers, labels, np.arange(2)).mean() == pytest.approx(ranking)
    known = scores.linear_probe(labels + rng.normal(0, 0.3, (300, 6)), labels)
    noise = scores.linear_probe(rng.normal(size=(300, 6)), labels)
    assert known.tells
    assert min(known.accuracy, known.balanced_accuracy) > 0.9
    assert not noise.tells
    assert scores.logme(labels + rng.normal(0, 0.3, (300, 6)), labels) > scores.logme(rng.normal(size=(300, 6)), labels)


def test_look_alikes_stand_together_unless_they_are_all_there_is_of_a_class():
    features, labels, groups, _ = sessions()
    found = look_alikes(features, labels)
    assert len(np.unique(found)) == 40
    assert all(len(np.unique(found[groups == each])) == 1 for each in range(40))
    assert len(np.unique(look_alikes(np.ones((20, 3)), np.repeat([0, 1], 10)))) == 20


def test_copies_that_features_do_not_know_again_are_look_alikes_all_the_same():
    features, labels, _, _ = sessions()
    copies = np.arange(len(features))
    copies[len(features) - 1] = 0  # of the first picture, say blurred
    alone, together = look_alikes(features, labels), look_alikes(features, labels, copies)
    assert alone[0] != alone[-1]
    assert together[0] == together[-1]
    assert len(np.unique(together)) == len(np.unique(alone)) - 1
