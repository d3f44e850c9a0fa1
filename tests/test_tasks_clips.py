"""What the head of clips gives, what is stored of frames, and what holds its layers still."""

import numpy as np
import pytest

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.errors import UsageError
from keras_transfer.specs import Stage
from keras_transfer.tasks import clips
from keras_transfer.training import freezing, prefix, recipes, trainer

FRAMES, SIZE = 4, 64


@pytest.fixture(scope="module")
def network():
    spec = registry.backbone("MobileNetV2")
    built = features.build(spec, image_size=SIZE, weights="none", frames=FRAMES)
    return clips.attach(built.model, blocks.cut(built.model, spec), classes=3)


@pytest.fixture(scope="module")
def some_clips():
    return np.random.default_rng(0).integers(0, 256, (2, FRAMES, SIZE, SIZE, 3), np.uint8)


def test_a_clip_gets_one_probability_per_class(network, some_clips):
    probabilities = np.asarray(network.model(some_clips, training=False))
    assert probabilities.shape == (2, 3)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_before_order_has_learned_the_head_is_that_of_the_mean(network, some_clips):
    forward, backward = (np.asarray(network.model(each, training=False)) for each in (some_clips, some_clips[:, ::-1]))
    assert np.allclose(forward, backward, atol=1e-5)


def test_frozen_features_have_a_row_for_each_clip(network, some_clips):
    import keras

    cut = freezing.decide(network, Stage(name="top", blocks=(-1,))).cut
    ready = prefix.build(keras.Model(network.model.input, list(cut)), check=some_clips, engine="keras")
    assert all(shape[0] == FRAMES for shape in ready.feature_shapes)
    assert all(len(each) == 2 for each in ready.compute(some_clips))


def test_layers_that_are_held_still_do_not_learn_beside_the_rest_of_the_head(network):
    freeze = freezing.decide(network, Stage(name="mean", still=clips.ORDER_LAYERS))
    assert {layer.name for layer in freeze.frozen} >= set(clips.ORDER_LAYERS)
    assert "of_mean" in {layer.name for layer in freeze.learning}


def test_a_layer_that_no_head_has_cannot_be_held_still(network):
    with pytest.raises(UsageError, match=r"Stage 'mean' holds 'memory' still, which this head does not have. It has: "):
        freezing.decide(network, Stage(name="mean", still=("memory",)))


def test_the_recipe_names_the_layers_of_order_as_the_head_does():
    assert recipes.ORDER_LAYERS == clips.ORDER_LAYERS


def test_frames_keep_the_size_of_the_model(network):
    with pytest.raises(UsageError, match=r"the frames of clips keep the 64 of the model. Leave its image_size out"):
        trainer.check(network, [Stage(name="small", image_size=32)], image_size=SIZE)
