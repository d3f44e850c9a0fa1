"""Manifests and shards: tables that say where pictures are, and what is wrong with a table."""

import numpy as np
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from keras_transfer.data import records
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError
from tests.test_data_sources import write_picture


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(20):
            write_picture(tmp_path / "pets" / name / f"{number}.png", 1000 * label + number)
    return tmp_path / "pets"


def write_manifest(folder, rows, header="path,label"):
    path = folder / "pictures.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def rows_of(folder, extra=lambda name, number: ""):
    return [f"{name}/{number}.png,{name}{extra(name, number)}" for name in ("cat", "dog") for number in range(20)]


def test_a_csv_manifest_gives_the_same_splits_as_the_folder_it_lists(folder):
    listed, found = load(write_manifest(folder, rows_of(folder))), load(str(folder))
    assert listed.digest == found.digest
    assert sorted(listed.train.keys) == sorted(found.train.keys)


def test_a_parquet_manifest_says_what_its_csv_says(folder):
    path = write_manifest(folder, rows_of(folder))
    parquet.write_table(arrow_csv.read_csv(path), folder / "pictures.parquet")
    assert load(str(folder / "pictures.parquet")).digest == load(path).digest


def test_splits_and_weights_of_a_manifest_are_kept(folder):
    split = lambda name, number: "train" if number < 12 else "val" if number < 16 else "test"  # noqa: E731
    rows = rows_of(folder, lambda name, number: f",{split(name, number)},{1 + number / 10}")
    splits = load(write_manifest(folder, rows, "path,label,split,weight"))
    assert splits.counts == {"train": 24, "validation": 8, "test": 8}
    _, _, weights = next(iter(make_feed(splits)("train", image_size=16, batch_size=24)))
    assert np.allclose(sorted(weights.numpy())[:4], [1, 1, 1.1, 1.1])


def test_labels_that_look_like_numbers_stay_names(folder):
    rows = [row.replace(",cat", ",007").replace(",dog", ",1e3") for row in rows_of(folder)]
    assert load(write_manifest(folder, rows)).class_names == ("007", "1e3")


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        ("path,label", "../secret.png,cat", r"row 41: a path must stay in the manifest's folder. Received: '../secret"),
        ("path,label", "cat/../../secret.png,cat", r"row 41: a path must stay in the manifest's folder"),
        (
            "path,label",
            "/etc/passwd,cat",
            r"row 41: a path must stay .* Received: '/etc/passwd'",
        ),
        ("path,label", ",cat", r"row 41: a path and a label are needed. Received: '', 'cat'"),
        ("path,label", "cat/1.png,Cat", r"Classes 'Cat' and 'cat' differ in case or blanks only"),
        ("file,label", "cat/1.png,cat", r"has no column 'path'. It has: file, label."),
        ("path,lable", "cat/1.png,cat", r"has no column 'label'. .* Did you mean 'lable'\?"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_one_sentence(folder, header, row, sentence):
    with pytest.raises(DataError, match=sentence):
        load(write_manifest(folder, [*rows_of(folder), row], header))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("cat/1.png,cat,trian,1", r"row 1: Unknown split 'trian'. Did you mean 'train'\?"),
        ("cat/1.png,,train,1", r"row 1: a path and a label are needed. Received: 'cat/1.png', ''"),
        ("cat/1.png,cat,train,heavy", r"row 1: a weight must be a number of at least 0. Received: 'heavy'"),
        ("cat/1.png,cat,train,-1", r"row 1: a weight must be a number of at least 0. Received: '-1'"),
        ("cat/1.png,cat,train,nan", r"row 1: a weight must be a number of at least 0"),
    ],
)
def test_a_split_or_weight_that_makes_no_sense_is_named_with_its_row(folder, row, sentence):
    with pytest.raises(DataError, match=sentence):
        load(write_manifest(folder, [row], "path,label,split,weight"))


def test_an_empty_manifest_says_what_to_write(folder):
    with pytest.raises(DataError, match=r"lists no pictures. Write a row for each: path,label"):
        load(write_manifest(folder, []))


