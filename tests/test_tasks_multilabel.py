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
