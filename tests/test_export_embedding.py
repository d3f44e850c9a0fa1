"""Files that give embeddings: what whole numbers must not touch."""

import keras
import numpy as np
import pytest

from keras_transfer.data import graph_decoding
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract, Network, Output
from keras_transfer.tasks import embedding

SIDE, WIDTH = 32, 128
CONTRACT = Contract(
    class_names=(),
    image_size=SIDE,
    task="embedding",
    outputs=(Output(name="embedding", shape=(WIDTH,)),),
    thresholds=(0.5,),
)


def network() -> Network:
    """The head on a small network of random weights, which points in other directions for other pictures."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu6")(x)
    return embedding.attach(keras.Model(image, x), (), classes=4)


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of the same pictures by Keras and by the int8 file."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (64, 4, 4, 3), np.uint8)
    pictures = np.repeat(np.repeat(tiles, SIDE // 4, axis=1), SIDE // 4, axis=2)
    pictures //= rng.integers(1, 8, (64, 1, 1, 1), np.uint8)  # some are bright, some all but black
    model = embedding.without_cosines(network().model, CONTRACT)
    folder = tmp_path_factory.mktemp("exports")
    (file,) = exporters.export(
        model, folder, ["tflite-int8"], CONTRACT, calibration=pictures, decode=graph_decoding.square_rgb
    )
    by_file = runtime.load(file.path, contract=CONTRACT).predict(pictures)["embedding"]
    return np.asarray(model.predict_on_batch(pictures)), by_file


def test_an_embedding_in_whole_numbers_is_still_of_unit_length(said):
    assert np.linalg.norm(said[1], axis=1) == pytest.approx(1, abs=1e-5)


def test_an_embedding_in_whole_numbers_points_where_that_of_keras_does(said):
    assert (said[0] * said[1]).sum(axis=1).mean() > 0.98
