"""A run of so many minutes: decided once, followed ever after, refused where the clock has nothing to decide."""

import hashlib

import pytest
from colours import draw

from keras_transfer import plan as plans
from keras_transfer import runs, workflow
from keras_transfer.errors import UsageError
from keras_transfer.specs import Plan, Stage
from keras_transfer.workflow import budgeting

MINUTES = 20
"""Far more than these pictures need on any machine: what is tested never waits for the clock."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget") / "colours"
    draw(folder)
    return folder


@pytest.fixture(scope="module")
def plan(pictures):
    return Plan(data=str(pictures), minutes=MINUTES, recipe="head", image_size=64)


@pytest.fixture(scope="module")
def went_on(plan, tmp_path_factory):
    """A run that was stopped in its third epoch and went on, what it said first, and its plan when it was stopped."""

    def stopping(event):
        said.append(event.message)
        if (event.kind, event.done) == ("epoch", 3):
            raise KeyboardInterrupt

    said, folder = [], tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        workflow.train(plan, folder=folder, name="stopped", listener=stopping)
    decided = (folder / "stopped" / runs.PLAN).read_text()
    return workflow.train(plan, folder=folder, name="stopped"), said, decided


def test_what_is_done_and_what_twice_the_time_would_bring_is_said_beforehand(went_on):
    _, said, _ = went_on
    assert any(each.startswith("20 minutes, of which") for each in said)
    assert any(each.startswith("twice the time would change nothing") for each in said)


def test_a_run_that_was_stopped_follows_what_the_clock_decided_before(went_on, plan):
    run, _, decided = went_on
    assert (run.folder / runs.PLAN).read_text() == decided
    assert plans.read(run.folder / runs.PLAN).stages
    assert runs.place_for(plan, run.folder.parent, "stopped") == run.folder


def test_the_plan_that_the_clock_decided_gives_the_same_weights_again(went_on, tmp_path):
    run, _, _ = went_on
    again = workflow.train(plans.read(run.folder / runs.PLAN), folder=tmp_path)
    assert again.record.weights_digest == run.record.weights_digest


def test_minutes_that_are_over_before_anything_was_measured_are_refused_at_once(plan, tmp_path):
    with pytest.raises(UsageError, match=r"20 minutes are too few here: 1\d{3} s went by before .* Give at least \d"):
        workflow.train(plan, folder=tmp_path / "runs", spent_seconds=60 * MINUTES)
    assert not (tmp_path / "runs").exists()


def test_less_than_the_quickest_plan_takes_is_one_sentence_and_leaves_no_folder(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(budgeting, "check_time", lambda plan, began: None)
    short = plan.model_copy(update={"minutes": 0.001})
    with pytest.raises(UsageError, match=r"0\.001 minutes are too few to train on .* Give at least \d"):
        workflow.train(short, folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "segmentation"}, "those of segmentation were not. Say how long by epochs=NUMBER"),
        ({"epochs": 3}, "minutes decide how many epochs there are: leave epochs=3 out"),
        ({"weights": "none"}, "weights=none has none: leave one out"),
        ({"recipe": "gradual"}, "In minutes one of these recipes is shortened: head, .* Received: 'gradual'"),
    ],
)
def test_what_minutes_cannot_decide_is_one_sentence(changes, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        workflow.train(Plan(data=str(tmp_path / "nowhere"), minutes=1, **changes), folder=tmp_path / "runs")


def test_scratch_would_take_as_long_again(tmp_path):
    with pytest.raises(UsageError, match="--compare scratch trains as long again"):
        workflow.train(Plan(data=str(tmp_path), minutes=1), folder=tmp_path / "runs", compare="scratch")


def test_a_plan_that_leaves_minutes_out_keeps_the_name_of_its_run():
    facts = {"class_names": ("a", "b"), "counts": {}, "data_digest": "d", "image_size": 64, "weights_digest": "w"}
    plan = Plan(data="pets", stages=(Stage(name="head"),))
    later = dict.fromkeys(("minutes", "unlabelled", "teacher", "teacher_share", "teacher_temperature"), True)
    later |= {"stages": {"__all__": {"average", "precision"}}}
    text = plan.model_dump_json(exclude=later) + "dw"
    assert runs.RunRecord(plan=plan, **facts).digest == hashlib.sha256(text.encode()).hexdigest()
    assert runs.RunRecord(plan=plan.model_copy(update={"minutes": 2.0}), **facts).digest != text
