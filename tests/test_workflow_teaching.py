"""A run learns from another one: the same views, answers beside labels, and what is refused in one sentence."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from colours import NAMES, draw, trained

from keras_transfer import cli, runs, workflow
from keras_transfer import plan as plans
from keras_transfer.data import pipeline, sources
from keras_transfer.errors import ArtifactError, RunError, UsageError
from keras_transfer.export import runtime
from keras_transfer.specs import Run, Stage
from keras_transfer.training import feature_store
from keras_transfer.workflow import teaching

STAGE = Stage(name="head", epochs=2, learning_rate=0.01, augment="light", views=2)


def plan(**changes):
    given = {"teacher": str(trained().folder), "stages": (STAGE,), **changes}
    return trained().record.plan.model_copy(update=given)


def splits():
    return sources.load(trained().record.plan.data)


def changed(tmp_path, **changes):
    """A copy of the run whose record says something else."""
    folder = Path(shutil.copytree(trained().folder, tmp_path / "other"))
    run = Run(folder, trained().record.model_copy(update=changes))
    runs.write(run)
    return run


def test_targets_are_followed_by_what_the_teacher_says_of_the_same_views():
    teacher = teaching.teacher_of(plan(), splits(), Path("nowhere"), lambda event: None)
    feed = pipeline.make_feed(splits())
    asked = {"image_size": 64, "batch_size": 8, "augment": "light", "epoch": 3, "shuffle": True}
    model = runtime.load(trained().model_path, labels=NAMES)
    for (images, labels, _), (same, targets, _) in zip(
        feed("train", **asked), teaching._answered(feed, teacher.ask)("train", **asked), strict=True
    ):
        assert (np.asarray(images) == np.asarray(same)).all()
        assert (np.asarray(targets)[:, :3] == np.asarray(labels)).all()
        said = model.predict(np.asarray(images))["probabilities"]
        assert np.allclose(np.asarray(targets)[:, 3:], said, atol=1e-4)


def test_views_of_another_size_are_brought_to_the_teachers():
    teacher = teaching.teacher_of(plan(), splits(), Path("nowhere"), lambda event: None)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    assert np.asarray(teacher.ask(images)).shape == (2, 3)


def test_a_run_learns_from_a_teacher_and_its_answers_are_stored_beside_the_features(tmp_path, monkeypatch):
    notes, stored = [], []
    obtain = feature_store.obtain

    def noted(*arguments, **options):
        stored.append(obtain(*arguments, **options))
        return stored[-1]

    monkeypatch.setattr(feature_store, "obtain", noted)
    run = workflow.train(plan(), folder=tmp_path, listener=notes.append)
    assert run.record.plan.teacher == str(trained().folder)
    assert [view.targets.shape[1] for view in stored] == [6, 6, 6]
    assert any(note.message.startswith(f"taught by '{trained().folder}', whose accuracy") for note in notes)
    again = workflow.train(plan(teacher=None), folder=tmp_path)
    assert [view.targets.shape[1] for view in stored[3:]] == [3, 3, 3]
    assert again.record.weights_digest != run.record.weights_digest


def test_the_verb_takes_a_teacher(tmp_path, capsys):
    options = ["--teacher", trained().folder, "--folder", tmp_path, "--epochs", 1, "--image-size", 64, "--json"]
    words = ["train", trained().record.plan.data, "--recipe", "head", *options, "exports=[]"]
    cli.app([str(word) for word in words], standalone_mode=False)
    assert '"teacher"' in capsys.readouterr().out


def test_a_teacher_of_the_same_classes_in_another_order_is_asked_in_the_order_of_its_student():
    turned = replace(splits(), class_names=tuple(reversed(splits().class_names)))
    images = np.zeros((1, 64, 64, 3), np.uint8)
    straight, other = (np.asarray(teaching.asking(trained(), each)(images)) for each in (splits(), turned))
    assert (straight[:, ::-1] == other).all()


def test_a_teacher_of_other_pictures_is_judged_by_the_students_validation(tmp_path):
    draw(tmp_path / "pictures", seed=1)
    others = sources.load(str(tmp_path / "pictures"))
    teacher = teaching.teacher_of(plan(), others, Path("nowhere"), lambda event: None)
    assert 0 <= teacher.merit <= 1
    assert teacher.merit * len(others.validation) == pytest.approx(round(teacher.merit * len(others.validation)))


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    other = changed(tmp_path, class_names=("red", "green", "mauve"))
    with pytest.raises(
        UsageError, match=r"must know the classes of '.*', in any order\. It lacks blue and has mauve\.$"
    ):
        teaching.teacher_of(plan(teacher=str(other.folder)), splits(), tmp_path, lambda event: None)


def test_a_teacher_of_another_task_is_refused(tmp_path):
    of_another = trained().record.plan.model_copy(update={"task": "multilabel"})
    other = changed(tmp_path, plan=of_another)
    with pytest.raises(
        UsageError, match=r"another task\. It must do what its student learns, classification\. Received"
    ):
        teaching.teacher_of(plan(teacher=str(other.folder)), splits(), tmp_path, lambda event: None)
    with pytest.raises(
        UsageError, match=r"can be learnt from in classification and multilabel\. Received: .* detection"
    ):
        teaching.teacher_of(plan(task="detection"), splits(), tmp_path, lambda event: None)


def test_a_teacher_that_is_not_finished_or_not_there_is_refused(tmp_path):
    other = changed(tmp_path, finished=False)
    with pytest.raises(RunError, match="is not finished"):
        teaching.teacher_of(plan(teacher=str(other.folder)), splits(), tmp_path, lambda event: None)
    with pytest.raises(RunError, match="There is no run in"):
        teaching.teacher_of(plan(teacher=str(tmp_path / "none")), splits(), tmp_path, lambda event: None)


def test_a_teacher_whose_model_is_damaged_is_refused(tmp_path):
    other = changed(tmp_path)
    other.model_path.write_bytes(other.model_path.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=r"is no whole \.keras file"):
        teaching.teacher_of(plan(teacher=str(other.folder)), splits(), tmp_path, lambda event: None)


def test_a_teacher_that_is_worse_than_the_same_student_without_it_is_refused(tmp_path):
    alone = plan(teacher=None)
    better = changed(tmp_path, plan=alone, validation_merit=trained().record.validation_merit + 0.01)
    with pytest.raises(UsageError, match=rf"must be better than its student\. It reaches .*: '{better.folder}'\.$"):
        teaching.teacher_of(plan(), splits(), tmp_path, lambda event: None)
    assert teaching.teacher_of(plan(seed=3), splits(), tmp_path, lambda event: None)


def test_a_student_that_passes_its_teacher_is_told_of():
    notes = []
    teacher = SimpleNamespace(run=trained(), merit=0.5)
    results = [SimpleNamespace(kept=True, validation_merit=0.6), SimpleNamespace(kept=False, validation_merit=0.9)]
    teaching.tell_passed(teacher, results, notes.append)
    assert "(60.0% on validation) has passed its teacher" in notes[0].message
    teaching.tell_passed(SimpleNamespace(run=trained(), merit=0.7), results, notes.append)
    assert len(notes) == 1


def test_a_run_without_a_teacher_is_named_as_before_plans_had_teachers():
    record = trained().record
    later = dict.fromkeys(("minutes", "unlabelled", "teacher", "teacher_share", "teacher_temperature"), True)
    later |= {"stages": {"__all__": {"average", "precision"}}}
    text = record.plan.model_dump_json(exclude=later) + record.data_digest + record.weights_digest
    assert record.digest == hashlib.sha256(text.encode()).hexdigest()
    assert "teacher" not in plans.to_toml(record.plan)
    taught = record.model_copy(update={"plan": plan()})
    assert taught.digest != record.model_copy(update={"plan": plan(teacher=None)}).digest
