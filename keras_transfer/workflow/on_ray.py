"""Ray as a verb asks for it with --ray: one that runs already is joined, one of this machine ends with the verb.

Ray starts processes where there is room for them, and says which of them ended. What they tell goes through files of a
folder that all of them see, as the events of every verb do (`journal`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from keras_transfer import journal
from keras_transfer.errors import TrainingError, UsageError, first_line
from keras_transfer.specs import Event, Listener
from keras_transfer.training import cluster

LOCAL, RUNNING = "local", "auto"
"""Addresses that are words: a Ray of this machine's own, and the one that runs on it."""

STORE_BYTES = 200 * 1024**2
"""What a Ray of our own may keep of objects in memory: plans and figures go through it, pictures through disks."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_TRAIN_METRICS_ENABLED": "0"}
"""Settings of Ray itself: it tells nobody that it is used, and writes no tables beside ours."""

START_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""The setting of Ray Train after which it begins anew to start workers: on a busy machine TensorFlow takes a minute."""

OURS = "KERAS_TRANSFER_"
"""How environment variables begin that other machines must know, too."""

_AGAIN_SECONDS = 0.3

Given = TypeVar("Given")


@dataclass(frozen=True)
class Joined:
    """A Ray that can be asked for processes; see `joined`."""

    address: str
    processes: int
    """For how many at once it was joined."""
    cores: int
    """CPU cores of each."""
    gpus: int
    """GPUs of each."""

    @property
    def resources(self) -> dict[str, float]:
        """What each process takes, by Ray's names."""
        return {"CPU": self.cores, **({"GPU": self.gpus} if self.gpus else {})}


@dataclass(frozen=True)
class Asker:
    """What a process on Ray takes over from the one that asked for it; made there, used here."""

    cores: int
    folder: str = field(default_factory=os.getcwd)
    """Where relative paths begin."""
    settings: Mapping[str, str] = field(
        default_factory=lambda: {
            name: said for name, said in os.environ.items() if name.startswith(OURS) and name != journal.VARIABLE
        }
    )

    def taken_over(self) -> None:
        """Be where the asker is, before TensorFlow computes anything; UsageError where there is no such folder."""
        os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray Train sets it, and Keras 3 is no part of TensorFlow then
        os.environ.update(self.settings)
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(self.cores)  # else each takes all cores of its machine
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UsageError(
                f"All machines of a Ray must see the folder '{self.folder}', where the command was given. "
                f"{os.uname().nodename}: {error.strerror}"
            ) from None


@contextmanager
def joined(address: str, workers: int | None = None, *, a_core_each: bool = False) -> Iterator[Joined]:
    """Give a Ray with as many cores for each of so many processes as it has; it is left, or ended, afterwards.

    >>> with joined("local", 2) as ray:  # doctest: +SKIP
    ...     ray.cores

    address: `local` starts one on this machine, `auto` is the one that runs here, HOST:PORT one that this machine is a
    part of. workers: as many as it has machines where that is left out, or cores with `a_core_each`. Raises UsageError
    where Ray is not installed, for other addresses and for more workers than it has cores; TrainingError where nobody
    answers.
    """
    check(address)
    ray = _installed()
    if address not in (LOCAL, RUNNING) and not cluster.answers(address):
        raise _unreachable(address, "nobody listens there")
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES} if address == LOCAL else {}
    with _settings({**QUIET, START_SECONDS: f"{cluster.patience_of():g}"}):
        try:
            with _own_signals():
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
        except Exception as error:  # Ray has no type of its own for what hinders it
            raise _unreachable(address, _line(error)) from None
        try:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            every = int(ray.cluster_resources().get("CPU", 0)) if a_core_each else None
            yield _with_cores(address, machines, workers or every)
        finally:
            ray.shutdown()


def _with_cores(address: str, machines: Sequence[Mapping[str, float]], workers: int | None) -> Joined:
    cores, gpus = ([int(each.get(kind, 0)) for each in machines] for kind in ("CPU", "GPU"))
    processes = workers or sum(each > 0 for each in cores)
    if not each_of(cores, processes):
        raise UsageError(
            f"A worker takes a CPU core, and Ray at '{address}' has {sum(cores)} of them. Received: --workers {workers}"
        )
    return Joined(address, processes, each_of(cores, processes), each_of(gpus, processes))


