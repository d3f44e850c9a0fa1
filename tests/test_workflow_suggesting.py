"""Which pictures are worth a label: what a trained run says, in a table, on a page, in a manifest to fill in."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from colours import draw, trained
from typer.testing import CliRunner

from keras_transfer import cli, runs, workflow
from keras_transfer.errors import DataError, KerasTransferError, UsageError
from keras_transfer.specs import Plan, Stage


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """Sixty new pictures, two copies of labelled ones, and a file that is none."""
    folder = tmp_path_factory.mktemp("new") / "pictures"
    draw(folder, seed=1)
    for number, file in enumerate(sorted((trained().folder.parent / "pictures" / "red").iterdir())[:2]):
        shutil.copy(file, folder / f"copy-{number}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def found(new):
    """What is worth labelling, with its manifest and its page."""
    return workflow.suggest(trained(), new, count=9, write=new / "to-label.csv", page=new.parent / "page.html")


def test_new_pictures_are_named_and_copies_and_broken_files_are_not(found, new):
    named = [each.picture for each in found.suggestions]
    assert len(set(named)) == 9
    assert (found.unlabelled, found.copies) == (60, 2)
    assert not any("copy" in name or "broken" in name for name in named)


def test_a_run_of_many_labels_is_asked_what_it_is_torn_over(found):
    assert found.method == "margin"
    assert all(each.class_name in ("red", "green", "blue") for each in found.suggestions)


def test_the_manifest_has_the_paths_and_room_for_their_labels(found, new):
    """The pictures of the run stand elsewhere, where no table of this folder may lead."""
    rows = list(csv.reader((new / "to-label.csv").open()))
    assert rows[0] == ["path", "label", "split"]
    assert [new / path for path, *_ in rows[1:]] == [new / each.picture for each in found.suggestions]
    assert {tuple(rest) for _, *rest in rows[1:]} == {("", "")}
    assert not found.whole


@pytest.fixture(scope="module")
def labelled_since(tmp_path_factory):
    """A run, a table of its pictures and of six new ones that somebody filled in, and a run on that."""
    folder = tmp_path_factory.mktemp("more")
    draw(folder / "first")
    draw(folder / "new", seed=1)
    stage = Stage(name="head", epochs=10, learning_rate=0.01)
    plan = Plan(data=str(folder / "first"), backbone="EfficientNetLite0", stages=(stage,), image_size=64)
    before = workflow.train(plan, folder=folder / "runs", name="before")
    table = folder / "all.csv"
    found = workflow.suggest(before, folder / "new", count=6, write=table)
    filled = [row if row[1] else [row[0], Path(row[0]).parent.name, ""] for row in csv.reader(table.open())]
    with table.open("w") as file:
        csv.writer(file).writerows(filled)
    after = workflow.train(plan.model_copy(update={"data": str(table)}), folder=folder / "runs", name="after")
    return found, before, after


def test_above_all_pictures_the_table_holds_those_of_the_run_with_their_splits(labelled_since):
    found, before, after = labelled_since
    assert found.whole
    counts = before.record.counts
    assert after.record.counts == {**counts, "train": counts["train"] + 6}


def test_what_labels_brought_is_told_of_the_same_test_pictures(labelled_since):
    _, before, after = labelled_since
    said = workflow.brought(before, after)
    assert said.labels == (before.record.counts["train"], before.record.counts["train"] + 6)
    assert said.merits == pytest.approx((before.record.test["accuracy"], after.record.test["accuracy"]))
    assert said.sentence.startswith(f"+6 labels ({said.labels[0]} before): accuracy ")
    again = CliRunner().invoke(cli.app, ["suggest", str(before.folder), "--after", str(after.folder), "--json"])
    assert json.loads(again.stdout) == json.loads(said.model_dump_json())


def test_runs_on_other_test_pictures_are_one_sentence(labelled_since):
    with pytest.raises(UsageError, match="are not judged by the same test pictures: the table that suggest writes"):
        workflow.brought(trained(), labelled_since[2])


def test_neither_pictures_nor_a_run_is_one_sentence():
    said = CliRunner().invoke(cli.app, ["suggest", str(trained().folder)])
    assert str(said.exception).startswith("Name UNLABELLED, a folder of pictures to choose from, or --after")


def test_the_page_needs_no_other_file(found, new):
    page = (new.parent / "page.html").read_text()
    assert page.count("data:image/webp;base64,") == 9
    assert "What to label next: 9 pictures" in page


def test_json_is_one_document(new):
    said = CliRunner().invoke(cli.app, ["suggest", str(trained().folder), str(new), "--count", "2", "--json"])
    assert len(json.loads(said.stdout)["suggestions"]) == 2


def test_a_folder_with_nothing_to_label_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=f"There is nothing to label: '{tmp_path}' holds no pictures"):
        workflow.suggest(trained(), tmp_path)


def test_pictures_that_are_all_labelled_are_one_sentence():
    labelled = trained().folder.parent / "pictures"
    with pytest.raises(DataError, match=f"All 60 pictures in '{labelled}' are copies of those of the run"):
        workflow.suggest(trained(), labelled)


def test_a_run_of_another_task_is_one_sentence(new):
    record = trained().record
    other = record.model_copy(update={"plan": record.plan.model_copy(update={"task": "multilabel"})})
    with pytest.raises(UsageError, match=r"give each picture one class\. Received: '.*', a run of multilabel"):
        workflow.suggest(runs.Run(trained().folder, other), new)


@pytest.mark.parametrize("place", ["elsewhere/to-label.csv", "new/pictures/to-label.txt"])
def test_a_manifest_that_training_could_not_read_is_one_sentence(new, tmp_path, place):
    write = tmp_path / place if place.startswith("elsewhere") else new / "to-label.txt"
    with pytest.raises(UsageError, match=r"The table to fill in is a \.csv in the folder of the pictures or above it"):
        workflow.suggest(trained(), new, write=write)


def test_a_run_that_is_not_there_is_one_sentence(new, tmp_path):
    said = CliRunner().invoke(cli.app, ["suggest", str(tmp_path / "none"), str(new)])
    assert isinstance(said.exception, KerasTransferError)
    assert "There is no file or folder at" in str(said.exception)
