"""A small trained-looking classifier and its exported files, made once per test process."""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_transfer.data import graph_decoding
from keras_transfer.export import exporters, formats, runtime
from keras_transfer.specs import Contract

SIDE = 32
CLASS_NAMES = ("ankle boot", "bag", "château")
CONTRACT = Contract(
    class_names=CLASS_NAMES, image_size=SIDE, backbone="Small", license="Apache-2.0", run_digest="ab" * 32
)
FORMATS = [name for name, row in formats.FORMATS.items() if not row.halved]
"""Those that a model of pictures has."""


@functools.cache
def pictures(count: int = 60) -> np.ndarray:
    """Coarse patches of which class k has more of colour k, uint8 (count, SIDE, SIDE, 3)."""
    patches = np.random.default_rng(0).integers(0, 200, (count, 4, 4, 3))
    patches[np.arange(count), :, :, labels(count)] += 55
    return patches.astype(np.uint8).repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)


@functools.cache
def labels(count: int = 60) -> np.ndarray:
    """Class positions of the pictures, in turn."""
    return np.arange(count) % len(CLASS_NAMES)


@functools.cache
def model() -> keras.Model:
    """Convolutions, depthwise ones, batch norm and a head, taught to tell the pictures apart."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
        x = keras.layers.ReLU(6.0)(x)
        x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(len(CLASS_NAMES))(x)
    whole = keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x))
    whole.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    whole.fit(pictures(600), labels(600), epochs=3, verbose=0)
    return whole


@functools.cache
def reference() -> np.ndarray:
    """What the model says of the pictures, float32 (60, 3)."""
    return model().predict(pictures(), verbose=0)


@functools.cache
def exported() -> dict[str, Path]:
    """Every format of pictures in the table, by name."""
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    names = FORMATS
    artifacts = exporters.export(
        model(), folder, names, CONTRACT, calibration=pictures(), decode=graph_decoding.square_rgb
    )
    return {name: artifact.path for name, artifact in zip(names, artifacts, strict=True)}


def ask(opened: runtime.Runtime, images: np.ndarray) -> np.ndarray:
    """The probabilities that an open file gives, float32 (n, 3)."""
    return opened.predict(images)["probabilities"]
