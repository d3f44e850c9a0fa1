"""The plan of so many seconds: the best that fits, never a worse one for more time."""

import itertools

import pytest

from keras_transfer.selection import budget
from keras_transfer.training import recipes

RATES = budget.Rates(
    image_size=96,
    look_ms=1.0,
    feed_ms=0.2,
    learn_ms=7.0,
    build_seconds=2.0,
    work=(0.1, 0.2, 0.2, 0.3, 0.2),
    distance=0.1,
)


def task(**changes):
    known = {"counts": {"train": 850, "validation": 150, "test": 1000}, "smallest_class": 80}
    return budget.Wanted(**{**known, "sizes": (64, 96, 128), "fitting_size": 96, **changes})


def chosen(seconds, rates=RATES, **changes):
    return budget.choose(task(**changes), rates, recipes.ADVISED, seconds)


def test_more_time_is_never_expected_to_give_less_and_always_fits():
    plans = [(seconds, chosen(seconds)) for seconds in (10, 20, 30, 60, 120, 240, 600, 3600)]
    fitting = [(seconds, plan) for seconds, plan in plans if plan]
    assert len(fitting) > 5
    assert all(plan.seconds <= seconds for seconds, plan in fitting)
    assert all(less.points <= more.points for (_, less), (_, more) in itertools.pairwise(fitting))


def test_little_time_trains_the_head_and_much_time_every_weight():
    assert chosen(14).recipe == "head"
    assert chosen(3600).recipe == "full"
    assert chosen(3600).stages[1:] == recipes.full(5)[1:]


def test_nothing_fits_a_time_below_that_of_the_quickest_plan():
    assert chosen(3) is None
    least = budget.least(task(), RATES, recipes.ADVISED)
    assert chosen(least * 0.99) is None
    assert chosen(least * 1.01) is not None


def test_pictures_unlike_the_source_take_new_statistics():
    unlike = budget.Rates(**{**vars(RATES), "distance": 0.4})
    assert chosen(3600, unlike).recipe == "adapt_then_full"


def test_few_pictures_of_a_class_leave_the_first_blocks_alone():
    assert chosen(3600, smallest_class=5).recipe == "head_then_top"


@pytest.mark.parametrize("seconds", [40, 3600])
def test_a_recipe_and_a_size_that_are_given_are_kept(seconds):
    found = chosen(seconds, recipe="head_then_top", sizes=(64,), fitting_size=64)
    assert (found.recipe, found.image_size) == ("head_then_top", 64)


def test_sizes_are_whole_strides_below_what_fits_and_one_above():
    assert budget.sizes(96, 32, 224) == (64, 96, 128)
    assert budget.sizes(224, 32, 224) == (64, 96, 128, 160, 192, 224)
    assert budget.sizes(71, 71, 299) == (71, 96)


def test_what_twice_the_time_brings_is_told_and_so_is_that_it_brings_nothing():
    assert budget.more(chosen(3600), chosen(7200)).startswith("would change nothing")
    assert "is expected to bring" in budget.more(chosen(20), chosen(120))


def test_every_stage_needs_less_at_least_than_it_is_given():
    plan = chosen(120)
    assert all(least <= seconds for least, seconds in zip(plan.least_seconds, plan.stage_seconds, strict=True))
