"""A head that takes several strides: all tensors that cross the cut are stored, and nothing is computed twice."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import CLASSES, SIZE, make_network

from keras_transfer.specs import Network, Stage
from keras_transfer.tasks import classification
from keras_transfer.training import freezing, prefix, resizing, trainer
from keras_transfer.training.job import Job, Settings

COUNTS = {"train": 96, "validation": 48, "test": 48}


def settings(**changes):
    return Settings(**{"image_size": SIZE, "counts": COUNTS, "batch_size": 16, **changes})


@pytest.fixture
def pyramid():
    """The network of these tests with a head that takes the ends of its blocks 0, 2 and 3 through one shared layer."""
    plain = make_network()
    features = tuple(plain.blocks[index].output for index in (0, 2, 3))
    shared = keras.layers.Dense(4, name="shared")
    pooled = []
    for number, feature in enumerate(features):
        channels = keras.layers.Conv2D(6, 1, name=f"lateral-{number}")(feature)
        pooled.append(keras.layers.GlobalAveragePooling2D()(shared(channels)))
    logits = keras.layers.Dense(CLASSES, name="logits")(keras.layers.Concatenate()(pooled))
    model = keras.Model(plain.model.input, keras.layers.Softmax()(logits))
    return Network(model, plain.blocks, features, (logits,), classification.cross_entropy, classification.merit)


@pytest.mark.parametrize(
    ("blocks", "crossing"), [((), (0, 2, 3)), ((-1,), (0, 2)), ((-2, -1), (0, 1)), ((1, 3), (0,)), ("all", ())]
)
def test_what_crosses_the_cut_are_the_end_of_the_frozen_part_and_the_features_before_it(pyramid, blocks, crossing):
    freeze = freezing.decide(pyramid, Stage(name="any", blocks=blocks))
    assert [id(tensor) for tensor in freeze.cut] == [id(pyramid.blocks[index].output) for index in crossing]


def test_a_layer_that_several_strides_share_is_of_the_head(pyramid):
    learning = freezing.decide(pyramid, Stage(name="any")).learning
    assert {layer.name for layer in learning} == {"shared", "logits", "lateral-0", "lateral-1", "lateral-2"}


@pytest.mark.parametrize("engine", list(prefix.ENGINES))
def test_every_engine_gives_each_tensor_in_its_place(pyramid, stripes, engine):
    pictures = stripes["train"][0][:5]
    orders = ((0, 2, 3), (3, 0, 2))
    for order in orders:
        model = keras.Model(pyramid.model.input, [pyramid.blocks[index].output for index in order])
        built = prefix.build(model, check=pictures, engine=engine)
        assert built.engine == engine
        assert built.feature_shapes == tuple(pyramid.blocks[index].output.shape[1:] for index in order)
        for ours, theirs in zip(built.compute(pictures), model(pictures, training=False), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("blocks", [(), (-1,), (-2, -1)], ids=str)
def test_several_stored_tensors_give_the_losses_of_streaming(feed, tmp_path, pyramid, blocks):
    stage = Stage(name="any", blocks=blocks, epochs=2, learning_rate=0.01, batch_norm="frozen")
    start, losses = pyramid.model.get_weights(), {}
    for engine in ("keras", "stream"):
        pyramid.model.set_weights(start)
        chosen = settings(engine=engine, store_dtype="float32", cache_folder=tmp_path / "cache")
        (result,) = trainer.train(Job(pyramid, feed, chosen, tmp_path / engine), [stage])
        assert (result.engine == "none") == (engine == "stream")
        losses[engine] = [row["loss"] for row in result.history]
    assert losses["keras"] == pytest.approx(losses["stream"], abs=1e-5)


def test_a_model_of_several_inputs_is_resized_with_its_weights(pyramid):
    freeze = freezing.decide(pyramid, Stage(name="any", blocks=(-1,)))
    suffix = keras.Model(list(freeze.cut), list(pyramid.raw))
    smaller = resizing.resized(suffix, [(8, 8, 8), (4, 4, 16)])
    assert [tuple(each.shape[1:]) for each in smaller.inputs] == [(8, 8, 8), (4, 4, 16)]
    assert {id(weight) for weight in smaller.weights} == {id(weight) for weight in suffix.weights}
    assert resizing.resized(suffix, [tensor.shape[1:] for tensor in freeze.cut]) is suffix


def test_a_merit_that_needs_the_whole_split_sees_it_at_once(network, feed, tmp_path):
    """Pictures are worth something beside others alone; steps of training see few of them and say nothing."""
    seen = []

    def merit(raw, targets):
        seen.append(int(tf.shape(targets)[0]))
        return classification.merit(raw, targets)

    beside = dataclasses.replace(network, merit=merit, merit_over="split")
    stage = Stage(name="head", epochs=2, learning_rate=0.01)
    (result,) = trainer.train(Job(beside, feed, settings(), tmp_path / "split"), [stage])
    (plain,) = trainer.train(Job(make_network(), feed, settings(), tmp_path / "batch"), [stage])
    assert seen == [48, 48]
    assert [row["validation_merit"] for row in result.history] == [row["validation_merit"] for row in plain.history]
    assert all("merit" not in row for row in result.history)


def test_a_merit_too_dear_for_steps_is_left_to_validation(network, feed, tmp_path):
    dear = dataclasses.replace(network, training_merit=False)
    (result,) = trainer.train(Job(dear, feed, settings(), tmp_path), [Stage(name="head", epochs=1)])
    assert "merit" not in result.history[0]
    assert 0 <= result.history[0]["validation_merit"] <= 1
