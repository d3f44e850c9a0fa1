"""Labels that were never given: they flow between pictures that are alike, and stand only where validation gains."""

import numpy as np
import pytest

from keras_transfer.selection.pseudo_labels import BELIEF, FINAL_SHARE, METHODS, Known, gated, propagated

CLASSES, EACH, WIDTH = 3, 40, 12


def known(*, labelled=2, noise=0.7, seed=0):
    """Three kinds of pictures, few of them labelled."""
    rng = np.random.default_rng(seed)
    centres = np.eye(CLASSES, WIDTH) * 3

    def some(each):
        labels = np.repeat(np.arange(CLASSES), each)
        return (centres[labels] + rng.normal(0, noise, (len(labels), WIDTH))).astype("float32"), labels

    (features, labels), (validation, truth), (unlabelled, hidden) = some(labelled), some(20), some(EACH)
    return Known(features, labels, validation, truth, unlabelled, CLASSES), hidden


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_are_given_are_mostly_right(method):
    pool, hidden = known()
    labels, weights = METHODS[method](pool)
    taken = weights > 0
    assert taken.sum() > EACH
    assert (labels[taken] == hidden[taken]).mean() > 0.9


def test_what_lies_between_two_kinds_weighs_less_than_what_is_typical():
    pool, _ = known(noise=0.3)
    between = np.eye(CLASSES, WIDTH)[:2].mean(axis=0, keepdims=True) * 3
    typical = np.eye(CLASSES, WIDTH)[2:3] * 3
    more = Known(**{**vars(pool), "unlabelled": np.concatenate([pool.unlabelled, between, typical]).astype("float32")})
    _, weights = propagated(more)
    assert weights[-2] < weights[-1]
    assert weights.max() <= 1


def test_no_class_is_believed_more_often_than_the_median_class():
    pool, hidden = known(noise=0.2)
    many = np.concatenate([np.flatnonzero(hidden == 0), *(np.flatnonzero(hidden == each)[:10] for each in (1, 2))])
    labels, weights = METHODS["believe"](Known(**{**vars(pool), "unlabelled": pool.unlabelled[many]}))
    assert np.bincount(labels[weights > 0], minlength=CLASSES).max() <= 10


def test_each_class_is_believed_alike_by_turns_and_half():
    pool, _ = known()
    labels, weights = METHODS["curriculum"](pool)
    assert set(weights) == {0, BELIEF}
    assert np.bincount(labels[weights > 0], minlength=CLASSES).max() <= FINAL_SHARE * EACH


def test_turns_mend_what_few_labels_get_wrong():
    """One label of each kind, and pictures that lie around it unevenly: the first regression is right less often."""
    alone, by_turns = [], []
    for seed in range(5):
        pool, _ = known(labelled=1, noise=1.2, seed=seed)
        found, without = gated(pool, "curriculum")
        alone.append(without.accuracy)
        by_turns.append(without.accuracy if found is None else found.accuracy)
    assert np.mean(by_turns) > np.mean(alone) + 0.04


def test_labels_that_do_harm_on_validation_are_left_aside(monkeypatch):
    pool, hidden = known()
    monkeypatch.setitem(METHODS, "wrong", lambda known: ((hidden + 1) % CLASSES, np.ones(len(hidden))))
    found, without = gated(pool, "wrong")
    assert found is None
    assert without.accuracy > 0.8


def test_nothing_that_is_believed_is_nothing_found(monkeypatch):
    pool, hidden = known()
    monkeypatch.setitem(METHODS, "nothing", lambda known: (hidden, np.zeros(len(hidden))))
    assert gated(pool, "nothing")[0] is None


def test_a_class_that_nothing_is_given_of_is_no_obstacle():
    pool, hidden = known()
    one = Known(**{**vars(pool), "unlabelled": pool.unlabelled[hidden == 0]})
    for method in METHODS.values():
        labels, weights = method(one)
        assert np.isfinite(weights).all()
        assert len(labels) == EACH
