"""Several workers, or devices of one machine, learn what one alone learns: real processes that talk over loopback."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import working

from keras_transfer.errors import TrainingError, UsageError
from keras_transfer.training import cluster, whole_batch
from keras_transfer.training.cluster import Cluster
from keras_transfer.training.strategy import Strategy

QUICK = ("head", "averaged", "multilabel")
SLOW = ("head_then_top", "new statistics", "old statistics")


def addresses(count):
    """Ports of this machine that nobody has, at least now."""
    with ExitStack() as stack:
        doors = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]


def config(index, workers):
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})}


def started(folder, cases, **environment):
    """A process of `working`, with one thread for each kind of work: two of them share two cores."""
    own = {"TF_NUM_INTRAOP_THREADS": "1", "PYTHONPATH": f"{Path(working.__file__).parents[1]}:{Path(__file__).parent}"}
    return subprocess.Popen(
        [sys.executable, working.__file__, str(folder), *cases],
        env={**os.environ, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def together(folder, cases, count=2, dies=None, environment=None):
    """Run `count` workers to their end; dies: (index, STAGE/EPOCH). Exit codes and what they said."""
    workers = addresses(count)
    processes = [
        started(
            folder,
            cases,
            **config(index, workers),
            **({"DIES": dies[1]} if dies and dies[0] == index else {}),
            **(environment or {}),
        )
        for index in range(count)
    ]
    said = [process.communicate(timeout=1200)[0] for process in processes]
    return [process.returncode for process in processes], said


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """What two workers learn in the quick cases, and what each of them said."""
    folder = tmp_path_factory.mktemp("two")
    codes, said = together(folder, QUICK)
    assert codes == [0, 0], said
    return folder, said


def alone(case, folder):
    return working.learn(case, Strategy(), folder)


def kept(folder, case, index=0):
    with np.load(folder / f"{case} {index}.npz") as found:
        return {name: found[name] for name in found.files}


def assert_the_same(found, expected):
    """Losses to 1e-5 through all epochs, weights to 1e-4: sums of floats depend on how many stand beside each other."""
    np.testing.assert_allclose(found["history"], expected["history"], rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", QUICK)
def test_two_workers_learn_what_one_learns_with_the_whole_batch(two_workers, tmp_path, case):
    folder, said = two_workers
    assert all("workers 2" in each.splitlines() for each in said)
    assert_the_same(kept(folder, case), alone(case, tmp_path))
    for name, array in kept(folder, case, 1).items():  # each has the same weights, to the last bit
        np.testing.assert_array_equal(array, kept(folder, case)[name])


def test_workers_that_do_not_agree_say_in_what(two_workers):
    _, said = two_workers
    sentence = "All workers must have the same plan (seed). Received: 1 of worker 2 (127.0.0.1:"
    assert all(each.splitlines()[-1].startswith(sentence) for each in said), said


@pytest.mark.slow
def test_two_workers_learn_what_one_learns_in_other_stages(tmp_path):
    codes, said = together(tmp_path / "two", SLOW)
    assert codes == [0, 0], said
    for case in SLOW:
        assert_the_same(kept(tmp_path / "two", case), alone(case, tmp_path / case))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_devices_of_one_machine_learn_what_one_learns(tmp_path, devices):
    cases = (*QUICK, *SLOW)
    process = started(tmp_path / "mirrored", cases, LOGICAL=str(devices))
    said = process.communicate(timeout=1200)[0]
    assert process.returncode == 0, said
    assert f"mirrored {devices}" in said.splitlines()
    for case in cases:
        assert_the_same(kept(tmp_path / "mirrored", case), alone(case, tmp_path / case))


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1], ids=["the chief", "another worker"])
def test_a_worker_that_dies_ends_the_other_and_the_same_command_goes_on(tmp_path, who):
    """Bit by bit where as many go on; from the same weights where one goes on alone."""
    _, said = together(tmp_path / "whole", ["long"])
    whole = kept(tmp_path / "whole", "long")
    codes, said = together(tmp_path / "struck", ["long"], dies=(who, "head/1"))
    assert codes[who] == -9
    assert codes[1 - who] == 1, said
    sentence = f"worker {who + 1} (127.0.0.1:"
    assert said[1 - who].splitlines()[-1].startswith(sentence), said
    assert "The run is kept up to its last epoch" in said[1 - who]
    heard = []
    found = working.learn("long", Strategy(), copied(tmp_path / "struck" / "long", tmp_path / "one"), heard.append)
    assert any("was begun on 2 devices and goes on, from the weights it has, on 1" in each.message for each in heard)
    assert_the_same(found, whole)
    codes, said = together(tmp_path / "struck", ["long"])
    assert codes == [0, 0], said
    for name, array in kept(tmp_path / "struck", "long").items():
        np.testing.assert_array_equal(array, whole[name])


def copied(folder, place):
    import shutil

    return Path(shutil.copytree(folder, place))


def test_tf_config_says_who_takes_part():
    jobs = {"chief": ["a:1"], "worker": ["b:1", "[::1]:2"]}
    said = {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": "worker", "index": "1"}})}
    assert cluster.of_environment(said) == Cluster(("a:1", "b:1", "[::1]:2"), 2)
    assert cluster.of_environment({}) is None
    assert cluster.of_environment(config(0, ["a:1"])) is None  # one alone is no cluster


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it has no 'cluster' and 'task'"),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker"}}', "'worker' is no list of addresses"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker"}}', "an address is HOST:PORT, and 'a' is none"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps"}}', "'ps' is no job of training"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 2}}', "task worker 2 is not in its"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}', "two tasks have one addr"),
    ],
)
def test_what_does_not_say_who_trains_is_refused(text, why):
    with pytest.raises(UsageError, match="TF_CONFIG does not say who trains: ") as raised:
        cluster.of_environment({"TF_CONFIG": text})
    assert why in str(raised.value)


def test_a_worker_that_does_not_come_is_named():
    workers = addresses(3)
    second = socket.create_server(("127.0.0.1", int(workers[1].split(":")[1])))
    with closing(second), pytest.raises(TrainingError) as raised:
        cluster.wait_for_all(Cluster(tuple(workers), 0), patience_seconds=0.1)
    assert str(raised.value).startswith(f"worker 3 ({workers[2]}) did not start within 0.1 s of worker 1 of 3.")


def test_a_port_that_another_process_has_is_named():
    workers = addresses(2)
    port = int(workers[0].split(":")[1])
    with closing(socket.create_server(("127.0.0.1", port))), pytest.raises(TrainingError) as raised:
        cluster.wait_for_all(Cluster(tuple(workers), 0), patience_seconds=0.1)
    assert str(raised.value).startswith(f"Port {port} of worker 1 of 2 cannot be had (Address already in use)")


def test_a_patience_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_PATIENCE", "long")
    with pytest.raises(UsageError, match=r"KERAS_TRANSFER_PATIENCE is a number of seconds\. Received: 'long'"):
        cluster.wait_for_all(Cluster(tuple(addresses(2)), 0))


@pytest.mark.parametrize("sides", [None, (None, 1, 1, 1), (None, 1, 4, 1)])
def test_what_is_dropped_is_what_one_device_drops(sides):
    """Single numbers or whole pictures, which is how a picture skips a block."""
    pictures = np.random.default_rng(0).normal(size=(7, 4, 4, 2)).astype(np.float32)
    alone = keras.layers.Dropout(0.4, noise_shape=sides, seed=3)(pictures, training=True)
    for first in (0, 1):
        layer = keras.layers.Dropout(0.4, noise_shape=sides, seed=3)
        layer.__class__ = whole_batch._dropout(SimpleNamespace(rows=lambda first=first: (first, 2)))
        np.testing.assert_array_equal(layer(pictures[first::2], training=True), alone[first::2])


def test_one_device_is_asked_nothing():
    one = Strategy()
    assert (one.kind, one.replicas, one.chief) == ("one", 1, True)
    assert one.from_chief(lambda: b"said") == b"said"
    assert one.decided(lambda: 1) == 1
    assert one.of_all(np.arange(3)).tolist() == [[0, 1, 2]]
    one.check_same({"plan": "any"})
