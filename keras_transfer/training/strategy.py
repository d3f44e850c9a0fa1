"""What a run learns on, as one value: a device, all devices of this machine, or a worker on each of several machines.

Every worker runs the same lines and holds the same weights. In a step each device takes its part of the batch, and
gradients, losses and moments are added up over all; between steps the chief decides, and the others are told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer import devices
from keras_transfer.errors import KerasTransferError, TrainingError, UsageError, unknown
from keras_transfer.order import WHOLE, Share
from keras_transfer.specs import Event, Listener
from keras_transfer.training import cluster
from keras_transfer.training.cluster import Cluster

DEVICES = ("one", "all")
"""What `of` takes."""

_OF_OTHERS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
"""What TensorFlow raises where another process is gone."""

_PART = 16.0
"""About what a part of a batch weighs: what half floats hold of its gradients is then what they hold of a mean."""

_SURE_SECONDS = 3.0
"""How long is looked for who is gone: what another process held is closed a moment after it ended."""


@dataclass(frozen=True)
class Strategy:
    """The devices of a run; see `of`. With one device every operation gives back what it is given."""

    method: Any = field(default_factory=tf.distribute.get_strategy)
    """The `tf.distribute.Strategy` that runs a step on each of them and adds up."""
    here: int = 1
    """Devices of this process."""
    cluster: Cluster | None = None
    """The processes that take part; None where this one is alone."""

    @property
    def kind(self) -> str:
        """`one`, `mirrored` or `workers`."""
        return "workers" if self.cluster else "mirrored" if self.here > 1 else "one"

    @property
    def share(self) -> Share:
        """Which part of every batch this process takes."""
        return Share(self.cluster.index, len(self.cluster.addresses)) if self.cluster else WHOLE

    @property
    def replicas(self) -> int:
        """Devices of all processes together."""
        return self.here * self.share.count

    @property
    def chief(self) -> bool:
        """Whether this process decides and writes."""
        return self.share.index == 0

    # What a step is made of.

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Give each device its own copy of every variable that is made inside: of networks, optimizers and averages.

        A copy is read and written where it is, as if its device were alone: all of them get the same gradients and so
        stay the same. What is read outside of steps is the first one, and what is written there goes to all.
        """
        if self.replicas == 1:
            yield
            return
        with self.method.scope(), tf.variable_creator_scope(_a_copy_each):
            yield

    def run(self, of_a_part: Callable[..., Any], inputs: Any, targets: Any, weights: Any) -> Any:
        """Return what `of_a_part` gives on every device alike, of each one's part of a batch; in a graph.

        inputs, targets, weights: this worker's share of the batch.
        """

        def of_a_device(*batch: Any) -> Any:
            return of_a_part(*(batch if self.here == 1 else self._part(batch)))

        given = self.method.run(of_a_device, args=(inputs, targets, weights))
        return given if self.here == 1 else self.method.experimental_local_results(given)[0]

    def divisor(self, weight: Any) -> tuple[Any, Any]:
        """Return what a part's sum of losses is divided by, and the part that it has of what is lost beside pictures.

        weight: of the part. One device divides by it. Several divide by a number that all of them share, as moments of
        the whole batch carry gradients from one to the other, and `of_whole_batch` puts the weight of it in its place.
        """
        if self.replicas == 1:
            return tf.maximum(weight, 1e-9), 1.0
        return tf.constant(_PART), weight / _PART

    def of_whole_batch(self, gradients: Any, sums: Any, divisor: Any) -> tuple[Any, Any]:
        """Return gradients of the mean loss of a whole batch, and its sums, of those of parts; inside `run`.

        gradients: of a loss divided by `divisor`; sums: float32 (n,), the weight last. One message holds it all: small
        steps would take as long as several.
        """
        if self.replicas == 1:
            return gradients, sums
        gradients, sums = self.added((gradients, sums))
        factor = divisor / tf.maximum(sums[-1], 1e-9)
        return [None if each is None else each * factor for each in gradients], sums

    def added(self, tensors: Any) -> Any:
        """Return tensors, float32, each added up over all devices; inside `run`, one message for all of them."""
        if self.replicas == 1:
            return tensors
        there = [tf.convert_to_tensor(each) for each in tf.nest.flatten(tensors) if each is not None]
        together = self._all_reduced(tf.concat([tf.reshape(each, [-1]) for each in there], 0))
        parts = tf.split(together, [each.shape.num_elements() for each in there])
        shaped = iter([tf.reshape(part, each.shape) for part, each in zip(parts, there, strict=True)])
        given = [None if each is None else next(shaped) for each in tf.nest.flatten(tensors)]
        return tf.nest.pack_sequence_as(tensors, given)

    def beside(self, tensor: Any) -> Any:
        """Return what each device has for `tensor`, (replicas, …); inside `run`, gradients flow back to each."""
        mine = tf.one_hot(self._number(), self.replicas, dtype=tensor.dtype)
        return self._all_reduced(tf.reshape(mine, [-1, *[1] * len(tensor.shape)]) * tensor[None])

    def rows(self) -> tuple[int, int]:
        """Return (first, step): which rows of the batch of all workers this device has; inside `run`."""
        number = self._number()
        return number // self.here + self.share.count * (number % self.here), self.replicas

    def _number(self) -> int:
        return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))

    def _part(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """This device's part of its worker's share; where there is none, a picture that weighs nothing."""
        first = self._number() % self.here
        with tf.device("/CPU:0"):  # what is cut here is all that is sent to the device
            mine = tf.range(tf.shape(batch[2])[0])[first :: self.here]
            empty = tf.equal(tf.size(mine), 0)
            mine = tf.cond(empty, lambda: tf.constant([0]), lambda: mine)
            inputs, targets, weights = tf.nest.map_structure(lambda each: tf.gather(each, mine), batch)
            return inputs, targets, tf.where(empty, 0.0, weights)

    def _all_reduced(self, tensor: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensor)

    # What workers say to each other between steps.

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """Return what `make` gives in the chief, to all; an error of it is raised by all.

        Whatever a clock, a disk or a person decides is asked here, so that nobody decides otherwise.
        """
        if self.cluster is None:
            return make()
        error: KerasTransferError | None = None
        said = b""
        if self.chief:
            try:
                said = b"\0" + make()
            except KerasTransferError as raised:
                error, said = raised, b"\1" + str(raised).encode()
        length = int(self._summed(np.array([len(said)], np.int32))[0])
        words = np.frombuffer(said.ljust(-(-length // 4) * 4, b"\0"), np.int32) if said else _nothing(length)
        told = self._summed(words).tobytes()[:length]
        if error:
            raise error
        if told[:1] == b"\1":
            raise TrainingError(f"{self.cluster.named((0,))} ended the run: {told[1:].decode()}")
        return told[1:]

    def decided(self, make: Callable[[], Any]) -> Any:
        """Return the plain value, as JSON knows them, that `make` gives in the chief."""
        return json.loads(self.from_chief(lambda: json.dumps(make()).encode())) if self.cluster else make()

    def wait(self) -> None:
        """Return when every worker is here."""
        self.from_chief(bytes)

    def of_all(self, array: np.ndarray) -> np.ndarray:
        """Return what each worker has, (workers, …): arrays of one shape and type, to the last bit."""
        if self.cluster is None:
            return array[None]
        content = np.ascontiguousarray(array).tobytes()
        size = -(-len(content) // 4)
        slots = np.zeros((self.share.count, size), np.int32)
        slots[self.share.index] = np.frombuffer(content.ljust(4 * size, b"\0"), np.int32)
        whole = self._summed(slots.reshape(-1)).reshape(slots.shape)
        parts = [np.frombuffer(each.tobytes()[: len(content)], array.dtype) for each in whole]
        return np.stack([part.reshape(array.shape) for part in parts])

    def check_same(self, facts: Mapping[str, str]) -> None:
        """Raise UsageError where workers do not agree in `facts`, by name: they would learn different things."""
        if self.cluster is None:
            return
        mine = json.dumps(dict(facts)).encode()
        longest = int(self.of_all(np.array([len(mine)], np.int32)).max())
        said = self.of_all(np.frombuffer(mine.ljust(longest), np.uint8))
        everyone = [json.loads(each.tobytes()) for each in said]
        for index, theirs in enumerate(everyone):
            for name in {**everyone[0], **theirs}:
                chiefs, others = (each.get(name, "none") for each in (everyone[0], theirs))
                if chiefs != others:
                    raise UsageError(
                        f"All workers must have the same {name}. Received: {others} of {self.cluster.named((index,))}, "
                        f"{chiefs} of the chief ({self.cluster.addresses[0]})"
                    )

    def _summed(self, words: np.ndarray) -> np.ndarray:
        """Whole numbers added up over workers: as one of them alone has other than zeros, its bits."""

        def of_a_device(context: Any) -> Any:
            first = int(tf.get_static_value(context.replica_id_in_sync_group)) % self.here == 0
            return tf.constant(words if first else np.zeros_like(words))

        with tf.device("/CPU:0"):
            each = self.method.experimental_distribute_values_from_function(of_a_device)
            return self.method.reduce("SUM", each, axis=None).numpy()

    # What people hear.

    def heard(self, listener: Listener) -> Listener:
        """Return what a worker tells `listener`: the chief everything, the others who they are and what is amiss."""
        if self.cluster is None or self.chief:
            return listener
        name = self.cluster.name

        def hear(event: Event) -> None:
            if event.kind in ("note", "warning"):
                listener(replace(event, message=f"{name}: {event.message}"))
            elif event.kind == "progress":
                listener(event)  # which also asks whether a person wants to stop

        return hear

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say in one sentence who is gone where another worker ended while this one works."""
        try:
            yield
        except _OF_OTHERS:
            if self.cluster is None:
                raise
            raise TrainingError(
                f"{self.cluster.named(_gone(self.cluster)) or 'Another worker'} no longer answers "
                f"{self.cluster.name}, which cannot go on alone. The run is kept up to its last epoch: give every "
                "machine the same command again."
            ) from None


def of(devices_asked: str = "one", listener: Listener | None = None) -> Strategy:
    """Return what to learn on: the workers of TF_CONFIG where it is set, else the devices of this machine.

    >>> of("one").kind
    'one'

    devices_asked: `one`, or `all` to share every batch among the GPUs of this machine, or among its logical CPUs where
    it has no GPU. Each worker of TF_CONFIG takes all its GPUs. Returns when all workers have started; UsageError where
    TF_CONFIG is wrong or TensorFlow computed before, TrainingError where a worker does not come.
    """
    if devices_asked not in DEVICES:
        raise UsageError(unknown("choice of devices", devices_asked, DEVICES))
    found = cluster.of_environment()
    if found:
        cluster.wait_for_all(found)
        return _of_workers(found)
    names = devices.all_devices() if devices_asked == "all" else []
    if len(names) > 1:
        return Strategy(tf.distribute.MirroredStrategy(names), here=len(names))
    if devices_asked == "all" and listener:
        listener(Event("note", f"--devices all: there is one, {devices.best_device()}"))
    return Strategy()


def _of_workers(found: Cluster) -> Strategy:
    spec = tf.train.ClusterSpec({"worker": list(found.addresses)})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type="worker", task_id=found.index, rpc_layer="grpc"
    )
    try:
        method = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise UsageError(
            "TF_CONFIG is set, and workers can join only before TensorFlow computes anything in their process: train "
            "first, or unset TF_CONFIG."
        ) from None
    return Strategy(method, here=method.num_replicas_in_sync // len(found.addresses), cluster=found)


def _a_copy_each(make: Callable[..., Any], **how: Any) -> Any:
    how["synchronization"] = tf.VariableSynchronization.ON_READ
    how["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return make(**how)


def _nothing(length: int) -> np.ndarray:
    return np.zeros(-(-length // 4), np.int32)


def _gone(those: Cluster) -> Sequence[int]:
    until = time.monotonic() + _SURE_SECONDS
    while not (gone := those.silent()) and time.monotonic() < until:
        time.sleep(0.2)
    return gone
