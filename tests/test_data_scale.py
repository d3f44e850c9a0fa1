"""What very many pictures need: columns instead of objects, files that are read once or not at all, the same splits."""

import hashlib
import json

import numpy as np
import pytest
from pyarrow import parquet, table

from keras_transfer.data import files, records
from keras_transfer.data.augment import NOISE, noise, noise_at
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load
from keras_transfer.data.texts import Texts
from keras_transfer.errors import DataError

DIGEST = "b0ca7a608c2e68c7ccc04b06f47cf5aa63ea7dc5aca6ae86d4e436f6be5842b7"
"""Of `pets` as its files were listed one by one, in lists of objects: places of pictures never move."""

NAMES = ["pets/é.png", "pets/b\udcff.png", "pets/", "pets/b.png"]
"""Names that begin alike; one is no UTF-8, as file systems allow."""


@pytest.fixture
def pets(tmp_path):
    """Files that are the same to the last byte everywhere, two copies and a broken one among them."""
    for number in range(80):
        place = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.ppm"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number if number != 42 else 40).integers(0, 255, (20, 16, 3), np.uint8)
        place.write_bytes(b"P6 16 20 255\n" + pixels.tobytes())
    (tmp_path / "pets" / "cat" / "empty.ppm").touch()
    return tmp_path / "pets"


def listed(pets, **columns):
    """A Parquet table of the files, in another order than their names."""
    paths = sorted((each.relative_to(pets).as_posix() for each in pets.glob("*/*.ppm")), key=hash_of)
    rows = {"path": paths, "label": [each.split("/")[0] for each in paths]}
    rows |= {name: [value(each) for each in paths] for name, value in columns.items()}
    parquet.write_table(table(rows), pets / "pets.parquet")
    return str(pets / "pets.parquet")


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def places(splits):
    return {key: (name, int(label)) for name in splits.counts for key, label in of(splits[name])}


def of(split):
    return zip(split.keys, split.labels, strict=True)


def test_pictures_stand_where_they_stood_before_there_were_columns(pets):
    found, again = load(str(pets)), load(listed(pets))
    assert found.digest == again.digest == DIGEST
    assert places(found) == places(again)
    assert found.skipped == ("cat/empty.ppm is empty",)


def test_what_is_remembered_of_files_says_what_reading_them_said(pets, monkeypatch):
    first = load(str(pets))
    monkeypatch.setattr(files, "_facts", lambda path: pytest.fail(f"{path} was read again"))
    second = load(str(pets))
    assert (second.digest, places(second), second.skipped) == (first.digest, places(first), first.skipped)


def test_files_whose_hashes_a_table_says_are_not_read(pets):
    expected = load(str(pets))
    (pets / "cat" / "empty.ppm").unlink()
    source = listed(pets, sha256=lambda path: hashlib.sha256((pets / path).read_bytes()).hexdigest())
    for path in pets.glob("*/*.ppm"):
        path.rename(path.with_suffix(".gone"))
    found = load(source)
    assert (found.digest, places(found)) == (expected.digest, places(expected))


def test_a_hash_that_is_none_is_named_with_its_row(pets):
    with pytest.raises(DataError, match=r"row 1: a sha256 has 64 digits, 0-9 and a-f\. Received: 'AB'"):
        load(listed(pets, sha256=lambda path: "AB"))


def test_texts_are_read_as_a_tuple_and_as_an_array_are():
    texts = Texts.of(NAMES)
    assert texts == tuple(NAMES) == texts
    assert texts != (*NAMES, "")
    assert (len(texts), texts.shape, list(texts), texts[-2]) == (4, (4,), NAMES, "pets/")
    assert texts[np.array([3, -1, 0])].tolist() == [NAMES[3], NAMES[3], NAMES[0]]
    assert texts[np.array([True, False, False, True])] == texts[::3] == [NAMES[0], NAMES[3]]
    assert texts + texts == (*NAMES, *NAMES)
    assert (np.asarray(texts) == np.array(NAMES)).all()
    assert (Texts.of([]) == (), repr(Texts.of([])), len(texts[1:1])) == (True, "<no texts>", 0)
    with pytest.raises(IndexError):
        texts[4]


def test_keys_that_are_ends_of_paths_take_no_memory_of_their_own(pets):
    train = load(str(pets)).train
    assert train.keys._rest is train.pictures._rest
    assert [str(pets / key) for key in train.keys] == list(train.pictures)


def test_noise_of_some_pictures_is_that_of_all_of_them():
    whole, rows = noise(3, 1, 40), np.array([7, 8, 9, 39, 0, 7])
    assert (noise_at(3, 1, rows) == whole[rows]).all()
    assert noise_at(3, 1, rows[:0]).shape == (0, NOISE)


@pytest.fixture
def shards(pets):
    splits = load(listed(pets, group=lambda path: f"day {hash_of(path)[0]}", weight=lambda path: 1 + len(path) / 8))
    return splits, records.write(splits, pets / "shards")


def test_columns_of_shards_are_mapped_and_say_what_was_written(shards):
    splits, written = shards
    found = load(str(written))
    assert isinstance(found.train.labels, np.memmap)
    assert isinstance(found.train.weights, np.memmap)
    for name in splits.counts:
        was, now = ({key: row for key, *row in columns(each[name])} for each in (splits, found))
        assert was == now
    _, targets, _ = next(iter(make_feed(found)("train", image_size=16, batch_size=8)))
    assert (targets.numpy().argmax(1) == found.train.labels[:8]).all()


def columns(split):
    return zip(split.keys, split.labels.tolist(), split.weights.tolist(), split.groups.tolist(), strict=True)


def test_shards_whose_index_holds_the_columns_are_still_read(shards):
    _, written = shards
    index = json.loads((written / records.INDEX).read_text())
    expected = load(str(written))
    for name, each in index["splits"].items():
        part = expected[name]
        del each["columns"]
        each |= {"labels": part.labels.tolist(), "keys": list(part.keys)}
        each |= {"weights": part.weights.tolist(), "groups": part.groups.tolist()}
    (written / records.INDEX).write_text(json.dumps({**index, "version": 2}))
    found = load(str(written))
    assert places(found) == places(expected)
    assert found.train.keys == tuple(expected.train.keys)


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        ("train-names.arrow", lambda path: path.write_bytes(path.read_bytes()[:99]), "train-names.arrow"),
        ("train-labels.npy", lambda path: np.save(path, np.zeros(3, np.int64)), "has not a row for each of"),
        ("train-labels.npy", lambda path: np.save(path, 7 + 0 * np.load(path)), "positions of 2 classes"),
        ("train-labels.npy", lambda path: np.save(path, np.load(path) * 1.0), "labels are float64"),
        ("train-labels.npy", lambda path: np.save(path, np.load(path).astype(object)), "Python objects in dtype"),
    ],
)
def test_damaged_columns_of_shards_are_named(shards, name, damage, why):
    _, written = shards
    damage(written / name)
    with pytest.raises(DataError, match=rf"is not an index of shards \(.*{why}.*\)\. Write the shards anew"):
        load(str(written))
