"""Averaged weights, early stopping, accumulated gradients and mixed precision: what each does to a stage."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SIZE, make_network
from PIL import Image

from keras_transfer import workflow
from keras_transfer.specs import Plan, Stage
from keras_transfer.training import checkpoints, trainer
from keras_transfer.training.job import Job, Settings

COUNTS = {"train": 96, "validation": 48, "test": 48}
HEAD = Stage(name="head", epochs=3, learning_rate=0.01)
EVERYTHING = Stage(name="everything", blocks="all", epochs=10, learning_rate=0.01)


def settings(**changes):
    return Settings(**{"image_size": SIZE, "counts": COUNTS, "batch_size": 16, **changes})


def kernel(network):
    return network.model.get_layer("logits").kernel.numpy()


class Steps(keras.callbacks.Callback):
    """Keeps the head's weights after each step."""

    def __init__(self, network):
        super().__init__()
        self.network, self.kernels = network, [kernel(network)]

    def on_train_batch_end(self, batch, logs=None):
        self.kernels.append(kernel(self.network))


def test_the_average_is_the_one_computed_by_hand_and_what_a_stage_keeps(network, feed, tmp_path):
    steps = Steps(network)
    stage = HEAD.model_copy(update={"ema": 0.8, "epochs": 1})
    trainer.train(Job(network, feed, settings(callbacks=(steps,)), tmp_path), [stage])
    average = steps.kernels[0]
    for after in steps.kernels[1:]:
        average = 0.8 * average + 0.2 * after
    assert len(steps.kernels) == 7
    np.testing.assert_allclose(kernel(network), average, rtol=1e-5, atol=1e-7)
    assert np.abs(kernel(network) - steps.kernels[-1]).max() > 1e-4


def test_the_average_and_the_best_weights_survive_a_resume(feed, tmp_path):
    """What the checkpoint calls best are averaged weights; the steps go on from the weights as they were."""
    stage = HEAD.model_copy(update={"ema": 0.8})

    def stop(event):
        if event.kind == "epoch" and event.done == 2:
            raise KeyboardInterrupt

    whole, resumed = make_network(), make_network()
    trainer.train(Job(whole, feed, settings(), tmp_path / "whole"), [stage])
    steps = Steps(resumed)
    chosen = settings(callbacks=(steps,))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(Job(resumed, feed, chosen, tmp_path / "resumed", stop), [stage])
    arrays, state = checkpoints.load(tmp_path / "resumed" / "checkpoint.npz")
    average = steps.kernels[0]
    for number, after in enumerate(steps.kernels[1:], start=1):
        average = 0.8 * average + 0.2 * after
        if number == 6 * state["best_epoch"]:
            best = average
    kept = [array for name, array in arrays.items() if name[0] == "b" and array.shape == best.shape]
    assert any(np.allclose(array, best, rtol=1e-5, atol=1e-7) for array in kept)
    again = make_network(seed=5)
    for ours, theirs in zip(again.model.weights, make_network().model.weights, strict=True):
        ours.assign(theirs)
    trainer.train(Job(again, feed, settings(), tmp_path / "resumed"), [stage])
    np.testing.assert_array_equal(kernel(whole), kernel(again))


def test_a_stage_ends_when_its_patience_is_used_up_and_keeps_its_best_epoch(network, feed, tmp_path):
    """Validation gets worse from its second epoch on, because from then on its labels are wrong."""
    shift, seen = tf.Variable(0), []

    def worse(split, **options):
        dataset = feed(split, **options)
        return dataset if split == "train" else dataset.map(lambda x, y, w: (x, tf.roll(y, shift, -1), w))

    def listener(event):
        if event.kind == "epoch":
            seen.append(kernel(network))
            shift.assign(1)

    stages = [EVERYTHING.model_copy(update={"patience": 2})]
    (result,) = trainer.train(Job(network, worse, settings(), tmp_path, listener), stages)
    accuracies = [row["validation_merit"] for row in result.history]
    assert max(accuracies[1:]) < accuracies[0]
    assert result.epochs == 3
    assert result.validation_merit == accuracies[0]
    np.testing.assert_array_equal(kernel(network), seen[0])


