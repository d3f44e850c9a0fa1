"""The doctor: each thing that can be wrong with pictures is found, and a healthy data set is left in peace."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import cleaning, doctor_page
from keras_transfer.data.doctor import Diagnosis, examine
from keras_transfer.data.sources import load
from keras_transfer.data.suspicion import suspicious
from keras_transfer.errors import DataError


def picture(seed, size=(64, 48)):
    """A smooth picture that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, options.pop("size", (64, 48))).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 25), ("validation", 5), ("test", 5)):
        for label, name in enumerate(("cat", "dog")):
            for number in range(count):
                save(tmp_path / split / name / f"{number}.png", hash((split, label, number)) % 2**31)
    return tmp_path


def found(folder, kind):
    return [finding.message for finding in examine(load(str(folder))).diagnosis.of(kind)]


def test_a_healthy_data_set_has_no_findings(folder):
    assert examine(load(str(folder))).diagnosis.findings == ()


def test_what_cannot_be_decoded_is_unreadable(folder):
    (folder / "train/cat/damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9")
    assert found(folder, "unreadable")[0].startswith("train: train/cat/damaged.jpg is not a picture that can be read")


def test_what_loading_left_out_is_told(folder):
    (folder / "train/cat/empty.jpg").write_bytes(b"")
    assert found(folder, "left out") == ["Left out while loading: train/cat/empty.jpg is empty."]


def test_a_wrong_extension_is_named(folder):
    save(folder / "train/cat/photo.jpg", 1, format="PNG")
    assert found(folder, "wrong extension") == ["train: train/cat/photo.jpg is PNG but ends in .jpg."]


def test_copies_are_found_within_a_split_and_across_labels(folder):
    for name in ("train/cat/a.png", "train/cat/b.png"):
        save(folder / name, 7)
    for name in ("train/cat/c.png", "train/dog/c.png"):
        save(folder / name, 8)
    assert found(folder, "duplicate") == ["The same picture stands 2 times in train."]
    assert found(folder, "duplicate across labels") == ["One picture is called cat and dog."]


def test_copies_across_validation_and_test_are_leakage(folder):
    for name in ("validation/cat/a.png", "test/cat/a.png"):
        save(folder / name, 9)
    (finding,) = examine(load(str(folder))).diagnosis.of("duplicate across splits")
    assert set(finding.pictures) == {"validation: validation/cat/a.png", "test: test/cat/a.png"}


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((100, 75)),
        lambda image: image.point(lambda value: min(255, value + 3)),
        lambda image: image.resize((32, 24)).resize((64, 48)),
    ],
    ids=["larger", "brighter", "blurred"],
)
def test_near_copies_across_splits_are_leakage_too(folder, change):
    save(folder / "train/cat/a.png", 11)
    change(picture(11)).save(folder / "test/cat/b.jpg", quality=80)
    (finding,) = examine(load(str(folder))).diagnosis.of("near duplicate across splits")
    assert set(finding.pictures) == {"train: train/cat/a.png", "test: test/cat/b.jpg"}


def test_tiny_and_uneven_classes_are_told(folder):
    for number in range(3):
        save(folder / f"train/eel/{number}.png", 9000 + number)
    assert found(folder, "tiny class") == [
        "Class 'eel' has 3 training pictures; from about 20 on, a class can be learned."
    ]
    assert found(folder, "imbalance") == [
        "Class 'cat' has 25 training pictures and 'eel' has 3: balance them, or collect more."
    ]


def test_odd_sizes_are_told(folder):
    save(folder / "train/cat/small.png", 21, size=(9, 8))
    save(folder / "train/cat/long.png", 22, size=(400, 50))
    assert found(folder, "odd size") == [
        "train: train/cat/long.png is 400 x 50: far from square.",
        "train: train/cat/small.png is 9 x 8: far smaller than the others (48 pixels).",
    ]


def test_labels_that_the_other_pictures_speak_against_are_suspicious():
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 3
    features = np.eye(3)[truth] * 4 + rng.normal(0, 0.7, (300, 3))
    labels = truth.copy()
    labels[[10, 50, 90]] = (labels[[10, 50, 90]] + 1) % 3
    told = suspicious(features, labels)
    assert {position for position, _, _ in told[:3]} == {10, 50, 90}
    assert all(label == truth[position] for position, label, _ in told[:3])
    assert len(told) < 15


