"""Labels that were never given: they flow between pictures that are alike, and stand only where validation gains."""

from dataclasses import replace

import numpy as np
import pytest

from keras_transfer.selection.pseudo_labels import (
    BELIEF,
    FINAL_SHARE,
    METHODS,
    Known,
    consistent,
    gated,
    propagated,
    weighed,
)

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


def test_what_is_sure_is_learnt_from_the_copies():
    pool, hidden = known(noise=1.2)
    noise = np.random.default_rng(2).normal(0, 2, (2, *pool.unlabelled.shape))
    shown = replace(pool, strong=(pool.unlabelled + noise).astype("float32"))
    labels, weights = consistent(shown)
    assert (labels[weights > 0] == hidden[weights > 0]).mean() > 0.8
    assert (weights != consistent(pool)[1]).any()
    for given, wanted in zip(consistent(shown), (labels, weights), strict=True):
        np.testing.assert_array_equal(given, wanted)


def test_no_class_weighs_more_than_the_mean_one_where_answers_are_sure():
    pool, hidden = known(noise=0.3)
    many = np.concatenate([np.flatnonzero(hidden == 0), *(np.flatnonzero(hidden == each)[:15] for each in (1, 2))])
    labels, weights = consistent(replace(pool, unlabelled=pool.unlabelled[many]))
    sums = np.bincount(labels, weights, minlength=CLASSES)
    assert weights.max() <= BELIEF
    assert sums.max() <= BELIEF * len(many) / CLASSES + 1e-6


@pytest.mark.parametrize(("noise_in", "share"), [("head", True), ("earlier", False)])
def test_the_depth_that_tells_classes_apart_is_what_weighs(noise_in, share):
    pool, _ = known(labelled=4)
    noise = np.random.default_rng(1)

    def both(rows):
        drawn = noise.normal(0, 2, rows.shape)
        return np.concatenate([drawn, rows] if noise_in == "head" else [rows, drawn], axis=1).astype("float32")

    deep = replace(pool, **{name: both(getattr(pool, name)) for name in ("features", "validation", "unlabelled")})
    scales = weighed(deep, head=WIDTH).scales
    assert (scales[WIDTH] > scales[0]) == share
    np.testing.assert_allclose((scales**2).sum(), WIDTH, rtol=1e-6)  # both together weigh what the head's alone do


def test_where_no_class_has_two_pictures_the_head_alone_is_asked():
    pool, _ = known(labelled=1)
    nothing = {"validation": pool.validation[:0], "validation_labels": pool.validation_labels[:0]}
    scales = weighed(replace(pool, **nothing), head=WIDTH - 2).scales
    assert scales.tolist() == [1.0] * (WIDTH - 2) + [0.0] * 2


def test_one_depth_is_taken_as_it_is():
    pool, _ = known()
    alone = weighed(pool, head=WIDTH)
    assert alone.scales.tolist() == [1.0] * WIDTH
    for given, wanted in zip(METHODS["curriculum"](alone), METHODS["curriculum"](pool), strict=True):
        np.testing.assert_array_equal(given, wanted)
