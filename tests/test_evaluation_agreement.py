"""Two sets of answers to the same pictures, picture by picture."""

import numpy as np
import pytest

from keras_transfer.errors import UsageError
from keras_transfer.evaluation import agreement

WANTED = {"probabilities": np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]], np.float32)}


def answers(*rows) -> dict[str, np.ndarray]:
    return {"probabilities": np.array(rows, np.float32)}


def test_each_picture_is_compared_by_its_class_and_its_largest_difference():
    given = answers([0.5, 0.5], [0.75, 0.25], [0.5, 0.5])
    same, difference = agreement.differ_probabilities(WANTED, given)
    assert same.tolist() == [True, False, True]
    assert difference.tolist() == [0.25, 0.5, 0.0]


def test_the_comparison_adds_no_rounding_of_its_own():
    near = {"probabilities": WANTED["probabilities"] + np.float32(2**-24)}
    _, difference = agreement.differ_probabilities(WANTED, near)
    assert difference.dtype == np.float64
    assert difference.max() <= 2**-24


def test_an_answer_that_is_not_a_number_does_not_look_near():
    _, difference = agreement.differ_probabilities(WANTED, answers(*[[np.nan, np.nan]] * 3))
    assert np.isnan(difference).all()


def test_a_picture_is_right_where_its_likeliest_class_is_its_label():
    assert agreement.right_class(WANTED, np.array([0, 0, 1])).tolist() == [1.0, 0.0, 0.0]


def test_divergence_is_that_of_the_textbook():
    found = agreement.divergence(answers([0.5, 0.5]), answers([0.25, 0.75]))
    assert found[0] == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75))


def test_an_answer_of_zero_keeps_the_divergence_finite():
    assert np.isfinite(agreement.divergence(answers([0.5, 0.5]), answers([0.0, 1.0]))).all()


def test_answers_to_different_pictures_are_refused():
    with pytest.raises(UsageError, match=r"same pictures are compared\. Received: \(3, 2\) and \(1, 2\)"):
        agreement.differ_probabilities(WANTED, answers([0.5, 0.5]))
