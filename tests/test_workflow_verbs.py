"""The verbs as functions: evaluate, predict, doctor, bench, list and look for, on tiny real runs and files."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from colours import NAMES, draw, shipped, trained
from export_model import CLASS_NAMES, CONTRACT, SIDE, exported, model

import keras_transfer
from keras_transfer import plan as plans
from keras_transfer import runs, workflow
from keras_transfer.data import sources
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.errors import ArtifactError, DataError, RunError, UsageError
from keras_transfer.evaluation.intervals import margin
from keras_transfer.files import write_bytes
from keras_transfer.selection import advisor, alike
from keras_transfer.specs import Contract, Output, Plan, Split, Splits
from keras_transfer.training import rate_finder
from keras_transfer.training.strategy import Strategy
from keras_transfer.workflow import advising, checking, labels, listing, tasks, training, using


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run with a TFLite and an ONNX file, proven once for all tests of this file."""
    return shipped(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(made, tmp_path):
    """The same for one test alone."""
    return runs.open_run(Path(shutil.copytree(made.folder, tmp_path / "runs" / "colours")))


def picture(name="red", number=0):
    return Path(trained().record.plan.data) / name / f"{number}.png"


# The names of the package.


def test_every_verb_of_the_package_is_the_one_of_workflow():
    for name in ("advise", "export", "predict", "train"):
        assert getattr(keras_transfer, name) is getattr(workflow, name)


def test_a_name_that_workflow_has_not_is_no_attribute_of_it():
    with pytest.raises(AttributeError, match=r"module 'keras_transfer\.workflow' has no attribute 'trane'"):
        workflow.trane  # noqa: B018


def test_while_a_verb_is_loaded_file_descriptor_2_is_silent_and_comes_back(capfd):
    with workflow._hushed():
        os.write(2, b"oneDNN custom operations are on")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_file_descriptor_2_comes_back_where_loading_fails(capfd):
    with pytest.raises(ImportError), workflow._hushed():
        raise ImportError("gone")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


# Evaluating and predicting.


def test_a_run_is_worth_what_its_record_says(made):
    assert workflow.evaluate(made.folder).accuracy == made.record.test["accuracy"]
    assert workflow.evaluate(str(made.folder)).count == made.record.counts["test"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_can_be_asked_for(made, split):
    assert workflow.evaluate(made.folder, split=split).count == made.record.counts[split]


def test_the_files_of_a_run_find_its_pictures_and_are_worth_the_same(made):
    of_run = workflow.evaluate(made.folder)
    for name in ("model.tflite", "model.onnx"):
        of_file = workflow.evaluate(made.exports / name)
        assert of_file.accuracy == of_run.accuracy
        assert of_file.log_loss == pytest.approx(of_run.log_loss, abs=1e-4)


def test_the_model_as_it_was_trained_is_worth_as_much_and_less_honest(made):
    plain = dataclasses.replace(made, record=made.record.model_copy(update={"settled": {}}))
    runs.write(plain)
    try:
        assert workflow.evaluate(made.folder).temperature == 1
    finally:
        runs.write(made)
    assert workflow.evaluate(made.folder).temperature == pytest.approx(made.record.settled["temperature"])


def test_a_source_of_the_same_classes_is_scored_whatever_its_folders_are_called_by(made, tmp_path):
    draw(tmp_path / "others", seed=7)
    found = workflow.evaluate(made.folder, str(tmp_path / "others"))
    assert [row.name for row in found.per_class] == sorted(NAMES)
    assert found.count == sum(row.count for row in found.per_class)


def test_pictures_that_are_not_there_any_more_are_named_where_a_run_is_evaluated(run, tmp_path):
    shutil.rmtree(run.folder / "answers")
    plan = run.record.plan.model_copy(update={"data": str(tmp_path / "gone")})
    runs.write(runs.Run(run.folder, run.record.model_copy(update={"plan": plan})))
    with pytest.raises(DataError, match=r"There is no folder or file '.*gone'"):
        workflow.evaluate(run.folder)


def test_a_file_beside_no_run_needs_no_run(tmp_path):
    draw(tmp_path / "pictures", CLASS_NAMES)
    found = workflow.evaluate(exported()["onnx"], str(tmp_path / "pictures"))
    assert [row.name for row in found.per_class] == list(CLASS_NAMES)


def test_class_names_that_are_given_are_those_of_a_model_that_carries_none(tmp_path):
    model().save(tmp_path / "elsewhere.keras")
    draw(tmp_path / "pictures", CLASS_NAMES)
    found = workflow.evaluate(tmp_path / "elsewhere.keras", str(tmp_path / "pictures"), labels=CLASS_NAMES)
    by_file = workflow.evaluate(exported()["tflite"], str(tmp_path / "pictures"))
    assert found.accuracy == by_file.accuracy
    (said,) = workflow.predict(tmp_path / "elsewhere.keras", [picture()], labels=CLASS_NAMES)
    assert set(said.probabilities) == set(CLASS_NAMES)


def test_too_few_class_names_are_refused(tmp_path):
    model().save(tmp_path / "elsewhere.keras")
    with pytest.raises(ArtifactError, match="3"):
        workflow.predict(tmp_path / "elsewhere.keras", [picture()], labels=("one", "two"))


def test_what_is_said_of_a_picture_is_read_by_name_and_lies_flat(made):
    (said,) = workflow.predict(made.exports / "model.onnx", [str(picture())])
    assert said.class_name == max(said.probabilities, key=said.probabilities.get)
    assert said.probability == said.probabilities[said.class_name]
    assert said.flat == {"picture": str(picture()), **said.says}
    with pytest.raises(AttributeError, match="boxes"):
        said.boxes  # noqa: B018


def test_many_pictures_are_answered_as_each_alone(made, monkeypatch):
    paths = [picture(name, number) for name in NAMES for number in range(3)]
    whole = workflow.predict(made.exports / "model.onnx", paths)
    monkeypatch.setattr(using, "batch_of", lambda contract: 2)
    parted = workflow.predict(made.exports / "model.onnx", paths)
    assert [each.picture for each in whole] == [str(path) for path in paths]
    for one, other in zip(whole, parted, strict=True):
        assert one.class_name == other.class_name
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_no_picture_gets_no_answer(made):
    assert workflow.predict(made.exports / "model.onnx", []) == ()


def test_pictures_of_one_name_are_drawn_under_two():
    assert using._names(["a/1.png", "b/1.png", "b/2.png"]) == ["1-1", "1-2", "2"]


def test_a_file_belongs_to_the_run_that_it_lies_in(made, tmp_path):
    assert using.located(made.folder) == (made.model_path, made)
    for name in ("model.keras", "exports/model.tflite", "exports/model.onnx"):
        assert using.located(made.folder / name) == (made.folder / name, made)
    alone = Path(shutil.copy(made.exports / "model.tflite", tmp_path / "alone.tflite"))
    assert using.located(alone) == (alone, None)


def test_a_model_that_is_nowhere_is_one_sentence(tmp_path):
    with pytest.raises(ArtifactError, match=r"gone\.onnx"):
        workflow.predict(tmp_path / "gone.onnx", [picture()])


CAT_DOG = Split("test", np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), ("a", "b"))


def test_a_source_of_other_classes_names_five_of_each_at_most():
    names = tuple(f"class {number}" for number in range(8))
    splits = Splits("others", CAT_DOG, CAT_DOG, CAT_DOG, names, "")
    contract = Contract(class_names=("cat", "dog"), image_size=32)
    with pytest.raises(DataError) as told:
        using._labels(contract, splits, "test")
    assert "it lacks cat, dog; the model does not know class 0, class 1, class 2, class 3, class 4 …." in str(
        told.value
    )


def test_a_model_that_names_nobody_is_scored_on_whoever_is_there():
    splits = Splits("people", CAT_DOG, CAT_DOG, CAT_DOG, ("ann", "bob"), "", annotation="identity")
    contract = Contract(
        class_names=(), image_size=32, task="embedding", outputs=(Output(name="embedding", shape=(4,)),)
    )
    assert using._labels(contract, splits, "test") is CAT_DOG.labels


@pytest.mark.parametrize("name", ["class", "identity"])
def test_labels_over_the_same_names_are_left_as_they_are(name):
    labels = np.array([1, 0, 1])
    assert using.reordered(labels, ANNOTATIONS[name], ("cat", "dog"), ("cat", "dog")) is labels
    assert using.reordered(labels, ANNOTATIONS[name], ("cat", "dog"), ("dog", "cat")).tolist() == [0, 1, 0]


# The table of tasks.


@pytest.mark.parametrize("name", tasks.TASKS)
def test_pictures_of_another_annotation_are_refused_with_the_task_that_takes_them(name):
    task = tasks.TASKS[name]
    tasks.check_annotation(task, SimpleNamespace(annotation=task.annotation))
    for other in tasks.TASKS.values():
        if other.annotation == task.annotation:
            continue
        with pytest.raises(DataError) as told:
            tasks.check_annotation(task, SimpleNamespace(annotation=other.annotation, source="pets"))
        assert str(told.value).startswith(f"'pets' is labelled with '{other.annotation}', and {name} takes '")
        assert "or the task " in str(told.value)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_batch_of_answers_fits_the_memory_and_is_one_picture_at_least(name):
    for side, classes in ((32, 2), (512, 21), (2048, 150)):
        outputs = tasks.TASKS[name].outputs(classes, side)
        names = tuple(map(str, range(classes))) if any(each.labels != "none" for each in outputs) else ()
        count = tasks.batch_of(Contract(class_names=names, image_size=side, task=name, outputs=outputs))
        values = sum(int(np.prod(output.shape)) for output in outputs)
        assert 1 <= count <= tasks.BATCH
        assert count == 1 or count * values <= tasks.BATCH_VALUES


def test_of_clips_no_more_frames_are_answered_at_once_than_pictures():
    outputs = tasks.TASKS["clips"].outputs(2, 224)
    contract = Contract(class_names=("go", "stay"), image_size=224, task="clips", outputs=outputs, frames=16)
    assert tasks.batch_of(contract) == tasks.BATCH // 16


def test_what_a_task_takes_where_a_plan_says_nothing_is_something_a_plan_has():
    for task in tasks.TASKS.values():
        assert set(task.defaults) <= set(Plan.model_fields)
        checking.check(Plan(data="sample:fashion", task=task.name, **task.defaults))


@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if not task.heads])
def test_a_head_of_another_task_is_refused_by_its_name(name):
    with pytest.raises(UsageError, match=rf"Unknown head of {name} 'fpn'"):
        checking.check(Plan(data="sample:fashion", task=name, head="fpn"))


