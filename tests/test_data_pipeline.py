"""Batches: what they hold, that the same seed and epoch give the same ones, and that nothing broken ends them."""

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from keras_transfer.data.pipeline import make_feed, read_pictures
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError, UsageError
from tests.test_data_sources import write_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for label, name in enumerate(("cat", "dog")):
        for number in range(30):
            write_picture(root / name / f"{number}.png", 1000 * label + number, size=(40, 30))
    return root


@pytest.fixture(scope="module")
def fashion():
    return load("sample:fashion")


def all_of(dataset):
    parts = list(zip(*[[np.asarray(part) for part in batch] for batch in dataset], strict=True))
    return [np.concatenate(part) for part in parts]


def test_a_batch_holds_uint8_pictures_one_hot_targets_and_weights(fashion):
    images, targets, weights = next(iter(make_feed(fashion)("train", image_size=32, batch_size=8)))
    assert images.shape == (8, 32, 32, 3)
    assert images.dtype == "uint8"
    assert targets.dtype == weights.dtype == "float32"
    assert (targets.numpy().sum(1) == 1).all()
    assert (weights.numpy() == 1).all()


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_without_shuffle_the_order_is_that_of_the_split(folder, cache_bytes):
    splits = load(str(folder))
    feed = make_feed(splits, cache_bytes=cache_bytes)
    for _ in range(2):
        images, targets, _ = all_of(feed("train", image_size=24, batch_size=7))
        assert (targets.argmax(1) == splits.train.labels).all()
        assert len(images) == len(splits.train)


def test_every_epoch_of_a_cached_feed_shows_the_pictures_of_the_first(folder):
    feed = make_feed(load(str(folder)))
    first, second = (all_of(feed("train", image_size=24, batch_size=7))[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_the_shuffled_order_is_a_function_of_seed_and_epoch_alone(folder, cache_bytes):
    splits = load(str(folder))
    resumed, straight = make_feed(splits, seed=3, cache_bytes=cache_bytes), make_feed(splits, seed=3)
    all_of(straight("train", image_size=24, batch_size=7, shuffle=True))
    a = all_of(resumed("train", image_size=24, batch_size=7, epoch=1, shuffle=True, augment="light"))
    b = all_of(straight("train", image_size=24, batch_size=7, epoch=1, shuffle=True, augment="light"))
    assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_another_epoch_has_another_order_of_the_same_pictures(folder):
    feed = make_feed(load(str(folder)))
    a, b = (all_of(feed("train", image_size=24, batch_size=7, epoch=e, shuffle=True))[0] for e in (0, 1))
    assert not (a == b).all()
    assert sorted(x.tobytes() for x in a) == sorted(x.tobytes() for x in b)


def test_a_feed_can_be_left_in_the_middle_of_an_epoch(folder):
    feed = make_feed(load(str(folder)))
    next(iter(feed("train", image_size=24, batch_size=7, shuffle=True)))
    images, _, _ = all_of(feed("train", image_size=24, batch_size=7))
    assert images.any(axis=(1, 2, 3)).all()


def test_a_broken_picture_keeps_its_place_weighs_nothing_and_is_named(folder, tmp_path):
    splits = load(str(copytree(folder, tmp_path / "pets")))
    Path(splits.train.pictures[4]).write_bytes(b"\xff\xd8\xff" + bytes(99))
    events = []
    feed = make_feed(splits, listener=events.append)
    for _ in range(2):
        images, targets, weights = all_of(feed("train", image_size=24, batch_size=7))
        assert (targets.argmax(1) == splits.train.labels).all()
        assert np.flatnonzero(weights == 0).tolist() == [4]
        assert not images[4].any()
    assert list(feed.unreadable) == [splits.train.keys[4]]
    assert [event.kind for event in events] == ["warning"]
    assert "is not a picture that can be read" in events[0].message


def test_training_sees_exactly_what_prediction_reads(folder):
    splits = load(str(folder))
    fed = all_of(make_feed(splits, aspect="letterbox")("test", image_size=20, batch_size=7))[0]
    read = read_pictures(splits.test.pictures, image_size=20, aspect="letterbox")
    assert (fed == read).all()


def test_reading_names_the_file_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(DataError, match=r"'.*notes.jpg' is not a picture that can be read"):
        read_pictures([next((folder / "cat").iterdir()), tmp_path / "notes.jpg"], image_size=20, aspect="stretch")
    with pytest.raises(DataError, match=r"'.*gone.jpg' cannot be read: No such file or directory."):
        read_pictures([tmp_path / "gone.jpg"], image_size=20, aspect="stretch")


def test_an_unknown_aspect_or_augmentation_is_a_usage_error(fashion):
    with pytest.raises(UsageError, match=r"Unknown aspect 'strech'. Did you mean 'stretch'\?"):
        make_feed(fashion, aspect="strech")
    with pytest.raises(UsageError, match=r"Unknown augmentation 'standart'. Did you mean 'standard'\?"):
        make_feed(fashion)("train", image_size=32, batch_size=8, augment="standart")
