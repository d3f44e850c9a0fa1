"""Pictures that are read as clients read them: other filters and qualities, the same for the same seed and epoch."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import augment, pipeline, sources, varied
from keras_transfer.data.varied import FILTERS
from keras_transfer.errors import UsageError
from keras_transfer.specs import Plan, Stage
from keras_transfer.workflow import checking

SIDE = 24
LINES = np.zeros((96, 96, 3), np.uint8)
LINES[:, ::2] = 255


@pytest.fixture
def splits(tmp_path):
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(10):
            pixels = random.integers(0, 256, (96, 120, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return sources.load(str(tmp_path))


def train(feed, how, epoch=0):
    batches = feed("train", image_size=SIDE, batch_size=8, augment=how, epoch=epoch)
    return np.concatenate([np.asarray(images) for images, *_ in batches])


def read_by(which, stored=0.9, quality=0.0):
    into = np.empty((SIDE, SIDE, 3), np.uint8)
    place = (list(FILTERS).index(which) + 0.5) / len(FILTERS)
    return varied.square_of(LINES, SIDE, "stretch", into, np.array([place, stored, quality], np.float32))


def test_filters_that_average_make_fine_lines_grey_and_the_one_that_does_not_keeps_them():
    for name in ("own", "antialiased", "area"):
        assert np.abs(read_by(name).astype(int) - 127).max() < 40, name
    plain = varied.square_of(LINES[:, :95], SIDE, "stretch", np.empty((SIDE, SIDE, 3), np.uint8), np.array([0.9, 1, 0]))
    assert np.ptp(plain) > 100


def test_a_picture_that_is_stored_once_more_shows_it_and_more_so_at_a_low_quality():
    random = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)

    def apart(*drawn):
        made = varied.square_of(random, SIDE, "stretch", np.empty_like(random), np.array(drawn))
        return np.abs(made.astype(int) - random).mean()

    assert apart(0.6, 0.9, 0) == 0
    assert apart(0.6, 0.1, 0) > apart(0.6, 0.1, 0.99) > 0


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
def test_every_filter_makes_squares_of_every_aspect(aspect):
    pixels = np.full((40, 90, 3), 200, np.uint8)
    for place in range(len(FILTERS)):
        drawn = np.array([(place + 0.5) / len(FILTERS), 0.9, 0])
        made = varied.square_of(pixels, SIDE, aspect, np.empty((SIDE, SIDE, 3), np.uint8), drawn)
        assert (made[SIDE // 2, SIDE // 2] == 200).all()
        assert (made[0, 0] == 0).all() == (aspect == "letterbox")


def test_the_same_epoch_is_read_the_same_and_another_one_otherwise(splits):
    feed = pipeline.make_feed(splits)
    first = train(feed, "none+clients")
    assert (first == train(pipeline.make_feed(splits), "none+clients")).all()
    assert (first != train(feed, "none+clients", epoch=1)).any()


def test_reading_as_clients_do_leaves_what_is_kept_of_plain_reading_alone(splits):
    feed, other = pipeline.make_feed(splits), pipeline.make_feed(splits)
    train(feed, "none+clients")
    plain = train(feed, "none")
    assert (plain == train(other, "none")).all()
    assert (plain != train(feed, "none+clients")).any()


def test_a_policy_goes_on_behind_a_reading_that_varies(splits):
    feed = pipeline.make_feed(splits)
    assert (train(feed, "light+clients") != train(feed, "none+clients")).any()
    assert augment.parted("light+clients") == ("light", True)


def test_pictures_in_memory_are_read_in_other_ways_too():
    feed = pipeline.make_feed(sources.load("sample:fashion"))
    images = next(iter(feed("train", image_size=16, batch_size=8, augment="none+clients")))[0]
    assert np.asarray(images).shape == (8, 16, 16, 3)


def test_a_stream_has_no_files_that_could_be_read_otherwise(splits):
    from dataclasses import replace

    stream = replace(splits.train, pictures=lambda: None)
    feed = pipeline.make_feed(replace(splits, train=stream))
    with pytest.raises(UsageError, match=r"'\+clients' reads picture files in other ways, and these are shards"):
        feed("train", image_size=SIDE, batch_size=8, augment="light+clients")


@pytest.mark.parametrize("name", ["light+client", "lihgt+clients"])
def test_a_name_that_no_policy_has_is_refused_before_pictures_are_read(name):
    plan = Plan(data="sample:fashion", stages=(Stage(name="head", augment=name),))
    with pytest.raises(UsageError, match=r"^Unknown augmentation .* Did you mean 'light\+clients'\?$"):
        checking.check(plan)
    kept = plan.model_copy(update={"stages": (Stage(name="head", augment="light+clients"),)})
    assert checking.check(kept).name == "EfficientNetLite0"