@pytest.mark.parametrize(("wrong", "kept"), [(2, 3), (16, 1)], ids=["by chance", "beyond chance"])
def test_the_last_epoch_is_kept_unless_it_is_worse_beyond_chance(network, feed, tmp_path, wrong, kept):
    """From the second epoch on labels of validation are wrong: by one more than before, or by a third."""
    shift = tf.Variable(0)

    def worse(split, **options):
        def of_the_second_batch(number, batch):
            x, y, w = batch
            return x, tf.concat([tf.roll(y[:wrong], shift if number == 1 else 0, -1), y[wrong:]], 0), w

        dataset = feed(split, **options)
        return dataset if split == "train" else dataset.enumerate().map(of_the_second_batch)

    def listener(event):
        if event.kind == "epoch":
            seen.append(kernel(network))
            shift.assign(1)

    seen = []
    stages = [EVERYTHING.model_copy(update={"epochs": 3})]
    (result,) = trainer.train(Job(network, worse, settings(), tmp_path, listener), stages)
    accuracies = [row["validation_merit"] for row in result.history]
    assert max(accuracies[1:]) < accuracies[0]
    assert (result.best_epoch, result.validation_merit) == (kept, accuracies[kept - 1])
    np.testing.assert_array_equal(kernel(network), seen[kept - 1])


def test_the_patience_of_one_stage_is_not_that_of_the_next(network, feed, tmp_path):
    still = {"learning_rate": 1e-30, "epochs": 4, "batch_norm": "frozen"}
    stages = [
        EVERYTHING.model_copy(update={**still, "name": "short", "patience": 1, "optimizer": "sgd"}),
        EVERYTHING.model_copy(update={**still, "name": "long", "patience": None, "optimizer": "sgd"}),
    ]
    short, long = trainer.train(Job(network, feed, settings(), tmp_path), stages)
    assert short.epochs == 2
    assert long.epochs == 4


