"""A run and a sweep on Ray: what is refused, what is told, and real clusters of this machine (`slow`)."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import psutil
import pytest
from PIL import Image

from keras_transfer import journal, runs, workflow
from keras_transfer.cli import app
from keras_transfer.errors import DataError, TrainingError, UsageError
from keras_transfer.specs import Event, Plan, silent
from keras_transfer.workflow import on_ray, sweeping, training_on_ray
from keras_transfer.workflow.on_ray import Asker, Joined
from keras_transfer.workflow.sweeping import Rungs

HERE = Joined("local", processes=2, cores=1, gpus=0)


def needs_ray():
    return pytest.importorskip("ray", reason="Ray is not installed: pip install 'keras-transfer[ray]'")


@pytest.mark.parametrize("address", ["there", "host:port", "ray://host:10001/", "host:70000", ""])
def test_what_is_no_address_of_a_ray_is_refused(address):
    with pytest.raises(UsageError) as raised:
        on_ray.check(address)
    assert str(raised.value) == (
        f"--ray takes local, auto for the Ray that runs on this machine, or its HOST:PORT. Received: '{address}'"
    )


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as raised, on_ray.joined("local", 2):
        pass
    assert str(raised.value) == "--ray needs Ray, which is not installed: pip install 'keras-transfer[ray]'"


def test_an_address_where_nobody_listens_is_a_sentence():
    needs_ray()
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        port = door.getsockname()[1]
    with pytest.raises(TrainingError) as raised, on_ray.joined(f"127.0.0.1:{port}", 2):
        pass
    assert str(raised.value).startswith(f"No Ray can be joined at '127.0.0.1:{port}' (nobody listens there). Start one")


def test_a_ray_that_does_not_start_is_a_sentence(monkeypatch):
    def late(**how):  # in place of a machine that is too busy
        raise Exception("The current node timed out during startup. This could happen because\nof many things.")

    monkeypatch.setattr(needs_ray(), "init", late)
    with pytest.raises(TrainingError) as raised, on_ray.joined("local", 2):
        pass
    assert str(raised.value) == (
        "No Ray can be started on this machine (The current node timed out during startup. This could happen because). "
        "Its logs lie in /tmp/ray."
    )


def test_more_workers_than_cores_are_refused():
    with pytest.raises(UsageError) as raised:
        on_ray._with_cores("a:6379", [{"CPU": 2.0, "memory": 9.0}, {"memory": 9.0}], 3)
    assert str(raised.value) == ("A worker takes a CPU core, and Ray at 'a:6379' has 2 of them. Received: --workers 3")


def test_each_worker_gets_an_equal_part_of_the_cores_and_a_machine_where_no_number_is_given():
    machines = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0, "GPU": 2.0}, {}]
    assert on_ray._with_cores("a:1", machines, 4) == Joined("a:1", 4, cores=8, gpus=1)
    assert on_ray._with_cores("a:1", machines, None) == Joined("a:1", 2, cores=16, gpus=2)


def test_workers_that_nobody_starts_are_refused(tmp_path):
    for verb in ("train", "sweep"):
        with pytest.raises(UsageError, match="--workers is how many processes --ray starts: name one with --ray local"):
            app(args=[verb, "sample:fashion", "--workers", "2"], standalone_mode=False)


def test_only_one_of_ray_and_tf_config_says_who_takes_part(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UsageError, match="--ray says who takes part, and so does TF_CONFIG: unset it, or leave --ray"):
        workflow.train_on_ray(Plan(data="sample:fashion"), address="local", workers=2)


@pytest.mark.parametrize(
    ("keys", "options", "sentence"),
    [
        ({"minutes": 1.0}, {}, "minutes measure one device, and the 2 workers of --ray are several: make the plan on"),
        ({}, {"compare": "scratch"}, "--compare measures one device by the clock, and the 2 workers of --ray are"),
    ],
)
def test_what_goes_by_the_clock_of_one_device_is_refused(keys, options, sentence):
    plan = Plan(data="sample:fashion", **keys)
    with pytest.raises(UsageError, match=sentence):
        workflow.train_on_ray(plan, address="local", workers=2, **options)


def test_a_ray_whose_cores_others_have_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_PATIENCE", "0.1")
    never = threading.Event()
    with pytest.raises(TrainingError) as raised:
        on_ray.heard(never.wait, HERE, tmp_path, silent)
    never.set()
    assert str(raised.value) == (
        "Ray at 'local' had no place for a process of 1 CPU cores within 0.1 s: others take them. "
        "KERAS_TRANSFER_PATIENCE=SECONDS waits longer."
    )


def test_what_processes_keep_is_told_while_they_are_waited_for(tmp_path):
    heard, told = [], threading.Event()

    def work():
        with journal.keeping(tmp_path / "0.jsonl", silent) as listener:
            listener(Event("note", "begun"))
            assert told.wait(60)
            listener(Event("note", "done"))
        return 7

    def hear(event):
        heard.append(event.message)
        told.set()

    assert on_ray.heard(work, HERE, tmp_path, hear) == 7
    assert heard == ["begun", "done"]


def test_what_ends_the_work_is_raised(tmp_path):
    def work():
        raise DataError("no pictures")

    with pytest.raises(DataError, match="no pictures"):
        on_ray.heard(work, HERE, tmp_path, silent)


def test_lines_of_many_have_names_and_no_bars():
    heard = []
    listener = on_ray.without_bars(heard.append, "one")
    listener(Event("progress", "features", done=1, total=2))
    listener(Event("warning", "amiss"))
    assert heard == [Event("warning", "one: amiss")]


def test_a_process_on_ray_is_where_the_asker_is_and_has_keras_3(monkeypatch, tmp_path):
    for name in ("TF_USE_LEGACY_KERAS", "TF_NUM_INTRAOP_THREADS", "KERAS_TRANSFER_PATIENCE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(tmp_path)
    asker = Asker(3)
    monkeypatch.setenv("KERAS_TRANSFER_PATIENCE", "9")
    monkeypatch.chdir("/")
    asker.taken_over()
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    assert (os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["KERAS_TRANSFER_PATIENCE"]) == ("3", "1")
    assert os.getcwd() == str(tmp_path)


def test_a_machine_without_the_folder_of_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    with pytest.raises(UsageError) as raised:
        Asker(2, folder=str(tmp_path / "gone")).taken_over()
    assert str(raised.value) == (
        f"All machines of a Ray must see the folder '{tmp_path}/gone', where the command was given. "
        f"{os.uname().nodename}: No such file or directory"
    )


def test_of_the_errors_of_several_workers_people_hear_the_one_that_says_why():
    silent_one, dead = TrainingError("worker 2 no longer answers"), RuntimeError("The actor died\nlong story")
    said = training_on_ray.in_a_sentence({0: silent_one, 1: dead}, 2, dead)
    assert str(said) == (
        "worker 2 of 2 ended (RuntimeError: The actor died). The run is kept up to its last epoch: give the same "
        "command again."
    )
    no_pictures, ended = DataError("no pictures"), TrainingError("worker 1 (a:1) ended the run: no pictures")
    assert training_on_ray.in_a_sentence({1: ended, 0: no_pictures}, 2, dead) is no_pictures
    assert training_on_ray.in_a_sentence({1: ended}, 2, dead) is ended
    assert str(training_on_ray.in_a_sentence({}, 2, dead)).startswith(
        "Ray Train gave up the training (RuntimeError: The actor died)."
    )


def test_what_the_driver_decided_is_read_by_the_trials(tmp_path):
    rungs = Rungs(tmp_path / "sweep.json", keep=0.5)
    assert rungs.said("first", 0) is None
    assert rungs.decided("first", 0, 0.6)
    assert not rungs.decided("second", 0, 0.5)
    again = Rungs(tmp_path / "sweep.json", keep=0.5)
    assert [again.said("first", 0), again.said("second", 0), again.said("first", 1)] == [True, False, None]


# Real ones.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Dark ants and light bees, of which a few say little."""
    folder = tmp_path_factory.mktemp("of") / "pictures"
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee")):
        (folder / name).mkdir(parents=True)
        for index in range(24):
            pixels = np.clip(rng.normal(90 + 80 * number, 40, (32, 32, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
"""Of commands: whatever else a person has."""


def command(*words):
    return [sys.executable, "-m", "keras_transfer", *map(str, words)]


def given(*words, **how):
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=900, env=ENVIRONMENT, **how)


def training(pictures, folder, *words):
    keys = ("weights=none", "batch_size=8", "--backbone", "MobileNetV2", "--image-size", 32, "--json")
    return ("train", pictures, *keys, "--run", "run", "--folder", folder, *words)


def processes_on_ray(of, kind):
    """Of the Ray that a command started, as the system names them."""
    found = []
    for each in psutil.Process(of.pid).children(recursive=True):
        try:
            found += [each] if any(kind in word for word in each.cmdline()) else []
        except psutil.NoSuchProcess:
            continue
    return found


def until(true, seconds=600):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


@pytest.mark.slow
def test_two_workers_of_ray_learn_what_one_device_learns_and_their_run_is_one_as_any(pictures, tmp_path):
    needs_ray()
    # The head alone: where a whole network without weights learns, Adam divides rounding by its own size.
    how = ("--recipe", "head", "--epochs", 3)
    one = given(*training(pictures, tmp_path / "one", *how))
    assert one.returncode == 0, one.stderr
    two = given(*training(pictures, tmp_path / "two", *how, "--ray", "local", "--workers", 2))
    assert two.returncode == 0, two.stderr
    assert "worker 1 of 2: " in two.stderr
    runs_of = [json.loads(each.stdout) for each in (one, two)]
    losses = [[row["loss"] for stage in run["stages"] for row in stage["history"]] for run in runs_of]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    again = given(*training(pictures, tmp_path / "two", *how, "--ray", "local", "--workers", 2))
    assert json.loads(again.stdout)["seconds"] == runs_of[1]["seconds"]
    assert "is finished already" in again.stderr
    judged = workflow.evaluate(str(tmp_path / "two" / "run"))
    assert judged.count == runs_of[1]["counts"]["test"]
    assert not list((tmp_path / "two").glob(".*")), "nothing of Ray's is left beside the run"


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_the_same_command_goes_on(pictures, tmp_path):
    needs_ray()
    words = training(pictures, tmp_path, "--recipe", "head", "--epochs", 60, "--ray", "local", "--workers", 2)
    driver = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    until(lambda: (tmp_path / "run" / "checkpoint.npz").exists())
    processes_on_ray(driver, "RayTrainWorker")[1].kill()
    said = driver.communicate(timeout=120)[1]
    assert driver.returncode == 1
    assert " of 2 ended (" in said.splitlines()[-1]
    assert "The run is kept up to its last epoch: give the same command again." in said
    done = given(*words)
    assert done.returncode == 0, done.stderr
    assert 0 < len(re.findall(r"head \d+/60: ", done.stderr)) < 60, "it went on where it was"
    assert [stage["epochs"] for stage in json.loads(done.stdout)["stages"]] == [60]


@pytest.mark.slow
def test_what_workers_refuse_is_the_sentence_of_the_command(pictures, tmp_path):
    needs_ray()
    done = given(*training(pictures, tmp_path, "--ray", "local", "--workers", 2), "batch_size=1")
    assert done.returncode == 2
    assert "Every device takes a part of each batch, so batches hold at least as many pictures" in done.stderr
    done = given(*training(pictures, tmp_path, "--ray", "local", "--workers", 1000))
    assert done.returncode == 2
    assert "A worker takes a CPU core, and Ray at 'local' has " in done.stderr


@pytest.mark.slow
def test_a_ray_that_runs_is_joined_and_left_as_it_was(pictures, tmp_path):
    needs_ray()
    from ray.cluster_utils import Cluster

    there = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        for name in ("a", "b"):
            done = given(
                *training(pictures, tmp_path / name, "--recipe", "head", "--epochs", 1),
                "--ray",
                there.address,
                "--workers",
                2,
            )
            assert done.returncode == 0, done.stderr
    finally:
        there.shutdown()


def but_times(swept):
    """A sweep's rows without what each command measures anew, and what is marked by it."""
    return [
        {key: value for key, value in row.items() if key not in ("latency_ms", "pareto")} for row in swept["trials"]
    ]


@pytest.mark.slow
def test_a_sweep_on_ray_whose_driver_was_killed_goes_on_there_and_without_it(pictures, tmp_path):
    needs_ray()
    grid = ("--backbones", "MobileNetV2", "--recipes", "head,head_then_top", "--sizes", 32, "--seeds", "0,1")
    words = ("sweep", pictures, "weights=none", "epochs=2", *grid, "--folder", tmp_path / "runs", "--json")
    on = ("--ray", "local", "--workers", 2)
    driver = subprocess.Popen(
        command(*words, *on), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    until(lambda: list((tmp_path / "runs").glob("*/checkpoint.npz")))
    started = [psutil.Process(each.pid) for each in psutil.Process(driver.pid).children(recursive=True)]
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not psutil.wait_procs(started, timeout=300)[1], (
        "a Ray of its own ends with its driver, its agents a minute later"
    )
    done = given(*words, *on)
    assert done.returncode == 0, done.stderr
    swept = json.loads(done.stdout)
    names = [
        f"pictures-MobileNetV2-{recipe}-32px-seed{seed}" for recipe in ("head", "head_then_top") for seed in (0, 1)
    ]
    assert [each["run"] for each in swept["trials"]] == names
    assert f"{names[3]}: head reached " in done.stderr
    for each in swept["trials"]:
        run = runs.open_run(tmp_path / "runs" / each["run"])
        assert run.record.finished
        assert [stage.name for stage in run.record.stages] == each["stages"]
    decided = json.loads((tmp_path / "runs" / "sweep-pictures.json").read_text())["rungs"]
    assert {name for name, rungs in decided.items() if len(rungs) == 1} == set(names[2:])
    assert (tmp_path / "runs" / "sweep-pictures.svg").exists()
    alone = given(*words)
    assert but_times(json.loads(alone.stdout)) == but_times(swept)
    assert (
        sweeping.Rungs(tmp_path / "runs" / "sweep-pictures.json", 0.5).stopped(names[2])
        == swept["trials"][2]["stopped"]
    )
