"""The rows of the table of annotations: what each must keep to, and what feed and augmentation make of it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.data import augment, box_labels, mask_labels
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import SOURCES, load
from keras_transfer.errors import UsageError

NAMES = ("cat", "dog", "owl")
LISTED = {
    "class": ["cat", "owl", "dog", "cat"],
    "identity": ["cat", "owl", "dog", "cat"],
    "clip": ["cat", "owl", "dog", "cat"],
    "classes": [("cat", "owl"), (), ("dog",), ("cat", "dog", "owl")],
    "mask": [
        mask_labels.listed(np.array([row] * 4, np.uint8), NAMES)
        for row in ([0, 0, 2, 2], [255] * 4, [1, 1, 1, 255], [0, 1, 2, 2])
    ],
    "boxes": [
        box_labels.listed(30, 40, [(0.1, 0.2, 0.5, 0.6, name) for name in names])
        for names in (("cat", "owl"), (), ("dog",), ("cat", "cat", "dog", "owl"))
    ],
}
SIDE = 16


@pytest.fixture(params=ANNOTATIONS)
def row(request):
    return ANNOTATIONS[request.param]


def stored(row):
    return row.stored(LISTED[row.name], {name: position for position, name in enumerate(NAMES)})


def test_a_listed_label_comes_back_from_what_is_stored(row):
    assert [row.listed(each, NAMES) for each in stored(row)] == LISTED[row.name]


def test_stored_labels_pass_through_whole_numbers_unchanged(row):
    numbers = [row.listed(each, range(3)) for each in stored(row)]
    assert (row.stored(numbers, {0: 0, 1: 1, 2: 2}) == stored(row)).all()


def test_counts_are_the_pictures_whose_names_hold_the_class(row):
    expected = [sum(name in row.names(label) for label in LISTED[row.name]) for name in NAMES]
    assert row.counts(stored(row), 3).tolist() == expected


def test_targets_are_float32_and_an_empty_batch_tells_their_shape(row):
    make = row.targets_of(stored(row)) if row.targets_of else row.targets
    targets = make(stored(row), 3, SIDE, "stretch")
    assert targets.dtype == np.float32
    assert make(stored(row)[:0], 3, SIDE, "stretch").shape == (0, *targets.shape[1:])
    if row.name in ("class", "classes"):
        assert (targets.sum(0) == row.counts(stored(row), 3)).all()


def test_balancing_weights_have_a_mean_of_one_and_lift_what_is_rare(row):
    rare = stored(row)[[0] * 9 + [2]]
    if row.weights is None:
        pytest.skip("nothing balances what one picture has of every class")
    weights = row.weights(rare)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] > weights[0]


def test_different_labels_have_different_texts(row):
    assert len({row.text(label) for label in LISTED[row.name]}) == len(set(LISTED[row.name]))


def test_every_source_names_rows_of_the_table():
    assert all(set(source.annotations) <= set(ANNOTATIONS) for source in SOURCES)


def test_targets_of_a_class_are_the_rows_of_the_identity():
    labels = np.array([2, 0, 1, 2])
    assert (ANNOTATIONS["class"].targets(labels, 3, SIDE, "crop") == np.eye(3, dtype=np.float32)[labels]).all()


def test_a_feed_keeps_no_targets_but_makes_them_a_batch_at_a_time(monkeypatch):
    asked, splits = [], load("sample:fashion")

    def counted(labels, classes, side, aspect):
        asked.append(len(labels))
        return ANNOTATIONS["class"].targets(labels, classes, side, aspect)

    rows = {"class": dataclasses.replace(ANNOTATIONS["class"], targets=counted)}
    monkeypatch.setattr("keras_transfer.data.pipeline.ANNOTATIONS", rows)
    feed = make_feed(splits)
    assert asked == []
    batches = [targets for _, targets, _ in feed("validation", image_size=16, batch_size=32)]
    assert sum(asked) == 300
    assert max(asked) == 32
    assert (np.concatenate(batches).argmax(1) == splits.validation.labels).all()


def masks(mixes=False):
    """A row as segmentation will need it: each picture's own brightness as its target, moved as the picture is."""

    def move(targets, matrices, side):
        layers = targets[..., None]
        return keras.ops.image.affine_transform(layers, matrices, interpolation="nearest", fill_mode="reflect")[..., 0]

    return dataclasses.replace(ANNOTATIONS["class"], name="masks", meaning="masks", move=move, mixes=mixes)


def test_targets_that_move_stay_on_what_they_cover():
    rng = np.random.default_rng(0)
    covered = np.zeros((6, 32, 32), np.float32)
    for each, (top, left) in zip(covered, rng.integers(4, 16, (6, 2)), strict=True):
        each[top : top + 10, left : left + 10] = 1
    images = (covered[..., None].repeat(3, -1) * 255).astype(np.uint8)
    noise = augment.noise(0, 0, 6)
    seen, moved = augment.policy("light", masks())(tf.constant(images), tf.constant(covered), tf.constant(noise))
    agree = (seen.numpy()[..., 0] > 127) == (moved.numpy() > 0.5)
    assert agree.mean() > 0.97
    assert (moved.numpy() != covered).any(axis=(1, 2)).sum() >= 5


def test_what_cannot_be_mixed_is_refused_by_a_policy_that_mixes():
    with pytest.raises(
        UsageError, match=r"'strong' mixes pictures, .* Use: none, light, light_no_flip, standard, scenes\."
    ):
        augment.policy("strong", masks())


def test_an_annotation_that_no_table_has_is_a_usage_error():
    with pytest.raises(UsageError, match=r"Unknown annotation 'clases'. Did you mean 'classes'\?"):
        load("sample:fashion", annotation="clases")
