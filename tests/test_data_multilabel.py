"""Pictures with any number of labels: every source that can give them, and what each says when it cannot."""

import json

import numpy as np
import pytest
from PIL import Image
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from keras_transfer.data import cleaning, records
from keras_transfer.data.doctor import examine
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.samples.composed import SIDE, composed
from keras_transfer.data.sources import load as load_any
from keras_transfer.errors import DataError, UsageError
from tests.test_data_sources import write_picture

DIGEST = "e96f0c4728cc83a91ee97c07271df553487dbf03c4ab879a2fba77cba9e6bb86"
"""Of the composed sample: the same on every machine."""

CELLS = ("cat", "dog", "cat|dog", "", "owl|cat", "owl")


def load(source, **options):
    return load_any(str(source), annotation="classes", **options)


@pytest.fixture
def folder(tmp_path):
    for number in range(60):
        write_picture(tmp_path / "pets" / f"{number}.png", number)
    return tmp_path / "pets"


def write_table(folder, header="path,labels", cells=CELLS, more=()):
    rows = [f"{number}.png,{cells[number % len(cells)]}" for number in range(60)]
    (folder / "pets.csv").write_text("\n".join([header, *rows, *more]) + "\n")
    return folder / "pets.csv"


def labels_by_key(splits):
    return {
        key: {splits.class_names[each] for each in np.flatnonzero(row)}
        for name in splits.counts
        for key, row in zip(splits[name].keys, splits[name].labels, strict=True)
    }


def expected(number):
    return set(filter(None, CELLS[number % len(CELLS)].split("|")))


def test_a_table_of_labels_gives_each_picture_all_of_its_own(folder):
    splits = load(write_table(folder))
    assert (splits.annotation, splits.class_names) == ("classes", ("cat", "dog", "owl"))
    assert labels_by_key(splits) == {f"{number}.png": expected(number) for number in range(60)}
    assert splits.train.labels.dtype == bool


def test_every_label_stands_in_every_split(folder):
    rare = (*["cat"] * 19, "cat|fox")
    for cells, names in ((CELLS, 3), (rare, 2)):
        splits = load(write_table(folder, cells=cells))
        assert len(splits.class_names) == names
        assert all(splits[name].labels.any(0).all() for name in splits.counts)


def test_a_column_of_0_and_1_for_each_label_says_what_a_column_of_labels_says(folder):
    bits = [",".join(str(int(name in cell)) for name in ("cat", "dog", "owl")) for cell in CELLS]
    first = load(write_table(folder))
    assert load(write_table(folder, "path,cat,dog,owl", bits)).digest == first.digest


def test_lists_and_bars_of_a_parquet_table_are_read_alike(folder):
    path = write_table(folder)
    table = arrow_csv.read_csv(path)
    lists = [[each for each in cell.split("|") if each] for cell in table["labels"].to_pylist()]
    parquet.write_table(table, folder / "bars.parquet")
    parquet.write_table(table.set_column(1, "labels", [lists]), folder / "lists.parquet")
    assert load(folder / "bars.parquet").digest == load(folder / "lists.parquet").digest == load(path).digest


def test_blanks_around_labels_and_a_label_named_twice_change_nothing(folder):
    spaced = [f" {cell.replace('|', ' | ')} " for cell in CELLS]
    assert (
        load(write_table(folder, cells=[*spaced[:4], "cat|owl|cat", "owl"])).digest == load(write_table(folder)).digest
    )


@pytest.mark.parametrize(
    ("header", "cells", "sentence"),
    [
        (
            "path,labels",
            ("cat||dog", "dog"),
            r"row 1: one of the labels is empty. Write them as cat\|dog. Received: 'cat",
        ),
        ("path,labels", ("cat|dog", "Cat"), r"Classes 'Cat' and 'cat' differ in case or blanks only"),
        ("path,labels", ("cat", ""), r"At least two classes are needed to tell anything apart. Found only 'cat'."),
        ("path,labels", ("", " "), r"At least two classes are needed"),
        ("path,cat,dog", ("0,1", "2,1"), r"row 2: column 'cat' is taken for a label and must be 0 or 1. Received: '2'"),
        ("path,cat,dog", ("0,1", ",1"), r"row 2: column 'cat' is taken for a label .* Received: ''"),
        ("path,split", ("train", "test"), r"has no column 'labels' and no column of 0 and 1 for each label"),
    ],
)
def test_what_is_wrong_with_a_table_of_labels_is_one_sentence(folder, header, cells, sentence):
    with pytest.raises(DataError, match=sentence):
        load(write_table(folder, header, cells))


