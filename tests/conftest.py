"""What several test files share: a small real network, small real pictures, and TensorFlow kept quiet."""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["KERAS_TRANSFER_STATE"] = tempfile.mkdtemp(prefix="keras-transfer-state-")  # what one test exports, all know

import numpy as np
import pytest
from hypothesis import settings

import keras_transfer.cli.showing  # noqa: F401  # its consoles keep the streams of whoever loads it first: none of a test
from keras_transfer.order import of_epoch

CLASSES = 3
SIZE = 32

settings.register_profile("keras_transfer", deadline=None)  # a busy machine is no defect
settings.load_profile("keras_transfer")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Features computed by one test are never another test's luck."""
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stripes():
    """Pictures that differ by the direction and colour of their stripes: uint8 (n, 32, 32, 3) and labels, by split."""
    return {"train": make_stripes(96, 1), "validation": make_stripes(48, 2), "test": make_stripes(48, 3)}


def make_stripes(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    phase = rng.uniform(0, 6.28, count)[:, None, None]
    direction = np.stack([y + 0 * x, x + 0 * y, x + y])[labels]
    wave = np.sin(direction * 0.8 + phase)[..., None]
    noise = rng.normal(0, 0.9, (count, SIZE, SIZE, 3))
    return np.clip(127 + 60 * (wave + noise), 0, 255).astype(np.uint8), labels


@pytest.fixture
def feed(stripes):
    """A feed over `stripes` that keeps to the protocol, resizing left out."""
    import tensorflow as tf

    def batches(split, *, image_size, batch_size, augment="none", epoch=0, shuffle=False):
        images, labels = stripes[split]
        order = of_epoch(len(labels), seed=0, epoch=epoch) if shuffle else np.arange(len(labels))
        if augment != "none" and epoch % 2:
            images = images[:, :, ::-1]
        values = (images[order], np.eye(CLASSES, dtype="float32")[labels[order]], np.ones(len(labels), "float32"))
        return tf.data.Dataset.from_tensor_slices(values).batch(batch_size)

    return batches


@pytest.fixture
def network():
    """Four blocks with batch norms, a residual connection and a head: a classifier in one flat graph."""
    return make_network()


def make_network(seed=0, size=SIZE, task="classification"):
    import keras

    from keras_transfer.specs import Block
    from keras_transfer.tasks import classification, multilabel

    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 128.0, -1.0)(image)
    blocks, layers = [], []
    for index, filters in enumerate((8, 16, 16, 24)):
        convolution = keras.layers.Conv2D(filters, 3, strides=2 if index in (0, 1) else 1, padding="same")
        norm, activation = keras.layers.BatchNormalization(), keras.layers.ReLU(6.0)
        layers += [convolution, norm, activation]
        y = activation(norm(convolution(x)))
        if index == 2:
            add = keras.layers.Add()
            layers.append(add)
            y = add([x, y])
        x = y
        blocks.append(Block(index, tuple(layers), x))
        layers = []
    attach = {"classification": classification, "multilabel": multilabel}[task].attach
    return attach(keras.Model(image, x), tuple(blocks), classes=CLASSES, dropout=0.2)
