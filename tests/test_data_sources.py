"""Where pictures come from: what each source gives, and what it says to a person when it cannot."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data.sources import load, located
from keras_transfer.data.splitting import split_by_content
from keras_transfer.errors import DataError, UsageError


def write_picture(path, seed, size=(24, 16)):
    """Write a picture of noise that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pets(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(40):
            write_picture(tmp_path / "pets" / name / f"{number}.png", 1000 * label + number)
    return tmp_path / "pets"


def test_sample_fashion_holds_ten_classes_in_its_own_splits():
    splits = load("sample:fashion")
    assert splits.counts == {"train": 1000, "validation": 300, "test": 1000}
    assert len(splits.class_names) == 10
    assert all((np.bincount(splits[name].labels) == n).all() for name, n in (("train", 100), ("validation", 30)))
    assert splits.train.pictures.shape == (1000, 28, 28, 3)
    assert splits.typical_size == 28


def test_no_picture_of_sample_fashion_stands_in_two_splits():
    splits = load("sample:fashion")
    contents = [picture.tobytes() for name in splits.counts for picture in splits[name].pictures]
    assert len(set(contents)) == len(contents)


def test_class_folders_give_sorted_classes_and_three_disjoint_splits(pets):
    splits = load(str(pets))
    assert splits.class_names == ("cat", "dog")
    assert sum(splits.counts.values()) == 80
    assert all(len(set(splits[name].labels)) == 2 for name in splits.counts)
    keys = [key for name in splits.counts for key in splits[name].keys]
    assert len(set(keys)) == 80
    assert all(
        splits.class_names[label] == key.split("/")[0]
        for key, label in zip(splits.train.keys, splits.train.labels, strict=True)
    )


def test_the_same_folder_gives_the_same_splits_and_digest_wherever_it_stands(pets, tmp_path):
    first = load(str(pets))
    moved = pets.rename(tmp_path / "elsewhere")
    second = load(str(moved))
    assert (first.train.keys, first.test.keys, first.digest) == (second.train.keys, second.test.keys, second.digest)


def test_another_seed_gives_other_splits(pets):
    assert load(str(pets)).test.keys != load(str(pets), seed=1).test.keys


def test_adding_pictures_moves_none_that_were_there():
    contents = [f"picture {n}" for n in range(300)]
    before = split_by_content(contents[:200], ["a", "b"] * 100)
    after = split_by_content(contents, ["a", "b"] * 150)
    assert (before == after[:200]).all()


def test_copies_stand_in_the_same_split_even_under_another_label():
    contents = [f"picture {n}" for n in range(100)]
    others = [f"more {n}" for n in range(9)]
    names = split_by_content(contents + contents + others, ["a"] * 100 + ["b"] * 109)
    assert (names[:100] == names[100:200]).all()


@pytest.mark.parametrize("pictures", [3, 4, 5, 9])
def test_the_smallest_classes_still_have_a_picture_in_every_split(pictures):
    for attempt in range(30):
        names = split_by_content([f"{attempt}/{n}" for n in range(pictures)], ["a"] * pictures)
        assert set(names) == {"train", "validation", "test"}


def test_a_class_with_two_pictures_is_refused(pets):
    for path in list((pets / "dog").iterdir())[2:]:
        path.unlink()
    with pytest.raises(DataError, match=r"Class 'dog' has 2 different pictures, but 3 are the least"):
        load(str(pets))


def test_split_folders_keep_their_splits(pets, tmp_path):
    root = tmp_path / "divided"
    for split, numbers in (("train", range(20)), ("val", range(20, 25)), ("test", range(25, 30))):
        for name in ("cat", "dog"):
            for number in numbers:
                target = root / split / name / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                (pets / name / f"{number}.png").rename(target)
    splits = load(str(root))
    assert splits.counts == {"train": 40, "validation": 10, "test": 10}
    assert all(key.startswith("val/") for key in splits.validation.keys)


def test_a_validation_folder_that_lacks_a_class_shifts_no_label(tmp_path):
    for number, name in enumerate(("ant", "bee", "cow")):
        for picture in range(6):
            write_picture(tmp_path / "train" / name / f"{picture}.png", 100 * number + picture)
        write_picture(tmp_path / "test" / name / "t.png", 5000 + number)
    write_picture(tmp_path / "validation" / "cow" / "v.png", 9000)
    splits = load(str(tmp_path))
    assert [splits.class_names[label] for label in splits.validation.labels] == ["cow"]


def test_a_missing_validation_folder_is_taken_out_of_training(tmp_path):
    for number, name in enumerate(("ant", "bee")):
        for picture in range(30):
            write_picture(tmp_path / "train" / name / f"{picture}.png", 100 * number + picture)
        write_picture(tmp_path / "test" / name / "t.png", 5000 + number)
    splits = load(str(tmp_path))
    assert splits.counts["test"] == 2
    assert splits.counts["validation"] > 0
    assert splits.counts["train"] + splits.counts["validation"] == 60


def test_a_training_picture_that_is_also_a_test_picture_is_left_out_of_training(tmp_path):
    for split in ("train", "test"):
        for number, name in enumerate(("ant", "bee")):
            for picture in range(10):
                write_picture(
                    tmp_path / split / name / f"{picture}.png", 100 * number + picture + 40 * (split == "test")
                )
    write_picture(tmp_path / "test" / "ant" / "leak.png", 3)
    events = []
    splits = load(str(tmp_path), listener=events.append)
    assert splits.skipped == ("train/ant/3.png is also a validation or test picture, so it is not trained on",)
    assert "train/ant/3.png" not in splits.train.keys + splits.validation.keys
    assert [event.kind for event in events] == ["warning"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"\xff\xd8\xff\xe0 cut", "is cut off"), (b"\x89PNG\r\n\x1a\n cut", "is cut off")],
)
def test_a_broken_file_is_left_out_and_named(pets, content, why):
    (pets / "cat" / "broken.jpg").write_bytes(content)
    events = []
    splits = load(str(pets), listener=events.append)
    assert splits.skipped == (f"cat/broken.jpg {why}",)
    assert sum(splits.counts.values()) == 80
    assert "broken.jpg" in events[-1].message


