"""Batches: what they hold, that the same seed and epoch give the same ones, and that nothing broken ends them."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer.data import pipeline
from keras_transfer.data.pictures import read_pictures
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError, UsageError
from keras_transfer.order import Share
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


@pytest.mark.parametrize("kind", ["files", "array", "stream"])
@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_two_workers_share_the_batches_of_one(folder, kind, cache_bytes):
    """37 pictures in batches of 6 leave one in the last: the second worker takes a picture that weighs nothing."""
    splits = load(str(folder))
    part = splits.train.take(np.arange(37))
    if kind == "array":
        pixels = read_pictures(part.pictures, image_size=20, aspect="stretch")
        part = dataclasses.replace(part, pictures=pixels)
    if kind == "stream":
        files = [str(path) for path in part.pictures]
        part = dataclasses.replace(
            part, pictures=lambda: tf.data.Dataset.from_tensor_slices(files).map(tf.io.read_file)
        )
    feed = make_feed(dataclasses.replace(splits, train=part), cache_bytes=cache_bytes)
    how = {"image_size": 16, "batch_size": 6, "epoch": 1, "shuffle": True, "augment": "light"}
    for _ in range(2):  # the second time perhaps from memory
        whole = [tuple(map(np.asarray, batch)) for batch in feed("train", **how)]
        shares = [[tuple(map(np.asarray, b)) for b in feed("train", **how, share=Share(i, 2))] for i in range(2)]
        assert len(shares[0]) == len(shares[1]) == len(whole)
        for index, batches in enumerate(shares):
            for mine, all_of_it in zip(batches, whole, strict=True):
                theirs = [each[index::2] for each in all_of_it]
                if len(theirs[0]):
                    assert all((a == b).all() for a, b in zip(mine, theirs, strict=True))
                else:
                    assert mine[2].tolist() == [0.0]


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
    (warning,) = [event.message for event in events if event.kind == "warning"]
    assert "is not a picture that can be read" in warning


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


def test_strict_names_the_broken_picture_before_any_training(folder, tmp_path):
    splits = load(str(copytree(folder, tmp_path / "pets")))
    Path(splits.train.pictures[4]).write_bytes(b"\xff\xd8\xff" + bytes(99))
    feed = make_feed(splits, strict=True)
    with pytest.raises(
        DataError, match=rf"1 of {len(splits.train)} train pictures cannot be used: {splits.train.keys[4]} "
    ):
        feed("train", image_size=24, batch_size=7)


def uneven(tmp_path):
    for label, (name, count) in enumerate({"cat": 40, "dog": 10}.items()):
        for number in range(count):
            write_picture(tmp_path / "uneven" / name / f"{number}.png", 1000 * label + number)
    return load(str(tmp_path / "uneven"))


def test_balancing_by_weights_gives_every_class_the_same_sum(tmp_path):
    _, targets, weights = all_of(make_feed(uneven(tmp_path), balance="weights")("train", image_size=16, batch_size=8))
    sums = weights @ targets
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_balancing_by_resampling_shows_every_class_as_often(tmp_path):
    splits = uneven(tmp_path)
    feed = make_feed(splits, balance="resample")
    _, targets, _ = all_of(feed("train", image_size=16, batch_size=8, shuffle=True))
    assert len(targets) == len(splits.train)
    assert np.ptp(targets.sum(0)) <= 1
    _, untouched, _ = all_of(feed("validation", image_size=16, batch_size=8, shuffle=True))
    assert (untouched.sum(0) == np.bincount(splits.validation.labels)).all()


def test_weights_of_a_source_reach_the_batches(folder):
    splits = load(str(folder))
    weights = np.linspace(0.5, 2, len(splits.train), dtype=np.float32)
    weighted = dataclasses.replace(splits, train=dataclasses.replace(splits.train, weights=weights))
    assert np.allclose(all_of(make_feed(weighted)("train", image_size=16, batch_size=8))[2], weights)


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_a_stream_of_encoded_pictures_gives_the_same_batches_as_its_files(folder, cache_bytes):
    splits = load(str(folder))
    paths = np.asarray(splits.train.pictures)
    stream = dataclasses.replace(
        splits.train, pictures=lambda: tf.data.Dataset.from_tensor_slices(paths).map(tf.io.read_file)
    )
    streamed = make_feed(dataclasses.replace(splits, train=stream), cache_bytes=cache_bytes)
    expected = all_of(make_feed(splits)("train", image_size=16, batch_size=8))
    found = all_of(streamed("train", image_size=16, batch_size=8))
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    stirred = all_of(streamed("train", image_size=16, batch_size=8, shuffle=True))
    again = all_of(streamed("train", image_size=16, batch_size=8, shuffle=True))
    assert (stirred[0] == again[0]).all()
    assert not (stirred[0] == found[0]).all()


def test_a_size_that_no_longer_fits_makes_room_for_the_next(folder):
    splits = load(str(folder))
    feed = make_feed(splits, cache_bytes=len(splits.train) * 24 * 24 * 3)
    for size in (16, 24):
        all_of(feed("train", image_size=size, batch_size=8))
    assert list(feed._caches) == [("train", 24)]


def test_two_workers_of_a_data_service_decode_every_picture_once(folder, tmp_path):
    for path in sorted((folder).rglob("*.png")):
        target = tmp_path / path.parent.name / f"{path.stem}.jpg"
        target.parent.mkdir(exist_ok=True)
        Image.open(path).save(target)
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    workers = [service.WorkerServer(service.WorkerConfig(dispatcher_address=address)) for _ in range(2)]
    splits = load(str(tmp_path))
    served = all_of(make_feed(splits, service=dispatcher.target)("train", image_size=16, batch_size=8, shuffle=True))
    here = all_of(make_feed(splits)("train", image_size=16, batch_size=8, shuffle=True))
    assert sorted(x.tobytes() for x in served[0]) == sorted(x.tobytes() for x in here[0])
    assert len(workers) == 2


ON_A_SECOND_DEVICE = """
import keras, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load

