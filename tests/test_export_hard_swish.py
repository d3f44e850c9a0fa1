"""Hard swish of a file in whole numbers is taken apart, and the file goes on to say what it said."""

import keras
import numpy as np
from export_model import CONTRACT, SIDE, model, pictures
from test_export_pixels import int8, kinds

from keras_transfer.export import hard_swish, runtime


def swishing() -> keras.Model:
    """Two convolutions with a hard swish behind each, which reaches far to either side of where it is straight."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", kernel_initializer="he_normal")(x)
        x = keras.layers.Activation("hard_silu")(x * 4.0)
    logits = keras.layers.Dense(len(CONTRACT.class_names))(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(logits))


def test_a_hard_swish_is_an_addition_a_scaling_and_a_product_and_says_the_same(tmp_path):
    network = swishing()
    (tmp_path / "graph").mkdir()
    content = int8(network, tmp_path / "graph", whole=True)
    assert "HARD_SWISH" not in kinds(content)
    assert [kinds(content).count(name) for name in ("ADD", "MUL")] == [2, 4]
    (tmp_path / "model-int8.tflite").write_bytes(content)
    said = runtime.load(tmp_path / "model-int8.tflite").predict(pictures())["probabilities"]
    assert np.abs(said - network.predict(pictures(), verbose=0)).max() < 0.03


def test_a_file_without_any_stays_as_it_is(tmp_path):
    content = int8(model(), tmp_path, whole=True)
    assert hard_swish.taken_apart(content) == content
