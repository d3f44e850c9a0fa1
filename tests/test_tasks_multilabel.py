"""Any number of labels per picture: what the losses and the merit say, beside their definitions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import label_ranking_average_precision_score

from keras_transfer.evaluation import multilabel as evaluation
from keras_transfer.tasks import multilabel

SCORES = arrays(np.float32, (4, 5), elements=st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0]))
THERE = arrays(bool, (4, 5))


def merit(logits, there):
    return multilabel.merit((tf.constant(logits),), tf.constant(there, tf.float32)).numpy()


@given(SCORES, THERE)
@settings(max_examples=50, deadline=None)
def test_merit_is_the_label_ranking_average_precision_of_scikit_learn_ties_included(logits, there):
    wanted = [label_ranking_average_precision_score(there[i : i + 1], logits[i : i + 1]) for i in range(4)]
    np.testing.assert_allclose(merit(logits, there), wanted, rtol=1e-6)


@given(SCORES, THERE)
@settings(max_examples=50, deadline=None)
def test_merit_in_the_graph_is_what_evaluation_calls_right(logits, there):
    np.testing.assert_allclose(merit(logits, there), evaluation.right({"probabilities": logits}, there), rtol=1e-6)


def test_a_picture_with_no_label_ranks_nothing_wrong():
    assert merit(np.zeros((1, 3), np.float32), np.zeros((1, 3), bool)).tolist() == [1.0]


def test_binary_cross_entropy_is_the_mean_over_labels():
    logits, there = np.array([[2.0, -1.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    (loss,) = multilabel.binary_cross_entropy((tf.constant(logits),), tf.constant(there), 0.0).numpy()
    assert loss == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2)


def test_asymmetric_loss_is_cross_entropy_where_nothing_is_asymmetric(monkeypatch):
    for name in ("GAMMA_POSITIVE", "GAMMA_NEGATIVE", "MARGIN"):
        monkeypatch.setattr(multilabel, name, 0.0)
    raw = (tf.constant([[2.0, -1.0, 0.3]]),)
    targets = tf.constant([[1.0, 0.0, 0.0]])
    found, wanted = multilabel.asymmetric(raw, targets, 0.1), multilabel.binary_cross_entropy(raw, targets, 0.1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_asymmetric_loss_forgets_what_is_surely_not_there():
    raw = tf.Variable([[-6.0, 1.0]])
    with tf.GradientTape() as tape:
        loss = multilabel.asymmetric((raw,), tf.constant([[0.0, 0.0]]), 0.0)
    easy, hard = tape.gradient(loss, raw).numpy()[0]
    assert easy == 0
    assert hard > 0


@pytest.mark.parametrize("extreme", [-200.0, 200.0])
@pytest.mark.parametrize("loss", multilabel.LOSSES.values(), ids=multilabel.LOSSES)
def test_losses_stay_numbers_at_extreme_scores(loss, extreme):
    raw = tf.Variable([[extreme, -extreme]])
    with tf.GradientTape() as tape:
        value = loss((raw,), tf.constant([[1.0, 0.0]]), 0.0)
    assert np.isfinite(value.numpy()).all()
    assert np.isfinite(tape.gradient(value, raw).numpy()).all()


@given(SCORES, THERE, st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=25, deadline=None)
def test_binary_cross_entropy_is_that_of_numpy(logits, there, smoothing):
    goal = there * (1 - smoothing) + 0.5 * smoothing
    said = 1 / (1 + np.exp(-logits.astype(float)))
    wanted = -(goal * np.log(said) + (1 - goal) * np.log(1 - said)).mean(axis=1)
    found = multilabel.binary_cross_entropy((tf.constant(logits),), tf.constant(there, tf.float32), smoothing)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@given(SCORES, THERE)
@settings(max_examples=25, deadline=None)
def test_asymmetric_loss_is_equation_4_of_its_paper(logits, there):
    said = 1 / (1 + np.exp(-logits.astype(float)))
    moved = np.maximum(said - multilabel.MARGIN, 0)
    right = (1 - said) ** multilabel.GAMMA_POSITIVE * np.log(said)
    wrong = moved**multilabel.GAMMA_NEGATIVE * np.log(1 - moved)
    wanted = -np.where(there, right, wrong).mean(axis=1)
    found = multilabel.asymmetric((tf.constant(logits),), tf.constant(there, tf.float32), 0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", multilabel.LOSSES.values(), ids=multilabel.LOSSES)
def test_saying_what_is_right_more_surely_never_costs_more(loss):
    there = tf.constant([[1.0, 0.0, 1.0]])
    costs = [
        float(loss((tf.constant([[sure, -sure, sure]]),), there, 0.0)[0]) for sure in np.linspace(-8, 8, 33).tolist()
    ]
    assert (np.diff(costs) <= 1e-6).all()
    assert costs[-1] < 0.01


def test_merit_sees_no_more_than_the_order_of_scores():
    logits = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    there = np.random.default_rng(1).random((5, 6)) < 0.4
    np.testing.assert_allclose(merit(logits, there), merit(3 * logits - 20, there))
