"""The verbs `advise`, `report`, `bench transfer` and `train --auto`, on real weights and real pictures."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from keras_transfer import cli, workflow
from keras_transfer.data import sources
from keras_transfer.errors import KerasTransferError, RunError, UsageError
from keras_transfer.plan import read
from keras_transfer.selection import moving
from keras_transfer.specs import Plan, Run, Stage
from keras_transfer.workflow import labels

BACKBONE = "EfficientNetLite0"


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder of class folders in which colour tells the classes: trivial, so that training is short."""
    from PIL import Image

    tmp_path = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200)), ("green", (30, 180, 30))):
        for i in range(24):
            noise = rng.integers(-30, 30, (40, 40, 3))
            (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


@pytest.fixture(scope="module")
def run(colours, tmp_path_factory):
    plan = Plan(data=str(colours), backbone=BACKBONE, image_size=64, stages=(Stage(name="head", epochs=3),))
    advice = workflow.advise(str(colours), names=[BACKBONE], image_size=64)
    return workflow.train(plan, folder=tmp_path_factory.mktemp("runs"), name="colours", advice=advice)


def test_advice_on_real_pictures_is_a_plan_file_that_can_be_read(colours, tmp_path):
    written = tmp_path / "plan.toml"
    advice = workflow.advise(str(colours), names=[BACKBONE], image_size=64, write=written)
    assert read(written) == advice.plan
    assert advice.ranking[0].probe_accuracy == 1.0
    assert advice.plan.recipe == "head"
    assert len(advice.blocks) >= 4
    assert all(block.distance is not None for block in advice.blocks)
    assert advice.ranking[0].leep < 0


@pytest.fixture(scope="module")
def shoes(tmp_path_factory):
    """Shoes that point to the left, as all of the sample do, and shoes mirrored so that they point to the right."""
    from PIL import Image

    folder, sample = tmp_path_factory.mktemp("shoes"), sources.load("sample:fashion")
    wanted = [sample.class_names.index(name) for name in ("sneaker", "ankle-boot")]
    for split in (sample.train, sample.validation, sample.test):
        for i, pixels in enumerate(split.pictures[np.isin(split.labels, wanted)]):
            place = folder / split.name / ("left", "right")[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[:, ::-1] if i % 2 else pixels).save(place / f"{i}.png")
    return str(folder)


def test_shoes_that_are_told_apart_by_where_they_point_are_not_mirrored(shoes):
    advice = workflow.advise(shoes, names=[BACKBONE], image_size=96)
    assert advice.ranking[0].mirror_loss > 0.5
    assert {stage.augment for stage in advice.plan.stages} == {"light_no_flip"}


@pytest.mark.slow
def test_leaving_left_and_right_where_they_are_is_worth_it(shoes, tmp_path):
    advised = workflow.advise(shoes, names=[BACKBONE], image_size=96).plan
    flipped = advised.model_copy(
        update={"stages": tuple(stage.model_copy(update={"augment": "light"}) for stage in advised.stages)}
    )
    ours, theirs = (
        workflow.train(plan, folder=tmp_path, name=name).record.test["accuracy"]
        for name, plan in (("advised", advised), ("flipped", flipped))
    )
    print(f"advised {ours:.1%}, with flips {theirs:.1%}")
    assert ours > theirs + 0.2


def test_a_run_has_a_report_and_a_model_card_with_its_advice(run):
    rows = [{"method": each, "per_class": 5, "accuracy": 0.5, "cpu_seconds": 1.0} for each in ("transfer", "scratch")]
    (run.folder / "transfer.json").write_text(json.dumps(rows))
    path = workflow.report_of([run])
    text = path.read_text(encoding="utf-8")
    assert path == run.folder / "report.html"
    assert "What was advised, and what came of it" in text
    assert re.search(r"Training took \d+ s, where advice, which took \d+ s itself, expected \d+ s\.", text)
    assert "Where the model looked" in text
    assert "Was it worth it?" in text
    card = json.loads((run.folder / "model_card.json").read_text())
    assert card["data_digest"] == run.record.data_digest
    assert card["weights_license"] == run.record.weights_license
    assert (run.folder / "MODEL_CARD.md").read_text().startswith("# colours\n")


def test_a_run_that_was_not_finished_has_no_report(run):
    unfinished = Run(run.folder, run.record.model_copy(update={"finished": False}))
    with pytest.raises(RunError, match="is not finished"):
        workflow.report_of([unfinished])


@pytest.mark.slow
def test_labels_are_worth_what_was_measured(tmp_path):
    compared = workflow.bench_transfer("sample:fashion", per_class=[5, 25], seeds=[0])
    assert [(row["method"], row["per_class"]) for row in compared.rows] == [
        (method, count) for count in (5, 25) for method in ("transfer", "scratch", "linear probe")
    ]
    assert compared.sentence


def transfer_rows():
    digest = sources.load("sample:fashion").digest
    of = {"data_digest": digest, "backbone": BACKBONE, "recipe": "head_then_top"}
    worth = {"accuracy": 0.5, "seconds": 1.0, "cpu_seconds": 2.0, **of}
    return [{"method": each, "per_class": 5, "seed": 0, **worth} for each in ("transfer", "scratch", "linear probe")]


def test_what_a_transfer_curve_measured_before_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "train", lambda *given, **options: pytest.fail("trained again"))
    kept = tmp_path / "rows.json"
    kept.write_text(json.dumps(transfer_rows()))
    compared = workflow.bench_transfer("sample:fashion", per_class=[5], seeds=[0], resume=kept)
    assert list(compared.rows) == transfer_rows()
    assert compared.sentence.startswith("With 5 labelled pictures per class, transfer names 50.0% correctly")