class Watched(keras.Model):
    seen = []
    def train_step(self, data):
        self.seen.extend(part.device for part in data)
        return super().train_step(data)

inputs = keras.Input((16, 16, 3))
model = Watched(inputs, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(inputs)))
model.compile("sgd", "categorical_crossentropy", run_eagerly=True)
batches = make_feed(load("sample:fashion"), device="/CPU:1")("train", image_size=16, batch_size=250, shuffle=True)
model.fit(batches, verbose=0)
print(sorted(set(device[-5:] for device in Watched.seen)), len(Watched.seen))
"""


def test_batches_stand_on_the_chosen_device_before_fit_asks_for_them():
    shown = subprocess.run([sys.executable, "-c", ON_A_SECOND_DEVICE], capture_output=True, text=True, check=False)
    assert shown.stdout.strip() == "['CPU:1'] 12", shown.stderr[-2000:]


def test_without_an_accelerator_training_says_once_and_nobody_else_that_there_is_nothing_to_copy(fashion, monkeypatch):
    monkeypatch.setattr(pipeline, "_TOLD", set())
    events = []
    for _ in range(2):
        feed = make_feed(fashion, device="/CPU:0", listener=events.append)
        pipeline.tell_device(feed.options.device, events.append)
    assert [event.message for event in events] == [
        "/CPU:0 is no accelerator: batches are made ahead but copied nowhere."
    ]


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_a_stream_is_resampled_as_its_files_are_whether_or_not_it_fits_the_memory(tmp_path, cache_bytes):
    splits = uneven(tmp_path)
    paths = np.asarray(splits.train.pictures)
    stream = dataclasses.replace(
        splits.train, pictures=lambda: tf.data.Dataset.from_tensor_slices(paths).map(tf.io.read_file)
    )
    streamed = make_feed(dataclasses.replace(splits, train=stream), cache_bytes=cache_bytes, balance="resample")
    found = all_of(streamed("train", image_size=16, batch_size=8, shuffle=True, epoch=3))[0]
    files = all_of(make_feed(splits, balance="resample")("train", image_size=16, batch_size=8, shuffle=True, epoch=3))[
        0
    ]
    assert sorted(x.tobytes() for x in found) == sorted(x.tobytes() for x in files)