def test_a_folder_of_mostly_broken_files_is_refused(pets):
    for number in range(100):
        (pets / "cat" / f"broken{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"100 of 180 files in '.*' are not readable pictures, the first: cat/broken0"):
        load(str(pets))


def test_a_missing_folder_is_one_clear_sentence(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder or file '.*nowhere'. A source is one of: sample:fashion"):
        load(str(tmp_path / "nowhere"))


def test_a_folder_without_class_folders_says_how_to_make_them(tmp_path):
    write_picture(tmp_path / "1.png", 0)
    with pytest.raises(DataError, match=r"holds no class folders. Make one folder per class"):
        load(str(tmp_path))


def test_an_empty_class_is_named(pets):
    (pets / "eel").mkdir()
    with pytest.raises(DataError, match=r"Class folder '.*eel' holds no pictures. Put some in or remove the folder."):
        load(str(pets))


def test_one_class_only_is_refused(tmp_path):
    for picture in range(5):
        write_picture(tmp_path / "cat" / f"{picture}.png", picture)
    with pytest.raises(DataError, match=r"At least two classes are needed .* Found only 'cat'."):
        load(str(tmp_path))


def test_classes_that_differ_in_case_or_blanks_only_are_refused(pets):
    write_picture(pets / "Cat " / "1.png", 77)
    with pytest.raises(DataError, match=r"Classes 'Cat ' and 'cat' differ in case or blanks only"):
        load(str(pets))


def test_an_unknown_sample_suggests_the_one_that_is_meant():
    with pytest.raises(UsageError, match=r"Unknown sample 'fashon'. Did you mean 'fashion'\?"):
        load("sample:fashon")


def test_a_link_that_leads_back_up_is_refused(pets):
    (pets / "loop").symlink_to(pets, target_is_directory=True)
    with pytest.raises(DataError, match="is a link that leads back to a folder it stands in"):
        load(str(pets))


def test_a_link_loop_deep_in_a_class_ends(pets):
    (pets / "cat" / "again").symlink_to(pets / "cat", target_is_directory=True)
    assert sum(load(str(pets)).counts.values()) == 80


def test_a_file_that_changed_is_read_again(pets):
    before = load(str(pets))
    assert load(str(pets)).digest == before.digest
    write_picture(pets / "cat" / "0.png", 4711, size=(25, 16))
    assert load(str(pets)).digest != before.digest


def test_without_a_place_to_remember_files_all_are_read(pets, monkeypatch, tmp_path):
    expected = load(str(pets)).digest
    (tmp_path / "blocked").write_text("a file where a folder should be")
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path / "blocked"))
    assert load(str(pets)).digest == expected


def test_a_damaged_memory_of_files_is_read_over(pets, tmp_path):
    expected = load(str(pets)).digest
    (index,) = tmp_path.rglob("files/*.arrow")
    for damaged in (b"", b"ARROW1", index.read_bytes()[:-99]):
        index.write_bytes(damaged)
        assert load(str(pets)).digest == expected


