"""A grid of plans as one sweep: its names, its rungs, what nothing beats, and the whole of it by the command."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import SIZE, make_network
from PIL import Image

from keras_transfer import runs, workflow
from keras_transfer.errors import RunError, UsageError
from keras_transfer.specs import Plan, Stage, StageResult
from keras_transfer.training import trainer
from keras_transfer.training.job import Job, Settings
from keras_transfer.workflow import sweeping
from keras_transfer.workflow.sweeping import Rungs, Tried


def results(*merits):
    """Of stages that were all kept."""
    plain = {"learned_blocks": (), "epochs": 1, "seconds": 1.0, "pictures_per_second": 1.0, "engine": "none"}
    others = {"engine_reason": "", "validation_loss": 0.0, "kept": True, "reason": "", "frozen_tensors": 0}
    digests = {"frozen_digest_before": "", "frozen_digest_after": ""}
    return tuple(
        StageResult(name=f"s{index}", index=index, validation_merit=merit, **plain, **others, **digests)
        for index, merit in enumerate(merits)
    )


def row(run, merit, size, ms, seconds):
    plain = {"backbone": "A", "recipe": "head", "image_size": 96, "seed": 0, "stages": ("head",), "test_merit": 0.5}
    worth = {"validation_merit": merit, "size_bytes": size, "latency_ms": ms, "seconds": seconds}
    return Tried(run=run, **plain, **worth)


def test_every_combination_is_a_run_with_a_name_of_its_own():
    trials = sweeping.trials_of("pets", ["MobileNetV2"], ["head", "full"], [None, 96], [0, 1], {"batch_size": 8})
    assert len(trials) == 8
    assert trials[3].name == "pets-MobileNetV2-head-96px-seed1"
    assert trials[3].plan == Plan(
        data="pets", backbone="MobileNetV2", recipe="head", image_size=96, seed=1, batch_size=8
    )


def test_a_sweep_that_repeats_the_name_of_a_run_is_refused():
    with pytest.raises(UsageError) as raised:
        sweeping.trials_of("pets", ["MobileNetV2"], ["head"], [None], [0, 0], {})
    assert str(raised.value) == (
        "Two trials of this sweep would be the run 'pets-MobileNetV2-head-seed0'. Name every choice once."
    )


def test_a_share_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"keep is a share above 0 and at most 1\. Received: 0"):
        sweeping.sweep("sample:fashion", keep=0)


def test_who_is_behind_after_a_stage_stops_and_what_was_decided_stands(tmp_path):
    rungs = Rungs(tmp_path / "sweep.json", keep=0.5)
    assert rungs.goes_on("first", results(0.6))  # nobody was there before it
    assert not rungs.goes_on("second", results(0.5))
    assert rungs.goes_on("third", results(0.7))
    assert rungs.goes_on("third", results(0.7, 0.4))  # the first to end a second stage
    again = Rungs(tmp_path / "sweep.json", keep=0.5)
    assert [again.stopped(name) for name in ("first", "second", "third")] == [False, True, False]
    assert not again.goes_on("second", results(0.9))


def test_what_is_no_sweep_is_refused(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="holds no sweep that can be read"):
        Rungs(tmp_path / "sweep.json", keep=0.5)


def test_what_no_other_trial_beats_is_marked_and_drawn(tmp_path):
    rows = [
        row("good", 0.9, 9, 9, 9),
        row("small", 0.8, 1, 1, 1),
        row("beaten", 0.8, 2, 1, 1),
        row("twin", 0.8, 1, 1, 1),
    ]
    swept = sweeping.compared(rows, Rungs(tmp_path / "sweep.json", keep=0.5), "accuracy")
    assert [each.run for each in swept.trials if each.pareto] == ["good", "small", "twin"]
    assert json.loads((tmp_path / "sweep.json").read_text())["trials"][0]["run"] == "good"
    assert "seconds of training" in (tmp_path / "sweep.svg").read_text()


def test_a_run_whose_rest_is_left_out_is_finished_with_the_stages_it_has(feed, tmp_path):
    stages = [Stage(name=name, epochs=1, learning_rate=0.01) for name in ("head", "again", "more")]
    settings = Settings(image_size=SIZE, counts={"train": 96, "validation": 48, "test": 48}, batch_size=16)
    heard, asked = [], []

    def goes_on(reached):
        asked.append([each.name for each in reached])
        return len(reached) < 2

    done = trainer.train(Job(make_network(), feed, settings, tmp_path, heard.append, goes_on), stages)
    assert asked == [["head"], ["head", "again"]]
    assert [each.name for each in done] == ["head", "again"]
    assert "more is left out: others are ahead after again" in [each.message for each in heard]


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(16):
            pixels = np.clip(rng.normal(90 + 80 * number, 40, (32, 32, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{index}.png")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_a_sweep_whose_driver_was_killed_goes_on_and_every_trial_is_a_run(pictures, tmp_path):
    command = [sys.executable, "-m", "keras_transfer", "sweep", str(pictures), "weights=none", "epochs=1", "--json"]
    command += ["--backbones", "MobileNetV2", "--recipes", "head,head_then_top", "--sizes", "32", "--seeds", "0,1"]
    command += ["--folder", str(tmp_path / "runs")]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "runs" / "pictures-MobileNetV2-head-32px-seed1" / "plan.toml").exists():
        assert first.poll() is None
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    swept = json.loads(found.stdout)
    assert [each["run"] for each in swept["trials"]] == [
        f"pictures-MobileNetV2-{recipe}-32px-seed{seed}" for recipe in ("head", "head_then_top") for seed in (0, 1)
    ]
    assert any(each["pareto"] for each in swept["trials"])
    for each in swept["trials"]:
        run = runs.open_run(tmp_path / "runs" / each["run"])
        assert workflow.evaluate(str(run.folder)).count == run.record.counts["test"]
        assert [stage.name for stage in run.record.stages] == each["stages"]
    other = workflow.sweep  # the same names, another plan
    with pytest.raises(RunError, match="already holds another plan"):
        other(
            str(pictures),
            backbones=["MobileNetV2"],
            recipes=["head"],
            sizes=[32],
            folder=tmp_path / "runs",
            options={"weights": "none", "epochs": 2},
        )
