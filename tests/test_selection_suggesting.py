"""What is worth a label: what is typical and new while labels are few, what the model is torn over later."""

import numpy as np
import pytest

from keras_transfer.selection.suggesting import METHODS, Pool, margins, method_for, suggest

KINDS, EACH, WIDTH = 6, 30, 8


@pytest.fixture
def pool():
    """Six kinds of thirty pictures; two of the kinds are labelled, and the model is torn over the last one alone."""
    rng = np.random.default_rng(0)
    centres = np.eye(KINDS, WIDTH) * 10
    kind = np.repeat(np.arange(KINDS), EACH)
    features = centres[kind] + rng.normal(0, 0.3, (len(kind), WIDTH))
    likely = np.full((len(kind), 3), 0.005)
    likely[np.arange(len(kind)), kind % 3] = 0.99
    likely[kind == KINDS - 1] = (0.4, 0.35, 0.25)
    labelled = np.repeat(centres[:2], 2, axis=0) + rng.normal(0, 0.3, (4, WIDTH))
    return Pool(features.astype("float32"), likely.astype("float32"), labelled.astype("float32"))


def kinds(picks):
    return [pick.row // EACH for pick in picks]


def test_typical_pictures_are_of_kinds_that_nobody_labelled_yet(pool):
    few = Pool(pool.features, pool.probabilities, pool.labelled[::2])
    assert sorted(kinds(suggest(few, 4, "typical"))) == [2, 3, 4, 5]


def test_a_typical_picture_is_no_outlier(pool):
    features = pool.features.copy()
    features[2 * EACH] += 3.0
    picks = suggest(Pool(features, pool.probabilities, pool.labelled[::2]), 4, "typical")
    assert 2 * EACH not in [pick.row for pick in picks]


@pytest.mark.parametrize("method", ["margin", "torn"])
def test_what_the_model_is_torn_over_comes_first(pool, method):
    picks = suggest(pool, 5, method)
    assert kinds(picks)[0] == KINDS - 1
    assert picks[0].why.startswith("its two likeliest classes are 0.05 apart")


def test_copies_are_not_named_twice_while_there_is_anything_else(pool):
    copies = Pool(
        np.repeat(pool.features[:3], 20, axis=0), np.repeat(pool.probabilities[:3], 20, axis=0), pool.labelled
    )
    assert sorted(pick.row // 20 for pick in suggest(copies, 3, "torn")) == [0, 1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_each_picture_once_and_all_where_more_are_asked_for(pool, method):
    rows = [pick.row for pick in suggest(pool, 10_000, method)]
    assert sorted(rows) == list(range(KINDS * EACH))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_names_the_same_pictures(pool, method):
    assert suggest(pool, 7, method, seed=3) == suggest(pool, 7, method, seed=3)


def test_few_labels_ask_for_typical_pictures_and_many_for_those_in_doubt():
    assert method_for(40, 10) == (
        "typical",
        "4.0 labels a class are too few for the model to know what it lacks: typical pictures",
    )
    assert method_for(100, 10)[0] == "margin"


def test_a_margin_is_what_parts_the_two_likeliest():
    assert margins(np.array([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])) == pytest.approx([0.5, 0.0])
