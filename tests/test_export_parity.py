"""The gate between a file and the people who would use it."""

import numpy as np
import pytest

from keras_transfer.errors import UsageError
from keras_transfer.export import parity
from keras_transfer.export.parity import Tolerance

KEYS = ("a.png", "b.png", "c.png", "d.png")
ALIKE = (True, True, True, True)
RIGHT = (1.0, 1.0, 1.0, 0.0)


def compare(same=ALIKE, difference=(0.0,) * 4, right=RIGHT, precision="float32", **others):
    figures = (np.asarray(each) for each in (same, difference, RIGHT, right))
    return parity.compare(*figures, KEYS, precision=precision, **others)


def test_the_same_answers_pass_at_every_precision():
    for precision in parity.TOLERANCES:
        found = compare(precision=precision)
        assert found.passed
        assert (found.agreement, found.max_difference, found.accuracy_drop_points) == (1.0, 0.0, 0.0)


def test_one_other_answer_fails_a_float_file_and_says_how_many():
    found = compare(same=(True, True, True, False), right=(1.0, 1.0, 0.0, 0.0))
    assert not found.passed
    assert found.reason == "1 of 4 pictures get another answer (agreement must be 100.00%)"
    assert (found.accuracy, found.reference_accuracy, found.accuracy_drop_points) == (0.5, 0.75, 25.0)


def test_the_pictures_that_differ_most_come_first():
    found = compare(difference=(0.001, 0.003, 0.0, 0.002))
    assert [key for key, _ in found.worst] == ["b.png", "d.png", "a.png", "c.png"]
    assert (found.max_difference, found.mean_difference) == (0.003, pytest.approx(0.0015))


def test_a_small_difference_passes_float16_but_not_float32():
    difference = (0.001,) * 4
    assert compare(difference=difference, precision="float16").passed
    assert compare(difference=difference).reason == "an answer differs by 0.001 (at most 0.0001)"


def test_whole_numbers_may_decide_otherwise_while_they_are_right_as_often():
    assert compare(same=(False, False, True, True), right=(0.0, 1.0, 1.0, 1.0), precision="int8").passed


def test_a_drop_of_merit_fails_int8_by_the_name_that_the_task_has_for_it():
    assert compare(right=(0.0,) * 4, precision="int8").reason == "accuracy drops by 75.00 points (at most 1)"
    found = compare(right=(0.5, 1.0, 1.0, 0.0), precision="int8", merit_name="mean IoU")
    assert found.reason == "mean IoU drops by 12.50 points (at most 1)"


def test_ten_pictures_of_a_thousand_are_one_point_exactly():
    right = np.ones(1000)
    figures = np.ones(1000, bool), np.zeros(1000), right, np.where(np.arange(1000) < 10, 0.0, right)
    found = parity.compare(*figures, [str(number) for number in range(1000)], precision="int8")
    assert found.accuracy_drop_points == 1.0
    assert found.passed


def test_a_tolerance_can_be_given():
    assert compare(right=(0.0,) * 4, tolerance=Tolerance(drop_points=100)).passed


def test_answers_that_are_not_numbers_fail():
    assert not compare(difference=(np.nan, 0.0, 0.0, 0.0)).passed
    assert not compare(right=(np.nan, 1.0, 1.0, 0.0), precision="int8").passed


def test_divergence_is_told_where_there_is_one():
    assert compare().kl_divergence is None
    assert compare(kl=np.array([0.0, 0.1, 0.2, 0.1])).kl_divergence == pytest.approx(0.1)


def test_an_unknown_precision_is_refused_with_the_one_that_was_meant():
    with pytest.raises(UsageError, match=r"Unknown precision 'float31'\. Did you mean"):
        compare(precision="float31")


def test_figures_of_different_pictures_are_refused():
    with pytest.raises(UsageError, match=r"Received: figures of 4, 4, 4, 2, 4 pictures"):
        compare(right=(1.0, 1.0))


def test_no_pictures_are_refused():
    nothing = np.zeros(0)
    with pytest.raises(UsageError, match="of one at least"):
        parity.compare(nothing, nothing, nothing, nothing, (), precision="int8")