def test_gradients_of_two_batches_make_the_step_of_one_that_is_twice_as_large(feed, tmp_path):
    stage = HEAD.model_copy(
        update={"epochs": 1, "optimizer": "sgd", "schedule": "constant", "weight_decay": 0.0, "learning_rate": 0.1}
    )
    found = {}
    for accumulate, batch_size in ((1, 32), (2, 16)):
        network = make_network()
        for layer in network.model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        steps = Steps(network)
        chosen = settings(batch_size=batch_size, store_dtype="float32", engine="keras", callbacks=(steps,))
        stages = [stage.model_copy(update={"accumulate": accumulate})]
        trainer.train(Job(network, feed, chosen, tmp_path / str(accumulate)), stages)
        found[accumulate] = steps.kernels
    moved = [not np.array_equal(a, b) for a, b in zip(found[2], found[2][1:], strict=False)]
    assert moved == [False, True] * 3
    np.testing.assert_allclose(found[2][::2], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("blocks", [(), "all"], ids=["the head", "everything"])
def test_a_stage_in_mixed_precision_has_the_losses_of_whole_floats_and_weights_that_are(feed, tmp_path, policy, blocks):
    """Five percent: bfloat16 rounds each value by up to 0.4 %, and an epoch of steps adds such errors up."""
    stage = Stage(name="any", blocks=blocks, epochs=1, learning_rate=0.01)
    (expected,) = trainer.train(Job(make_network(), feed, settings(), tmp_path / "whole"), [stage])
    keras.config.set_dtype_policy(policy)
    try:
        network = make_network()
    finally:
        keras.config.set_dtype_policy("float32")
    before = kernel(network)
    (result,) = trainer.train(Job(network, feed, settings(), tmp_path / "mixed"), [stage])
    assert network.blocks[0].layers[0].compute_dtype == policy.removeprefix("mixed_")
    assert result.history[0]["loss"] == pytest.approx(expected.history[0]["loss"], rel=0.05)
    assert np.isfinite(result.history[0]["validation_loss"])
    assert {weight.dtype for weight in network.model.trainable_variables} == {"float32"}
    assert not np.array_equal(before, kernel(network))


def test_losses_of_half_floats_are_scaled_and_a_step_that_overflows_is_left_out(feed, tmp_path, monkeypatch):
    """Keras' own guard against gradients that a half float cannot hold (Micikevicius et al. 2018, section 3.2)."""
    made = []
    scaling = keras.optimizers.LossScaleOptimizer

    def first_too_much(inner):
        made.append(scaling(inner, initial_scale=2.0**24))
        return made[-1]

    monkeypatch.setattr(keras.optimizers, "LossScaleOptimizer", first_too_much)
    stage = Stage(name="any", blocks="all", epochs=1, learning_rate=0.01)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            network = make_network()
        finally:
            keras.config.set_dtype_policy("float32")
        trainer.train(Job(network, feed, settings(), tmp_path / policy), [stage])
    (method,) = made  # bfloat16 has the range of whole floats
    assert float(method.dynamic_scale) < 2.0**24
    assert int(method.iterations) < settings().counts["train"] // settings().batch_size + 1
    assert all(np.isfinite(weight).all() for weight in network.model.get_weights())


def test_what_is_saved_after_mixed_precision_computes_in_whole_floats(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 255, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{index}.png")
    plan = Plan(
        data=str(tmp_path / "pictures"),
        backbone="MobileNetV2",
        weights="none",
        precision="mixed_bfloat16",
        stages=(Stage(name="head", epochs=1),),
        image_size=32,
    )
    run = workflow.train(plan, folder=str(tmp_path))
    assert workflow.evaluate(str(run.folder)).count == run.record.counts["test"]
    model = keras.models.load_model(run.model_path)
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}
    (exported,) = workflow.export(run, ["onnx"])
    assert exported.parity.passed
    assert exported.parity.max_difference < 1e-4


class Epochs(Steps):
    """Keeps the head's weights after each epoch."""

    def on_train_batch_end(self, batch, logs=None):
        """Only epochs count."""

    def on_epoch_end(self, epoch, logs=None):
        self.kernels.append(kernel(self.network))


@pytest.mark.parametrize("rate", [0.01, 3.0], ids=["still learning", "jumping about"])
def test_the_mean_of_the_last_epochs_is_kept_where_it_is_better(network, feed, tmp_path, rate):
    epochs, notes = Epochs(network), []
    stage = HEAD.model_copy(update={"epochs": 4, "average": 3, "learning_rate": rate, "schedule": "constant"})
    listener = lambda event: notes.append(event.message) if "mean of the last" in event.message else None  # noqa: E731
    (result,) = trainer.train(Job(network, feed, settings(callbacks=(epochs,)), tmp_path, listener), [stage])
    mean, best = np.mean(epochs.kernels[2:5], axis=0), epochs.kernels[result.best_epoch]
    taken = "taken over" in notes[0]
    assert notes[0].startswith("head: the mean of the last 3 epochs' weights: ")
    np.testing.assert_allclose(kernel(network), mean if taken else best, rtol=1e-5, atol=1e-6)
    before = result.history[result.best_epoch - 1]
    better = (result.validation_merit, -result.validation_loss) > (
        before["validation_merit"],
        -before["validation_loss"],
    )
    assert taken == better


def test_the_mean_of_the_last_epochs_survives_a_resume(feed, tmp_path):
    stage = HEAD.model_copy(update={"epochs": 4, "average": 3, "learning_rate": 3.0, "schedule": "constant"})

    def stop(event):
        if event.kind == "epoch" and event.done == 3:
            raise KeyboardInterrupt

    whole, again = make_network(), make_network()
    trainer.train(Job(whole, feed, settings(), tmp_path / "whole"), [stage])
    with pytest.raises(KeyboardInterrupt):
        trainer.train(Job(make_network(), feed, settings(), tmp_path / "resumed", stop), [stage])
    trainer.train(Job(again, feed, settings(), tmp_path / "resumed"), [stage])
    np.testing.assert_array_equal(kernel(whole), kernel(again))