# Listing.


def kept(folder, name, **changes):
    """A run that nobody trained."""
    facts = {"class_names": ("a", "b"), "counts": {}, "data_digest": "", "image_size": 96, "finished": True}
    plan = Plan(data="sample:fashion")
    runs.write(runs.Run(folder / name, runs.RunRecord(plan=plan, **facts | changes)))
    write_bytes(folder / name / runs.PLAN, plans.to_toml(plan).encode())
    return folder / name


def test_a_run_is_listed_with_what_a_person_chooses_by(made):
    (found,) = workflow.listed(made.folder.parent)
    assert found.folder == made.folder
    assert (found.state, found.task, found.backbone) == ("finished", "classification", "EfficientNetLite0")
    assert found.merit == made.record.test["accuracy"]
    assert found.spread == margin(found.merit, made.record.counts["test"])
    assert found.seconds == made.record.seconds
    assert found.exports == tuple(path.name for path in workflow.exported_files(made))


def test_a_folder_that_only_holds_a_plan_is_a_run_that_goes_on(tmp_path):
    place = kept(tmp_path / "my runs", "begun")
    (place / runs.RECORD).unlink()
    (found,) = workflow.listed(tmp_path / "my runs")
    assert found.state == (
        f"keras-transfer train --plan '{place}/plan.toml' --run begun --folder '{tmp_path / 'my runs'}'"
    )
    assert (found.merit, found.seconds, found.exports) == (None, None, ())


