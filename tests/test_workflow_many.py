"""One command on several machines is one run: real processes on loopback, from TF_CONFIG to the exported files."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from PIL import Image

from keras_transfer import runs
from keras_transfer.journal import Reader
from tests.conftest import CLASSES, make_stripes
from tests.test_training_many import addresses, config, copied

ROOT = Path(__file__).parents[1]

PLAN = """
data = "stripes"
backbone = "MobileNet"
weights = "none"
image_size = 32
batch_size = 16

[[stages]]
name = "head"
epochs = 1
learning_rate = 3e-3

[[stages]]
name = "top"
blocks = [-1]
epochs = 4
learning_rate = 1e-3
batch_norm = "train"
"""

OTHER_VERSION = """
import importlib.metadata as installed
version_of = installed.version
installed.version = lambda name: "3.0" if name == "keras" else version_of(name)
from keras_transfer.__main__ import main
main()
"""
"""The command line where Keras says that it is another: two of them cannot be installed here."""

pytestmark = pytest.mark.slow


def pictures(folder, seed=0):
    """Class folders in given splits, and a plan that trains on them."""
    for number, (split, count) in enumerate({"train": 96, "validation": 48, "test": 24}.items()):
        for place, (image, label) in enumerate(zip(*make_stripes(count, seed + number), strict=True)):
            path = folder / "stripes" / split / "abcdef"[:CLASSES][label] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (folder / "plan.toml").write_text(PLAN)
    return folder


def command(folder, *arguments, program=("-m", "keras_transfer"), **environment):
    """A process of the command line in `folder`, with one thread for each kind of work."""
    own = {"TF_NUM_INTRAOP_THREADS": "1", "PYTHONPATH": str(ROOT), "KERAS_TRANSFER_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**os.environ, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(folder, *arguments, **how):
    return command(folder, "train", "--plan", "plan.toml", "--run", "run", *arguments, **how)


def ended(*processes):
    """Exit codes and what was said, blanks and line ends made one, as people's terminals break lines anywhere."""
    said = [" ".join(process.communicate(timeout=900)[0].split()) for process in processes]
    return [process.returncode for process in processes], said


def two(folder, *arguments, **how):
    workers = addresses(2)
    return [train(folder, *arguments, **{**how, **config(index, workers)}) for index in range(2)]


def struck(folder, who, epoch):
    """Two workers of which one is killed once the chief told that epoch of the stage `top`; codes and what was said."""
    journal = folder / "events.jsonl"
    processes = two(folder, KERAS_TRANSFER_EVENTS=str(journal))
    told = Reader(journal)
    while processes[0].poll() is None:
        if any(
            (each.event.kind, each.event.message, each.event.done) == ("epoch", "top", epoch) for each in told.new()
        ):
            os.kill(processes[who].pid, signal.SIGKILL)
            return ended(*processes)
        with suppress(subprocess.TimeoutExpired):
            processes[0].wait(0.05)
    pytest.fail(f"The chief ended before it was struck: {ended(*processes)}")


def record(folder):
    return runs.open_run(folder / "saved_models" / "run").record


def losses(folder):
    return [(row["loss"], row["validation_loss"]) for stage in record(folder).stages for row in stage.history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two workers make of the plan when nobody disturbs them."""
    folder = pictures(tmp_path_factory.mktemp("whole"))
    codes, said = ended(*two(folder))
    assert codes == [0, 0], said
    return folder, said


def test_one_command_on_two_machines_is_one_run_of_which_the_chief_makes_files(whole, tmp_path):
    folder, said = whole
    assert "next: keras-transfer export saved_models/run" in said[0], said
    assert "worker 2 of 2 is done; the first one keeps the run in 'saved_models/run'" in said[1], said
    alone = pictures(tmp_path)
    codes, said = ended(train(alone))
    assert codes == [0], said
    assert losses(folder) == [pytest.approx(each, rel=1e-4) for each in losses(alone)]
    codes, said = ended(command(folder, "export", "saved_models/run", **config(0, addresses(2))))  # as a launcher does
    assert codes == [0], said
    listed = json.loads((folder / "saved_models" / "run" / "exports" / "manifest.json").read_text())["artifacts"]
    assert {each["format"] for each in listed} == {"saved_model", "tflite", "onnx"}
    codes, said = ended(*two(folder))
    assert codes == [0, 0]
    assert all("is finished already" in each for each in said), said


@pytest.mark.parametrize("who", [0, 1], ids=["the chief", "another worker"])
def test_the_same_command_goes_on_after_a_worker_died(whole, tmp_path, who):
    """Bit by bit where as many go on; from the weights there are where one goes on alone, who says so."""
    folder = pictures(tmp_path / "struck")
    codes, said = struck(folder, who, 2)
    assert codes[who] == -signal.SIGKILL
    assert codes[1 - who] == 1, said
    assert f"worker {who + 1} (127.0.0.1:" in said[1 - who], said
    assert "The run is kept up to its last epoch: give every machine the same command again." in said[1 - who], said
    one = copied(folder, tmp_path / "one")
    codes, said = ended(train(one))
    assert codes == [0], said
    assert "top was begun on 2 devices and goes on, from the weights it has, on 1" in said[0], said
    assert losses(one) == [pytest.approx(each, rel=1e-3) for each in losses(whole[0])]
    codes, said = ended(*two(folder))
    assert codes == [0, 0], said
    assert (losses(folder), record(folder).weights_digest) == (losses(whole[0]), record(whole[0]).weights_digest)


def test_one_worker_alone_says_in_a_sentence_why_it_cannot_begin(tmp_path):
    folder = pictures(tmp_path)
    codes, said = ended(train(folder, TF_CONFIG="{"))
    assert codes == [2], said
    assert "TF_CONFIG does not say who trains: Expecting property name" in said[0], said
    workers = addresses(2)
    with closing(socket.create_server(("127.0.0.1", int(workers[0].split(":")[1])))):
        codes, said = ended(train(folder, **config(0, workers)))
    assert codes == [1], said
    assert "of worker 1 of 2 cannot be had (Address already in use): another process has it." in said[0], said
    codes, said = ended(train(folder, KERAS_TRANSFER_PATIENCE="1", **config(1, workers)))
    assert codes == [1], said
    assert f"worker 1 ({workers[0]}) did not start within 1 s of worker 2 of 2." in said[0], said
    assert not (folder / "saved_models").exists()


@pytest.mark.parametrize("what", ["plan (seed)", "pictures (digest)", "version of keras"])
def test_workers_that_do_not_fit_together_end_with_one_sentence_before_there_is_a_run(tmp_path, what):
    folder, other = pictures(tmp_path / "one"), pictures(tmp_path / "other", seed=7)
    seconds = {
        "plan (seed)": lambda **how: train(folder, "seed=1", **how),
        "pictures (digest)": lambda **how: train(other, **how),
        "version of keras": lambda **how: train(folder, program=("-c", OTHER_VERSION), **how),
    }
    workers = addresses(2)
    codes, said = ended(train(folder, **config(0, workers)), seconds[what](**config(1, workers)))
    assert codes == [2, 2], said
    assert all(f"All workers must have the same {what}. Received: " in each for each in said), said
    assert not (folder / "saved_models").exists()
