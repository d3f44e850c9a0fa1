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


def test_divergence_is_never_negative_and_is_that_of_scipy_where_nothing_is_zero():
    from scipy.stats import entropy

    rng = np.random.default_rng(0)
    first, second = (0.9 * rng.dirichlet(np.ones(7), 30) + 0.1 / 7 for _ in range(2))
    found = agreement.divergence({"probabilities": first}, {"probabilities": second})
    np.testing.assert_allclose(found, entropy(first, second, axis=1), rtol=1e-12)
    assert (found >= 0).all()
    assert agreement.divergence({"probabilities": first}, {"probabilities": first}) == pytest.approx(0)


def test_agreement_and_difference_are_the_same_whichever_comes_first():
    rng = np.random.default_rng(1)
    one, other = ({"probabilities": rng.dirichlet(np.ones(4), 50).astype(np.float32)} for _ in range(2))
    for given, back in zip(
        agreement.differ_probabilities(one, other), agreement.differ_probabilities(other, one), strict=True
    ):
        np.testing.assert_array_equal(given, back)


def test_an_answer_that_is_not_a_number_is_never_right_but_for_a_label_of_the_first_class():
    """argmax of NaN is position 0: what holds a broken file back is the difference, which is NaN (see above)."""
    broken = answers([np.nan, np.nan], [np.nan, np.nan])
    assert agreement.right_class(broken, np.array([1, 1])).tolist() == [0, 0]
    assert np.isnan(agreement.divergence(answers([0.5, 0.5]), answers([np.nan, np.nan]))).all()


@pytest.mark.parametrize("compare", [agreement.differ_probabilities, agreement.divergence])
def test_answers_over_other_classes_are_refused_by_both_comparisons(compare):
    with pytest.raises(UsageError, match=r"Received: \(3, 2\) and \(3, 4\)"):
        compare(WANTED, {"probabilities": np.full((3, 4), 0.25)})