def test_a_manifest_that_cannot_be_read_hides_no_run(tmp_path):
    place = kept(tmp_path, "done", test={"accuracy": 0.5}, seconds=3.0)
    write_bytes(place / "exports" / "manifest.json", b"no json")
    assert [(each.merit, each.exports) for each in workflow.listed(tmp_path)] == [(0.5, ())]


def test_what_was_written_last_is_listed_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        place = kept(tmp_path, name)
        for each in (runs.RECORD, runs.PLAN):
            os.utime(place / each, (1000 - age, 1000 - age))
    assert [each.folder.name for each in listing.listed(tmp_path)] == ["new", "middle", "old"]


def test_no_folder_lists_no_runs(tmp_path):
    assert workflow.listed(tmp_path / "nowhere") == ()


def test_a_run_without_files_says_how_they_are_made(tmp_path):
    place = kept(tmp_path, "done")
    with pytest.raises(RunError, match=r"has no exported files\. Make them: keras-transfer export"):
        workflow.exported_files(runs.open_run(place))


# Pictures.


@pytest.mark.parametrize(
    ("source", "task"), [("sample:fashion-masks", "segmentation"), ("sample:fashion-boxes", "detection")]
)
def test_how_fast_pictures_come_can_be_asked_whatever_they_are_labelled_with(source, task, monkeypatch):
    stepped = []

    def measure(splits, *, step, **options):
        images = np.zeros((4, 32, 32, 3), np.uint8)
        stepped.append(step(images, splits.train.labels[:4], np.ones(4, np.float32)))
        return options

    monkeypatch.setattr("keras_transfer.data.throughput.measure", measure)
    assert workflow.bench_input(source, task=task, image_size=32, augment="light") == {
        "image_size": 32,
        "batch_size": 32,
        "augment": "light",
    }
    assert np.isfinite(stepped).all()


