"""Augmentation: the same for the same seed, epoch and picture; never what the label says; cheap to leave out."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer.data import sheet
from keras_transfer.data.augment import NOISE, POLICIES, noise, policy

SIZE, PICTURES, CLASSES = 32, 24, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 3)).astype(np.uint8)
TARGETS = np.eye(CLASSES, dtype=np.float32)[np.arange(PICTURES) % CLASSES]


def augmented(name, epoch=0, rows=slice(None)):
    chance = noise(0, epoch, PICTURES)[rows]
    images, targets = policy(name)(tf.constant(IMAGES[rows]), tf.constant(TARGETS[rows]), tf.constant(chance))
    return np.asarray(images), np.asarray(targets)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_keeps_type_and_shape_and_targets_stay_shares(name):
    images, targets = augmented(name)
    assert images.shape == IMAGES.shape
    assert images.dtype == np.uint8
    assert np.allclose(targets.sum(1), 1, atol=1e-5)
    assert (targets >= 0).all()


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_epoch_gives_the_same_pictures(name):
    assert (augmented(name)[0] == augmented(name)[0]).all()


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "none"])
def test_another_epoch_gives_other_pictures(name):
    assert not (augmented(name, 0)[0] == augmented(name, 1)[0]).all()


@pytest.mark.parametrize("name", ["light", "light_no_flip", "standard"])
def test_a_picture_comes_the_same_in_any_batch(name):
    whole = augmented(name)[0]
    parts = np.concatenate([augmented(name, rows=slice(start, start + 6))[0] for start in range(0, PICTURES, 6)])
    assert (whole == parts).all()


def test_without_flips_left_and_right_stay_where_they_are():
    side = np.zeros((PICTURES, SIZE, SIZE, 3), np.uint8)
    side[:, :, : SIZE // 4] = 255
    for name, mirrored in (("light", True), ("light_no_flip", False)):
        images, _ = policy(name)(tf.constant(side), tf.constant(TARGETS), tf.constant(noise(0, 0, PICTURES)))
        left, right = (np.asarray(images)[:, :, half].mean(axis=(1, 2, 3)) for half in (slice(16), slice(16, None)))
        assert (left < right).any() == mirrored


def test_mixing_depends_on_the_size_of_a_batch_for_its_first_picture_alone():
    whole, parts = (
        np.concatenate([augmented("strong", rows=slice(start, start + size))[0] for start in range(0, PICTURES, size)])
        for size in (12, 6)
    )
    differ = np.flatnonzero((whole != parts).any(axis=(1, 2, 3)))
    assert set(differ) <= {0, 6, 12, 18}
    assert len(differ)


@pytest.mark.parametrize("name", ["none", "light", "light_no_flip", "standard"])
def test_policies_that_do_not_mix_leave_the_targets_alone(name):
    assert (augmented(name)[1] == TARGETS).all()


def test_strong_mixes_some_pictures_and_their_targets_alike():
    targets = augmented("strong")[1]
    mixed = (targets.max(1) < 1).mean()
    assert 0.2 < mixed < 0.8


def test_noise_of_a_picture_does_not_depend_on_how_many_there_are():
    assert (noise(3, 1, 10) == noise(3, 1, 500)[:10]).all()
    assert noise(3, 1, 10).shape == (10, NOISE)
    assert not (noise(3, 1, 10) == noise(3, 2, 10)).any()


def test_light_moves_a_picture_only_a_little():
    smooth = np.linspace(0, 255, SIZE).astype(np.uint8)[None, None, :, None].repeat(SIZE, 1).repeat(3, 3)
    smooth = smooth.repeat(8, 0)
    images, _ = policy("light")(tf.constant(smooth), tf.constant(TARGETS[:8]), tf.constant(noise(0, 0, 8)))
    kept = np.minimum(
        np.abs(images.numpy().astype(int) - smooth).mean((1, 2, 3)),
        np.abs(images.numpy().astype(int)[:, :, ::-1] - smooth).mean((1, 2, 3)),
    )
    assert (kept < 20).all()


def test_keras_cv_is_not_imported_for_policies_that_do_without_it():
    code = (
        "import sys; from keras_transfer.data import pipeline, augment; augment.policy('light');"
        "assert 'keras_cv' not in sys.modules; augment.policy('standard'); assert 'keras_cv' in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr[-2000:]


def test_the_sheet_shows_every_policy(tmp_path):
    path = sheet.draw(IMAGES[:4], tmp_path / "deep" / "sheet.png", views=2)
    with Image.open(path) as picture:
        assert picture.size[0] > 4 * SIZE
        assert picture.size[1] > (1 + 2 * (len(POLICIES) - 1)) * SIZE
