"""One label a picture, and the head that it shares with several: losses beside numpy, shapes, what is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from keras_transfer.tasks import classification, multilabel

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (6, 4)).astype(np.float32)
TARGETS = np.eye(4, dtype=np.float32)[[0, 3, 1, 1, 2, 0]]


def features(side=16, channels=5, dtype=None):
    picture = keras.Input((side, side, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(picture)
    return keras.Model(picture, keras.layers.Conv2D(channels, 3, strides=4, activation="relu", dtype=dtype)(x))


def loss_of(logits, targets, smoothing=0.0):
    return classification.cross_entropy((tf.constant(logits),), tf.constant(targets), smoothing).numpy()


def test_cross_entropy_is_that_of_scikit_learn():
    wanted = log_loss(TARGETS.argmax(1), softmax(LOGITS.astype(float), axis=1), labels=range(4))
    assert loss_of(LOGITS, TARGETS).mean() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_spreads_its_share_over_all_classes(smoothing):
    smoothed = TARGETS * (1 - smoothing) + smoothing / 4
    wanted = -(smoothed * log_softmax(LOGITS.astype(float), axis=1)).sum(axis=1)
    np.testing.assert_allclose(loss_of(LOGITS, TARGETS, smoothing), wanted, rtol=1e-5)


def test_targets_that_were_mixed_cost_the_mean_of_both_in_their_shares():
    mixed = 0.3 * TARGETS + 0.7 * TARGETS[::-1]
    wanted = 0.3 * loss_of(LOGITS, TARGETS) + 0.7 * loss_of(LOGITS, TARGETS[::-1])
    np.testing.assert_allclose(loss_of(LOGITS, mixed), wanted, rtol=1e-5)


def test_adding_a_number_to_all_logits_of_a_picture_changes_nothing():
    np.testing.assert_allclose(loss_of(LOGITS + 50, TARGETS), loss_of(LOGITS, TARGETS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_loss_and_gradient_are_numbers_however_sure_the_network_is(extreme):
    logits = tf.Variable([[extreme, -extreme]])
    with tf.GradientTape() as tape:
        loss = classification.cross_entropy((logits,), tf.constant([[1.0, 0.0]]), 0.1)
    assert np.isfinite(loss.numpy()).all()
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_the_gradient_of_a_picture_is_what_it_says_less_what_it_is():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(classification.cross_entropy((logits,), tf.constant(TARGETS), 0.0))
    np.testing.assert_allclose(tape.gradient(loss, logits), softmax(LOGITS, axis=1) - TARGETS, atol=1e-5)


def test_no_picture_has_no_loss_and_no_merit():
    nothing = (tf.zeros((0, 4)),)
    assert classification.cross_entropy(nothing, tf.zeros((0, 4)), 0.1).shape == (0,)
    assert classification.merit(nothing, tf.zeros((0, 4))).shape == (0,)


def test_merit_is_whether_the_largest_logit_is_the_targets_class():
    found = classification.merit((tf.constant(LOGITS),), tf.constant(TARGETS)).numpy()
    np.testing.assert_array_equal(found, LOGITS.argmax(1) == TARGETS.argmax(1))


HEADS = {"classification": classification, "multilabel": multilabel}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_gives_a_probability_for_each_class_in_whole_floats(name):
    network = HEADS[name].attach(features(dtype="mixed_bfloat16"), (), classes=7)
    said = network.model.predict_on_batch(RNG.integers(0, 256, (3, 16, 16, 3), np.uint8))
    assert said.shape == (3, 7)
    assert said.dtype == np.float32
    assert ((said >= 0) & (said <= 1)).all()
    if name == "classification":
        np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_the_places_of_a_network_are_the_pooled_features_and_the_logits(name):
    network = HEADS[name].attach(features(channels=5), (), classes=7)
    assert [each.shape for each in network.features] == [(None, 5)]
    assert [each.shape for each in network.raw] == [(None, 7)]
    assert network.losses is next(iter(HEADS[name].LOSSES.values()))
    assert network.merit_over == "batch"


@pytest.mark.parametrize("name", HEADS)
def test_one_seed_makes_one_head_and_another_another(name):
    def kernel(seed):
        return HEADS[name].attach(features(), (), classes=3, seed=seed).model.get_layer("logits").get_weights()[0]

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert (kernel(1) != kernel(2)).any()


@pytest.mark.parametrize("name", HEADS)
def test_a_saved_network_says_the_same_when_it_is_opened(name, tmp_path):
    model = HEADS[name].attach(features(), (), classes=3).model
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", compile=False)
    pictures = RNG.integers(0, 256, (2, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(opened.predict_on_batch(pictures), model.predict_on_batch(pictures))
    assert [layer.name for layer in opened.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", HEADS)
def test_dropout_works_in_training_alone(name):
    model = HEADS[name].attach(features(), (), classes=3, dropout=0.9).model
    pictures = RNG.integers(0, 256, (4, 16, 16, 3), np.uint8)
    still = [model(pictures, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert (model(pictures, training=True).numpy() != still[0]).any()


def test_a_loss_that_is_asked_for_by_name_is_that_of_the_network():
    assert multilabel.attach(features(), (), classes=3, loss="asymmetric").losses is multilabel.asymmetric
