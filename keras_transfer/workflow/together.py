"""Begins a run on several devices or machines: what it refuses, what workers must agree in, who holds its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from keras_transfer import journal, runs
from keras_transfer.errors import UsageError
from keras_transfer.specs import Event, Listener, Plan, Splits
from keras_transfer.training import cluster, strategy, watchers
from keras_transfer.training.cluster import Cluster
from keras_transfer.training.strategy import Strategy

SAME = ("keras-transfer", "keras", "tensorflow", "numpy")
"""Packages whose versions workers must share: others compute the same."""


def taking_part() -> Cluster | None:
    """Return the machines that train together with this one, as TF_CONFIG says; None where it trains alone."""
    return cluster.of_environment()


def begun(devices: str, plan: Plan, compare: str | None, listener: Listener) -> Strategy:
    """Return what a run learns on, when all who take part are there; UsageError for what only one device can do.

    devices: `one` or `all` devices of this machine. Nothing may have computed before where there are several machines.
    """
    many = "several machines (TF_CONFIG)" if taking_part() else "--devices all" if devices == "all" else ""
    if many:
        check_clock(many, plan, compare)
    found = strategy.of(devices, listener)
    if found.cluster:
        listener(Event("note", f"{found.cluster.name}: {', '.join(found.cluster.addresses)}"))
    elif found.kind == "mirrored":
        listener(Event("note", f"{found.here} devices share every batch"))
    if plan.batch_size < found.replicas:
        raise UsageError(
            f"Every device takes a part of each batch, so batches hold at least as many pictures as there are devices, "
            f"{found.replicas}. Received: batch_size={plan.batch_size}"
        )
    return found


def check_clock(many: str, plan: Plan, compare: str | None) -> None:
    """Raise UsageError for what goes by the clock of one device, where it is asked of `many`."""
    if plan.minutes is not None and not plan.stages:
        raise UsageError(
            f"minutes measure one device, and {many} are several: make the plan on one with --minutes, and give the "
            "plan.toml of its run with --plan."
        )
    if compare:
        raise UsageError(f"--compare measures one device by the clock, and {many} are several: leave one of them out.")


def check_same(found: Strategy, plan: Plan, splits: Splits, versions: Mapping[str, str]) -> None:
    """Raise UsageError where a worker has another plan, other pictures or other versions than the chief."""
    keys = {f"plan ({key})": str(value) for key, value in plan.model_dump(mode="json").items()}
    packages = {f"version of {name}": versions[name] for name in SAME}
    found.check_same({**packages, **keys, "pictures (digest)": splits.digest})


@contextmanager
def held(
    found: Strategy, place: Path, watch: Sequence[str], facts: Mapping[str, Any], listener: Listener
) -> Iterator[Listener]:
    """Hold the run folder in the chief, and give what tells those that watch; an error of it ends all workers."""
    with ExitStack() as stack:
        heard = [listener]

        def hold() -> bytes:
            stack.enter_context(runs.locked(place))
            heard.append(stack.enter_context(journal.keeping(place / journal.JOURNAL, listener)))
            heard.append(stack.enter_context(watchers.watching(watch, place, facts, heard[-1])))
            return b""

        found.from_chief(hold)
        yield heard[-1]