def test_the_doctor_is_asked_by_the_task_that_the_pictures_are_for(tmp_path):
    found = workflow.doctor("sample:fashion-tags", task="multilabel", labels=False)
    assert "bag" in found.classes
    with pytest.raises(UsageError, match="--task multilabel"):
        workflow.doctor("sample:fashion-tags", labels=False)


def test_the_doctor_writes_what_is_clean_as_shards_that_train_the_same(tmp_path):
    draw(tmp_path / "pictures")
    workflow.doctor(str(tmp_path / "pictures"), labels=False, write=tmp_path / "shards")
    whole, clean = (sources.load(str(tmp_path / name)) for name in ("pictures", "shards"))
    assert clean.class_names == whole.class_names
    assert sum(clean.counts.values()) == sum(whole.counts.values())


def test_labels_are_judged_on_features_of_every_picture(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "keras_transfer.data.doctor.examine",
        lambda splits, features, listener: seen.update(features) or SimpleNamespace(diagnosis="healthy"),
    )
    assert workflow.doctor(trained().record.plan.data) == "healthy"
    assert {name: len(each) for name, each in seen.items()} == trained().record.counts
    assert all(np.isfinite(each).all() for each in seen.values())


def test_labels_are_not_judged_where_there_are_no_weights_and_that_is_said(monkeypatch):
    told = []
    monkeypatch.setattr("keras_transfer.backbones.weights.at_hand", lambda spec: False)
    workflow.doctor(trained().record.plan.data, listener=told.append)
    (note,) = [event.message for event in told if event.message.startswith("Labels are not judged")]
    assert note == "Labels are not judged: the weights of EfficientNetLite0 are not on this machine."


# Backbones, latency, rates.


def test_the_blocks_of_a_backbone_share_its_work_and_shrink_the_picture():
    shapes = workflow.backbone_blocks("MobileNetV2", 96)
    assert [shape.index for shape in shapes] == list(range(len(shapes)))
    assert sum(shape.share for shape in shapes) == pytest.approx(1)
    sizes = [shape.resolution for shape in shapes]
    assert sizes == sorted(sizes, reverse=True)