def test_a_folder_whose_name_holds_a_colon_is_no_address(tmp_path):
    for number in range(40):
        write_picture(tmp_path / "cam:2" / f"{number}.png", number)
    rows = [f"cam:2/{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(40)]
    assert sum(load(write_manifest(tmp_path, rows)).counts.values()) == 40


def test_a_mask_at_an_address_is_told_as_a_picture_at_one_is(folder):
    row = "cat/1.png,https:/x.org/mask.png"
    with pytest.raises(DataError, match=r"cat/1\.png: pictures must be files beside the manifest, not addresses, and"):
        load(write_manifest(folder, [row], "path,mask"), annotation="mask")


@pytest.mark.parametrize(("name", "content"), [("t.csv", b""), ("t.csv", b"a,b\n1\n"), ("t.parquet", b"not parquet")])
def test_a_file_that_is_no_table_says_so(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="is not a table that can be read"):
        load(str(tmp_path / name))


@pytest.mark.parametrize("header", ["path,label,größe", 'path,label,"a\nß"'])
def test_a_table_whose_columns_were_named_in_another_code_says_so(tmp_path, header):
    (tmp_path / "pictures.csv").write_bytes(f"{header}\na.png,cat,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"pictures.csv' has columns whose names are no UTF-8. Save the table anew, as"):
        load(str(tmp_path / "pictures.csv"))


def test_a_picture_that_a_manifest_names_and_nobody_has_is_left_out(folder):
    splits = load(write_manifest(folder, [*rows_of(folder), "cat/gone.png,cat"]))
    assert splits.skipped == ("cat/gone.png cannot be read: No such file or directory",)


def batches_of(splits, split):
    parts = make_feed(splits)(split, image_size=16, batch_size=8)
    return [np.concatenate(part) for part in zip(*[[np.asarray(p) for p in batch] for batch in parts], strict=True)]


@pytest.mark.parametrize("kind", ["files", "arrays"])
def test_shards_give_back_the_data_set_that_was_written(folder, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(records, "SHARD_BYTES", 8000)
    splits = load(str(folder) if kind == "files" else "sample:fashion")
    written = records.write(splits, tmp_path / "out" / "shards")
    again = load(str(written))
    assert (again.digest, again.class_names, again.counts) == (splits.digest, splits.class_names, splits.counts)
    assert again.validation.keys == splits.validation.keys
    assert len(list(written.glob("train-*.tfrecord"))) > 1
    for expected, found in zip(batches_of(splits, "validation"), batches_of(again, "validation"), strict=True):
        assert (expected == found).all()


def test_training_pictures_are_stirred_when_they_become_shards(folder, tmp_path):
    splits = load("sample:fashion")
    again = load(str(records.write(splits, tmp_path / "shards")))
    assert sorted(again.train.keys) == sorted(splits.train.keys)
    assert len(set(again.train.labels[:50])) == len(splits.class_names)
    place = {key: position for position, key in enumerate(splits.train.keys)}
    back = [place[key] for key in again.train.keys]
    expected, found = batches_of(splits, "train"), batches_of(again, "train")
    assert all((a[back] == b).all() for a, b in zip(expected, found, strict=True))


def test_shards_are_not_written_over_anything(folder, tmp_path):
    splits = load(str(folder))
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match=r"'.*there' is there already. Name a folder that is not."):
        records.write(splits, tmp_path / "there")


def test_nothing_half_written_is_left_when_writing_fails(folder, tmp_path):
    splits = load(str(folder))
    (folder / splits.validation.keys[0]).unlink()
    with pytest.raises(DataError, match=r"4\.png' cannot be read: No such file"):
        records.write(splits, tmp_path / "out" / "shards")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_shard_is_named(folder, tmp_path):
    written = records.write(load(str(folder)), tmp_path / "shards")
    for name in ("test-labels.npy", "test-00000.tfrecord"):
        (written / name).unlink()
        with pytest.raises(DataError, match=rf"'.*{name}' is missing\. Copy it back or write the shards anew\."):
            load(str(written))


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1}', "[]"])
def test_an_index_that_is_none_says_so(tmp_path, content):
    (tmp_path / records.INDEX).write_text(content)
    with pytest.raises(DataError, match="is not an index of shards"):
        load(str(tmp_path))


def test_weights_are_part_of_the_digest_and_weights_of_one_change_nothing(folder):
    def digest(weight):
        rows = rows_of(folder, lambda name, number: f",{weight if number == 3 else 1}")
        return load(write_manifest(folder, rows, "path,label,weight")).digest

    assert digest(1) == load(write_manifest(folder, rows_of(folder))).digest
    assert len({digest(1), digest(2), digest(0.1)}) == 3


def test_a_group_of_a_manifest_is_never_parted(folder):
    rows = rows_of(folder, lambda name, number: f",{name}-{number % 5}")
    splits = load(write_manifest(folder, rows, "path,label,group"))
    parted = [set(splits[a].groups) & set(splits[b].groups) for a, b in (("train", "test"), ("train", "validation"))]
    assert parted == [set(), set()]
    assert all(splits.counts.values())


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_with_another_delimiter_says_the_same(folder, delimiter):
    expected = load(write_manifest(folder, rows_of(folder))).digest
    rows = [row.replace(",", delimiter) for row in rows_of(folder)]
    assert load(write_manifest(folder, rows, f"path{delimiter}label")).digest == expected


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            "https://example.org/1.png,cat",
            r"row 41: pictures must be files beside the manifest, not addresses. Received",
        ),
        (
            "http:/x.org/a.png,cat",
            r"row 41: pictures must be files beside the manifest, not addresses, and this one lacks a slash\. "
            r"Received: 'http:/x\.org/a\.png'$",
        ),
        (
            "S3:/bucket/a.png,cat",
            r"row 41: pictures must be files beside the manifest, not addresses, and this one lacks a slash\.",
        ),
        (
            "hdfs://node/a.png,cat",
            r"row 41: pictures must be files beside the manifest, not addresses\. Received",
        ),
        (
            "cat/1\0.png,cat",
            r"pictures.csv', line 42: a NUL byte, which text never holds. Save the table anew, as UTF-8",
        ),
    ],
)
def test_a_row_that_can_be_no_file_is_said_as_a_person_would(folder, row, sentence):
    with pytest.raises(DataError, match=sentence):
        load(write_manifest(folder, [*rows_of(folder), row]))


