"""A plan is checked whole before anything is done, and a run is found again by its plan."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_transfer import plan as plans
from keras_transfer import runs, workflow
from keras_transfer.errors import RunError, UsageError, WeightsError
from keras_transfer.specs import Plan, Stage
from keras_transfer.workflow import checking

HEAD = Stage(name="head", epochs=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pets"
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype("uint8")).save(folder / name / f"{index}.png")
    return folder


def plan_for(pictures, **changes):
    small = {"backbone": "MobileNetV2", "weights": "none", "image_size": 32, "stages": (HEAD,)}
    return plans.make({"data": str(pictures), **small, **changes})


MISTAKES = [
    ({"exports": ("onx",)}, r"Unknown export 'onx'\. Did you mean 'onnx'"),
    ({"recipe": "heads", "stages": ()}, r"Unknown recipe 'heads'\. Did you mean 'head'"),
    ({"backbone": "MobilNetV2"}, r"Unknown backbone 'MobilNetV2'\. Did you mean 'MobileNetV2'"),
    ({"task": "clasification"}, r"Unknown task 'clasification'\. Did you mean 'classification'"),
    ({"backbone": "Xception", "image_size": 64}, r"Xception takes pictures of at least 71 pixels\. Received: 64"),
    ({"stages": (HEAD.model_copy(update={"optimizer": "adamwe"}),)}, r"Unknown optimizer 'adamwe'\. Did you mean"),
    ({"stages": (HEAD.model_copy(update={"augment": "lite"}),)}, r"Unknown augmentation 'lite'\. Did you mean 'light'"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[next(iter(changes)) for changes, _ in MISTAKES])
def test_a_mistake_in_the_plan_shows_before_the_pictures_are_read(tmp_path, changes, sentence):
    with pytest.raises(UsageError, match=sentence):
        workflow.train(plan_for(tmp_path / "nowhere", **changes), folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_engine_that_nobody_knows_shows_before_the_pictures_are_read(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown engine 'lite'\. Did you mean 'litert'"):
        workflow.train(plan_for(tmp_path / "nowhere"), folder=tmp_path / "runs", engine="lite")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"weights": "missing.h5"}, WeightsError),
        ({"stages": (HEAD.model_copy(update={"blocks": (9,)}),)}, UsageError),
        ({"stages": (HEAD.model_copy(update={"image_size": 24}),)}, UsageError),
    ],
    ids=["weights", "blocks", "size of a stage"],
)
def test_what_only_the_network_can_refuse_leaves_no_folder_that_blocks_the_name(pictures, tmp_path, changes, error):
    with pytest.raises(error):
        workflow.train(plan_for(pictures, **changes), folder=tmp_path / "runs", name="mine")
    assert not (tmp_path / "runs").exists()


def test_a_finished_command_that_is_repeated_says_so_and_trains_nothing(pictures, tmp_path):
    heard = []
    first = workflow.train(plan_for(pictures), folder=tmp_path / "runs")
    before = (first.folder / runs.RECORD).read_bytes()
    again = workflow.train(plan_for(pictures), folder=tmp_path / "runs", listener=heard.append)
    assert again == first
    assert (first.folder / runs.RECORD).read_bytes() == before
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["pets-MobileNetV2"]
    (note,) = [event.message for event in heard if event.kind == "note" and "finished already" in event.message]
    assert "train anew with --run NAME, or another seed=NUMBER" in note
    assert workflow.train(plan_for(pictures), folder=tmp_path / "runs", name=first.folder.name) == first
    assert workflow.train(plan_for(pictures, seed=1), folder=tmp_path / "runs").folder.name == "pets-MobileNetV2-2"


def test_a_rate_that_is_left_to_be_found_is_found_when_the_stage_begins(pictures, tmp_path):
    stage = HEAD.model_copy(update={"learning_rate": "auto"})
    (result,) = workflow.train(plan_for(pictures, stages=(stage,)), folder=tmp_path).record.stages
    assert 1e-6 < result.learning_rate < 1
    assert result.history[0]["learning_rate"] <= result.learning_rate
    began = json.loads((tmp_path / "pets-MobileNetV2" / "stages" / "0-head" / "began.json").read_text())
    assert began["asked"]["learning_rate"] == "auto"
    assert began["stage"]["learning_rate"] == result.learning_rate


@pytest.mark.parametrize("rate", [0, -1, 11, "fast", True])
def test_a_rate_out_of_range_is_one_sentence(rate):
    stage = {"name": "head", "learning_rate": rate}
    with pytest.raises(UsageError, match=r"a learning rate is above 0 and at most 10, or 'auto'\. Received: "):
        plans.make({"data": "sample:fashion", "stages": [stage]})


def test_the_rate_of_a_later_stage_is_looked_for_on_the_network_it_begins_with(pictures, tmp_path):
    heard = []
    plan = plan_for(pictures, stages=(HEAD, Stage(name="top", blocks=(-1,), epochs=1, batch_norm="frozen")))
    curve = workflow.lr_find(plan, stage="top", plot=tmp_path / "rates.svg", listener=heard.append)
    assert curve.suggestion in curve.rates
    assert len(curve.rates) == len(curve.losses)
    assert [event.message for event in heard if event.kind == "finished"] == ["head"]
    text = (tmp_path / "rates.svg").read_text()
    assert 'aria-label="Loss by learning rate"' in text
    assert f"falls fastest at {curve.suggestion:.2g}" in text
    with pytest.raises(UsageError, match=r"Unknown stage 'tap'\. Did you mean 'top'"):
        workflow.lr_find(plan, stage="tap")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("tfds:cifar10:3.0.2", "cifar10"),
        ("tfds:imagenet_v2/topimages:3.0.0", "topimages"),
        ("sample:fashion", "fashion"),
        ("/data/pets/", "pets"),
        ("pets.v2/photos", "photos"),
        ("table.csv", "table.csv"),
    ],
)
def test_a_run_is_named_after_its_pictures_and_its_backbone(data, name):
    assert runs.name_for(Plan(data=data, backbone="MobileNetV2")) == f"{name}-MobileNetV2"


def record(folder, plan, **changes):
    values = {"plan": plan, "class_names": ("a", "b"), "counts": {}, "data_digest": "d", "image_size": 32, **changes}
    runs.write(runs.Run(folder, runs.RunRecord(**values)))
    (folder / runs.PLAN).write_text(plans.to_toml(plan))
    return folder


def test_a_run_goes_where_the_same_plan_is_and_nowhere_else(tmp_path):
    plan, other = Plan(data="pets"), Plan(data="pets", seed=1)
    place = record(tmp_path / runs.name_for(plan), plan, finished=True)
    assert runs.place_for(plan, tmp_path, data_digest="d") == place
    assert runs.place_for(plan, tmp_path, data_digest="e").name.endswith("-2")  # the pictures are no longer those
    assert runs.place_for(other, tmp_path).name.endswith("-2")
    with pytest.raises(RunError, match="already holds another plan"):
        runs.place_for(other, tmp_path, place.name)
    with pytest.raises(RunError, match="already holds a finished run of other pictures"):
        runs.place_for(plan, tmp_path, place.name, data_digest="e")


@pytest.mark.parametrize("content", [b"\xff\x00 no text", b"{}", b"[" * 5000])
def test_a_record_that_cannot_be_read_hides_no_other_run(tmp_path, content):
    good = record(tmp_path / "good", Plan(data="pets"), finished=True)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / runs.RECORD).write_bytes(content)
    assert runs.latest(tmp_path).folder == good
    assert [run.folder for run in runs.every(tmp_path)] == [good]
    with pytest.raises(RunError, match="is not a run record of this version"):
        runs.open_run(tmp_path / "bad")


def test_all_runs_are_listed_newest_first_those_under_way_included(tmp_path):
    import os

    for age, name in enumerate(("new", "old")):
        folder = record(tmp_path / name, Plan(data="pets"), finished=name == "old")
        os.utime(folder / runs.RECORD, (1000 - age, 1000 - age))
    assert [run.folder.name for run in runs.every(tmp_path)] == ["new", "old"]
    assert runs.latest(tmp_path).folder.name == "old"
    assert runs.finished(tmp_path / "new") is None
    with pytest.raises(RunError, match="There is no finished run in"):
        runs.latest(tmp_path / "nowhere")


def test_every_recipe_and_engine_of_the_tables_passes_the_check(pictures):
    for engine in checking.ENGINES:
        assert checking.check(plan_for(pictures), engine=engine).name == "MobileNetV2"
