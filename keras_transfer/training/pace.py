"""How far a stage is by its steps; where its time runs out, over fewer of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

Marks = Sequence[tuple[int, int]]
"""(step, end) each: at that step of the stage it was decided that it ends after so many steps in all."""

SETTLING = 2
"""Steps of a process that say nothing of the later ones: the first builds the graph, the second takes its memory."""

RECENT = 64
"""Steps whose time tells what the next ones take: machines are shared, and what a minute ago held may not hold now."""

FORWARD = 0.3
"""Of what a picture costs in a step, the share that one of validation costs, before any was passed: 0.27 to 0.32 at 96
to 224 px."""

WORTH_A_PASS = 0.1
"""Share of an epoch below which its steps are not worth a validation of their own."""


UNSURE = 0.02
"""Share of the steps to come by which an end may be wrong without being moved: steps do not all take the same time."""


@dataclass(frozen=True)
class Span:
    """The time of a stage of a run that has only so many minutes."""

    until: float
    """`time.perf_counter()` at which its last validation should be over."""
    least: float
    """Seconds without which it is not begun: getting ready, features, and an epoch cut short."""
    expected: float
    """Seconds that it was given when the plan was made."""


def progress(step: int, steps: int, marks: Marks = ()) -> float:
    """Return the part of a stage that lies behind before `step`: 0 to 1, without a jump where its end was moved.

    steps: of the whole stage as it was planned. From each mark on, what was left of the schedule is spread over what
    is left of the steps: it runs down faster and is never cut off.

    >>> [progress(step, 10) for step in (0, 5, 10)]
    [0.0, 0.5, 1.0]
    >>> [progress(step, 10, [(4, 7)]) for step in (4, 6, 7)]
    [0.4, 0.8, 1.0]
    """
    reached, since, end = 0.0, 0, steps
    for at, ends in marks:
        reached = _between(reached, since, end, at)
        since, end = at, ends
    return _between(reached, since, end, step)


def _between(reached: float, since: int, end: int, step: int) -> float:
    return 1.0 if step >= end or since >= end else reached + (1 - reached) * (step - since) / (end - since)


class Pace:
    """Where a stage ends: after its epochs, or where its time does, by what its own steps take.

    per_epoch: steps; epochs: as the plan has them; until: `time.perf_counter()` at which its last validation should be
    over, None where nothing hurries; validation: pictures of validation for each training picture; marks: what was
    decided before, by an earlier process too.
    """

    def __init__(self, per_epoch: int, epochs: int, until: float | None, validation: float, marks: Marks = ()):
        self.per_epoch, self.steps, self.until = per_epoch, per_epoch * epochs, until
        self.marks = tuple((at, end) for at, end in marks)
        self._share = validation
        self._taken = 0
        self._ended: float | None = None
        self._paused = False
        self._durations: deque[float] = deque(maxlen=RECENT)
        self._pause: float | None = None

    @property
    def end(self) -> int:
        """Steps after which the stage ends."""
        return self.marks[-1][1] if self.marks else self.steps

    def progress(self, step: int) -> float:
        """Return the part of the stage that lies behind before `step`."""
        return progress(step, self.steps, self.marks)

    def validated(self, seconds: float) -> None:
        """Take note of what a pass over validation took; what else lies between two epochs shows with the next step."""
        self._pause, self._paused = max(seconds, self._pause or 0.0), True

    def stepped(self, done: int, now: float) -> None:
        """Take note that `done` steps of the stage were over at `now`, and move its end where the time asks for it."""
        before, paused, self._taken = self._ended, self._paused, self._taken + 1
        self._ended, self._paused = now, False
        if paused and before is not None and self._durations:
            of_it = sum(self._durations) / len(self._durations)
            self._pause = max(0.0, now - before - of_it)  # a checkpoint was written too
        elif before is not None and self._taken > SETTLING:
            self._durations.append(now - before)
        if self.until is None or not self._durations:
            return
        of_a_step = sum(self._durations) / len(self._durations)
        end = self._fitting(done, max(of_a_step, 1e-9), self.until - now)
        unsure = UNSURE * (self.end - done)
        if self.end - end > unsure or end - self.end > max(unsure, WORTH_A_PASS * self.per_epoch):
            self.marks = (*self.marks, (done, end))

    def _fitting(self, done: int, of_a_step: float, left: float) -> int:
        """Return the step at which the stage has to end for `left` seconds to hold it, its validations included."""
        validation = self._pause
        if validation is None:
            validation = FORWARD * self._share * of_a_step * self.per_epoch
        of_an_epoch = self.per_epoch * of_a_step + validation
        behind = done % self.per_epoch or self.per_epoch * (done > 0)  # of the epoch that runs: its own pass is to come
        until_pass = (self.per_epoch - behind) * of_a_step + validation
        if left < until_pass:
            return min(self.steps, done + max(0, math.floor((left - validation) / of_a_step)))
        whole, rest = divmod(left - until_pass, of_an_epoch)
        more = max(0, math.floor((rest - validation) / of_a_step))
        if more < WORTH_A_PASS * self.per_epoch:
            more = 0
        return min(self.steps, done + self.per_epoch - behind + int(whole) * self.per_epoch + more)