def test_an_empty_table_says_what_to_write(folder):
    (folder / "pets.csv").write_text("path,labels\n")
    with pytest.raises(DataError, match=r"lists no pictures. Write a row for each: path,labels"):
        load(folder / "pets.csv")


def test_a_label_that_no_training_picture_has_is_named(folder):
    rows = ["cat,train", "dog,train", "cat|owl,validation", "dog,test"]
    with pytest.raises(DataError, match=r"Class 'owl' has validation pictures but no training picture"):
        load(write_table(folder, "path,labels,split", rows))


def test_a_label_column_without_a_1_is_left_out_and_told(folder):
    splits = load(write_table(folder, "path,cat,dog,hat", ("0,1,0", "1,1,0", "1,0,0")))
    assert splits.class_names == ("cat", "dog")
    assert "label 'hat', which no picture shows" in splits.skipped


@pytest.mark.parametrize(
    ("header", "cells"), [("path,labels", CELLS), ("path,cat,dog", ("0,1", "1,0"))], ids=["labels", "columns"]
)
def test_several_labels_asked_for_as_one_suggest_the_task(folder, header, cells):
    with pytest.raises(UsageError, match=r"holds any number of labels a picture \(--task multilabel\), but was asked"):
        load_any(str(write_table(folder, header, cells)))


@pytest.mark.parametrize("source", ["sample:fashion", "table"])
def test_one_label_asked_for_as_several_suggests_the_task(folder, source):
    source = write_table(folder, "path,label", ("cat", "dog")) if source == "table" else source
    with pytest.raises(UsageError, match=r"holds one label a picture \(--task classification\), but was asked for any"):
        load(source)


def test_a_picture_in_several_class_folders_has_the_labels_of_all(tmp_path):
    for label, name in enumerate(("cat", "dog", "owl")):
        for number in range(12):
            write_picture(tmp_path / name / f"{number}.png", 100 * label + number)
    (tmp_path / "owl" / "same.png").write_bytes((tmp_path / "cat" / "3.png").read_bytes())
    splits = load(tmp_path)
    assert labels_by_key(splits)["cat/3.png"] == {"cat", "owl"}
    assert sum(splits.counts.values()) == 36
    assert splits.skipped == ("owl/same.png is the same picture as cat/3.png, which has the labels of both",)


def coco_of(names, first=0):
    kinds = {"cat": 3, "dog": 7, "owl": 9}
    shown = [(number, kind) for number, _ in enumerate(names) for kind in sorted(expected(first + number))]
    return {
        "info": {},
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": number, "name": name} for name, number in kinds.items()],
        "annotations": [
            {"image_id": number, "category_id": kinds[kind], "bbox": [0, 0, 2, 2]} for number, kind in shown
        ],
    }


def test_a_coco_file_says_what_a_table_says(folder):
    table = load(write_table(folder))
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_text(json.dumps(coco_of([f"{n}.png" for n in range(60)])))
    assert load(folder).digest == load(folder / "annotations" / "instances.json").digest == table.digest


