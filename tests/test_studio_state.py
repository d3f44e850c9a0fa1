"""What the studio asks verbs for, in which words, and what it makes of their answers."""

import asyncio
import dataclasses
import json
import sys
import time

import pytest
from colours import trained
from pydantic import TypeAdapter

from keras_transfer.bundles import targets
from keras_transfer.errors import UsageError
from keras_transfer.evaluation.intervals import margin
from keras_transfer.export.formats import FORMATS
from keras_transfer.specs import Event
from keras_transfer.studio import feeding, results
from keras_transfer.studio.commands import Asked
from keras_transfer.studio.ids import id_of
from keras_transfer.studio.state import MissingError, Studio
from keras_transfer.workflow import serving
from tests.test_studio_pictures import folder, png  # noqa: F401

SAYS = """
import json, pathlib, sys
verb, *words = sys.argv[1:]
drawn = pathlib.Path(words[words.index("--output") + 1]) if "--output" in words else None
if drawn:
    drawn.mkdir(parents=True)
    (drawn / "0-gradcam.png").write_bytes(b"drawn")
print(json.dumps({
    "doctor": {"counts": {"train": 12}, "findings": [
        {"kind": "duplicate", "message": "Twice.", "pictures": ["train: cat/0.png", "train: cat/1.png"]},
        {"kind": "suspicious label", "message": "A dog?", "pictures": ["test: cat/2.png"], "suggested": "dog"},
        {"kind": "tiny class", "message": "Few.", "pictures": []},
    ]},
    "evaluate": {"count": 3, "mistakes": [{"picture": "cat/0.png", "truth": "cat", "merit": 0, "says": {}}]},
    "predict": [{"picture": words[1], "class_name": "cat", "files": [str(drawn and drawn / "0-gradcam.png")]},
                {"picture": "x", "class_name": "cat", "files": ["/etc/passwd"]}],
}.get(verb, {})))
"""
"""In place of the verbs: what the studio makes of an answer does not depend on who gave it."""


@pytest.fixture
def studio(folder, tmp_path):  # noqa: F811
    given = serving.given_for(str(folder), folder=tmp_path / "saved_models")
    return Studio(dataclasses.replace(given, command=(sys.executable, "-c", SAYS)))


@pytest.fixture
def run(studio):
    """The id of a folder in which a training has begun."""
    place = studio.given.runs_folder / "pets"
    place.mkdir(parents=True)
    (place / "plan.toml").write_text("")
    return id_of("run", str(place))


def asked(verb, **options):
    return TypeAdapter(Asked).validate_python({"verb": verb, **options})


def done(studio, verb, **options):
    job = studio.start(asked(verb, **options))
    while studio.jobs.get(job.record.id).state == "running":
        time.sleep(0.02)
    return studio.jobs.get(job.record.id)


def words(job):
    return [word for word in job.record.words if word != "--json"]


def keys(studio, *named):
    return [each.id for each in studio.pictures.pictures() if each.key in named]


def test_a_training_is_asked_for_as_a_person_would(studio, folder):  # noqa: F811
    job = done(studio, "train", backbone="MobileNetV2", recipe="head", epochs=3, minutes=2.5)
    where = str(studio.given.runs_folder)
    options = ["--backbone", "MobileNetV2", "--recipe", "head", "--minutes", "2.5", "--epochs", "3"]
    assert words(job) == ["train", str(folder), *options, "--run", "pets-MobileNetV2", "--folder", where]
    assert job.command.startswith(f"keras-transfer train {folder} --backbone MobileNetV2")
    assert "--json" not in job.command


def test_a_training_of_mended_pictures_is_given_a_table_of_its_own_and_a_free_name(studio):
    (studio.given.runs_folder / "pets-EfficientNetLite0").mkdir(parents=True)
    studio.pictures.relabel(keys(studio, "cat/0.png"), "dog")
    job = done(studio, "train")
    assert words(job)[1].endswith(f"pets-studio-{studio.pictures.stamp[:8]}.csv")
    assert "pets-EfficientNetLite0-2" in words(job)


def test_what_the_tables_do_not_have_is_not_asked_for(studio, run):
    with pytest.raises(UsageError, match=r"Unknown backbone '--run'"):
        studio.start(asked("train", backbone="--run"))
    with pytest.raises(UsageError, match=r"Unknown recipe 'heads'\. Did you mean 'head'\?"):
        studio.start(asked("train", recipe="heads"))
    with pytest.raises(UsageError, match=r"Unknown export format '--output'"):
        studio.start(asked("export", run=run, formats=["tflite", "--output"]))
    with pytest.raises(UsageError, match=r"Unknown target 'andriod'\. Did you mean 'android'\?"):
        studio.start(asked("bundle", run=run, target="andriod"))
    assert studio.jobs.all() == []


def test_formats_and_targets_are_those_of_the_tables(studio, run):
    assert [each.name for each in studio.given.formats] == list(FORMATS)
    assert [each.name for each in studio.given.targets] == list(targets.TARGETS)
    frame_by_frame = {each.name: each.tasks for each in studio.given.formats}["onnx-stream"]
    assert frame_by_frame == ("clips",)
    for each in studio.given.targets:
        assert words(done(studio, "bundle", run=run, target=each.name))[2:] == ["--for", each.name]


