"""What a person decides about pictures: it ends up in a table, and never in their files."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import mending, sources
from keras_transfer.errors import DataError, RunError, UsageError
from keras_transfer.studio import collection as collecting
from keras_transfer.studio.collection import Collection
from keras_transfer.studio.ids import id_of
from keras_transfer.workflow import serving


def png(seed=0, side=12):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "pets" / name / f"{number}.png").write_bytes(png(10 * label + number))
    return tmp_path / "pets"


@pytest.fixture
def pets(folder):
    return opened(folder)


def opened(source):
    return Collection(serving.given_for(str(source), folder=source.parent / "saved_models"))


def ids(collection, *keys):
    return [each.id for each in collection.pictures() if each.key in keys]


def class_of(collection, key):
    return next(each.label for each in collection.pictures() if each.key == key)


def files(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_where_nothing_was_decided_the_source_itself_is_trained_on(pets, folder):
    assert pets.source == str(folder)
    assert pets.frozen() == str(folder)
    assert pets.classes() == {"cat": 6, "dog": 6}


def test_what_was_decided_is_what_training_reads_and_no_file_has_changed(pets, folder):
    before = files(folder)
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    pets.leave_out(ids(pets, "cat/1.png", "dog/1.png"))
    pets.add_class("fox")
    pets.relabel(ids(pets, "dog/2.png", "dog/3.png"), "fox")
    pets.collect("fox", png(99))
    splits = sources.load(pets.source)
    assert splits.class_names == ("cat", "dog", "fox")
    assert pets.classes() == {"cat": 4, "dog": 4, "fox": 3}
    assert sum(splits.counts.values()) == 11
    assert files(folder) == before


def test_the_pictures_that_are_listed_are_those_that_are_loaded(folder):
    loaded = sources.load(str(folder))
    keys = {key for split in ("train", "validation", "test") for key in loaded[split].keys}
    assert {each.key for each in mending.listed(str(folder))} == keys


def test_a_source_that_is_divided_stays_so(tmp_path):
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(4):
                content = png(hash((split, label, number)) % 10**6)
                (tmp_path / "pets" / split / name / f"{number}.png").write_bytes(content)
    pets = opened(tmp_path / "pets")
    pets.relabel(ids(pets, "test/cat/0.png"), "dog")
    added = pets.collect("cat", png(5))
    splits = sources.load(pets.source)
    assert len(splits.test) == 8
    assert added.name in {*splits.train.keys, *splits.validation.keys}


def test_a_table_is_mended_in_a_table_beside_it(folder):
    rows = [f"pets/{name}/{number}.png,{name},," for name in ("cat", "dog") for number in range(6)]
    table = folder.parent / "listed.csv"
    table.write_text("\n".join(["path,label,weight,group", *rows[:-1], "pets/dog/5.png,dog,0.5,evening"]))
    mended = opened(table)
    mended.leave_out(ids(mended, "pets/cat/0.png"))
    assert mended.table == folder.parent / "listed-studio.csv"
    splits = sources.load(mended.source)
    assert sum(splits.counts.values()) == 11
    assert "pets/dog/5.png,dog,,0.5,evening" in mended.table.read_text()


def test_a_decision_is_taken_back(pets):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    pets.leave_out(ids(pets, "cat/1.png"))
    pets.undo()
    pets.undo()
    assert not pets.undoable
    assert (pets.changed, pets.classes()) == (0, {"cat": 6, "dog": 6})
    assert not pets.table.exists()


def test_what_was_taken_in_stays_when_an_earlier_decision_is_taken_back(pets):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    added = pets.collect("cat", png(7))
    pets.relabel([added.id], "dog")
    pets.undo()
    assert pets.picture(added.id).label == "cat"
    pets.undo()
    assert pets.classes() == {"cat": 7, "dog": 6}


def test_a_picture_that_goes_back_to_its_own_class_is_no_change(pets):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    pets.relabel(ids(pets, "cat/0.png"), "cat")
    assert pets.changed == 0


def test_a_studio_that_was_killed_knows_what_was_decided(pets, folder):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    added = pets.collect("cat", png(7))
    again = opened(folder)
    assert class_of(again, "cat/0.png") == "dog"
    assert again.picture(added.id).label == "cat"
    assert sum(sources.load(again.source).counts.values()) == 13


def test_what_a_training_is_given_is_not_changed_by_later_decisions(pets):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    given = pets.frozen()
    digest = sources.load(given).digest
    pets.relabel(ids(pets, "cat/1.png"), "dog")
    assert sources.load(given).digest == digest
    assert pets.frozen() != given


def test_a_picture_is_collected_once(pets):
    first = pets.collect("cat", png(7))
    assert pets.collect("cat", png(7)).id == first.id
    with pytest.raises(DataError, match="is here already, as cat"):
        pets.collect("dog", png(7))
    assert pets.classes()["cat"] == 7


@pytest.mark.parametrize(
    ("encoded", "told"),
    [
        (b"", "is of none of the kinds that are taken: AVIF, BMP, GIF, HEIC, JPG, PNG, TIF, WEBP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is of none of the kinds"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is of none of the kinds"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is not a picture that can be read"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "is not a picture that can be read"),
        (png()[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + png()[24:], "is not a picture|declares more pixels"),
    ],
)
def test_what_is_no_picture_is_not_collected(encoded, told, pets, folder):
    with pytest.raises(DataError, match=told):
        pets.collect("cat", encoded)
    assert not (folder.parent / "pets-studio" / "pictures").exists()


def test_a_collection_has_a_most(pets, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_COLLECTED", 1)
    pets.collect("cat", png(7))
    with pytest.raises(UsageError, match="A collection holds at most 1 pictures"):
        pets.collect("cat", png(8))


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb\0", "\u202e", "x" * 101])
def test_a_class_has_a_name_that_can_be_read(name, pets):
    with pytest.raises(UsageError, match="A class has a name of 1 to 100 characters that can be printed"):
        pets.add_class(name)


def test_classes_differ_in_more_than_case(pets):
    assert pets.add_class(" cat ") == id_of("class", "cat")
    with pytest.raises(UsageError, match="There is a class 'cat' already: names must differ in more than case"):
        pets.add_class("Cat")


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a/b", "..", "=1+1", 'x",y', "ä b"])
def test_a_class_may_be_called_anything_and_leads_nowhere(name, pets, folder):
    before = set(folder.parent.rglob("*"))
    added = pets.collect(pets.class_named(pets.add_class(name)), png(7))
    new = set(folder.parent.rglob("*")) - before
    assert all(path.is_relative_to(folder.parent / "pets-studio") or path == pets.table for path in new)
    assert added.path.startswith(str(folder.parent / "pets-studio" / "pictures"))
    for seed in (8, 9):
        pets.collect(name, png(seed))
    assert name in sources.load(pets.source).class_names


def test_pictures_without_a_class_are_left_to_learn_from(folder):
    (folder / "unlabelled").mkdir()
    (folder / "unlabelled" / "x.png").write_bytes(png(50))
    pets = opened(folder)
    pets.relabel(ids(pets, "cat/0.png"), None)
    assert len(sources.load(pets.source).unlabelled) == 2


def test_pictures_are_collected_where_there_are_none_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = Collection(serving.given_for(None, folder=tmp_path / "saved_models"))
    for number, name in enumerate(("cup", "pen") * 4):
        empty.add_class(name)
        empty.collect(name, png(number))
    assert empty.source == "pictures-studio.csv"
    assert sources.load(empty.source).class_names == ("cup", "pen")


def test_folders_without_pictures_are_no_mistake(folder):
    (folder / "fox").mkdir()
    pets = opened(folder)
    pets.collect("fox", png(60))
    pets.collect("fox", png(61))
    assert pets.classes() == {"cat": 6, "dog": 6, "fox": 2}
    (folder.parent / "nothing").mkdir()
    assert opened(folder.parent / "nothing").pictures() == ()


def test_decisions_that_cannot_be_read_are_told_of(pets, folder):
    pets.relabel(ids(pets, "cat/0.png"), "dog")
    (folder.parent / "pets-studio" / "edits.json").write_text("{")
    with pytest.raises(RunError, match=r"holds no decisions that can be read\. Move it away to begin anew"):
        opened(folder)


def test_a_class_or_a_picture_that_is_gone_is_told_of(pets):
    with pytest.raises(UsageError, match=r"One of these pictures is no longer there\. Reload the page"):
        pets.leave_out(["0" * 16])
    with pytest.raises(UsageError, match=r"That class is no longer there\. Reload the page"):
        pets.class_named("0" * 16)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("sample:fashion", "Labels are mended in folders and tables of files"),
        ("sample:fashion-boxes", "Pictures of detection are trained on as they are"),
    ],
)
def test_labels_that_cannot_be_mended_here_are_told_of(source, told, tmp_path):
    task = "detection" if "boxes" in source else "classification"
    given = serving.given_for(source, task=task, folder=tmp_path)
    assert told in given.why_not


def test_a_source_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no folder or file"):
        serving.given_for(str(tmp_path / "nowhere"), folder=tmp_path)