def test_a_coco_folder_of_splits_keeps_them_and_finds_the_pictures_of_each(folder, tmp_path):
    for name, first, last in (("train2017", 0, 40), ("val2017", 40, 60)):
        for number in range(first, last):
            path = tmp_path / "coco" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.png").rename(path)
        content = coco_of([f"{number}.png" for number in range(first, last)], first)
        (tmp_path / "coco" / "annotations").mkdir(exist_ok=True)
        (tmp_path / "coco" / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))
    splits = load(tmp_path / "coco")
    assert sorted(splits.validation.keys) == [f"val2017/{number}.png" for number in range(40, 60)]
    assert labels_by_key(splits)["val2017/46.png"] == {"cat", "owl"}
    with pytest.raises(UsageError, match="--task multilabel"):
        load_any(str(tmp_path / "coco"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda c: c["images"].append({"id": 1, "file_name": "5.png"}),
            r"two images have the id 1: '1.png' and '5.png'",
        ),
        (lambda c: c["categories"].append({"id": 3, "name": "fox"}), r"two categories have the id 3: 'cat' and 'fox'"),
        (
            lambda c: c["annotations"].append({"image_id": 0, "category_id": 5}),
            r"an annotation of image 0, category 5, but does not",
        ),
        (
            lambda c: c["annotations"].append({"image_id": 99, "category_id": 3}),
            r"an annotation of image 99, category 3, but does not",
        ),
        (
            lambda c: c["annotations"].append({"image_id": [], "category_id": 3}),
            r"an annotation of image \[\], category 3",
        ),
        (lambda c: c.pop("categories"), r"is not a COCO file with images, annotations and categories: 'categories'"),
        (
            lambda c: c["images"].append({"id": 77, "file_name": "../../secret.png"}),
            r"must stay in the folder .*secret",
        ),
        (lambda c: [each.update(file_name="x.jpg") for each in c["images"]], r"None of the pictures .* first: 'x.jpg'"),
    ],
)
def test_what_is_wrong_with_a_coco_file_is_one_sentence(folder, change, sentence):
    content = coco_of([f"{number}.png" for number in range(60)])
    change(content)
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        load(folder / "instances.json")


def test_a_picture_that_a_coco_file_names_and_nobody_has_is_left_out(folder):
    (folder / "instances.json").write_text(json.dumps(coco_of([f"{number}.png" for number in range(61)])))
    assert load(folder).skipped == ("60.png cannot be read: No such file or directory",)