def test_a_relative_source_is_found_from_another_folder_beside_its_run(pets, tmp_path, monkeypatch):
    run, elsewhere = tmp_path / "saved_models" / "run", tmp_path / "elsewhere"
    run.mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    assert located("pets", beside=run) == "pets"
    monkeypatch.chdir(elsewhere)
    assert located("pets", beside=run) == str(pets)
    assert located("pets", beside=elsewhere / "gone", recorded=tmp_path) == str(pets)
    assert located("nowhere", beside=run) == "nowhere"
    assert located("sample:fashion", beside=run) == "sample:fashion"


def sides(splits):
    """Which splits each group stands in."""
    return {
        group: {name for name in splits.counts if group in set(splits[name].groups)}
        for name in splits.counts
        for group in splits[name].groups
    }


def test_folders_below_the_classes_are_sessions_that_no_split_parts(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(60):
            write_picture(tmp_path / name / f"session{number % 6}" / f"{number}.png", 1000 * label + number)
    splits = load(str(tmp_path))
    found = sides(splits)
    assert len(found) == 12
    assert all(len(names) == 1 for names in found.values())
    assert all(splits.counts.values())


def test_a_stray_folder_below_a_class_is_no_session(pets):
    expected = load(str(pets))
    (pets / "cat" / "more").mkdir()
    (pets / "cat" / "0.png").rename(pets / "cat" / "more" / "0.png")
    moved = load(str(pets))
    assert moved.train.groups is None
    assert (moved.counts, moved.digest) == (expected.counts, expected.digest)


def test_near_copies_never_stand_on_both_sides_of_our_own_split(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(20):
            coarse = np.random.default_rng(100 * label + number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
            scene = Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)
            for copy, quality in enumerate((95, 80, 60)):
                path = tmp_path / name / f"{number}-{copy}.jpg"
                path.parent.mkdir(exist_ok=True)
                scene.save(path, quality=quality)
    splits = load(str(tmp_path))
    where = {}
    for split in splits.counts:
        for key in splits[split].keys:
            where.setdefault(key.rpartition("-")[0], set()).add(split)
    assert all(len(names) == 1 for names in where.values())
    assert sum(splits.counts.values()) == 120


def test_a_class_that_looks_nearly_the_same_throughout_is_split_all_the_same_and_told(pets):
    for number in range(10):
        path = pets / "wall" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8) + np.uint8(number // 4)).resize((32 + number, 32)).save(path)
    events = []
    splits = load(str(pets), listener=events.append)
    assert all("wall/" in " ".join(splits[name].keys) for name in splits.counts)
    assert [event.message for event in events if event.kind == "warning"] == [
        "Near copies may stand on both sides of a split: all of 'wall' looks nearly the same."
    ]


@pytest.mark.parametrize("source", ["/etc/passwd", "notes.txt"])
def test_a_file_that_is_no_table_is_no_source(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("not a table")
    with pytest.raises(UsageError, match=rf"'{source}' is a file, not a folder or a table of pictures. A source is"):
        load(source)


def test_a_source_with_a_nul_character_is_refused():
    with pytest.raises(UsageError, match=r"A source must not hold a NUL character. Received: 'a\\x00b'"):
        load("a\0b")


def test_what_is_not_named_as_a_picture_is_told(pets):
    for name in ("IMG_1", "notes.txt", "holiday.jpg.bak"):
        (pets / "cat" / name).write_bytes(b"?")
    events = []
    splits = load(str(pets), listener=events.append)
    assert splits.skipped == tuple(
        f"cat/{name} is not named as a picture is" for name in ("IMG_1", "holiday.jpg.bak", "notes.txt")
    )
    assert events[-1].message.startswith("Left out 3 of 83 pictures: cat/IMG_1 is not named as a picture is; ")


def test_a_picture_under_two_labels_is_told(pets):
    (pets / "dog" / "same.png").write_bytes((pets / "cat" / "0.png").read_bytes())
    events = []
    load(str(pets), listener=events.append)
    told = [event.message for event in events if event.kind == "warning"]
    assert len(told) == 1
    assert told[0].startswith("Pictures under two labels: 1. The first, cat/0.png is 'cat' in ")


def test_heic_files_are_told_where_nothing_can_read_them(pets, monkeypatch):
    (pets / "cat" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load(str(pets)).skipped == (
        "cat/phone.HEIC is HEIC, which needs pillow-heif: pip install 'keras-transfer[heic]'",
    )