def test_a_backbone_is_cut_at_the_size_it_was_trained_at_where_none_is_named():
    assert workflow.backbone_blocks("MobileNetV2")[0].resolution == 112


def test_weights_that_are_here_are_fetched_from_where_they_are():
    assert "efficientnet-lite0" in workflow.fetch("EfficientNetLite0").replace("_", "-")


def test_a_file_is_timed_at_every_batch_and_thread_count():
    rows = workflow.bench_latency([exported()["onnx"]], batch_sizes=(1, 3), threads=(1, 2), repeats=2)
    assert [(row.latency.threads, row.latency.batch_size) for row in rows] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert {row.artifact.contract.class_names for row in rows} == {CLASS_NAMES}


def test_a_model_made_elsewhere_is_timed_by_the_contract_it_is_given(tmp_path):
    model().save(tmp_path / "elsewhere.keras")
    (row,) = workflow.bench_latency([tmp_path / "elsewhere.keras"], repeats=2, contract=CONTRACT)
    assert row.artifact.contract.image_size == SIDE
    with pytest.raises(ArtifactError, match="does not carry its class names"):
        workflow.bench_latency([tmp_path / "elsewhere.keras"], repeats=2)


def test_the_steepest_fall_of_a_loss_is_found_behind_the_noise_it_begins_with():
    rates = np.geomspace(1e-6, 1, 80)
    losses = np.where(rates < 1e-3, 1.0, 1.0 - 0.1 * np.log(rates / 1e-3))
    losses[0] += 0.5  # one batch alone: the mean of a few that come after it falls, whatever the rate
    assert 5e-4 < rate_finder.steepest(rates, losses) < 1
    assert rate_finder.steepest(rates[:4], losses[:4]) == rates[0]


@pytest.mark.parametrize(
    ("task", "evidence"), [("segmentation", "mean IoU 0.723 on validation"), ("detection", "AP50 0.874 on validation")]
)
def test_advice_of_pictures_it_cannot_measure_names_a_command_that_trains_and_what_it_reached(task, evidence):
    source = {"segmentation": "sample:fashion-masks", "detection": "sample:fashion-boxes"}[task]
    with pytest.raises(UsageError) as told:
        workflow.advise(source, task=task)
    command = str(told.value).split("keras-transfer ")[1]
    assert command == f"train {source} --task {task} --recipe dense"
    assert evidence in str(told.value)
    assert "recipe 'dense'" in str(told.value)


def test_advice_without_names_looks_at_what_is_at_hand_smallest_first():
    rows = advising._to_choose_from(())
    assert [row.parameters for row in rows] == sorted(row.parameters for row in rows)
    assert rows[0].name == "EfficientNetLite0"


def test_advice_without_any_weights_at_hand_takes_the_backbone_of_a_plan(monkeypatch):
    monkeypatch.setattr("keras_transfer.backbones.weights.at_hand", lambda row: False)
    (row,) = advising._to_choose_from(())
    assert row.name == Plan.model_fields["backbone"].default


def test_groups_are_numbered_and_those_without_a_name_are_alone():
    numbers = alike.numbered(np.array(["monday", "", "monday", "", "friday"]))
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 4


def test_advice_that_is_asked_of_pictures_at_hand_reads_none_again(monkeypatch):
    asked = {}

    def advise(question, specs, *given, **options):
        asked.update(question=question, specs=specs)
        return SimpleNamespace(plan=Plan(data="pets"))

    splits = sources.load(trained().record.plan.data)
    monkeypatch.setattr(advisor, "advise", advise)
    monkeypatch.setattr(advising.sources, "load", None)
    workflow.advise("pets", splits=splits, names=["MobileNetV2"], image_size=64)
    question = asked["question"]
    assert [each.name for each in asked["specs"]] == ["MobileNetV2"]
    assert (question.pictures, question.image_size, question.size_is_given) == (len(splits.train), 64, True)
    assert question.class_counts.tolist() == np.bincount(splits.train.labels).tolist()