@pytest.mark.parametrize(("name", "content"), [("t.csv", b""), ("t.parquet", b"not parquet"), ("t.csv", b"a,b\n1\n")])
def test_no_object_of_python_stands_in_a_message(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as told:
        load(str(tmp_path / name))
    assert "object at" not in str(told.value)


def told(source):
    events = []
    load(source, listener=events.append)
    return [event.message for event in events if event.kind == "warning"]


def test_a_doubled_row_is_told(folder):
    assert told(write_manifest(folder, [*rows_of(folder), "cat/1.png,cat"])) == [
        "Pictures that are listed more than once: 1, the first cat/1.png."
    ]


def test_a_picture_listed_in_two_splits_is_told(folder):
    split = lambda name, number: "train" if number < 12 else "val" if number < 16 else "test"  # noqa: E731
    rows = rows_of(folder, lambda name, number: f",{split(name, number)}")
    assert told(write_manifest(folder, [*rows, "cat/13.png,cat,test"], "path,label,split")) == [
        "Pictures that are listed more than once: 1, the first cat/13.png.",
        "Pictures in two splits: 1. The first, cat/13.png in validation, cat/13.png in test. "
        "Their score is learned by heart.",
    ]
    assert told(write_manifest(folder, [*rows, "cat/13.png,dog,test"], "path,label,split"))[-1] == (
        "Pictures under two labels: 1. The first, cat/13.png is 'cat' in validation and cat/13.png is 'dog' in test. "
        "One of the labels is wrong."
    )
