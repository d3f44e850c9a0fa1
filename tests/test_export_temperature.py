"""Probabilities that mean what they say."""

import keras
import numpy as np
import pytest
from export_model import labels, model, pictures, reference
from scipy.special import softmax

from keras_transfer.errors import ExportError
from keras_transfer.export import temperature


def test_the_temperature_that_made_answers_too_sure_is_found_again():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 5))
    honest = softmax(logits, axis=1)
    drawn = (honest.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    found = temperature.fit(softmax(logits * 3, axis=1), drawn)
    assert found == pytest.approx(3, rel=0.05)
    assert np.allclose(temperature.apply(softmax(logits * 3, axis=1), 3), honest, atol=1e-6)


def test_a_folded_temperature_divides_the_logits_and_changes_no_decision():
    folded = temperature.fold(model(), 2.5).predict(pictures(), verbose=0)
    assert np.allclose(folded, softmax(np.log(reference()) / 2.5, axis=1), atol=1e-5)
    assert (folded.argmax(1) == reference().argmax(1)).all()


def test_a_model_without_a_softmax_of_its_own_is_refused():
    image = keras.Input((8, 8, 3), dtype="uint8")
    dense = keras.Model(image, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(image)))
    with pytest.raises(ExportError, match="must be a softmax without weights"):
        temperature.fold(dense, 2.0)


def test_no_pictures_are_refused():
    with pytest.raises(ExportError, match="validation pictures, and there are none"):
        temperature.fit(reference()[:0], labels()[:0])
