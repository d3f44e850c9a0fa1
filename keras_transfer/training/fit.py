"""The loop of one stage: steps, epochs, the best weights, and a checkpoint after each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import TrainingError
from keras_transfer.specs import Event, Listener, Network, Stage
from keras_transfer.training import checkpoints
from keras_transfer.training.freezing import Freeze
from keras_transfer.training.job import Job
from keras_transfer.training.learning_rates import SCHEDULES, key, optimizer, peak_of
from keras_transfer.training.pace import Marks, Pace
from keras_transfer.training.solving import solution
from keras_transfer.training.stage_data import StageData
from keras_transfer.training.steps import (
    Step,
    averaged,
    evaluation,
    judged_while_learning,
    learning_step,
    means,
    suffix_of,
)
from keras_transfer.training.strategy import Strategy


@dataclass(frozen=True)
class Reached:
    """Where a stage stands: what a checkpoint holds and what the stage ends with."""

    epoch: int = 0
    merit: float = -1.0
    loss: float = math.inf
    best_epoch: int = 0
    """The last one whose merit chance does not tell from the highest (`_by_chance`); merit and loss are its."""
    seconds: float = 0.0
    """Of the stage up to here, those of earlier processes included; what a killed one did not save is not."""
    earlier_seconds: float = 0.0
    """The part of them that earlier processes spent."""
    history: tuple[dict[str, float], ...] = ()
    marks: tuple[tuple[int, int], ...] = ()
    """What the clock decided of the stage's end (`pace.Marks`), to be followed by a process that goes on with it."""
    best: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The suffix after its best epoch; before the first one, what the stage began with."""
    mean: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of the suffix after each of the last epochs so far (`Stage.average`); nothing before the first of them."""
    in_mean: int = 0
    """Epochs that `mean` is of."""

    def passes(self, steps: int) -> float:
        """How often every training picture was learned from, the last time perhaps in part; steps: of an epoch."""
        return min(len(self.history), self.marks[-1][1] / steps) if self.marks else len(self.history)


@dataclass(frozen=True)
class Loop:
    """What every epoch of a stage works with."""

    suffix: keras.Model
    method: keras.optimizers.Optimizer
    average: list[Any]
    """A shadow of each trainable variable of the suffix; empty where nothing is averaged."""
    step: Step
    evaluate: Callable[[], tuple[float, float]]
    """Loss and merit of a validation picture."""
    stage: Stage
    data: StageData
    began: float
    """`time.perf_counter` when the stage was asked for."""
    budget: float | None
    """Seconds from then on that set the schedule and the end in place of the number of epochs."""
    pace: Pace
    callbacks: Any
    listener: Listener
    pictures: int
    """Of validation."""
    solve: Callable[[], tuple[float, float]] | None
    """What an epoch does in place of steps, where the head is solved (`solving.solution`)."""
    strategy: Strategy
    together: int
    """Batches that are learnt from in one call, one after the other."""
    judged: bool
    """Whether steps say what their batches were worth; rows of the history have a `merit` of training then."""

    @property
    def tracked(self) -> list[Any]:
        """Every variable that a resumed process needs to go on bit by bit."""
        return [*self.suffix.variables, *self.method.variables, *self.average]

    def elapsed(self) -> float:
        """Seconds of this process since the stage was asked for."""
        return time.perf_counter() - self.began

    def progress(self, epoch: int, number: int) -> float:
        """Part of the stage that lies behind before batch `number` of `epoch`: 0 to 1."""
        if self.budget is not None:
            return min(self.elapsed() / self.budget, 1.0)
        return self.pace.progress(epoch * self.data.steps + number)

    def rates(self, epoch: int, first: int) -> list[float]:
        """Return the learning rates of the batches that come next, from `first` of `epoch` on; of none at the end."""
        schedule, peak = SCHEDULES[self.stage.schedule], peak_of(self.stage)
        numbers = range(first, min(first + self.together, self.data.steps))
        progress = [self.progress(epoch, number) for number in numbers]
        return [peak * schedule(part) for part in progress if part < 1.0]

    def ended(self, reached: Reached) -> bool:
        """Whether nothing is left to do: the epochs, the patience or the budget are used up."""
        if self.budget is not None:
            return self.elapsed() >= self.budget and reached.epoch > 0
        highest = max(reached.history, key=_worth, default={"epoch": 0})
        since, patience = reached.epoch - highest["epoch"], self.stage.patience
        return reached.epoch * self.data.steps >= self.pace.end or (patience is not None and since >= patience)


