"""Where a classifier looked."""

import keras
import numpy as np
import pytest

from keras_transfer.backbones import features, registry
from keras_transfer.errors import ArtifactError
from keras_transfer.evaluation.gradcam import gradcam, overlay
from keras_transfer.tasks import classification

SIDE = 32


@pytest.fixture(scope="module")
def bright_spot_model():
    """Class 1 is brightness, known by hand: one average-pooled channel, weight +1 for class 1 and -1 for class 0."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    pixels = keras.layers.Rescaling(1 / 255)(image)
    features = keras.layers.AveragePooling2D(4)(pixels)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    logits = keras.layers.Dense(2, name="logits")(pooled)
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits))
    model.get_layer("logits").set_weights([np.array([[-1.0, 1.0]] * 3), np.zeros(2)])
    for layer in model.layers:
        layer.trainable = layer.name == "logits"
    return model


def picture_with_a_spot(row, column):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[row : row + 8, column : column + 8] = 255
    return image


def test_the_warmest_place_is_what_speaks_for_the_class(bright_spot_model):
    heat = gradcam(bright_spot_model, np.stack([picture_with_a_spot(0, 0), picture_with_a_spot(24, 16)]))
    assert heat.shape == (2, SIDE, SIDE)
    assert heat[0, :8, :8].mean() > 0.8 > 0.1 > heat[0, 16:, 16:].mean()
    assert heat[1, 24:, 16:24].mean() > 0.8


def test_a_frozen_backbone_is_explained_too(bright_spot_model):
    assert not bright_spot_model.layers[1].trainable
    assert gradcam(bright_spot_model, picture_with_a_spot(0, 0)[None]).max() == pytest.approx(1, abs=0.01)


def test_where_nothing_speaks_for_a_class_the_map_is_zero(bright_spot_model):
    heat = gradcam(bright_spot_model, picture_with_a_spot(0, 0)[None], classes=np.array([0]))
    assert heat.max() == 0


def test_more_pictures_than_a_batch_come_back_in_order(bright_spot_model):
    images = np.stack([picture_with_a_spot(0, 8 * (i % 4)) for i in range(20)])
    heat = gradcam(bright_spot_model, images)
    assert [int(each[:8].mean(axis=0).argmax()) // 8 for each in heat] == [i % 4 for i in range(20)]


def test_no_pictures_give_no_maps(bright_spot_model):
    assert gradcam(bright_spot_model, np.zeros((0, SIDE, SIDE, 3), np.uint8)).shape == (0, SIDE, SIDE)


def test_a_model_made_elsewhere_is_refused_in_one_sentence():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ArtifactError, match="needs a model with the layers 'pool' and 'logits'"):
        gradcam(model, np.zeros((1, 4, 4, 3), np.uint8))


def test_an_overlay_leaves_cold_places_as_they_are():
    image = np.full((4, 4, 3), 90, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    drawn = overlay(image, heat)
    assert (drawn[1:] == 90).all()
    assert (drawn[0, 0] != 90).any()


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({row.family for row in registry.rows()}))
def test_every_family_of_the_catalogue_can_be_explained(family):
    spec = next(row for row in registry.rows() if row.family == family)
    side = max(96, spec.min_size)
    built = features.build(spec, image_size=side, weights="none").model
    model = classification.attach(built, (), classes=3).model
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    # Random weights may leave a class without anything that speaks for it: of three, one has something.
    heat = np.stack([gradcam(model, images, np.full(2, each)) for each in range(3)])
    assert heat.shape == (3, 2, side, side)
    assert np.isfinite(heat).all()
    assert heat.max() > 0
