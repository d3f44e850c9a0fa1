"""Pictures without a label: in a folder of their own or in rows without one, and never copies of those that judge."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import sources
from keras_transfer.errors import DataError


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24, 3)).astype("uint8")).save(path)


@pytest.fixture
def folder(tmp_path):
    for number in range(24):
        picture(tmp_path / "pictures" / ("ant", "bee")[number % 2] / f"{number}.png", number)
    return tmp_path / "pictures"


def test_a_folder_of_that_name_is_no_class(folder):
    before = sources.load(str(folder))
    for number in range(5):
        picture(folder / "unlabelled" / "new" / f"{number}.png", 100 + number)
    splits = sources.load(str(folder))
    assert splits.class_names == ("ant", "bee")
    assert splits.counts == before.counts
    assert before.unlabelled is None
    assert splits.unlabelled.keys[0] == "unlabelled/new/0.png"
    assert len(splits.unlabelled) == 5
    assert splits.digest != before.digest


def test_it_stands_beside_the_folders_of_splits_too(folder):
    for number in range(16):
        split, name = ("train", "test")[number % 2], ("ant", "bee")[number // 2 % 2]
        picture(folder.parent / "split" / split / name / f"{number}.png", 200 + number)
    picture(folder.parent / "split" / "unlabelled" / "new.png", 500)
    assert sources.load(str(folder.parent / "split")).unlabelled.keys == ("unlabelled/new.png",)


def test_rows_without_a_label_are_read_beside_those_with_one(folder):
    for number in range(3):
        picture(folder / f"new-{number}.png", 100 + number)
    rows = [f"{('ant', 'bee')[number % 2]}/{number}.png,{('ant', 'bee')[number % 2]}" for number in range(24)]
    (folder / "all.csv").write_text("\n".join(["path,label", *rows, *(f"new-{n}.png," for n in range(3))]))
    splits = sources.load(str(folder / "all.csv"))
    assert splits.unlabelled.keys == ("new-0.png", "new-1.png", "new-2.png")
    assert sum(splits.counts.values()) == 24


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_copy_of_a_picture_that_judges_is_refused_by_name(folder, split):
    key = sources.load(str(folder))[split].keys[0]
    (folder / "unlabelled").mkdir()
    shutil.copy(folder / key, folder / "unlabelled" / "copy.png")
    sentence = rf"1 pictures without a label .* must not be learned from: unlabelled/copy\.png of {key} \({split}\)\."
    with pytest.raises(DataError, match=sentence):
        sources.load(str(folder))


def test_copies_of_labelled_pictures_and_of_each_other_are_left_out_and_told(folder):
    key = sources.load(str(folder)).train.keys[0]
    picture(folder / "unlabelled" / "a.png", 100)
    shutil.copy(folder / "unlabelled" / "a.png", folder / "unlabelled" / "b.png")
    shutil.copy(folder / key, folder / "unlabelled" / "c.png")
    splits = sources.load(str(folder))
    assert splits.unlabelled.keys == ("unlabelled/a.png",)
    assert "unlabelled/b.png is the same picture as unlabelled/a.png" in splits.skipped
    assert f"unlabelled/c.png is the same picture as {key}" in splits.skipped