def test_what_a_training_takes_by_itself_is_what_its_task_does(tmp_path):
    settled = [serving.given_for(None, task=task, folder=tmp_path).settled for task in ("classification", "detection")]
    assert settled == [{"backbone": "EfficientNetLite0", "recipe": name} for name in ("head_then_top", "dense")]


def test_verbs_about_a_run_name_its_folder(studio, run):
    place = str(studio.given.runs_folder / "pets")
    assert words(done(studio, "export", run=run, formats=["tflite"])) == ["export", place, "--format", "tflite"]
    assert words(done(studio, "bundle", run=run, target="web")) == ["bundle", place, "--for", "web"]
    assert words(done(studio, "report", run=run)) == ["report", place]
    with pytest.raises(MissingError, match=r"That run is no longer there\. Reload the page\."):
        studio.start(asked("report", run="0" * 16))


def test_findings_are_told_with_their_pictures_until_these_change(studio):
    done(studio, "doctor")
    found = studio.findings()
    assert [(each["kind"], each["count"]) for each in found["kinds"]] == [
        ("duplicate", 1),
        ("suspicious label", 1),
        ("tiny class", 1),
    ]
    assert not found["stale"]
    assert [each.picture.key for each in studio.found("duplicate")] == ["cat/0.png", "cat/1.png"]
    (doubted,) = studio.found("suspicious label")
    assert (doubted.told, doubted.suggested) == ("A dog?", "dog")
    studio.pictures.relabel([doubted.picture.id], "dog")
    assert studio.findings()["stale"]
    assert studio.found("suspicious label")[0].picture.label == "dog"


def test_mistakes_are_told_with_what_was_decided_since(studio, run):
    assert studio.mistakes(run, "test") == {"asked": False, "rows": []}
    done(studio, "evaluate", run=run, split="test")
    studio.pictures.relabel(keys(studio, "cat/0.png"), "dog")
    (row,) = studio.mistakes(run, "test")["rows"]
    assert (row["id"], row["truth"], row["label"]) == (*keys(studio, "cat/0.png"), "cat", "dog")
    assert not studio.mistakes(run, "validation")["asked"]


def test_new_pictures_are_asked_about_and_what_is_drawn_stays_in_its_folder(studio, run):
    id = studio.try_out(png(70))
    job = done(studio, "predict", run=run, pictures=[id])
    (answer,) = studio.answers(job)
    assert (answer["id"], answer["says"], answer["drawn"]) == (id, {"class_name": "cat"}, True)
    assert studio.drawn(job, 0).read_bytes() == b"drawn"
    for number in (1, 2):
        with pytest.raises(MissingError, match=r"Nothing was drawn of that picture\."):
            studio.drawn(job, number)


def test_pictures_to_try_are_kept_as_long_as_there_is_room(studio, monkeypatch):
    from keras_transfer.studio import taking

    monkeypatch.setattr(taking, "MOST_TRIED", 2)
    ids = []
    for seed in (1, 2, 3):
        ids.append(studio.try_out(png(seed)))
        time.sleep(0.02)  # the oldest is known by its time
    with pytest.raises(MissingError, match=r"That picture is no longer there\. Reload the page\."):
        studio.path_of(ids[0])
    assert studio.path_of(ids[2]).is_file()


def test_the_page_is_told_of_what_has_changed_and_of_nothing_else():
    class Open:
        looks = 0

        async def is_disconnected(self):
            self.looks += 1
            return self.looks > 3

    told = iter([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}])

    async def all_of():
        return [each async for each in feeding.stream(lambda: next(told), Open())]

    assert [json.loads(each.removeprefix("data: ")) for each in asyncio.run(all_of())] == [{"a": 1, "b": 1}, {"b": 2}]


def test_a_run_that_is_named_is_what_the_page_opens_with():
    run = trained()
    given = serving.given_for(str(run.folder), folder=run.folder.parent)
    studio = Studio(given)
    assert studio.runs()[0]["name"] == "colours"
    assert given.source == run.record.plan.data
    told = studio.stages(run.folder)["stages"]
    assert [(each["name"], each["state"], len(each["rows"])) for each in told] == [("head", "kept", 10)]
    shown = results.described(run.folder, given.spread)
    assert shown["test"]["accuracy"] == run.record.test["accuracy"]
    assert shown["spread"] == pytest.approx(margin(run.record.test["accuracy"], run.record.counts["test"]))


def test_a_training_is_followed_while_it_goes(studio, run):
    from keras_transfer import journal

    place = studio.given.runs_folder / "pets"
    values = {"epoch": 1.0, "loss": 0.5, "validation_loss": float("nan"), "validation_merit": 0.7, "seconds": 2.0}
    with journal.keeping(place / journal.JOURNAL, lambda event: None) as listener:
        listener(Event("stages", "head", total=1, values={"head": 3}))
        listener(Event("stage", "head: the head learns", done=0))
        listener(Event("epoch", "head", 1, 3, values))
        (stage,) = studio.stages(place)["stages"]
        assert (stage["state"], stage["left"], stage["rows"]) == ("learns", 4, [[1.0, 0.5, None, 0.7]])
        listener(Event("warning", "head: rolled back: 60.0% did not beat the 70.0%"))
        done_values = {"epochs": 1, "validation_merit": 0.6, "seconds": 2.0, "kept": False}
        listener(Event("finished", "head", 1, values=done_values))
        (stage,) = studio.stages(place)["stages"]
        assert (stage["state"], stage["reason"]) == ("rolled back", "rolled back: 60.0% did not beat the 70.0%")
