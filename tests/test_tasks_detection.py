"""Where things are: assignment, losses, and the removal of copies beside TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.tasks import detection
from keras_transfer.workflow import tasks

SIDE = 96
COUNT = sum((SIDE // stride) ** 2 for stride in detection.STRIDES)
RNG = np.random.default_rng(0)


def said(boxes):
    """The distances with which places say these boxes, float32 (batch, COUNT, 4) in shares of the side."""
    middles, strides = detection.places(SIDE)
    away = np.concatenate([middles - boxes[..., :2], boxes[..., 2:] - middles], axis=-1) / (2 * strides[:, None])
    return np.log(np.expm1(np.maximum(away, 1e-4))).astype(np.float32)


def some_boxes(count):
    corner = RNG.uniform(0, 0.7, (count, 2))
    return np.concatenate([corner, corner + RNG.uniform(0.05, 0.3, (count, 2))], axis=1).astype(np.float32)


def target(*rows, most=6):
    padded = np.full((1, most, 5), -1, np.float32)
    padded[0, : len(rows)] = np.reshape(rows, (-1, 5))
    return tf.constant(padded)


def test_the_row_of_the_table_says_what_the_head_gives():
    assert tasks.DETECTIONS == detection.DETECTIONS
    scores, distances = tasks.TASKS["detection"].trained(3, SIDE)
    assert (scores.shape, distances.shape) == ((COUNT, 3), (COUNT, 4))
    found = detection.settled(tf.zeros((1, *scores.shape)), tf.zeros((1, *distances.shape)))
    given = {name: tuple(value.shape[1:]) for name, value in found.items()}
    assert given == {output.name: output.shape for output in tasks.TASKS["detection"].outputs(3, SIDE)}


def test_places_stand_in_the_middle_of_their_cells_and_tell_the_side():
    middles, strides = detection.places(SIDE)
    assert middles[0].tolist() == pytest.approx([4 / SIDE, 4 / SIDE])
    assert strides[-1] == pytest.approx(32 / SIDE)
    assert detection.side_of(len(middles)) == SIDE


def test_overlap_of_boxes_by_counting_pixels():
    one, other = np.array([0, 0, 4, 6], np.float32), np.array([2, 3, 6, 9], np.float32)
    grid = np.zeros((2, 12, 12), bool)
    grid[0, 0:4, 0:6], grid[1, 2:6, 3:9] = True, True
    wanted = grid.all(axis=0).sum() / grid.any(axis=0).sum()
    assert float(detection.iou(one, other)) == pytest.approx(wanted)
    assert float(detection.generalized_iou(one, other)) == pytest.approx(wanted - (54 - grid.any(axis=0).sum()) / 54)


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_removed_as_tensorflow_removes_them(seed):
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(0.1, 0.6, (12, 2))
    corner = anchors[rng.integers(0, 12, COUNT)] + rng.normal(0, 0.02, (COUNT, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 0.3, (COUNT, 2))], axis=1).astype(np.float32)
    middles, _ = detection.places(SIDE)
    boxes[:, :2], boxes[:, 2:] = np.minimum(boxes[:, :2], middles), np.maximum(boxes[:, 2:], middles)
    logits = rng.normal(-3, 2, (COUNT, 3)).astype(np.float32)
    found = detection.settled(tf.constant(logits[None]), tf.constant(said(boxes)[None]))
    shown = np.asarray(detection.boxes_of(tf.constant(said(boxes)[None])))
    wanted = tf.image.combined_non_max_suppression(
        shown[:, :, None], tf.sigmoid(logits)[None], 100, 100, detection.OVERLAP, detection.FAINT
    )
    count = int(found["number of detections"][0])
    assert count == pytest.approx(int(wanted.valid_detections[0]), abs=1)
    same = min(count, int(wanted.valid_detections[0]))
    np.testing.assert_allclose(found["score"][0, :same], wanted.nmsed_scores[0, :same], atol=2e-3)


def test_boxes_of_two_classes_never_remove_each_other():
    boxes = np.tile(np.array([0.2, 0.2, 0.6, 0.6], np.float32), (COUNT, 1))
    logits = np.full((COUNT, 2), -9, np.float32)
    logits[40] = (3, 2)
    found = detection.settled(tf.constant(logits[None]), tf.constant(said(boxes)[None]))
    assert float(found["number of detections"][0]) == 2
    assert found["category"][0, :2].numpy().tolist() == [0, 1]


def test_what_lies_behind_the_last_detection_is_zero():
    found = detection.settled(tf.fill((1, COUNT, 2), -9.0), tf.constant(said(some_boxes(COUNT))[None]))
    assert float(found["number of detections"][0]) == 0
    assert not any(np.asarray(value).any() for value in found.values())


def test_a_picture_without_objects_has_a_loss_that_is_a_number_and_teaches_scores_alone():
    raw = [tf.Variable(tf.random.normal((1, COUNT, width), seed=0)) for width in (2, 4)]
    with tf.GradientTape() as tape:
        loss = detection.task_aligned(tuple(raw), target(), 0.0)
    scores, distances = tape.gradient(loss, raw)
    assert np.isfinite(loss.numpy()).all()
    assert np.abs(scores).sum() > 0
    assert np.abs(distances).sum() == 0


def test_places_outside_a_box_never_answer_for_it():
    boxes = tf.constant(np.tile(np.array([0.5, 0.5, 0.9, 0.9], np.float32), (1, COUNT, 1)))
    quality, _ = detection._assigned(tf.fill((1, COUNT, 2), 0.5), boxes, target((0.5, 0.5, 0.9, 0.9, 1)))
    middles, _ = detection.places(SIDE)
    inside = ((middles > 0.5) & (middles < 0.9)).all(axis=1)
    assert (quality.numpy()[0, ~inside] == 0).all()
    assert 0 < (quality.numpy() > 0).sum() <= inside.sum()


def test_training_on_one_picture_finds_its_boxes():
    raw = [tf.Variable(np.full((1, COUNT, 2), -4, np.float32)), tf.Variable(np.ones((1, COUNT, 4), np.float32))]
    wanted = target((0.1, 0.1, 0.4, 0.5, 0), (0.5, 0.4, 0.9, 0.8, 1))
    step = tf.keras.optimizers.Adam(0.2)
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = detection.task_aligned(tuple(raw), wanted, 0.0)
        step.apply_gradients(zip(tape.gradient(loss, raw), raw, strict=True))
    found = detection.settled(*raw)
    assert float(detection.merit(tuple(raw), wanted)[0]) == 1.0
    assert float(detection.iou(found["location"][0, 0], wanted[0, int(found["category"][0, 0]), :4])) > 0.9


def test_merit_is_one_where_nothing_is_there_and_nothing_is_found():
    raw = (tf.fill((1, COUNT, 2), -9.0), tf.ones((1, COUNT, 4)))
    assert detection.merit(raw, target()).numpy().tolist() == [1.0]
    assert detection.merit(raw, target((0.1, 0.1, 0.4, 0.5, 0))).numpy().tolist() == [0.0]
