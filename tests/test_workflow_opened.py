"""A run that is opened: what it answers by, what is kept of it, and where its pictures are found."""

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from colours import NAMES, draw, trained
from export_model import CLASS_NAMES, exported

from keras_transfer import runs, workflow
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.errors import DataError, UsageError
from keras_transfer.specs import Output, Run, Split, Splits
from keras_transfer.workflow import opened, tasks, using
from keras_transfer.workflow.opened import Opened


@pytest.fixture
def run(tmp_path):
    """The run for one test alone."""
    return runs.open_run(Path(shutil.copytree(trained().folder, tmp_path / "run")))


def rewritten(run, **changes):
    """The run with other values in its record."""
    changed = Run(run.folder, run.record.model_copy(update=changes))
    runs.write(changed)
    return changed


def picture():
    """A picture that the run knows."""
    return Path(trained().record.plan.data) / "red" / "0.png"


def test_a_run_and_its_files_give_a_picture_one_answer(run):
    workflow.export(run, ["tflite"])
    of_run, of_file = (workflow.predict(model, [picture()])[0] for model in (run.folder, run.exports / "model.tflite"))
    assert run.record.settled["temperature"] != 1
    assert of_run.class_name == of_file.class_name
    assert list(of_run.probabilities.values()) == pytest.approx(list(of_file.probabilities.values()), abs=1e-3)


def test_what_is_settled_leaves_the_trained_model_as_it_was(run):
    from keras_transfer.training import freezing

    model = keras.models.load_model(run.model_path, compile=False)
    assert freezing.digest(model.layers) == run.record.weights_digest


def test_without_calibration_a_file_answers_as_the_model_was_trained(run):
    workflow.export(run, ["tflite"], calibrate=False)
    (said,) = workflow.predict(run.exports / "model.tflite", [picture()])
    rewritten(run, settled={})
    (plain,) = workflow.predict(run.folder, [picture()])
    assert list(said.probabilities.values()) == pytest.approx(list(plain.probabilities.values()), abs=1e-3)


def test_a_run_from_before_settings_were_kept_settles_them_by_its_validation_pictures(run):
    old = rewritten(run, settled=None)
    shutil.rmtree(run.folder / opened.ANSWERS)
    (now,), (then,) = (workflow.predict(each.folder, [picture()]) for each in (trained(), old))
    assert now.probability == pytest.approx(then.probability, abs=1e-4)
    workflow.export(old, ["tflite"], check=False)
    kept = json.loads((run.folder / runs.RECORD).read_text())["settled"]
    assert kept["temperature"] == pytest.approx(run.record.settled["temperature"], rel=1e-3)


def test_a_run_from_before_settings_were_kept_whose_pictures_are_gone_answers_as_it_was_trained(run, tmp_path):
    plan = run.record.plan.model_copy(update={"data": str(tmp_path / "gone")})
    old = rewritten(run, settled=None, plan=plan)
    assert Opened(old).contract.temperature == 1
    assert workflow.predict(old.folder, [picture()])[0].class_name in NAMES


def test_answers_are_predicted_once_and_kept_with_the_run(run, monkeypatch):
    first = Opened(run).answers("test")
    monkeypatch.setattr(opened, "predicted", None)
    again = Opened(run).answers("test")
    assert {name: each.tolist() for name, each in first.items()} == {n: each.tolist() for n, each in again.items()}


@pytest.mark.parametrize("spoilt", [b"not an archive", b"", b"PK\x03\x04"])
def test_answers_that_cannot_be_read_are_predicted_again(run, spoilt):
    place = run.folder / opened.ANSWERS / "test.npz"
    place.write_bytes(spoilt)
    assert len(Opened(run).answers("test")["probabilities"]) == run.record.counts["test"]
    assert place.read_bytes() != spoilt


def test_answers_of_another_model_are_not_looked_at(run):
    place = run.folder / opened.ANSWERS / "test.npz"
    with np.load(place) as kept:
        arrays = dict(kept)
    foreign = {**arrays, "probabilities": 1 - arrays["probabilities"], "key": np.array("of another model")}
    np.savez(place, **foreign)
    assert Opened(run).answers("test")["probabilities"] == pytest.approx(arrays["probabilities"], abs=1e-5)


def test_a_run_finds_its_relative_pictures_from_another_folder(run, tmp_path, monkeypatch):
    data = Path(trained().record.plan.data)
    moved = rewritten(run, plan=run.record.plan.model_copy(update={"data": data.name}), data_folder=str(data.parent))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Opened(moved).splits.digest == run.record.data_digest


def test_training_notes_where_a_relative_source_was_found_from():
    assert Path(trained().record.data_folder).is_absolute()


def test_only_the_pictures_that_are_asked_for_are_read_and_they_are_those_of_the_feed(run):
    of_run = Opened(run)
    whole = np.concatenate([np.asarray(images) for images, *_ in of_run.feed("test", image_size=64, batch_size=5)])
    few = of_run.pictures("test", [3, 1])
    assert sorted(few) == [1, 3]
    assert all((few[row] == whole[row]).all() for row in few)


