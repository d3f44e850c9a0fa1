"""A stage whose loss is no longer a number: what the network in memory is left with."""

import numpy as np
import pytest
from conftest import SIZE

from keras_transfer.errors import TrainingError
from keras_transfer.specs import Stage
from keras_transfer.training import trainer
from keras_transfer.training.job import Job, Settings

SETTINGS = Settings(image_size=SIZE, counts={"train": 96, "validation": 48, "test": 48}, batch_size=16)
TOP = Stage(name="top", blocks=(-2, -1), epochs=3, learning_rate=0.01, augment="light")
EVERYTHING = Stage(name="everything", blocks="all", epochs=3, learning_rate=0.01, augment="light")


def broken_from(feed, epoch):
    """The feed, whose training pictures weigh nothing that is a number from that epoch on."""

    def batches(split, **asked):
        dataset = feed(split, **asked)
        if split != "train" or asked.get("epoch", 0) < epoch:
            return dataset
        return dataset.map(lambda images, targets, weights: (images, targets, weights * np.nan))

    return batches


def values(network):
    return [variable.numpy() for variable in network.model.variables]


def assert_equal(before, after):
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("stage", [TOP, EVERYTHING], ids=["from the store", "streamed"])
@pytest.mark.parametrize("ema", [None, 0.5], ids=["as trained", "averaged"])
def test_a_stage_that_diverges_in_its_first_epoch_leaves_what_it_began_with(network, feed, tmp_path, stage, ema):
    before, broken, stage = values(network), broken_from(feed, 0), stage.model_copy(update={"ema": ema})
    with pytest.raises(TrainingError, match=r"diverged in epoch 1: .* The last good weights are kept"):
        trainer.train(Job(network, broken, SETTINGS, tmp_path), [stage])
    assert_equal(before, values(network))


def test_a_stage_that_diverges_later_leaves_its_best_epoch(network, feed, tmp_path):
    before, seen = values(network), {}

    def listener(event):
        if event.kind == "epoch":
            seen[event.done] = values(network)

    with pytest.raises(TrainingError, match="diverged in epoch 2"):
        trainer.train(Job(network, broken_from(feed, 1), SETTINGS, tmp_path, listener), [EVERYTHING])
    assert list(seen) == [1]
    assert_equal(seen[1], values(network))
    assert not np.array_equal(before[0], values(network)[0])


def test_a_validation_loss_that_is_no_number_is_a_divergence_too(network, feed, tmp_path):
    """The last step of an epoch can be the one that breaks the weights: only validation sees it then."""

    def broken(split, **asked):
        dataset = feed(split, **asked)
        if split == "train":
            return dataset
        return dataset.map(lambda images, targets, weights: (images, targets * np.nan, weights))

    before = values(network)
    with pytest.raises(TrainingError, match="Stage 'everything' diverged in epoch 1"):
        trainer.train(Job(network, broken, SETTINGS, tmp_path), [EVERYTHING])
    assert_equal(before, values(network))
