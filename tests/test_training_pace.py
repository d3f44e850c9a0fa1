"""A stage that has only so many seconds runs its schedule down over the steps that fit them."""

from hypothesis import given
from hypothesis import strategies as st

from keras_transfer.training.pace import Pace, progress


def walked(pace, of_a_step, validation=0.0):
    """Go through a stage of steps that take `of_a_step(step)` seconds each, and return when it was over."""
    now = step = 0
    while step < pace.end:
        now += of_a_step(step)
        step += 1
        pace.stepped(step, now)
        if step % pace.per_epoch == 0 or step >= pace.end:
            now += validation
            pace.validated(validation)
    return now


def test_without_a_clock_a_stage_ends_after_its_epochs():
    pace = Pace(10, 4, None, 0.2)
    walked(pace, lambda step: 9.0)
    assert (pace.end, pace.marks) == (40, ())


def test_a_stage_that_has_the_time_is_left_as_it_was_planned():
    pace = Pace(10, 4, 41.0, 0.0)
    walked(pace, lambda step: 1.0)
    assert pace.marks == ()


def test_a_stage_that_is_slower_than_planned_is_shortened_to_its_time():
    pace = Pace(10, 4, 30.0, 0.0)
    took = walked(pace, lambda step: 1.5, validation=1.0)
    assert 20 < took <= 30.5
    assert pace.end < 40


def test_a_machine_that_becomes_busy_half_way_does_not_make_a_stage_late():
    pace = Pace(50, 4, 110.0, 0.0)
    took = walked(pace, lambda step: 0.5 if step < 100 else 2.5, validation=0.5)
    assert took <= 115


def test_steps_come_back_where_a_busy_machine_becomes_idle():
    pace = Pace(50, 4, 200.0, 0.0)
    took = walked(pace, lambda step: 5.0 if step < 10 else 0.5)
    assert took < 200
    assert pace.end > min(end for _, end in pace.marks)


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(2, 100)), max_size=4))
def test_the_schedule_never_jumps_back_and_ends_where_the_stage_does(marks):
    marks = sorted((at, end) for at, end in dict(marks).items() if at < end)
    marks = [mark for i, mark in enumerate(marks) if all(mark[0] < end for _, end in marks[:i])]
    end = marks[-1][1] if marks else 100
    seen = [progress(step, 100, [mark for mark in marks if mark[0] <= step]) for step in range(end + 1)]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert seen[0] == 0.0


def test_what_was_decided_is_followed_by_who_comes_after():
    first = Pace(10, 4, 30.0, 0.0)
    walked(first, lambda step: 1.5)
    after = Pace(10, 4, None, 0.0, first.marks)
    assert after.end == first.end
    assert [after.progress(step) for step in range(after.end)] == [first.progress(step) for step in range(first.end)]