def check(address: str) -> None:
    """Raise UsageError for what is no address of a Ray, and where TF_CONFIG says already who takes part."""
    if os.environ.get(cluster.VARIABLE):
        raise UsageError(f"--ray says who takes part, and so does {cluster.VARIABLE}: unset it, or leave --ray out.")
    if address in (LOCAL, RUNNING):
        return
    try:
        cluster.parted(address)
    except ValueError:
        raise UsageError(
            f"--ray takes {LOCAL}, {RUNNING} for the Ray that runs on this machine, or its HOST:PORT. "
            f"Received: '{address}'"
        ) from None


def each_of(machines: Sequence[int], processes: int) -> int:
    """Return the most cores that each of so many processes can have, all of its own on one machine.

    >>> each_of([16, 16], 2), each_of([3, 3], 3), each_of([2], 3)
    (16, 1, 0)

    machines: cores of each. 0 where there are fewer than processes.
    """
    fitting = (size for size in range(max(machines, default=0), 0, -1))
    return next((size for size in fitting if sum(each // size for each in machines) >= processes), 0)


def heard(work: Callable[[], Given], joined: Joined, folder: Path, listener: Listener) -> Given:
    """Return what `work` gives, which waits for processes; meanwhile tell `listener` what they keep in `folder`.

    Each process keeps its events as `FOLDER/NAME.jsonl` (`journal.keeping`). TrainingError where none has begun to when
    as many seconds are over as workers wait for each other: somebody else has the cores.
    """
    came: list[tuple[Any, BaseException | None]] = []

    def wait() -> None:
        try:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # a verb's output may be JSON; Tune draws
                came.append((work(), None))
        except BaseException as error:  # raised below, where a person hears it
            came.append((None, error))

    # Ray handles signals in the main thread, where ours are to end a verb with a sentence.
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    readers: dict[Path, journal.Reader] = {}
    patience = cluster.patience_of()
    until = time.monotonic() + patience
    while thread.is_alive():
        thread.join(_AGAIN_SECONDS)
        _tell(folder, readers, listener)
        if not readers and thread.is_alive() and time.monotonic() > until:
            raise TrainingError(
                f"Ray at '{joined.address}' had no place for a process of {joined.cores} CPU cores within "
                f"{patience:g} s: others take them. KERAS_TRANSFER_PATIENCE=SECONDS waits longer."
            )
    _tell(folder, readers, listener)
    ((value, error),) = came
    if error:
        raise error
    return value


def _tell(folder: Path, readers: dict[Path, journal.Reader], listener: Listener) -> None:
    for path in sorted(folder.glob("*.jsonl")):
        for told in readers.setdefault(path, journal.Reader(path)).new():
            listener(told.event)


def without_bars(listener: Listener, name: str = "") -> Listener:
    """Return what passes lines of text on alone, behind a name where there is one: bars of several would be mixed."""

    def hear(event: Event) -> None:
        if event.kind in ("note", "warning"):
            listener(Event(event.kind, f"{name}: {event.message}" if name else event.message))

    return hear


def said_of(error: BaseException) -> str:
    """Return what a process on Ray ended with, for a person: the kind of an error and its first line."""
    cause = getattr(error, "cause", None) or getattr(error, "health_check_failure", None) or error
    return f"{type(cause).__name__}: {_line(cause)}"


def _line(error: BaseException) -> str:
    return first_line(error, 200).rstrip(".")


def _installed() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray, which is not installed: pip install 'keras-transfer[ray]'") from None
    return ray


def _unreachable(address: str, why: str) -> TrainingError:
    if address == LOCAL:
        return TrainingError(f"No Ray can be started on this machine ({why}). Its logs lie in /tmp/ray.")
    return TrainingError(
        f"No Ray can be joined at '{address}' ({why}). Start one with 'ray start --head', and on each other machine "
        f"'ray start --address HOST:PORT'; or let --ray {LOCAL} start one for this command alone."
    )


@contextmanager
def _settings(those: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that nobody has set while it lasts."""
    mine = [name for name in those if name not in os.environ]
    os.environ.update({name: those[name] for name in mine})
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does as it is: Ray would exit, where a verb says that nothing is lost."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
