"""A run learns to be right in whole numbers: what it keeps, what its file says, and what is refused in one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from colours import trained

from keras_transfer import cli, runs, workflow
from keras_transfer import plan as plans
from keras_transfer.errors import UsageError
from keras_transfer.export import parity, precisions
from keras_transfer.export.precisions import Candidate
from keras_transfer.specs import Plan, Run, Stage
from keras_transfer.training import recipes, trainer
from keras_transfer.workflow import checking, exporting, whole_numbers
from keras_transfer.workflow.opened import Opened

HEAD = Stage(name="head", epochs=10, learning_rate=0.01)
INT8 = Stage(name="int8", precision="int8", blocks="all", epochs=1, learning_rate=1e-4)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The run of colours, trained on in whole numbers.

    It is kept whatever it brought: rounding costs these colours nothing, so there is nothing to win. What the gate
    decides is tested in test_training_whole_numbers.py.
    """
    run = runs.open_run(Path(shutil.copytree(trained().folder, tmp_path_factory.mktemp("int8") / "colours")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_bar", lambda *_: None)
        result = whole_numbers.learn(Opened(run), INT8)
    return run, result


def test_what_was_learnt_lies_beside_the_model_which_stays_as_it_was(learnt):
    run, result = learnt
    assert result.kept, result.reason
    assert run.model_path.read_bytes() == trained().model_path.read_bytes()
    model = whole_numbers.keras_files.load(run.folder / "int8" / "model.keras")
    weights = [np.asarray(each) for each in Opened(trained()).model.weights]
    assert [each.shape for each in weights] == [each.shape for each in model.weights]
    assert any((now != then).any() for now, then in zip(map(np.asarray, model.weights), weights, strict=True))
    ranges = json.loads((run.folder / "int8" / "ranges.json").read_text())["ranges"]
    assert all(low <= 0 < high for low, high in ranges.values())


def test_its_file_needs_no_pictures_and_says_what_training_said(learnt, monkeypatch):
    run, _ = learnt
    monkeypatch.setattr(exporting, "CALIBRATION_PICTURES", 0)
    (verified,) = workflow.export(run, ["tflite-int8"], max_drop=5)
    assert verified.parity.within_a_step >= parity.WITHIN_A_STEP
    assert verified.artifact.contract.temperature != 1


def test_a_file_that_averages_pictures_says_it_too(learnt, monkeypatch):
    run = learnt[0]
    monkeypatch.setattr(exporting, "CALIBRATION_PICTURES", 0)
    (verified,) = workflow.export(run, ["tflite-int8"], max_drop=5, supersampling=2)
    assert verified.artifact.contract.image_size == 2 * run.record.image_size
    assert verified.parity.within_a_step >= parity.WITHIN_A_STEP


def test_a_stage_that_was_killed_is_gone_on_with_and_one_that_is_done_is_not_done_again(learnt):
    run, result = learnt
    assert whole_numbers.learn(Opened(run), INT8).history == result.history


def test_what_was_learnt_of_another_model_is_left_aside(learnt, tmp_path):
    run = runs.open_run(Path(shutil.copytree(learnt[0].folder, tmp_path / "other")))
    shutil.copy(run.folder / "int8" / "model.keras", run.model_path)
    told = []
    opened = Opened(run, told.append)
    assert whole_numbers.learnt(opened, opened.plain) is None
    assert "is of another model" in told[-1].message


def test_what_was_learnt_with_ranges_of_another_format_is_left_aside(learnt, tmp_path):
    run = runs.open_run(Path(shutil.copytree(learnt[0].folder, tmp_path / "older")))
    place = run.folder / "int8" / "ranges.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"version": 1}))
    told = []
    opened = Opened(run, told.append)
    assert whole_numbers.learnt(opened, opened.plain) is None
    assert told[-1].message == f"'{place}' is of another format: what was learnt in whole numbers is left aside"


@pytest.mark.slow
def test_a_recipe_ends_in_whole_numbers_and_the_table_shows_what_they_brought(tmp_path, capsys):
    options = ["--recipe", "head+int8", "--epochs", 1, "--image-size", 64, "--folder", tmp_path, "--json"]
    cli.app([str(each) for each in ["train", trained().record.plan.data, *options]], standalone_mode=False)
    record = json.loads(capsys.readouterr().out)
    assert [(stage["name"], stage["precision"]) for stage in record["stages"]] == [("head", None), ("int8", "int8")]
    assert record["best_stage"] == "head"
    assert "rounding alone" in record["stages"][1]["reason"]


def test_recipes_end_in_whole_numbers_by_their_name():
    *before, last = recipes.stages("head_then_top+int8", 5)
    assert tuple(before) == recipes.stages("head_then_top", 5)
    assert (last.name, last.precision, last.blocks) == ("int8", "int8", "all")
    assert last.learning_rate == pytest.approx(before[-1].learning_rate / 10)


@pytest.mark.parametrize("stages", [(INT8,), (INT8, HEAD), (HEAD, INT8, INT8.model_copy(update={"name": "again"}))])
def test_whole_numbers_without_a_network_trained_in_floats_before_them_are_refused(stages):
    sentence = r"begins with a network that was trained in floats.*comes last, after another one\. Received: .*int8"
    with pytest.raises(UsageError, match=sentence):
        checking.check(Plan(data="sample:fashion", stages=stages))


def test_a_task_whose_answers_teach_nobody_is_refused():
    plan = Plan(data="sample:fashion-boxes", task="detection", recipe="dense+int8")
    with pytest.raises(
        UsageError, match=r"from a teacher's answers, in classification and multilabel\. Rec.*detection"
    ):
        checking.check(plan)


def test_half_precision_is_refused():
    plan = Plan(data="sample:fashion", recipe="head+int8", precision="mixed_float16")
    with pytest.raises(UsageError, match=r"in float32, whose rounding they are\. Received: precision=mixed_float16"):
        checking.check(plan)


def test_minutes_shorten_no_whole_numbers():
    with pytest.raises(UsageError, match=r"one of these recipes is shortened: .*Received: 'head\+int8'"):
        workflow.train(Plan(data="sample:fashion", recipe="head+int8", minutes=5))


def test_a_stage_in_whole_numbers_that_leaves_a_part_out_is_refused():
    with pytest.raises(UsageError, match=r"rounds everything: it has blocks = 'all'.*Received: blocks = \(\)"):
        plans.make({"data": "x", "stages": [{"name": "int8", "precision": "int8"}]})


def test_a_recipe_that_is_not_there_is_told_by_the_nearest():
    with pytest.raises(UsageError, match=r"Unknown recipe 'head_then_top\+int4'\. Did you mean 'head_then_top\+int8'"):
        checking.check(Plan(data="sample:fashion", recipe="head_then_top+int4"))


def test_a_file_that_strays_from_its_training_is_not_passed():
    said = np.zeros(4)
    found = parity.compare(said == 0, said, said, said, list("abcd"), precision="int8")
    assert parity.held_to_training(found, 0.995).passed
    strayed = parity.held_to_training(found, 0.9)
    assert not strayed.passed
    assert strayed.reason == "an operation gives 90.00% of its numbers as in training (99% must be)"


def candidates(monkeypatch, drop, learning):
    """What `auto` finds where whole numbers lose that many points, with a stand-in for files and for training."""

    def measured(opened, names, contract, max_drop):
        learnt = learning and len(names) == 1
        rows = [(name, drop if name == "tflite-int8" and not learnt else 0.1) for name in names]
        return [
            Candidate(name=name, learnt=learnt, size_bytes=4 + place, accuracy=0.9, drop_points=lost, median_ms=1.0)
            for place, (name, lost) in enumerate(rows)
        ]

    monkeypatch.setattr(exporting, "_candidates", measured)
    asked = []
    result = trained().record.stages[0].model_copy(update={"kept": learning})
    monkeypatch.setattr(whole_numbers, "learn", lambda opened: asked.append(opened) or result)
    return asked


def copied(tmp_path) -> Run:
    return runs.open_run(Path(shutil.copytree(trained().folder, tmp_path / "colours")))


def test_auto_learns_whole_numbers_where_rounding_alone_loses_too_much(monkeypatch, tmp_path):
    asked = candidates(monkeypatch, drop=3.0, learning=True)
    found = workflow.choose_precision(copied(tmp_path), max_drop=0.5)
    assert len(asked) == 1
    assert [(each.name, each.learnt) for each in found if each.chosen] == [("tflite-int8", True)]


def test_auto_leaves_whole_numbers_as_they_are_where_they_are_good(monkeypatch, tmp_path):
    asked = candidates(monkeypatch, drop=0.2, learning=True)
    found = workflow.choose_precision(copied(tmp_path), max_drop=0.5)
    assert not asked
    assert len(found) == len(precisions.CANDIDATES)


def test_auto_takes_another_file_where_learning_brought_nothing(monkeypatch, tmp_path):
    candidates(monkeypatch, drop=3.0, learning=False)
    found = workflow.choose_precision(copied(tmp_path), max_drop=0.5)
    assert [each.name for each in found if each.chosen] == ["tflite-int8-mixed"]