@pytest.mark.parametrize("text", ["no json", "[1]", '[{"method": "transfer"}]'])
def test_a_file_that_holds_no_transfer_curve_is_one_sentence(text, tmp_path):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(UsageError, match=r"holds no rows of a transfer curve that say what they were"):
        workflow.bench_transfer("sample:fashion", resume=tmp_path / "rows.json")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("data_digest", "f" * 64, "rows of another data set (ffffffffffff…)"),
        ("backbone", "MobileNetV2", "rows of another backbone (MobileNetV2)"),
        ("recipe", "full", "rows of another recipe (full)"),
    ],
)
def test_rows_of_anything_else_are_no_part_of_a_transfer_curve(name, value, said, tmp_path):
    kept = tmp_path / "rows.json"
    kept.write_text(json.dumps([{**row, name: value} for row in transfer_rows()]))
    with pytest.raises(UsageError) as error:
        workflow.bench_transfer("sample:fashion", per_class=[5], seeds=[0], resume=kept)
    assert said in str(error.value)


@pytest.fixture(scope="module")
def clips():
    """What moves over a canvas, in eight ways."""
    return sources.load("sample:fashion-clips", annotation="clip")


def some_ways(clips, *ways):
    """The training clips that move in one of some ways, as a data set of their own."""
    wanted = [clips.class_names.index(way) for way in ways]
    train = clips.train.take(np.flatnonzero(np.isin(clips.train.labels, wanted)))
    train = replace(train, labels=np.searchsorted(sorted(wanted), train.labels))
    return replace(clips, train=train, class_names=tuple(clips.class_names[way] for way in sorted(wanted)))


def advice_on(clips):
    return workflow.advise("sample:fashion-clips", task="clips", splits=clips, names=[BACKBONE], image_size=64)


def test_clips_that_differ_by_where_they_go_are_not_mirrored(clips):
    advice = advice_on(some_ways(clips, "left", "right"))
    (reason,) = advice.reasons
    assert reason.value > 0.5
    assert re.fullmatch(
        r"Augmentation: a probe of what moves, which is right about \d+% of the clips, is right in [\d.]+ points less "
        r"of mirrored ones \(standard error [\d.]+\), so left and right stay where they are\.",
        reason.sentence,
    )
    assert (advice.plan.recipe, advice.plan.stages) == ("clips", ())


def test_clips_of_few_recordings_are_judged_by_those_of_others():
    groups = np.array([0, 1, 2, 0, 1, 2, 2, 2])
    first, count = moving._whole_groups(len(groups), groups)
    assert groups[first].tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert count == 4


def test_clips_that_show_the_same_in_a_mirror_are_mirrored(clips, tmp_path):
    advice = advice_on(some_ways(clips, "up", "down"))
    assert advice.reasons[0].sentence.endswith("so half of the clips are mirrored.")
    assert {stage.augment for stage in advice.plan.stages} == {"light"}


