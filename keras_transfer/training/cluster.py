"""Who takes part in a run on several machines, as TF_CONFIG says it, and whether all of them are there."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from keras_transfer.errors import TrainingError, UsageError

VARIABLE = "TF_CONFIG"
"""What operators of Kubernetes, launchers of Slurm and Vertex set for each process of a run."""

PATIENCE_SECONDS = 300.0
"""How long a worker waits for the others to start; $KERAS_TRANSFER_PATIENCE in its place."""

ROLES = ("chief", "master", "worker")
"""Jobs of TF_CONFIG whose tasks train, the one whose first task decides and writes before the others."""

_ANSWER_SECONDS = 1.0
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Cluster:
    """The processes of one run, the chief first, and which of them this one is."""

    addresses: tuple[str, ...]
    """`host:port` of each."""
    index: int

    @property
    def name(self) -> str:
        """What this process is called in lines that people read.

        >>> Cluster(("10.0.0.1:2222", "10.0.0.2:2222"), 1).name
        'worker 2 of 2'
        """
        return f"worker {self.index + 1} of {len(self.addresses)}"

    @property
    def others(self) -> tuple[int, ...]:
        """Indices of all the other processes."""
        return tuple(index for index in range(len(self.addresses)) if index != self.index)

    def silent(self, among: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return the others, or those `among` them, at whose address nobody answers now."""
        return tuple(each for each in (self.others if among is None else among) if not answers(self.addresses[each]))

    def named(self, indices: Sequence[int]) -> str:
        """Return workers by number and address, for a person."""
        return ", ".join(f"worker {index + 1} ({self.addresses[index]})" for index in indices)


def of_environment(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Return the cluster that this process is a part of; None where it is on its own.

    >>> config = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
    >>> of_environment({"TF_CONFIG": config}).name
    'worker 2 of 2'

    A cluster of one process is none. Raises UsageError where the variable is set and does not say who takes part.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        said = json.loads(text)
    except ValueError as error:
        raise _unreadable(f"{error}") from None
    jobs, task = (said.get(key) if isinstance(said, dict) else None for key in ("cluster", "task"))
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise _unreadable("it has no 'cluster' and 'task'")
    others = sorted(set(jobs) - {*ROLES, "evaluator"})
    if others:
        raise _unreadable(f"'{others[0]}' is no job of training; {', '.join(ROLES)} are")
    tasks = [(role, number, address) for role in ROLES for number, address in enumerate(_addresses(jobs, role))]
    here = [place for place, (role, number, _) in enumerate(tasks) if (role, number) == _task(task)]
    if not here:
        raise _unreadable(f"task {task.get('type')} {task.get('index')} is not in its cluster")
    addresses = tuple(address for *_, address in tasks)
    if len(set(addresses)) < len(addresses):
        raise _unreadable("two tasks have one address")
    return Cluster(addresses, here[0]) if len(addresses) > 1 else None


def wait_for_all(cluster: Cluster, patience_seconds: float | None = None) -> None:
    """Return when every process of the cluster has started, which shows in that somebody answers at its address.

    patience_seconds: $KERAS_TRANSFER_PATIENCE, else `PATIENCE_SECONDS`, where left out. Raises TrainingError where this
    process cannot have its own address, or where the others are not there in time, and says which.
    """
    patience = patience_of() if patience_seconds is None else patience_seconds
    until = time.monotonic() + patience
    with _listening(cluster):
        missing = cluster.others
        while missing := cluster.silent(missing):
            if time.monotonic() > until:
                raise TrainingError(
                    f"{cluster.named(missing)} did not start within {patience:g} s of {cluster.name}. Give every "
                    f"machine of TF_CONFIG the same command; KERAS_TRANSFER_PATIENCE=SECONDS waits longer."
                )
            time.sleep(_AGAIN_SECONDS)


@contextmanager
def _listening(cluster: Cluster) -> Iterator[None]:
    """Answer at this worker's own address while it lasts, as TensorFlow's server does from then on."""
    host, port = parted(cluster.addresses[cluster.index])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as door:
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            door.listen(128)
        except OSError as error:
            raise TrainingError(
                f"Port {port} of {cluster.name} cannot be had ({error.strerror}): another process has it. "
                f"Give this task another port in TF_CONFIG, on every machine."
            ) from None
        yield


def answers(address: str) -> bool:
    """Return whether anybody listens at `host:port`."""
    try:
        with socket.create_connection(parted(address), timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False


def parted(address: str) -> tuple[str, int]:
    """Return host and port of an address; ValueError where it is none.

    >>> parted("[::1]:2222")
    ('::1', 2222)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"an address is HOST:PORT, and '{address}' is none")
    return host.strip("[]"), int(port)


def patience_of(environment: Mapping[str, str] = os.environ) -> float:
    """Return for how many seconds is waited until all processes have started."""
    said = environment.get("KERAS_TRANSFER_PATIENCE", "")
    try:
        return float(said or PATIENCE_SECONDS)
    except ValueError:
        raise UsageError(f"KERAS_TRANSFER_PATIENCE is a number of seconds. Received: '{said}'") from None


def _addresses(jobs: Mapping[str, Any], role: str) -> list[str]:
    listed = jobs.get(role, [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _unreadable(f"'{role}' is no list of addresses")
    try:
        for each in listed:
            parted(each)
    except ValueError as error:
        raise _unreadable(str(error)) from None
    return listed


def _task(task: Mapping[str, Any]) -> tuple[Any, Any]:
    index = task.get("index", 0)
    return task.get("type"), int(index) if str(index).isdigit() else index  # some launchers write it as a text


def _unreadable(why: str) -> UsageError:
    return UsageError(
        f"TF_CONFIG does not say who trains: {why}. It is JSON such as "
        '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}; '
        "unset it to train on this machine alone."
    )
