"""A ReLU by itself in a file in whole numbers becomes a part of an addition, which says the same to the last bit."""

import keras
import pytest
from export_model import CONTRACT, SIDE, model
from test_export_pixels import answers, int8, kinds

from keras_transfer.export import lone_relus, tflite


def standing_alone(most: float | None) -> keras.Model:
    """A ReLU before a separable convolution, of what another one takes without it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.Conv2D(8, 3, strides=2)(x) * 4.0
    x = keras.layers.Concatenate()(
        [keras.layers.SeparableConv2D(8, 3)(each) for each in (keras.layers.ReLU(most)(x), x)]
    )
    logits = keras.layers.Dense(len(CONTRACT.class_names))(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(logits))


@pytest.mark.parametrize(("most", "name"), [(None, "RELU"), (6.0, "RELU6")])
def test_it_is_computed_in_one_go_with_an_addition_of_zero(most, name, tmp_path, monkeypatch):
    network = standing_alone(most)
    (tmp_path / "graph").mkdir()
    content = int8(network, tmp_path / "graph", whole=True)
    monkeypatch.setattr(tflite.lone_relus, "in_additions", lambda quantized: quantized)
    (tmp_path / "alone").mkdir()
    alone = int8(network, tmp_path / "alone", whole=True)
    assert (kinds(alone).count(name), kinds(content).count(name)) == (1, 0)
    assert kinds(content).count("ADD") == kinds(alone).count("ADD") + 1
    assert (answers(content) == answers(alone)).all()


def test_a_file_without_any_stays_as_it_is(tmp_path):
    content = int8(model(), tmp_path, whole=True)
    assert lone_relus.in_additions(content) is content