def test_label_sequences_of_tensorflow_datasets_are_read_and_one_label_is_not(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Tagged(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            labels = tfds.features.Sequence(tfds.features.ClassLabel(names=["cat", "dog", "owl"]))
            features = {"image": tfds.features.Image(shape=(16, 24, 3)), "labels": labels}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(60):
                pixels = np.random.default_rng(number).integers(0, 255, (16, 24, 3), np.uint8)
                yield number, {"image": pixels, "labels": sorted(expected(number))}

    builder = Tagged(data_dir=str(tmp_path))
    builder.download_and_prepare()
    splits = load(f"tfds:{builder.data_path}")
    assert splits.class_names == ("cat", "dog", "owl")
    stored = [frozenset(each) for each in labels_by_key(splits).values()]
    assert sorted(map(sorted, stored)) == sorted(sorted(expected(number)) for number in range(60))
    with pytest.raises(UsageError, match="--task multilabel"):
        load_any(f"tfds:{builder.data_path}")


def test_fashion_tags_are_the_same_to_the_bit_and_hold_one_to_four_garments():
    first, second = load("sample:fashion-tags"), load("sample:fashion-tags", seed=5)
    assert first.counts == {"train": 1000, "validation": 300, "test": 1000}
    assert first.digest == second.digest == DIGEST
    assert first.train.pictures.shape == (1000, SIDE, SIDE, 3)
    assert set(first.train.labels.sum(1)) == {1, 2, 3, 4}
    assert (first.train.labels.mean(0) > 0.15).all()


def test_what_is_composed_shows_the_things_of_its_labels_where_it_says():
    things = np.stack([np.full((28, 28), level, np.uint8) for level in (120, 200)])
    images, placed = composed(things, np.array([0, 1]), count=40, seed=3)
    assert {len(each) for each in placed} == {1, 2, 3, 4}
    for image, here in zip(images, placed, strict=True):
        last = here[-1]
        left, top, right, bottom = last.box
        assert (image[top:bottom, left:right] == (120, 200)[last.label]).all()
        assert last.mask[top:bottom, left:right].all()
        assert last.mask.sum() == (bottom - top) * (right - left)
        covered = np.sum([each.mask for each in here], axis=0)
        assert (covered > 1).sum() <= 0.2 * (covered > 0).sum()
        assert image[covered == 0].max() < 70


def test_targets_are_all_labels_of_a_picture_and_mixing_keeps_shares(folder):
    splits = load(write_table(folder))
    feed = make_feed(splits, balance="weights")
    _, targets, weights = next(iter(feed("train", image_size=16, batch_size=60)))
    assert (targets.numpy() == splits.train.labels).all()
    assert weights.numpy().mean() == pytest.approx(1, abs=1e-5)
    _, mixed, _ = next(iter(feed("train", image_size=16, batch_size=60, augment="strong")))
    assert ((mixed.numpy() >= 0) & (mixed.numpy() <= 1)).all()
    assert 0.2 < ((mixed.numpy() != targets.numpy()).any(1)).mean() < 0.8


def test_resampling_pictures_with_several_labels_is_refused(folder):
    with pytest.raises(UsageError, match=r"balance=resample is not possible with any number of .* Use balance=weights"):
        make_feed(load(write_table(folder)), balance="resample")


@pytest.mark.parametrize("name", ["clean.csv", "clean.parquet", "shards"])
def test_what_is_written_is_read_back_with_all_labels(folder, name):
    splits = load(write_table(folder))
    again = load(cleaning.write(splits, folder / name))
    assert (again.digest, again.class_names) == (splits.digest, splits.class_names)
    assert labels_by_key(again) == labels_by_key(splits)


def test_shards_of_version_1_are_still_read(folder, tmp_path):
    for number in range(60):
        write_picture(tmp_path / "two" / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    written = records.write(load_any(str(tmp_path / "two")), tmp_path / "shards")
    index = json.loads((written / records.INDEX).read_text())
    assert index.pop("annotation") == "class"
    (written / records.INDEX).write_text(json.dumps({**index, "version": 1}))
    assert load_any(str(written)).digest == index["digest"]
    with pytest.raises(UsageError, match="--task classification"):
        load(written)


def test_a_label_with_a_bar_in_it_is_written_to_no_table(tmp_path):
    for number in range(24):
        write_picture(tmp_path / ("cat|dog" if number % 2 else "owl") / f"{number}.png", number)
    with pytest.raises(DataError, match=r"Label 'cat\|dog' has a '\|' in it, which parts labels in a table"):
        cleaning.write(load(tmp_path), tmp_path / "clean.csv")


def found(splits, kind):
    return [each.message for each in examine(splits).diagnosis.of(kind)]


def test_the_doctor_names_labels_that_every_picture_has_and_pairs_that_never_part(folder):
    splits = load(write_table(folder, cells=("pet|cat|paw", "pet|dog", "pet|dog|cat|paw")))
    assert found(splits, "constant label") == ["Label 'pet' is on every training picture: nothing is learned of it."]
    assert found(splits, "inseparable labels") == [
        "Labels 'cat' and 'paw' always occur together: nothing tells them apart."
    ]
    counts = examine(splits).diagnosis.classes
    assert sum(counts["pet"].values()) == 60
    assert sum(counts["dog"].values()) == 40


def test_the_doctor_names_near_copies_with_other_labels(folder):
    smooth = np.linspace(0, 250, 24).astype(np.uint8)[None, :, None].repeat(24, 0).repeat(3, 2)
    for number, difference in ((0, 0), (1, 1)):
        Image.fromarray(smooth + np.uint8(difference)).save(folder / f"{number}.png")
    rows = [f"{CELLS[number % 6]},{'train' if number < 40 else 'test'}" for number in range(60)]
    splits = load(write_table(folder, "path,labels,split", rows))
    (message,) = found(splits, "near duplicate across labels")
    assert "look the same. They are called cat and dog." in message


def test_the_doctor_says_that_it_judges_no_label_of_several(folder):
    splits, events = load(write_table(folder)), []
    features = {name: np.zeros((count, 4)) for name, count in splits.counts.items()}
    examine(splits, features=features, listener=events.append)
    assert any("Labels are not judged by a probe" in event.message for event in events)
