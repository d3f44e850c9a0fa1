"""What verbs are made of, without a training: plans filled in, fewer pictures, rows of a curve, settings of tasks."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from keras_transfer import runs
from keras_transfer.backbones import registry
from keras_transfer.data import sources
from keras_transfer.errors import RunError, UsageError
from keras_transfer.evaluation import classification
from keras_transfer.specs import Contract, Output, Plan, RunRecord, Scored, Split, Splits
from keras_transfer.workflow import building, labels, opened, reporting, tasks, training, using

SPEC = registry.backbone("EfficientNetLite0")
CONTRACT = Contract(class_names=("cat", "dog", "owl"), image_size=32)


# What a plan leaves open.


def resolved(told, typical=100, **plan):
    one = Split("train", np.zeros((1, 8, 8, 3), np.uint8), np.array([0]), ("a",))
    splits = Splits("pictures", one, one, one, ("cat", "dog"), "", typical_size=typical)
    return building.resolved(Plan(data="x", **plan), SPEC, splits, told.append)


def test_what_a_task_takes_otherwise_is_taken_and_said():
    told = []
    plan = resolved(told, task="segmentation")
    assert (plan.recipe, plan.batch_size) == ("dense", 8)
    assert told[0].message == "for segmentation: recipe dense, batch size 8"


def test_what_a_plan_says_itself_stands_also_where_it_is_what_others_have_anyway():
    told = []
    plan = resolved(told, task="segmentation", batch_size=32, recipe="head_then_top", image_size=64)
    assert (plan.recipe, plan.batch_size) == ("head_then_top", 32)
    assert told == []


@pytest.mark.parametrize(("task", "side"), [("classification", 224), ("segmentation", 320), ("detection", 320)])
def test_tasks_of_places_take_pictures_larger_than_their_backbone_was_trained_at(task, side):
    assert resolved([], typical=100, task=task).image_size == side


@pytest.mark.parametrize(("task", "most"), [("classification", 224), ("segmentation", 352), ("detection", 448)])
def test_pictures_of_any_size_are_taken_no_larger_than_the_task_allows(task, most):
    assert resolved([], typical=4000, task=task).image_size == most


def test_settings_that_are_left_out_keep_their_own_value():
    splits = sources.load("sample:fashion")
    plain = building.settings_of(Plan(data="x", image_size=96), splits, "auto")
    given = building.settings_of(Plan(data="x", image_size=96), splits, "auto", cache_limit_bytes=None)
    assert given == plain
    assert building.settings_of(Plan(data="x"), splits, "auto", cache_limit_bytes=0).cache_limit_bytes == 0


# Fewer pictures of each class.


def test_fewer_pictures_are_as_many_of_each_class_and_the_same_test():
    splits = sources.load("sample:fashion")
    few = labels.fewer(splits, 3, seed=0)
    assert np.bincount(few.train.labels).tolist() == [3] * 10
    assert np.bincount(few.validation.labels).max() <= 3
    assert few.test is splits.test
    assert set(few.train.keys) < set(splits.train.keys)


def test_more_labels_hold_those_that_fewer_had_and_another_seed_has_others():
    splits = sources.load("sample:fashion")
    three, five = (set(labels.fewer(splits, count, seed=0).train.keys) for count in (3, 5))
    assert three < five
    assert three != set(labels.fewer(splits, 3, seed=1).train.keys)
    assert labels.fewer(splits, 3, seed=0).train.keys == labels.fewer(splits, 3, seed=0).train.keys


def test_each_draw_is_a_data_set_of_its_own():
    splits = sources.load("sample:fashion")
    digests = {labels.fewer(splits, count, seed).digest for count in (3, 5) for seed in (0, 1)}
    assert len(digests | {splits.digest}) == 5


ROW = {"method": "transfer", "per_class": 5, "seed": 0, "accuracy": 0.5, "seconds": 1.0, "cpu_seconds": 2.0}
OF = {"data_digest": "ab" * 32, "backbone": "EfficientNetLite0", "recipe": "head"}


@pytest.mark.parametrize("content", ["", "{}x", "[1]", json.dumps([ROW]), "null"])
def test_a_file_without_rows_of_a_curve_is_one_sentence(tmp_path, content):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UsageError, match=r"rows\.json' holds no rows of a transfer curve.* delete it\."):
        labels._measured_before(tmp_path / "rows.json", OF)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"backbone": "MobileNetV2"}, "another backbone (MobileNetV2), which are no part of this curve (EfficientNet"),
        ({"recipe": "full"}, "another recipe (full), which are no part of this curve (head)"),
        (
            {"data_digest": "cd" * 32},
            "another data set (cdcdcdcdcdcd…), which are no part of this curve (abababababab…",
        ),
    ],
)
def test_rows_of_something_else_are_told_with_both(tmp_path, changed, sentence):
    (tmp_path / "rows.json").write_text(json.dumps([ROW | OF, ROW | OF | changed]))
    with pytest.raises(UsageError, match=re.escape(sentence)):
        labels._measured_before(tmp_path / "rows.json", OF)


def test_rows_that_are_there_come_back_without_what_is_no_part_of_them(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([ROW | OF | {"note": "mine"}]))
    assert labels._measured_before(tmp_path / "rows.json", OF) == [ROW | OF]
    assert labels._measured_before(tmp_path / "none.json", OF) == []
    assert labels._measured_before(None, OF) == []


# What tasks settle and how it is applied.


def test_a_temperature_makes_claims_honest_and_changes_no_answer():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 400)
    logits = 6 * rng.normal(size=(400, 3)) + 4 * np.eye(3)[truth]
    said = np.exp(logits - logits.max(1, keepdims=True))
    answers = {"probabilities": (said / said.sum(1, keepdims=True)).astype(np.float32)}
    settled = tasks.TASKS["classification"].settle(answers, truth)
    contract = CONTRACT.model_copy(update=dict(settled.contract))
    assert contract.temperature > 1
    cooled = tasks.TASKS["classification"].apply(answers, contract)
    before, after = (
        classification.score(each, truth, CONTRACT).expected_calibration_error for each in (answers, cooled)
    )
    assert after < before / 2
    assert settled.sentence.endswith(f"on validation {before:.1%} -> {after:.1%}")
    np.testing.assert_array_equal(cooled["probabilities"].argmax(1), answers["probabilities"].argmax(1))


def test_answers_at_a_temperature_of_one_are_left_as_they_are():
    answers = {"probabilities": np.full((2, 3), 1 / 3)}
    assert tasks.TASKS["classification"].apply(answers, CONTRACT) is answers
    model = object()
    assert tasks.TASKS["classification"].fold(model, CONTRACT) is model


def test_an_embedder_answers_by_its_place_alone():
    both = {"embedding": np.eye(2), "cosines": np.zeros((2, 9))}
    assert set(tasks.TASKS["embedding"].apply(both, CONTRACT)) == {"embedding"}


def test_boxes_that_have_no_copies_any_more_are_not_looked_at_again():
    answers = {"location": np.zeros((1, 100, 4))}
    assert tasks.TASKS["detection"].apply(answers, CONTRACT) is answers


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_says_what_its_network_and_its_files_give_by_names_that_differ(name):
    task = tasks.TASKS[name]
    for side in (64, 96):
        for outputs in (task.outputs(3, side), (task.trained or task.outputs)(3, side)):
            assert len({output.name for output in outputs}) == len(outputs)
            assert all(isinstance(output, Output) and min(output.shape, default=1) > 0 for output in outputs)


def test_functions_of_a_row_are_imported_when_they_are_called_and_no_sooner():
    with pytest.raises(ModuleNotFoundError, match=r"keras_transfer\.nowhere"):
        tasks._later("nowhere.function")()
    assert tasks._later("evaluation.intervals.margin")(0.5, count=100) == pytest.approx(0.0962, abs=1e-4)


# Answers by name.


def test_tensors_come_by_the_names_of_outputs_and_a_mapping_in_their_order():
    outputs = (Output(name="first", shape=()), Output(name="second", shape=()))
    assert list(opened.named({"second": [2], "first": [1], "more": [3]}, outputs)) == ["first", "second"]
    assert {k: v.tolist() for k, v in opened.named([[1], [2]], outputs).items()} == {"first": [1], "second": [2]}
    assert opened.named(np.ones(3), outputs[:1])["first"].tolist() == [1, 1, 1]


def test_more_tensors_than_names_are_an_error_and_not_left_out():
    with pytest.raises(ValueError, match="zip"):
        opened.named([[1], [2]], (Output(name="first", shape=()),))


def test_pictures_are_found_by_their_position_in_any_order_and_each_once():
    splits = sources.load("sample:fashion")
    found = opened.pictures_at(splits, "test", [7, 3, 7], CONTRACT)
    assert list(found) == [3, 7]
    (alone,) = opened.pictures_at(splits, "test", [7], CONTRACT).values()
    np.testing.assert_array_equal(found[7], alone)
    assert found[3].shape == (32, 32, 3)
    assert opened.pictures_at(splits, "test", [], CONTRACT) == {}


# Runs.


def record(**changes):
    values = {"plan": Plan(data="pets"), "class_names": ("a", "b"), "counts": {}, "data_digest": "", "image_size": 96}
    return RunRecord(**values | changes)


def test_a_run_under_way_has_no_report_and_says_what_goes_on_with_it(tmp_path):
    run = runs.Run(tmp_path / "begun", record())
    with pytest.raises(RunError, match=r"begun' is not finished\. The command that began it goes on with it\."):
        reporting.report_of([run])
    assert opened.finished(runs.Run(tmp_path, record(finished=True))).folder == tmp_path


def test_figures_are_recorded_under_names_that_programs_read_and_undefined_ones_not_at_all():
    class Some(Scored):
        @property
        def figures(self):
            return {"top-5 accuracy": 0.5, "log loss": 0.25, "of nothing": None}

    assert training._by_key(Some(count=1)) == {"top_5_accuracy": 0.5, "log_loss": 0.25}


def test_what_one_label_is_in_another_order_holds_for_boxes_too():
    from keras_transfer.data import box_labels
    from keras_transfer.data.annotations import ANNOTATIONS

    kind = ANNOTATIONS["boxes"]
    stored = kind.stored([box_labels.listed(10, 20, [(0.1, 0.1, 0.5, 0.5, "cat")])], {"cat": 0, "dog": 1})
    moved = using.reordered(stored, kind, ("cat", "dog"), ("dog", "cat"))
    assert box_labels.unpacked(moved[0])[2][:, 4].tolist() == [1]
    assert using.reordered(moved, kind, ("dog", "cat"), ("cat", "dog"))[0] == stored[0]


def test_a_file_that_draws_nothing_refuses_a_folder_before_any_picture_is_read(monkeypatch):
    monkeypatch.setattr(using, "located", lambda model: (model, None))
    monkeypatch.setattr(using, "asked", lambda path, run, labels: SimpleNamespace(contract=CONTRACT, answers=None))
    with pytest.raises(UsageError, match=r"Nothing is drawn of classification but where a run looked"):
        using.predict("model.tflite", ["nowhere.png"], output="drawn")


def test_advice_is_told_in_the_report_by_reasons_blocks_and_seconds():
    advice = SimpleNamespace(
        model_dump=lambda include: dict.fromkeys(include, ()),
        blocks=(SimpleNamespace(model_dump=lambda: {"accuracy": 0.5, "standard_error": 0.1}),),
    )
    told = reporting._figures_of(advice)
    assert set(told) == {"reasons", "unknown", "seconds", "training_seconds", "blocks"}
    assert told["blocks"] == [{"accuracy": 0.5, "standard_error": 0.1}]
