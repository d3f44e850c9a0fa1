"""The head, the losses and the merit of an embedding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.specs import Contract, Output
from keras_transfer.tasks import embedding
from keras_transfer.workflow import tasks

COSINES = np.array([[0.9, 0.1, -0.2], [0.3, 0.5, 0.0]], np.float32)
TARGETS = np.array([[0.0], [1.0]], np.float32)


def raw(cosines=COSINES, points=None):
    points = np.eye(len(cosines), 4, dtype=np.float32) if points is None else points
    return tf.constant(points), tf.constant(cosines)


def softmax_loss(logits, label):
    return float(np.log(np.exp(logits).sum()) - logits[label])


def network(classes=3):
    picture = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(picture)
    features = keras.Model(picture, keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x))
    return embedding.attach(features, (), classes=classes, seed=0)


def test_embeddings_are_of_unit_length():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    points, cosines = network().model.predict(pictures, verbose=0)
    assert points.shape == (4, embedding.HEADS["gem"].width)
    assert cosines.shape == (4, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)


def test_exported_files_give_the_embedding_alone_with_the_same_weights():
    whole = network().model
    contract = Contract(class_names=(), image_size=32, outputs=(Output(name="embedding", shape=(128,)),))
    alone = embedding.without_cosines(whole, contract)
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(alone.predict(pictures, verbose=0), whole.predict(pictures, verbose=0)[0])
    assert not any(layer.name == "cosines" for layer in alone.layers)


def test_arcface_widens_the_angle_of_the_right_one():
    found = embedding.arcface(raw(), TARGETS, 0.0).numpy()
    for row, label in enumerate((0, 1)):
        cosines = COSINES[row].astype(float).copy()
        cosines[label] = np.cos(np.arccos(cosines[label]) + embedding.ANGLE)
        assert found[row] == pytest.approx(softmax_loss(embedding.SCALE * cosines, label), rel=1e-5, abs=1e-6)


def test_arcface_falls_with_the_cosine_of_the_right_one_also_beyond_half_a_turn():
    cosines = np.stack([np.linspace(-1, 1, 41), np.zeros(41)], axis=1).astype(np.float32)
    found = embedding.arcface(raw(cosines, np.eye(41, dtype=np.float32)), np.zeros((41, 1), np.float32), 0.0).numpy()
    assert (np.diff(found) < 0).all()


def test_cosface_takes_its_margin_off_the_cosine():
    found = embedding.cosface(raw(), TARGETS, 0.0).numpy()
    cosines = COSINES[0].astype(float) - [embedding.COSINE, 0, 0]
    assert found[0] == pytest.approx(softmax_loss(embedding.SCALE * cosines, 0), rel=1e-5, abs=1e-6)


def test_proxy_has_no_margin():
    found = embedding.proxy(raw(), TARGETS, 0.0).numpy()
    assert found[1] == pytest.approx(softmax_loss(embedding.SCALE * COSINES[1].astype(float), 1), rel=1e-5)


def test_contrastive_is_the_mean_over_others_of_the_same_one():
    points = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    targets = np.array([[0], [0], [0], [1]], np.float32)
    found = embedding.contrastive(raw(np.zeros((4, 2), np.float32), points), targets, 0.0).numpy()
    near = points @ points[0] / embedding.WARMTH
    expected = np.log(np.exp(near[1:]).sum()) - near[1:3].mean()
    assert found[0] == pytest.approx(expected, rel=1e-4)
    assert found[3] == 0


@pytest.mark.parametrize("loss", ["arcface", "cosface", "proxy"])
def test_identities_that_are_not_trained_on_are_compared_among_each_other(loss):
    points = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, -0.8]], np.float32)
    given, targets = raw(np.zeros((4, 2), np.float32), points), np.array([[7], [7], [8], [8]], np.float32)
    np.testing.assert_array_equal(
        embedding.LOSSES[loss](given, targets, 0.0), embedding.contrastive(given, targets, 0.0)
    )


def test_merit_is_whether_the_nearest_other_picture_shows_the_same_one():
    points = np.array([[1, 0], [0.9, 0.436], [0, 1], [0.1, 0.995], [0.7, -0.714]], np.float32)
    targets = np.array([[0], [0], [1], [1], [1]], np.float32)
    assert embedding.merit((tf.constant(points),), tf.constant(targets)).numpy().tolist() == [1, 1, 1, 1, 0]


def test_the_losses_of_the_task_are_those_of_its_head():
    assert set(tasks.TASKS["embedding"].losses) == set(embedding.LOSSES)


def test_the_heads_of_the_task_and_their_widths_are_those_of_its_network():
    assert {name: head.width for name, head in embedding.HEADS.items()} == tasks.EMBEDDING_WIDTHS
    assert tasks.TASKS["embedding"].heads == tuple(embedding.HEADS)


@pytest.mark.parametrize(("side", "cells"), [(8, 4), (7, 2), (7, 4), (3, 4)])
def test_a_picture_and_its_mirror_image_fill_the_same_cells(side, cells):
    maps = keras.Input((side, side, 3))
    halves = keras.Model(maps, embedding.halved(maps, cells, "cells"))
    given = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    found = halves.predict(given, verbose=0)
    np.testing.assert_allclose(found, halves.predict(given[:, :, ::-1], verbose=0), atol=1e-6)
    kept = min(cells, side)
    assert found.shape == (2, kept * -(-kept // 2) * 3)


def test_cells_of_a_grid_are_means_of_what_lies_in_them():
    maps = keras.Input((4, 4, 1))
    rows = np.arange(4, dtype=np.float32)[None, :, None, None] * np.ones((1, 4, 4, 1), np.float32)
    found = keras.Model(maps, embedding.halved(maps, 2, "cells")).predict(rows, verbose=0)
    np.testing.assert_allclose(found, [[0.5, 2.5]])


def test_a_backbone_of_two_blocks_has_no_grid():
    picture = keras.Input((32, 32, 3))
    with pytest.raises(UsageError, match=r"The head 'grid' takes the third last block, and the backbone has 0\."):
        embedding.attach(keras.Model(picture, picture), (), classes=2, head="grid")


def test_a_solved_head_scatters_pictures_of_an_identity_alike_in_all_directions():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 50)
    points = rng.normal(size=(40, 4))[who] + rng.normal(size=(2000, 4)) * [1.0, 0.5, 2.0, 1.0]
    feature = keras.Input((4,))
    joined = keras.Model([feature], keras.layers.Identity()(feature))
    broken = np.full((10, 4), 1e6), np.zeros((10, 1)), np.zeros(10)
    batches = [([points[part]], who[part, None], np.ones(500)) for part in np.split(np.arange(2000), 4)]
    batches.append(([broken[0]], broken[1], broken[2]))
    found = embedding.scatter(joined, batches, 40)
    np.testing.assert_allclose(np.diag(found.within), [1, 0.25, 4, 1], rtol=0.1)
    solved = embedding.Solved.of(found, width=6)
    scattered = solved.kernel.T @ found.within @ solved.kernel
    level = np.trace(found.within) / 4
    expected = (np.diag(found.within) * (1 - embedding.SHRUNK) + embedding.SHRUNK * level) ** -1 * np.diag(found.within)
    np.testing.assert_allclose(np.sort(np.diag(scattered)[:4]), np.sort(expected), rtol=0.05)
    np.testing.assert_array_equal(solved.kernel[:, 4:], 0)
    np.testing.assert_allclose(np.linalg.norm(solved.directions, axis=0), 1)
