"""The head, losses and merit of a class for every pixel."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.evaluation import segmentation as evaluation
from keras_transfer.masks import VOID
from keras_transfer.specs import Plan
from keras_transfer.tasks import segmentation
from keras_transfer.workflow import checking
from keras_transfer.workflow.tasks import TASKS

CLASSES = 3


def _logits_of(masks: np.ndarray, sure: float = 20.0) -> tuple[tf.Tensor]:
    return (tf.constant(np.eye(CLASSES, dtype=np.float32)[np.where(masks == VOID, 0, masks)] * sure),)


@pytest.fixture
def masks() -> np.ndarray:
    made = np.random.default_rng(0).integers(0, CLASSES, (4, 16, 16)).astype(np.uint8)
    made[:, :2] = VOID
    return made


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_a_right_answer_costs_nothing_and_a_wrong_one_much(name: str, masks: np.ndarray) -> None:
    right = segmentation.LOSSES[name](_logits_of(masks), masks, 0.0)
    wrong = segmentation.LOSSES[name](_logits_of((masks + 1) % CLASSES), masks, 0.0)
    assert right.shape == (4,)
    assert float(tf.reduce_max(right)) < 1e-3
    assert float(tf.reduce_min(wrong)) > 5


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_what_stands_where_a_mask_is_void_costs_nothing(name: str, masks: np.ndarray) -> None:
    logits = np.random.default_rng(1).normal(size=(4, 16, 16, CLASSES)).astype(np.float32)
    other = logits.copy()
    other[:, :2] = 9 * np.random.default_rng(2).normal(size=(4, 2, 16, CLASSES))
    loss = segmentation.LOSSES[name]
    np.testing.assert_allclose(loss((logits,), masks, 0.1), loss((other,), masks, 0.1), rtol=1e-6)


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_a_picture_of_void_alone_has_a_loss_of_zero_and_a_finite_gradient(name: str) -> None:
    logits = tf.Variable(np.ones((2, 16, 16, CLASSES), np.float32))
    with tf.GradientTape() as tape:
        loss = segmentation.LOSSES[name]((logits,), np.full((2, 16, 16), VOID, np.float32), 0.0)
    assert np.abs(loss).max() < 1e-6
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_a_balanced_cross_entropy_weighs_each_class_as_the_root_of_its_area() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 16, 16, 2)).astype(np.float32)
    mask = np.zeros((1, 16, 16), np.float32)
    mask[0, :2, :2] = 1  # 4 pixels of 256
    pixels = -np.log(np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True))
    small, large = pixels[mask[0] == 1, 1].mean(), pixels[mask[0] == 0, 0].mean()
    expected = (small * 4**0.5 + large * 252**0.5) / (4**0.5 + 252**0.5)
    np.testing.assert_allclose(segmentation.balanced_cross_entropy((logits,), mask, 0.0), [expected], rtol=1e-5)


def test_lovasz_of_one_class_on_every_pixel_is_one_less_than_its_iou(masks: np.ndarray) -> None:
    """For answers that are sure, the Lovász extension is the Jaccard loss itself: here on the sorted pixels."""
    truth = np.zeros((1, 16, 16), np.uint8)
    said = truth.copy()
    said[:, :, :8] = 1
    both = segmentation.lovasz(_logits_of(said, 60.0), truth, 0.0) - segmentation.cross_entropy(
        _logits_of(said, 60.0), truth, 0.0
    )
    assert float(both[0]) == pytest.approx(1 - 0.5)


def test_merit_in_the_graph_is_the_mean_iou_that_evaluation_says(masks: np.ndarray) -> None:
    logits = np.random.default_rng(3).normal(size=(4, 16, 16, CLASSES)).astype(np.float32)
    logits[0, ..., 2] = -9.0
    masks[1] = VOID
    merit = segmentation.merit((tf.constant(logits),), masks.astype(np.float32))
    answers = {"probabilities": tf.nn.softmax(logits).numpy()}
    np.testing.assert_allclose(merit, evaluation.right(answers, masks), atol=1e-6)
    assert float(merit[1]) == 1.0


@pytest.mark.parametrize("name", segmentation.HEADS)
def test_every_head_gives_probabilities_for_each_pixel(name: str) -> None:
    image = keras.Input((64, 64, 3), dtype="uint8")
    levels, tensor = [], keras.layers.Rescaling(1 / 255)(image)
    for stride in segmentation.STRIDES:
        tensor = keras.layers.Conv2D(8, 3, strides=4 if stride == 4 else 2, padding="same")(tensor)
        levels.append(tensor)
    network = segmentation.attach(
        keras.Model(image, tensor), (), taps=levels, classes=CLASSES, loss="cross_entropy", head=name
    )
    probabilities = network.model.predict_on_batch(np.zeros((2, 64, 64, 3), np.uint8))
    assert probabilities.shape == (2, 64, 64, CLASSES)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_the_table_of_tasks_names_every_loss_and_head_of_the_module() -> None:
    row = TASKS["segmentation"]
    assert row.losses == tuple(segmentation.LOSSES)
    assert row.heads == tuple(segmentation.HEADS)


def test_a_head_that_the_task_does_not_have_is_told() -> None:
    with pytest.raises(UsageError, match=r"Unknown head of segmentation 'lrasp'. Did you mean 'lraspp'\?"):
        checking.check(Plan(data="sample:fashion-masks", task="segmentation", head="lrasp"))
