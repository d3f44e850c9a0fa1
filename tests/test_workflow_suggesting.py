"""Which pictures are worth a label: what a trained run says, in a table, on a page, in a manifest to fill in."""

import csv
import json
import shutil

import pytest
from colours import draw, trained
from typer.testing import CliRunner

from keras_transfer import cli, runs, workflow
from keras_transfer.errors import DataError, KerasTransferError, UsageError


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
    assert found.method == "torn"
    assert all(each.class_name in ("red", "green", "blue") for each in found.suggestions)


def test_the_manifest_has_the_paths_and_room_for_their_labels(found, new):
    rows = list(csv.reader((new / "to-label.csv").open()))
    assert rows[0] == ["path", "label"]
    assert [new / path for path, label in rows[1:]] == [new / each.picture for each in found.suggestions]
    assert {label for _, label in rows[1:]} == {""}


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
