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


def ious(one, other):
    """Overlap and that of the box around both, one pair at a time."""
    (a, b, c, d), (e, f, g, h) = one, other
    both = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
    union = (c - a) * (d - b) + (g - e) * (h - f) - both
    around = (max(c, g) - min(a, e)) * (max(d, h) - min(b, f))
    return both / union, both / union - (around - union) / around


def test_overlaps_of_many_boxes_are_those_of_one_pair_after_another():
    one, other = some_boxes(30), some_boxes(30)
    wanted = np.array([ious(*pair) for pair in zip(one.tolist(), other.tolist(), strict=True)])
    np.testing.assert_allclose(detection.iou(one, other), wanted[:, 0], atol=1e-5)
    np.testing.assert_allclose(detection.generalized_iou(one, other), wanted[:, 1], atol=1e-5)


def test_a_box_overlaps_itself_wholly_and_boxes_far_apart_are_worth_less_than_nothing():
    near, far = np.array([0, 0, 0.1, 0.1], np.float32), np.array([0.9, 0.9, 1, 1], np.float32)
    assert float(detection.generalized_iou(near, near)) == pytest.approx(1, abs=1e-5)
    assert -1 <= float(detection.generalized_iou(near, far)) < -0.9


def test_distances_and_boxes_are_two_ways_to_say_one_thing():
    middles, _ = detection.places(SIDE)
    boxes = np.concatenate([middles - 0.1, middles + 0.15], axis=1).astype(np.float32)
    np.testing.assert_allclose(detection.boxes_of(tf.constant(said(boxes)[None]))[0], boxes, atol=1e-4)


@pytest.mark.parametrize("side", [64, 96, 224, 384])
def test_the_side_is_told_by_the_number_of_places(side):
    middles, strides = detection.places(side)
    assert detection.side_of(len(middles)) == side
    assert len(strides) == len(middles) == len({tuple(each) for each in np.c_[middles, strides].round(6).tolist()})
    assert ((middles > 0) & (middles < 1)).all()


def gradients(raw, wanted, smoothing=0.0):
    variables = [tf.Variable(each) for each in raw]
    with tf.GradientTape() as tape:
        loss = detection.task_aligned(tuple(variables), wanted, smoothing)
    return loss.numpy(), [each.numpy() for each in tape.gradient(loss, variables)]


@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 1.0, 1.0, 0), (0.5, 0.5, 0.501, 0.501, 1), (0.3, 0.3, 0.3, 0.6, 0), (0.0, 0.999, 1.0, 1.0, 1)],
    ids=["the whole picture", "a dot between places", "no area", "a sliver at the edge"],
)
@pytest.mark.parametrize("extreme", [0.0, 60.0])
def test_losses_and_gradients_are_numbers_for_boxes_of_any_shape(box, extreme):
    raw = (np.full((1, COUNT, 2), extreme, np.float32), np.full((1, COUNT, 4), extreme, np.float32))
    loss, changes = gradients(raw, target(box))
    assert np.isfinite(loss).all()
    assert all(np.isfinite(each).all() for each in changes)


def test_each_picture_of_a_batch_is_judged_by_itself():
    rng = np.random.default_rng(0)
    raw = [rng.normal(0, 1, (3, COUNT, width)).astype(np.float32) for width in (2, 4)]
    wanted = tf.concat([target((0.1, 0.1, 0.5, 0.5, 0)), target(), target((0.3, 0.3, 0.9, 0.8, 1))], axis=0)
    whole, _ = gradients(raw, wanted)
    alone = [gradients([each[i : i + 1] for each in raw], wanted[i : i + 1])[0][0] for i in range(3)]
    np.testing.assert_allclose(whole, alone, rtol=1e-4)


def test_empty_rows_behind_the_boxes_change_nothing():
    rng = np.random.default_rng(1)
    raw = [rng.normal(0, 1, (1, COUNT, width)).astype(np.float32) for width in (2, 4)]
    box = (0.2, 0.2, 0.7, 0.6, 1)
    few, many = (gradients(raw, target(box, most=most))[0] for most in (1, 9))
    np.testing.assert_allclose(few, many, rtol=1e-5)


def test_what_is_learned_of_a_box_draws_the_places_inside_it_alone():
    rng = np.random.default_rng(3)  # no two places alike: of equal ones a few more would answer
    raw = [rng.normal(start, 0.1, (1, COUNT, width)).astype(np.float32) for start, width in ((-4, 2), (1, 4))]
    _, (_, distances) = gradients(raw, target((0.1, 0.1, 0.5, 0.5, 0)))
    middles, _ = detection.places(SIDE)
    inside = ((middles > 0.1) & (middles < 0.5)).all(axis=1)
    moved = np.abs(distances[0]).sum(axis=1) > 0
    assert moved.any()
    assert not moved[~inside].any()
    assert moved.sum() <= detection.ANSWERING


def pyramid():
    import keras

    picture = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    levels, x = [], keras.layers.Rescaling(1 / 255)(picture)
    for stride in (2, 4, *detection.STRIDES):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
        levels += [x] if stride in detection.STRIDES else []
    return keras.Model(picture, x), levels


def test_a_saved_detector_finds_the_same_boxes_when_it_is_opened(tmp_path):
    import keras

    body, levels = pyramid()
    network = detection.attach(body, (), taps=levels, classes=3)
    assert [tuple(each.shape[1:]) for each in network.model.output] == [(COUNT, 3), (COUNT, 4)]
    whole = detection.with_boxes(network.model)
    whole.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", compile=False)
    pictures = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    given, back = whole.predict_on_batch(pictures), opened.predict_on_batch(pictures)
    assert set(given) == {"location", "category", "score", "number of detections"}
    for name, each in given.items():
        np.testing.assert_array_equal(back[name], each)
    scores, distances = network.model.predict_on_batch(pictures)
    np.testing.assert_allclose(detection.answered(scores, distances)["score"], given["score"], atol=1e-6)


def test_a_detector_begins_by_seeing_nothing_anywhere():
    body, levels = pyramid()
    network = detection.attach(body, (), taps=levels, classes=3)
    scores, _ = network.model.predict_on_batch(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    assert (1 / (1 + np.exp(-scores))).mean() == pytest.approx(1 / (1 + np.exp(-detection.RARE)), abs=0.01)


@pytest.mark.parametrize("side", [32, 80])
def test_a_side_whose_places_do_not_meet_is_told(side):
    import keras

    from keras_transfer.errors import UsageError

    body = keras.Model(picture := keras.Input((side, side, 3)), picture)
    with pytest.raises(
        UsageError, match=rf"Boxes want pictures of a multiple of 32 pixels a side, from 64 on.* Received: {side}\."
    ):
        detection.attach(body, (), taps=[], classes=3)


def test_many_pictures_are_answered_as_each_alone(monkeypatch):
    rng = np.random.default_rng(2)
    scores, distances = (rng.normal(-3, 2, (5, COUNT, width)).astype(np.float32) for width in (2, 4))
    whole = detection.answered(scores, distances)
    monkeypatch.setattr(detection, "BATCH", 2)
    for name, each in detection.answered(scores, distances).items():
        np.testing.assert_allclose(each, whole[name], atol=1e-6)
