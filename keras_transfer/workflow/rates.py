"""Looks for the learning rate of one stage of a plan, and draws what it saw."""

from __future__ import annotations

import tempfile
from pathlib import Path

from keras_transfer.data import pipeline, sources
from keras_transfer.errors import UsageError, unknown
from keras_transfer.evaluation import plots
from keras_transfer.files import write_bytes
from keras_transfer.specs import Listener, Plan, silent
from keras_transfer.training import rate_finder, trainer
from keras_transfer.training.job import Job
from keras_transfer.training.rate_finder import RateCurve
from keras_transfer.workflow import checking
from keras_transfer.workflow.building import network_of, resolved, settings_of
from keras_transfer.workflow.tasks import task_of
from keras_transfer.workflow.training import stages_of


def lr_find(
    plan: Plan, *, stage: str | None = None, plot: Path | None = None, listener: Listener = silent
) -> RateCurve:
    """Return the loss of one stage of `plan` at rates from 1e-6 to 1, and the rate at which it falls fastest.

    >>> lr_find(Plan(data="sample:fashion")).suggestion  # doctest: +SKIP
    0.0021

    stage: by its name, the first where it is left out; the stages before it are trained first, into a folder that is
    thrown away, because a rate is that of the network a stage begins with. plot: where to put the curve as SVG. No run
    comes of it. Raises UsageError for a stage that the plan does not have.
    """
    spec = checking.check(plan)
    splits = sources.load(plan.data, annotation=task_of(plan.task).annotation, seed=plan.seed, listener=listener)
    plan = resolved(plan, spec, splits, listener)
    feed = pipeline.make_feed(splits, aspect=plan.aspect, seed=plan.seed, balance=plan.balance, listener=listener)
    network, _ = network_of(plan, spec, splits, plan.weights, listener)
    stages = stages_of(plan, network)
    names = [each.name for each in stages]
    if stage is not None and stage not in names:
        raise UsageError(unknown("stage", stage, names))
    position = names.index(stage) if stage else 0
    with tempfile.TemporaryDirectory() as folder:
        job = Job(network, feed, settings_of(plan, splits, "auto"), Path(folder), listener)
        if position:
            trainer.train(job, stages[:position])
        curve = rate_finder.find(job, stages[position])
    if plot:
        write_bytes(plot, plots.learning_rates(curve.rates, curve.losses, curve.suggestion).encode())
    return curve