def test_pictures_that_have_changed_since_are_warned_of(run):
    told = []
    changed = rewritten(run, data_digest="ab" * 32)
    assert Opened(changed, told.append).splits
    assert "no longer those the run was trained on" in told[0].message


def test_a_source_with_the_classes_in_another_order_is_scored_by_name():
    labels = np.array([0, 1, 2, 2])
    given = Split("test", np.zeros((4, 8, 8, 3), np.uint8), labels, ("a", "b", "c", "d"))
    splits = Splits("other", given, given, given, ("blue", "green", "red"), "")
    contract = Opened(trained()).plain.model_copy(update={"class_names": ("red", "green", "blue")})
    assert using._labels(contract, splits, "test").tolist() == [2, 1, 0, 0]


def test_columns_of_labels_are_put_in_the_order_of_the_model():
    labels = np.array([[1, 0, 0], [0, 1, 1]], bool)  # blue, green, red
    given, wanted = ("blue", "green", "red"), ("red", "green", "blue")
    assert using.reordered(labels, ANNOTATIONS["classes"], given, wanted).tolist() == [
        [False, False, True],
        [True, True, False],
    ]


def test_a_source_with_other_classes_is_refused_in_one_sentence(tmp_path):
    draw(tmp_path / "other", ("red", "green", "violet"))
    with pytest.raises(DataError) as error:
        workflow.evaluate(trained().folder, str(tmp_path / "other"))
    assert str(error.value) == (
        f"'{tmp_path / 'other'}' must have the 3 classes of the model, by name, in any order: it lacks blue; the model "
        "does not know violet. Rename, add or leave out folders or labels."
    )


def test_a_file_outside_of_a_run_squares_pictures_as_its_contract_says(run, tmp_path):
    wide = rewritten(run, plan=run.record.plan.model_copy(update={"aspect": "letterbox"}))
    workflow.export(wide, ["tflite"], check=False, calibrate=False)
    inside = workflow.evaluate(wide.exports / "model.tflite")
    outside = Path(shutil.copy(wide.exports / "model.tflite", tmp_path / "alone.tflite"))
    assert workflow.evaluate(outside, wide.record.plan.data).log_loss == inside.log_loss
    stretched = Opened(run).scored("test", Opened(run).plain)
    assert inside.log_loss != pytest.approx(stretched.log_loss, abs=1e-3)


def test_a_file_outside_of_a_run_asks_for_its_pictures(tmp_path):
    with pytest.raises(UsageError, match="Which pictures"):
        workflow.evaluate(tmp_path / "alone.tflite")


def test_a_run_given_pictures_of_another_task_is_one_sentence():
    given = Split("test", np.zeros((1, 8, 8, 3), np.uint8), np.array([[True, False]]), ("a",))
    splits = Splits("boards", given, given, given, ("cat", "dog"), "", annotation="classes")
    with pytest.raises(DataError, match=r"'boards' is labelled with 'classes', and classification takes 'class'\."):
        tasks.check_annotation(tasks.TASKS["classification"], splits)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UsageError, match=r"Unknown task 'clasification'\. Did you mean 'classification'\?"):
        tasks.task_of("clasification")


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_row_of_the_table_calls_itself_by_its_own_name_and_merit(name):
    task = tasks.TASKS[name]
    assert task.name == name
    head = importlib.import_module(f"keras_transfer.tasks.{name}")
    assert task.losses == tuple(head.LOSSES)
    assert task.attach
    assert [output.name for output in task.outputs(3, 64)]


def test_a_model_that_gives_other_tensors_than_its_files_is_asked_by_what_they_come_to(run, monkeypatch):
    classification = tasks.TASKS["classification"]
    halves = dataclasses.replace(
        classification,
        trained=lambda classes, side: (Output(name="doubled", shape=(classes,)),),
        apply=lambda answers, contract: {"probabilities": answers["doubled"] / 2},
        fold=lambda model, contract: keras.Model(model.input, model.output / 2),
        settle=None,
    )
    monkeypatch.setitem(tasks.TASKS, "classification", halves)
    workflow.export(run, ["tflite"])
    of_run, of_file = (workflow.predict(model, [picture()])[0] for model in (run.folder, run.exports / "model.tflite"))
    assert list(of_run.probabilities.values()) == pytest.approx(list(of_file.probabilities.values()), abs=1e-3)
    assert sum(of_run.probabilities.values()) == pytest.approx(0.5)
    with np.load(run.folder / opened.ANSWERS / "test.npz") as kept:
        assert set(kept) == {opened.KEY, "doubled"}


def test_a_task_that_trains_other_outputs_must_say_how_they_become_those_of_files():
    with pytest.raises(ValueError, match="by `apply` and by `fold`"):
        dataclasses.replace(tasks.TASKS["classification"], trained=lambda classes, side: (), fold=None)


def test_predicting_by_a_file_waits_for_no_tensorflow():
    code = (
        "import sys; from keras_transfer import workflow; "
        "print(workflow.predict(sys.argv[1], [sys.argv[2]])[0].class_name); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib', 'sklearn')))"
    )
    arguments = [sys.executable, "-c", code, str(exported()["tflite"]), str(picture())]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in CLASS_NAMES