def fit(
    job: Job, stage: Stage, freeze: Freeze, data: StageData, *, began: float, seconds: float | None = None
) -> Reached:
    """Train the suffix behind the cut and leave the network at its best epoch on validation.

    stage: with its blocks and its rate decided. began: `time.perf_counter` when the stage was asked for; seconds:
    wall-clock budget since then, which sets the schedule and the end in place of the number of epochs.
    """
    loop = _loop(job, stage, freeze, data, began, seconds)
    fresh = Reached(best=checkpoints.values(loop.suffix.variables, "b"))
    reached = _resumed(job, stage, loop.tracked) or fresh
    loop = replace(loop, pace=_pace(job, stage, data, reached.marks))
    job.network.model.stop_training = False
    loop.callbacks.on_train_begin()
    while _goes_on(job, loop, reached):
        loop.callbacks.on_epoch_begin(reached.epoch)
        reached = _epoch(loop, reached)
        row = reached.history[-1]
        loop.callbacks.on_epoch_end(reached.epoch - 1, {name: row[name] for name in row if name != "epoch"})
        if seconds is None and job.strategy.chief:
            _keep(job, stage, reached, loop.tracked)
        part = reached.passes(data.steps) - (reached.epoch - 1)
        values = row | {"pictures_per_second": job.settings.counts["train"] * part / row["seconds"]}
        job.listener(Event("epoch", stage.name, reached.epoch, None if seconds else stage.epochs, values))
    loop.callbacks.on_train_end()
    reached = _or_mean(loop, reached)
    checkpoints.assign(loop.suffix.variables, reached.best, "b")
    return reached


def _goes_on(job: Job, loop: Loop, reached: Reached) -> bool:
    """Whether there is another epoch: what a clock and callbacks say is the chief's to tell."""
    return job.strategy.decided(lambda: not loop.ended(reached) and not job.network.model.stop_training)


def _loop(job: Job, stage: Stage, freeze: Freeze, data: StageData, began: float, seconds: float | None) -> Loop:
    """Put together what every epoch works with, all that is traced or allocated included."""
    network, callbacks = job.network, list(job.settings.callbacks) if job.strategy.chief else []
    suffix = suffix_of(network, data)
    with job.strategy.scope():
        method = _method(network, stage, freeze, job.strategy)
        method.build(suffix.trainable_variables)  # before the first trace: it would be traced a second time otherwise
        average = [tf.Variable(variable.value) for variable in suffix.trainable_variables] if stage.ema else []
    pace = _pace(job, stage, data, ())
    # Whoever looks at each batch gets each: callbacks, and a clock that sets the rates or ends the stage.
    looked_at = callbacks or seconds is not None or pace.until is not None
    together = 1 if looked_at or job.strategy.replicas > 1 else data.together
    batch_size = job.settings.batch_size if together > 1 else None
    return Loop(
        suffix=suffix,
        method=method,
        average=average,
        step=learning_step(suffix, network, method, stage, data, average, job.strategy, batch_size),
        evaluate=evaluation(suffix, network, data, job.strategy),
        stage=stage,
        data=data,
        began=began,
        budget=seconds,
        pace=pace,
        callbacks=keras.callbacks.CallbackList(callbacks, model=network.model, epochs=stage.epochs),
        listener=job.listener,
        pictures=job.settings.counts["validation"],
        solve=solution(suffix, network, stage, data) if stage.solved else None,
        strategy=job.strategy,
        together=together,
        judged=judged_while_learning(network),
    )