def test_suspicious_labels_reach_the_diagnosis(folder):
    splits = load(str(folder))
    rng = np.random.default_rng(0)
    features = {
        name: np.eye(2)[splits[name].labels] * 6 + rng.normal(0, 0.5, (len(splits[name]), 2)) for name in splits.counts
    }
    features["train"][4] = features["train"][-1]
    (finding, *_) = examine(splits, features=features).diagnosis.of("suspicious label")
    assert finding.message.startswith(
        f"train: {splits.train.keys[4]} is called cat; a linear probe of the others says dog"
    )
    assert finding.suggested == "dog"


def test_the_cleaned_manifest_has_nothing_left_to_find(folder):
    for name in ("train/cat/a.png", "train/cat/b.png", "validation/dog/c.png", "test/dog/c.png"):
        save(folder / name, 7 if "cat" in name else 8)
    save(folder / "train/cat/near.png", 11)
    picture(11).save(folder / "test/cat/near.jpg", quality=80)
    (folder / "train/cat/damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9")
    splits = load(str(folder))
    written = cleaning.write(cleaning.cleaned(splits, examine(splits)), folder / "clean.csv")
    again = load(str(written))
    assert examine(again).diagnosis.findings == ()
    assert again.counts == {"train": 51, "validation": 11, "test": 11}
    assert "test/cat/near.jpg" in again.test.keys


def test_a_manifest_must_stand_beside_or_above_its_pictures(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "clean.csv"
    with pytest.raises(DataError, match="must stand beside or above its pictures"):
        cleaning.write(load(str(folder)), elsewhere)
    assert not elsewhere.exists()


def test_a_name_without_table_ending_becomes_shards(folder, tmp_path):
    splits = load(str(folder))
    assert load(str(cleaning.write(splits, tmp_path / "out" / "shards"))).digest == splits.digest


def test_a_sample_without_files_is_written_as_shards_only(tmp_path):
    with pytest.raises(DataError, match=r"has no picture files to list. Name a folder, and shards are written"):
        cleaning.write(load("sample:fashion"), tmp_path / "clean.csv")


def test_the_diagnosis_is_a_json_document_that_reads_back(folder):
    save(folder / "train/cat/photo.jpg", 1, format="PNG")
    diagnosis = examine(load(str(folder))).diagnosis
    text = diagnosis.model_dump_json()
    assert json.loads(text)["counts"]["train"] == 51
    assert Diagnosis.model_validate_json(text) == diagnosis


def test_the_page_shows_thumbnails_and_escapes_names(folder):
    save(folder / "train/cat/<b>.jpg", 1, format="PNG")
    page = doctor_page.write(examine(load(str(folder))), folder / "page" / "doctor.html").read_text()
    assert "data:image/png;base64," in page
    assert "&lt;b&gt;.jpg is PNG but ends in .jpg." in page
    assert "<b>.jpg" not in page


def test_cleaned_shards_carry_the_digest_of_what_is_left(folder, tmp_path):
    save(folder / "train/cat/a.png", 7)
    save(folder / "train/cat/b.png", 7)
    splits = load(str(folder))
    clean = cleaning.cleaned(splits, examine(splits))
    shards = load(str(cleaning.write(clean, tmp_path / "shards")))
    manifest = load(str(cleaning.write(clean, folder / "clean.csv")))
    assert shards.digest == manifest.digest == clean.digest != splits.digest


def test_a_data_set_that_nothing_was_left_out_of_keeps_its_digest(folder):
    splits = load(str(folder))
    assert cleaning.cleaned(splits, examine(splits)).digest == splits.digest


def test_a_probe_that_knows_nothing_doubts_no_label():
    for seed in range(2):
        rng = np.random.default_rng(seed)
        assert suspicious(rng.normal(0, 1, (60, 400)), np.arange(60) % 3) == []


def test_right_labels_that_are_hard_to_tell_apart_are_not_doubted_for_certain():
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 3
    features = rng.normal(0, 1, (120, 400))
    features[:, :30] += 0.5 * np.eye(3)[truth].repeat(10, axis=1)
    told = suspicious(features, truth)
    assert all(probability < 0.95 for _, _, probability in told)
    assert len(told) <= 3
