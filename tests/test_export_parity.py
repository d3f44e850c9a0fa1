"""The gate between a file and the people who would use it."""

import numpy as np
import pytest

from keras_transfer.errors import UsageError
from keras_transfer.export import parity
from keras_transfer.export.parity import Tolerance

WANTED = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]], np.float32)
LABELS = np.array([0, 1, 0, 1])
KEYS = ("a.png", "b.png", "c.png", "d.png")


def compare(given, precision="float32", tolerance=None):
    return parity.compare(WANTED, np.asarray(given, np.float32), LABELS, KEYS, precision=precision, tolerance=tolerance)


def test_the_same_answers_pass_at_every_precision():
    for precision in parity.TOLERANCES:
        found = compare(WANTED, precision)
        assert found.passed
        assert (found.agreement, found.max_difference, found.kl_divergence) == (1.0, 0.0, 0.0)


def test_one_other_class_fails_a_float_file_and_says_how_many():
    found = compare([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.55, 0.45]])
    assert not found.passed
    assert found.reason.startswith("1 of 4 pictures get another class")
    assert found.accuracy_drop_points == pytest.approx(25)


def test_the_pictures_that_differ_most_come_first():
    found = compare(WANTED + np.array([[0.001, 0], [0.003, 0], [0, 0], [0.002, 0]], np.float32))
    assert [key for key, _ in found.worst] == ["b.png", "d.png", "a.png", "c.png"]
    assert found.max_difference == pytest.approx(0.003, abs=1e-6)


def test_a_small_difference_passes_float16_but_not_float32():
    given = WANTED + np.array([[0.001, -0.001]], np.float32)
    assert compare(given, "float16").passed
    assert "a probability differs by 0.001 (at most 0.0001)" in compare(given, "float32").reason


def test_whole_numbers_may_decide_otherwise_while_they_are_right_as_often():
    given = WANTED.copy()
    given[2] = [0.58, 0.42]
    assert compare(given, "int8").passed


def test_a_drop_in_accuracy_fails_int8():
    found = compare(WANTED[:, ::-1], "int8")
    assert found.reason == "accuracy drops by 100.00 points (at most 1)"


def test_a_tolerance_can_be_given():
    assert compare(WANTED[:, ::-1], tolerance=Tolerance(drop_points=100)).passed


def test_answers_that_are_not_numbers_fail():
    assert not compare(np.full_like(WANTED, np.nan)).passed


def test_kl_divergence_is_that_of_the_textbook():
    found = parity.compare(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]]), np.array([0]), ["a"], precision="int8")
    assert found.kl_divergence == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75))


def test_an_unknown_precision_is_refused_with_the_one_that_was_meant():
    with pytest.raises(UsageError, match=r"Unknown precision 'float31'\. Did you mean"):
        compare(WANTED, "float31")


def test_answers_to_different_pictures_are_refused():
    with pytest.raises(UsageError, match="Two sets of answers to the same pictures"):
        compare(WANTED[:2])
