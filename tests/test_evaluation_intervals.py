"""How well a share is known: Wilson's interval beside scipy's, and what must hold of any interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from keras_transfer.evaluation.intervals import NORMAL_95, margin, spread_of, wilson

COUNTS = st.integers(1, 100_000)


@st.composite
def some_right(draw):
    count = draw(COUNTS)
    return draw(st.integers(0, count)), count


def test_the_constant_is_the_normal_quantile_of_a_two_sided_interval():
    assert pytest.approx(norm.ppf(0.975), rel=1e-15) == NORMAL_95


@given(some_right())
def test_both_ends_are_those_of_scipy(case):
    right, count = case
    wanted = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@given(some_right())
def test_the_share_lies_inside_and_the_ends_are_shares(case):
    right, count = case
    low, high = wilson(right / count, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1


@given(some_right())
def test_what_is_right_and_what_is_wrong_are_known_equally_well(case):
    right, count = case
    low, high = wilson(right / count, count)
    mirrored = wilson((count - right) / count, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert margin(right / count, count) == pytest.approx(margin((count - right) / count, count), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_pictures_of_one_share_never_say_less(share, count, more):
    assert margin(share, count + more) < margin(share, count)


@given(COUNTS)
def test_no_mistake_in_some_pictures_is_no_proof_of_none(count):
    low, high = wilson(1.0, count)
    assert high == pytest.approx(1)
    assert low == pytest.approx(count / (count + NORMAL_95**2))  # the textbook's closed form at the end
    assert low < 1


@pytest.mark.parametrize("count", [0, -1])
def test_of_no_pictures_nothing_is_known(count):
    assert wilson(0.0, count) == (0, 1)
    assert margin(0.7, count) == 0.5


def test_the_interval_holds_the_truth_about_95_times_of_100():
    rng = np.random.default_rng(0)
    for truth in (0.05, 0.3, 0.9):
        hits = rng.binomial(60, truth, 4000)
        held = [low <= truth <= high for low, high in (wilson(each / 60, 60) for each in hits)]
        assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_a_mean_of_shares_never_spreads_more_than_the_interval_of_a_count_says():
    rng = np.random.default_rng(1)
    worth = rng.beta(2, 1, (2000, 50))  # a mean IoU, say: a number in [0, 1] for each picture
    truth = worth.mean()
    held = [low <= truth <= high for low, high in (wilson(mean, 50) for mean in worth.mean(axis=1))]
    assert np.mean(held) > 0.99


@pytest.mark.parametrize("name", ["Recall@1 spread", "Recall@1_spread", "Recall@1 standard error"])
def test_a_spread_that_was_measured_is_taken_before_the_number_of_pictures(name):
    assert spread_of({"Recall@1": 0.9, name: 0.05}, 10_000) == pytest.approx(NORMAL_95 * 0.05)
    assert spread_of({"Recall@1": 0.9}, 100) == margin(0.9, 100)
