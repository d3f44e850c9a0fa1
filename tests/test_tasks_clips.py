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


def test_before_anything_has_learned_the_head_says_nothing(network, some_clips):
    assert np.allclose(network.model(some_clips, training=False), 1 / 3, atol=1e-6)


def test_frozen_features_have_a_row_for_each_clip(network, some_clips):
    import keras

    cut = freezing.decide(network, Stage(name="top", blocks=(-1,))).cut
    ready = prefix.build(keras.Model(network.model.input, list(cut)), check=some_clips, engine="keras")
    assert all(shape[0] == FRAMES for shape in ready.feature_shapes)
    assert all(len(each) == 2 for each in ready.compute(some_clips))


def test_layers_that_are_held_still_do_not_learn_beside_the_rest_of_the_head(network):
    freeze = freezing.decide(network, Stage(name="moves", still=clips.BESIDE_MOVES))
    assert {layer.name for layer in freeze.frozen} >= set(clips.BESIDE_MOVES)
    assert "of_moves" in {layer.name for layer in freeze.learning}


def test_a_layer_that_no_head_has_cannot_be_held_still(network):
    with pytest.raises(UsageError, match=r"Stage 'mean' holds 'memory' still, which this head does not have. It has: "):
        freezing.decide(network, Stage(name="mean", still=("memory",)))


def test_the_recipe_names_the_layers_beside_what_moves_as_the_head_does():
    assert recipes.BESIDE_MOVES == clips.BESIDE_MOVES


def test_frames_keep_the_size_of_the_model(network):
    with pytest.raises(UsageError, match=r"the frames of clips keep the 64 of the model. Leave its image_size out"):
        trainer.check(network, [Stage(name="small", image_size=32)], image_size=SIZE)