def _pace(job: Job, stage: Stage, data: StageData, marks: Marks) -> Pace:
    span, counts = job.settings.spans.get(stage.name), job.settings.counts
    until = span.until if span and not stage.solved else None
    return Pace(data.steps, stage.epochs, until, counts["validation"] / counts["train"], marks)


def _method(network: Network, stage: Stage, freeze: Freeze, strategy: Strategy) -> keras.optimizers.Optimizer:
    factors = {
        key(variable): stage.block_decay ** freeze.distance[id(layer)]
        for layer in freeze.learning
        for variable in layer.trainable_variables
    }
    method = optimizer(stage, factors)
    if network.model.compute_dtype != "float16":
        return method
    scaled = keras.optimizers.LossScaleOptimizer(method)  # small gradients would vanish below the smallest half float
    if strategy.replicas > 1:  # each device has all gradients and decides alike: there is nothing to merge
        scaled._tf_apply = scaled._common_apply
    return scaled


def _epoch(loop: Loop, reached: Reached) -> Reached:
    """Learn from every training picture once and say on validation what came of it."""
    started = time.perf_counter()
    totals, waited, rate = _solve(loop.solve) if loop.solve else _learn(loop, reached.epoch)
    loss, merit = means(totals)
    _check_finite(loop, reached, loss)
    checkpoints.follow_chief(loop.tracked, loop.strategy)
    with averaged(loop.suffix, loop.average):
        asked = time.perf_counter()
        validation_loss, validation_merit = loop.evaluate()
        loop.pace.validated(time.perf_counter() - asked)
        highest = max([validation_merit, *(row["validation_merit"] for row in reached.history)])
        better = validation_merit >= highest - _by_chance(highest, loop.pictures)
        best = checkpoints.values(loop.suffix.variables, "b") if better else reached.best
        reached = _with_mean(loop, reached)
    _check_finite(loop, reached, validation_loss)
    took = time.perf_counter() - started
    row = {
        "epoch": float(reached.epoch + 1),
        "loss": loss,
        **({"merit": merit} if loop.judged else {}),
        "validation_loss": validation_loss,
        "validation_merit": validation_merit,
        "learning_rate": rate,
        "seconds": took,
        "waiting_share": waited / took,
    }
    after = replace(
        reached,
        epoch=reached.epoch + 1,
        seconds=reached.earlier_seconds + loop.elapsed(),
        history=(*reached.history, row),
        marks=loop.pace.marks,
    )
    if not better:
        return after
    return replace(after, merit=validation_merit, loss=validation_loss, best_epoch=after.epoch, best=best)


def _with_mean(loop: Loop, reached: Reached) -> Reached:
    """Return `reached` with the weights of the epoch that just ended in its mean, where it is one of the last."""
    begins = 1 - loop.stage.average / loop.stage.epochs
    if not loop.stage.average or loop.progress(reached.epoch, 0) < begins - 1e-9:
        return reached
    now, count = checkpoints.values(loop.suffix.variables, "m"), reached.in_mean + 1
    if reached.in_mean:  # what is no float, as the state of a random generator, is that of the last epoch
        floats = [name for name, value in now.items() if np.issubdtype(value.dtype, np.floating)]
        now |= {name: reached.mean[name] + (now[name] - reached.mean[name]) / count for name in floats}
    return replace(reached, mean=now, in_mean=count)


def _or_mean(loop: Loop, reached: Reached) -> Reached:
    """Return `reached` with the mean of its last epochs as its best, where that is better on validation."""
    if reached.in_mean < 2:
        return reached
    checkpoints.assign(loop.suffix.variables, reached.mean, "m")
    loss, merit = loop.evaluate()
    better = (merit, -loss) > (reached.merit, -reached.loss)
    said = f"the mean of the last {reached.in_mean} epochs' weights: {merit:.1%} on validation, loss {loss:.3f}"
    than = f"{reached.merit:.1%} and {reached.loss:.3f} of epoch {reached.best_epoch}"
    loop.listener(Event("note", f"{loop.stage.name}: {said}, {'taken over' if better else 'left for'} {than}"))
    if not better:
        return reached
    return replace(reached, merit=merit, loss=loss, best=checkpoints.values(loop.suffix.variables, "b"))