# Training.


def test_a_run_says_what_it_was_trained_with(made):
    record = made.record
    assert record.best_stage == "head"
    assert record.validation_merit == record.stages[0].validation_merit
    assert {"python", "machine", "instructions", "tensorflow", "keras"} <= set(record.environment)
    assert record.weights_license == "Apache-2.0"
    assert (made.folder / runs.HISTORY).read_text().startswith("stage,epoch,")


def test_comparing_with_something_unknown_is_refused_before_pictures_are_read(tmp_path):
    with pytest.raises(UsageError, match=r"--compare takes 'scratch'\. Received: 'random'"):
        workflow.train(Plan(data="nowhere"), folder=tmp_path, compare="random")


def test_a_finished_run_that_is_to_be_compared_is_not_finished(made):
    told = []
    assert training._finished(made.folder, "scratch", Strategy(), told.append) is None
    assert told == []
    assert training._finished(made.folder, None, Strategy(), told.append) == made
    assert "is finished already" in told[0].message


def test_pictures_that_could_not_be_read_are_told_once_ten_of_them_by_name():
    told = []
    training._tell_unreadable({f"{number}.png": "broken" for number in range(12)}, told.append)
    (warning,) = told
    assert warning.kind == "warning"
    assert warning.message.startswith("12 pictures could not be read and counted nothing: 0.png, 1.png")
    assert "11.png" not in warning.message
    training._tell_unreadable({}, told.append)
    assert len(told) == 1


def test_the_same_network_from_scratch_is_judged_by_the_same_figure(tmp_path, monkeypatch):
    plan = Plan(
        data=trained().record.plan.data,
        backbone="MobileNetV2",
        weights="none",
        image_size=32,
        stages=({"name": "head", "epochs": 1},),
    )
    record = workflow.train(plan, folder=tmp_path, compare="scratch").record
    assert set(record.scratch) == {"accuracy", "seconds"}
    assert 0 <= record.scratch["accuracy"] <= 1


def test_programs_that_watch_are_told_the_plan_without_its_lists():
    facts = training._facts(Plan(data="sample:fashion", seed=3))
    assert facts["seed"] == 3
    assert not {"stages", "exports"} & set(facts)


# What labels are worth.


def test_a_curve_is_kept_with_a_run_and_drawn_and_every_row_is_on_disk_as_it_comes(run, tmp_path, monkeypatch):
    def points(plan, methods, per_class, splits, listener):
        worth = {"accuracy": 0.5 + per_class / 100, "seconds": 1.0, "cpu_seconds": 2.0}
        return [{"method": each, "per_class": per_class, "seed": plan.seed, **worth} for each in methods]

    monkeypatch.setattr(labels, "_points", points)
    options = {"per_class": [5, None], "seeds": [0], "resume": tmp_path / "rows.json"}
    curve = workflow.bench_transfer("sample:fashion", keep=run, plot=tmp_path / "curve.svg", **options)
    assert [row["per_class"] for row in curve.rows] == [5, 5, 5, 100, 100, 100]
    assert json.loads((tmp_path / "rows.json").read_text()) == list(curve.rows)
    assert json.loads((run.folder / "transfer.json").read_text()) == list(curve.rows)
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    monkeypatch.setattr(labels, "_points", None)
    assert workflow.bench_transfer("sample:fashion", **options).rows == curve.rows


def test_more_pictures_than_there_are_is_all_of_them(monkeypatch):
    asked = []

    def points(plan, methods, per_class, splits, listener):
        asked.append((plan.recipe, per_class, len(splits.train)))
        worth = {"accuracy": 0.5, "seconds": 1.0, "cpu_seconds": 2.0}
        return [{"method": each, "per_class": per_class, "seed": plan.seed, **worth} for each in methods]

    monkeypatch.setattr(labels, "_points", points)
    workflow.bench_transfer("sample:fashion", per_class=[100, 500, None], seeds=[0])
    assert asked == [("head_then_top", 100, 1000), ("head", 100, 1000)]
