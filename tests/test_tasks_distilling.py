"""A loss of labels and of what a teacher says: each of the two alone, and nothing where student and teacher agree."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from conftest import CLASSES, make_network

from keras_transfer.tasks import distilling, multilabel

LOGITS = np.array([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 2]]
OTHER = np.array([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1]], np.float32)


def loss(network, said, logits=LOGITS, smoothing=0.0):
    targets = tf.constant(np.concatenate([LABELS, said], axis=1))
    return np.asarray(network.losses((tf.constant(logits),), targets, smoothing))


def softmax(logits):
    return np.asarray(tf.nn.softmax(logits))


@pytest.fixture(scope="module")
def network():
    return make_network()


def taught(network, share, temperature=2.0):
    return distilling.of_one_class(network, classes=CLASSES, share=share, temperature=temperature)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_a_share_of_the_teacher_the_loss_is_that_of_labels(network, smoothing):
    alone = np.asarray(network.losses((tf.constant(LOGITS),), tf.constant(LABELS), smoothing))
    assert (loss(taught(network, 0.0), OTHER, smoothing=smoothing) == alone).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn_from_it(network, temperature):
    whole = taught(network, 1.0, temperature)
    assert np.allclose(loss(whole, softmax(LOGITS)), 0, atol=1e-5)
    assert (loss(whole, OTHER) > 0.01).all()


def test_the_two_losses_are_mixed_by_the_share(network):
    labels, answers, both = (loss(taught(network, share), OTHER) for share in (0.0, 1.0, 0.25))
    assert np.allclose(both, 0.75 * labels + 0.25 * answers, atol=1e-6)


def test_a_higher_temperature_makes_more_of_the_classes_that_come_second(network):
    first_right = np.array([[0.98, 0.0199, 0.0001]] * 2, np.float32)
    mirrored = np.array([[0.98, 0.0001, 0.0199]] * 2, np.float32)
    logits = np.log(first_right)
    cold, warm = (loss(taught(network, 1.0, each), mirrored, logits) for each in (1.0, 4.0))
    assert (warm > cold).all()


def test_merit_is_that_of_labels_whatever_the_teacher_says(network):
    targets = tf.constant(np.concatenate([LABELS, OTHER], axis=1))
    assert np.asarray(taught(network, 0.5).merit((tf.constant(LOGITS),), targets)).tolist() == [1.0, 1.0]


def test_a_teacher_that_is_sure_to_the_last_bit_gives_a_number(network):
    sure = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    assert np.isfinite(loss(taught(network, 1.0), sure)).all()
    several = distilling.of_several_labels(network, classes=CLASSES, share=1.0, temperature=2.0)
    assert np.isfinite(loss(several, sure)).all()


def test_labels_with_probabilities_of_their_own_are_compared_one_by_one(network):
    pictured = replace(network, losses=multilabel.binary_cross_entropy, merit=multilabel.merit)
    whole = distilling.of_several_labels(pictured, classes=3, share=1.0, temperature=3.0)
    assert np.allclose(loss(whole, np.asarray(tf.sigmoid(LOGITS))), 0, atol=1e-5)
    assert (loss(whole, OTHER) > 0.01).all()
