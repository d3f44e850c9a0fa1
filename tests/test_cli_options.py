"""What people type: options by their usual names, and what is said where something is nearly right."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from keras_transfer import __version__, cli, runs, workflow
from keras_transfer import plan as plans
from keras_transfer.errors import DataError, KerasTransferError, UsageError
from keras_transfer.specs import Plan, RunRecord, Stage


def typed(*arguments):
    """Call the command line in this process; return what a person reads, or the error that would be shown."""
    found = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    if isinstance(found.exception, KerasTransferError):
        raise found.exception
    return found


@pytest.fixture
def planned(monkeypatch):
    """The plan, the folder and the name that training would be given."""
    seen = {}

    def train(plan, *, folder, name, **others):
        seen.update(plan=plan, folder=folder, name=name)
        raise UsageError("as far as this test goes")

    monkeypatch.setitem(vars(workflow), "train", train)

    def ask(*arguments):
        with pytest.raises(UsageError, match="as far as this test goes"):
            typed("train", *arguments)
        return seen

    return ask


def kept(folder, name, data="sample:fashion", finished=True, **changes):
    """Put a run into `folder` that nobody trained."""
    plan = Plan(data=data)
    facts = {"class_names": ("a", "b"), "counts": {}, "data_digest": "", "image_size": 96, "test": {"accuracy": 0.875}}
    record = RunRecord(plan=plan, finished=finished, seconds=12.0, **facts | changes)
    runs.write(runs.Run(folder / name, record))
    (folder / name / runs.PLAN).write_text(plans.to_toml(plan))
    return folder / name


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("--image-size", "image_size", 128),
        ("--batch-size", "batch_size", 8),
        ("--epochs", "epochs", 3),
        ("--minutes", "minutes", 2.5),
        ("--seed", "seed", 4),
        ("--task", "task", "multilabel"),
    ],
)
def test_keys_that_change_daily_are_options(planned, option, key, value):
    assert getattr(planned("sample:fashion", option, value)["plan"], key) == value


def test_key_equals_value_sets_the_same(planned):
    assert planned("sample:fashion", "epochs=3", "seed=4")["plan"] == Plan(data="sample:fashion", epochs=3, seed=4)


def test_epochs_are_those_of_every_stage_that_a_plan_spells_out(planned, tmp_path):
    plan = Plan(data="sample:fashion", stages=(Stage(name="head", epochs=9), Stage(name="top", blocks="all")))
    (tmp_path / "plan.toml").write_text(plans.to_toml(plan))
    changed = planned("--plan", tmp_path / "plan.toml", "--epochs", 2)["plan"]
    assert [stage.epochs for stage in changed.stages] == [2, 2]
    assert changed.epochs is None


def test_minutes_are_refused_beside_what_decides_too(tmp_path):
    with pytest.raises(UsageError, match="--minutes measures and chooses by itself: leave --auto out"):
        typed("train", "sample:fashion", "--minutes", 2, "--auto")
    plan = Plan(data="sample:fashion", stages=(Stage(name="head"),))
    (tmp_path / "plan.toml").write_text(plans.to_toml(plan))
    with pytest.raises(UsageError, match=r"--minutes chooses the stages, and '.*plan\.toml' spells them out"):
        typed("train", "--plan", tmp_path / "plan.toml", "--minutes", 2)


def test_a_plan_whose_stages_the_clock_decided_is_taken_as_it_is(planned, tmp_path):
    plan = Plan(data="sample:fashion", minutes=2, stages=(Stage(name="head"),))
    (tmp_path / "plan.toml").write_text(plans.to_toml(plan))
    assert planned("--plan", tmp_path / "plan.toml")["plan"] == plan


def test_epochs_are_those_of_every_stage_of_a_recipe():
    from keras_transfer.training import recipes

    assert {stage.epochs for stage in recipes.stages("head_then_top", 5, epochs=3)} == {3}
    assert recipes.stages("head_then_top", 5, epochs=3, pretrained=False)[1].batch_norm == "train"


def test_output_is_the_run_folder_itself(planned, tmp_path):
    seen = planned("sample:fashion", "--output", tmp_path / "deep" / "mine")
    assert (seen["folder"], seen["name"]) == (tmp_path / "deep", "mine")
    with pytest.raises(UsageError, match="--output is the run folder itself: leave --run and --folder out"):
        typed("train", "sample:fashion", "--output", "a/b", "--run", "c")


def test_an_option_that_is_nearly_one_says_which():
    found = typed("train", "sample:fashion", "--epoch", "3")
    assert found.exit_code == 2
    assert "--epochs" in found.output
    assert "--watch" not in found.output


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("epoch=3", "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("image-sise=96", "Unknown key 'image_sise'. Did you mean 'image_size'?"),
        ("learning_rate=1e-3", "Unknown key 'learning_rate'. It belongs to a stage: stages.0.learning_rate"),
        ("stages.0.epochs=3", "give one with --plan. --epochs sets them for all stages of a recipe."),
        ('data="a\\u0000b"', "'data' must hold no NUL byte. Received: 'a\\x00b'"),
    ],
)
def test_a_key_that_is_nearly_one_says_which(key, sentence):
    with pytest.raises(UsageError) as caught:
        typed("train", "sample:fashion", key)
    assert sentence in str(caught.value)


def test_a_key_that_is_nested_too_deep_is_taken_as_text():
    with pytest.raises(UsageError, match="seed"):
        plans.make(plans.override({"data": "x"}, ["seed=" + "[" * 5000 + "]" * 5000]))


def test_a_plan_that_is_nested_too_deep_is_one_sentence(tmp_path):
    (tmp_path / "plan.toml").write_text("data = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(UsageError, match=r"plan\.toml' is not a plan: its values are nested too deep to be read"):
        plans.read(tmp_path / "plan.toml")


def test_version_is_that_of_the_package():
    assert typed("--version").output.strip() == __version__


def test_no_verb_shows_what_verbs_there_are():
    assert "train" in typed().output


def test_train_without_pictures_says_what_to_type():
    with pytest.raises(UsageError, match=r"Which pictures\? .* To try it: keras-transfer train sample:fashion"):
        typed("train")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "nowhere"),
        ("advise", "nowhere"),
        ("doctor", "nowhere"),
        ("evaluate", "nowhere"),
        ("predict", "nowhere.tflite", "nowhere.jpg"),
        ("bench", "latency", "nowhere.tflite"),
        ("bench", "transfer", "nowhere"),
        ("lr-find", "nowhere"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_before_tensorflow_is_imported(arguments):
    code = (
        "import sys, keras_transfer.cli as cli\n"
        "from keras_transfer.errors import DataError\n"
        "try: cli.app(args=sys.argv[1:])\n"
        "except DataError as error: print(error, 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    assert "nowhere" in said
    assert said.strip().endswith("False")


def test_export_without_a_run_asks_where_runs_of_several_sources_are(tmp_path):
    kept(tmp_path, "one")
    kept(tmp_path, "two", data="pictures/")
    with pytest.raises(UsageError, match=r"holds runs of several sources\. Which\? Name one: .*one, .*two"):
        typed("export", "--folder", tmp_path)


def test_runs_are_listed_with_what_they_reached_and_how_they_go_on(tmp_path):
    kept(tmp_path, "done")
    kept(tmp_path, "stopped", finished=False)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / runs.RECORD).write_bytes(b"\x80\x81\x00")
    lines = {line.split()[0].split("/")[-1]: line for line in typed("runs", "--folder", tmp_path).output.splitlines()}
    assert "accuracy 87.5%" in lines["done"]
    assert "finished" in lines["done"]
    assert f"keras-transfer train --plan {tmp_path}/stopped/plan.toml --run stopped --folder" in lines["stopped"]
    assert "is not a run record of this version" in lines["broken"]


def test_a_run_that_was_stopped_goes_on_by_the_command_that_runs_lists(tmp_path):
    place = kept(tmp_path, "stopped", finished=False)
    (listed,) = workflow.listed(tmp_path)
    assert listed.state == f"keras-transfer train --plan {place}/plan.toml --run stopped --folder {tmp_path}"
    assert runs.place_for(plans.read(place / runs.PLAN), tmp_path, "stopped") == place


def test_a_run_without_exports_says_how_they_are_made(tmp_path):
    place = kept(tmp_path, "done")
    with pytest.raises(KerasTransferError, match=r"has no exported files\. Make them: keras-transfer export"):
        typed("bench", "latency", place)


def test_a_run_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / runs.RECORD).write_bytes(b"\x80\x81\x00")
    with pytest.raises(KerasTransferError, match="is not a run record of this version"):
        runs.open_run(tmp_path)


@pytest.mark.parametrize("folder", ["/proc/x", "/etc/passwd"])
def test_a_folder_that_cannot_hold_runs_is_one_sentence(folder, tmp_path):
    place = runs.Path(folder) / "run"
    with (
        pytest.raises(KerasTransferError, match=r"No run folder can be made at .* Name another place with --folder"),
        runs.locked(place),
    ):
        pass


def test_a_model_that_was_cut_short_is_one_sentence(tmp_path):
    from keras_transfer.export import runtime

    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(KerasTransferError, match=r"is no whole \.keras file: it was cut short"):
        runtime.load(tmp_path / "model.keras")


def test_a_path_outside_of_a_source_names_what_a_source_is():
    with pytest.raises(DataError, match=r"There is no folder or file 'nowher'\. A source is one of: sample:fashion"):
        workflow.recognised("nowher")


def test_standard_output_that_knows_ascii_alone_is_enough():
    import os

    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    arguments = [sys.executable, "-m", "keras_transfer", "train", "--help"]
    done = subprocess.run(arguments, capture_output=True, env=environment, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)


def test_lr_find_says_where_the_loss_falls_fastest(monkeypatch):
    curve = SimpleNamespace(rates=(1e-4, 1e-3), losses=(0.9, 0.5), suggestion=1e-3)
    asked = {}
    monkeypatch.setitem(vars(workflow), "lr_find", lambda plan, **others: asked.update(plan=plan, **others) or curve)
    found = typed("lr-find", "sample:fashion", "--stage", "top", "--recipe", "adapt", "--json")
    assert json.loads(found.output)["suggestion"] == 1e-3
    assert (asked["plan"], asked["stage"]) == (Plan(data="sample:fashion", recipe="adapt"), "top")


def test_weights_of_a_sequential_model_are_refused_in_one_sentence(tmp_path):
    import keras

    from keras_transfer.backbones import features, registry

    keras.Sequential([keras.Input((96, 96, 3)), keras.layers.Conv2D(4, 3)]).save(tmp_path / "model.keras")
    with pytest.raises(KerasTransferError, match="it is a Sequential model"):
        features.build(registry.backbone("MobileNetV2"), image_size=96, weights=str(tmp_path / "model.keras"))