def test_where_a_probe_knows_nothing_of_clips_nothing_is_mirrored(clips):
    mixed = replace(clips, train=replace(clips.train, labels=np.random.default_rng(0).permutation(clips.train.labels)))
    advice = advice_on(mixed)
    assert "could not be measured" in advice.reasons[0].sentence
    assert advice.plan.stages == ()


def test_of_clips_one_backbone_and_no_limits_are_measured(clips):
    with pytest.raises(UsageError, match="Of clips only mirroring is measured, on one backbone"):
        workflow.advise("sample:fashion-clips", task="clips", splits=clips, names=[BACKBONE, "MobileNetV2"])


def test_advice_of_labels_that_it_cannot_measure_is_one_sentence():
    boxes = replace(sources.load("sample:fashion"), annotation="boxes")
    with pytest.raises(UsageError, match=r"which is labelled with boxes\. Train by a recipe instead"):
        workflow.advise("boxes", splits=boxes)


def test_a_part_of_the_pictures_has_as_many_of_each_class_and_all_the_test():
    whole = sources.load("sample:fashion")
    part, again, other = (labels.fewer(whole, 7, seed) for seed in (0, 0, 1))
    assert np.bincount(part.train.labels).tolist() == [7] * 10
    assert set(part.train.keys) <= set(whole.train.keys)
    assert part.test is whole.test
    assert part.train.keys == again.train.keys != other.train.keys
    assert len({whole.digest, part.digest, other.digest}) == 3


def test_a_part_of_the_pictures_keeps_their_weights_and_their_groups():
    whole = sources.load("sample:fashion")
    rows = np.arange(len(whole.train))
    named = replace(whole, train=replace(whole.train, weights=rows.astype(np.float32), groups=rows.astype(str)))
    part = labels.fewer(named, 7, 0).train
    assert [whole.train.keys[int(each)] for each in part.weights] == list(part.keys)
    assert [whole.train.keys[int(each)] for each in part.groups] == list(part.keys)


def test_a_part_of_a_stream_can_be_taken_too():
    import tensorflow as tf

    whole = sources.load("sample:fashion")
    names = tf.constant(whole.train.keys)
    streamed = replace(whole, train=replace(whole.train, pictures=lambda: tf.data.Dataset.from_tensor_slices(names)))
    part = labels.fewer(streamed, 2, 0).train
    assert [each.decode() for each in part.pictures().as_numpy_iterator()] == list(part.keys)


def test_pictures_that_belong_to_no_group_are_left_out_alone(colours, monkeypatch):
    splits = sources.load(str(colours))
    groups = np.array([key if "red" in key else "" for key in splits.train.keys])
    sessions = np.where(groups == "", "", "monday")
    asked = {}

    def advise(question, *given, **options):
        asked["groups"] = question.groups
        raise RunError("enough is known")

    monkeypatch.setattr("keras_transfer.selection.advisor.advise", advise)
    with pytest.raises(RunError, match="enough is known"):
        workflow.advise("named", splits=replace(splits, train=replace(splits.train, groups=sessions)), names=[BACKBONE])
    alone = int((sessions == "").sum())
    assert sorted(np.unique(asked["groups"], return_counts=True)[1].tolist()) == [1] * alone + [len(groups) - alone]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "sample:fashion", "--auto", "--plan", "x.toml"], "--auto makes the plan itself"),
        (["bench", "transfer", "sample:fashion", "--per-class", "5,many"], "Received: '5,many'"),
        (["advise", "no-such-folder"], "no-such-folder"),
        (["advise", "sample:fashion", "--backbone", "EfficientNetLite00"], "Did you mean 'EfficientNetLite0'"),
        (["report", "no-such-run"], "There is no run in 'no-such-run'"),
    ],
)
def test_a_wrong_request_is_one_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KerasTransferError) as error:
        cli.app(args=arguments, standalone_mode=False)
    assert said in str(error.value)


@pytest.mark.slow
def test_train_auto_trains_what_was_advised(colours, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", str(colours), "--auto", "--backbone", BACKBONE, "--run", "auto", "--json", "image_size=64"]
    cli.app(args=arguments, standalone_mode=False)
    record = json.loads(capsys.readouterr().out)
    advice = json.loads((tmp_path / "saved_models" / "auto" / "advice.json").read_text())
    assert record["plan"]["recipe"] == advice["plan"]["recipe"] == "head"