def _worth(row: Mapping[str, float]) -> tuple[float, float]:
    return row["validation_merit"], -row["validation_loss"]


def _by_chance(merit: float, pictures: int) -> float:
    """Return the largest standard error of a mean in [0, 1]: that of an accuracy, one more picture right and one wrong.

    Of numbers between 0 and 1 with mean p none vary more than those that are 0 or 1: by p (1 - p). The highest of many
    epochs is partly luck, and on a few hundred pictures mostly: as schedules end low, the last epoch within a standard
    error of it is taken (after the rule of Breiman et al. 1984, section 3.4.3).
    """
    share = (merit * pictures + 1) / (pictures + 2)
    return math.sqrt(share * (1 - share) / pictures)


def _learn(loop: Loop, epoch: int) -> tuple[Any, float, float]:
    """Take every training step of an epoch; return the summed results, the seconds of waiting and the last rate."""
    totals, waited, rate = tf.zeros((3,)), 0.0, 0.0
    batches = iter(loop.data.train(epoch, loop.together))
    for first in range(0, loop.data.steps, loop.together):
        rates = loop.rates(epoch, first)
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None or not rates:
            break
        rate, done = rates[-1], first + len(rates)
        loop.callbacks.on_train_batch_begin(first)
        totals += loop.step(*batch, rates)
        loop.callbacks.on_train_batch_end(done - 1)
        loop.pace.stepped(epoch * loop.data.steps + done, time.perf_counter())
        message, values = f"{loop.stage.name}, epoch {epoch + 1}", {"epoch": epoch + 1.0}
        loop.listener(Event("progress", message, done, loop.data.steps, values))
    return totals, waited, rate


def _solve(solve: Callable[[], tuple[float, float]]) -> tuple[Any, float, float]:
    loss, weight = solve()
    return tf.constant((loss * weight, 0.0, weight)), 0.0, 0.0


def _check_finite(loop: Loop, reached: Reached, loss: float) -> None:
    """Put the last good weights back and raise where `loss` is no number."""
    if math.isfinite(loss):
        return
    checkpoints.assign(loop.suffix.variables, reached.best, "b")
    raise TrainingError(
        f"Stage '{loop.stage.name}' diverged in epoch {reached.epoch + 1}: its loss is no longer a number. "
        f"The last good weights are kept; try a learning rate below {peak_of(loop.stage):g}."
    )


def _keep(job: Job, stage: Stage, reached: Reached, tracked: list[Any]) -> None:
    state = {
        "stage": stage.model_dump(mode="json"),
        "epoch": reached.epoch,
        "merit": reached.merit,
        "loss": reached.loss,
        "best_epoch": reached.best_epoch,
        "seconds": reached.seconds,
        "history": reached.history,
        "marks": reached.marks,
        "in_mean": reached.in_mean,
        "replicas": job.strategy.replicas,
    }
    checkpoints.save(job.checkpoint, {**checkpoints.values(tracked, "t"), **reached.best, **reached.mean}, state)


def _resumed(job: Job, stage: Stage, tracked: list[Any]) -> Reached | None:
    found = checkpoints.of_chief(job.checkpoint, job.strategy)
    if found is None:
        return None
    arrays, state = found
    if Stage.model_validate(state.pop("stage")) != stage:
        return None
    checkpoints.assign(tracked, arrays, "t")
    if (before := state.pop("replicas", 1)) != job.strategy.replicas:
        now = f"{stage.name} was begun on {before} devices and goes on, from the weights it has, on"
        job.listener(Event("note", f"{now} {job.strategy.replicas}: sums round otherwise, so the ends differ a little"))
    best, mean = ({name: array for name, array in arrays.items() if name.startswith(kind)} for kind in "bm")
    history, marks = tuple(state.pop("history")), tuple(map(tuple, state.pop("marks", ())))
    return Reached(**state, history=history, marks=marks, earlier_seconds=state["seconds"], best=best, mean=mean)
