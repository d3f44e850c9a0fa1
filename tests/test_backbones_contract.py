"""Every row of the catalogue keeps one contract; one row per family on each run, all of them with the slow tests."""

import backbones_contract as contract
import keras
import numpy as np
import pytest

from keras_transfer.backbones import features
from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone, rows
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract

SMALLEST = {spec.family: spec.name for spec in sorted(rows(), key=lambda spec: -spec.parameters)}
FAMILIES = tuple(SMALLEST.values())
OF_KERAS = tuple(name for name in FAMILIES if hasattr(keras.applications, name))
HIDDEN_IN_ONNX = ("EfficientNetB0", "ConvNeXtTiny")
"""What plain Keras cannot export: constants that become inputs, and functions and operators that ONNX lacks."""


def test_the_catalogue_holds_every_application_of_the_installed_keras():
    public = {name for name in vars(keras.applications) if name[0].isupper()}
    assert public == {spec.name for spec in rows() if spec.family != "efficientnet_lite"}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_of_each_family_builds_at_its_smallest_size_in_four_blocks_or_more_that_cover_it(name):
    spec = backbone(name)
    model = features.build(spec, image_size=spec.min_size, weights="none").model
    blocks = cut(model, spec)
    held = [id(weight) for block in blocks for layer in block.layers for weight in getattr(layer, "weights", ())]
    assert len(blocks) >= 4
    assert sorted(held) == sorted({id(weight) for weight in model.weights})


@pytest.mark.parametrize("name", OF_KERAS)
def test_pixels_are_scaled_once_and_as_preprocess_input_does(name):
    assert contract.scaling_error(backbone(name)) < 1e-5


@pytest.mark.parametrize("name", ["EfficientNetLite0", "MobileNetV3Small"])
def test_freezing_leaves_exactly_the_frozen_weights_as_they_were(name):
    spec = backbone(name)
    classifier = contract.lively(spec)
    for learning in range(6):
        assert contract.undecided(spec, classifier, learning) == []


@pytest.mark.parametrize("name", ["MobileNetV3Small", *HIDDEN_IN_ONNX])
def test_exports_agree_with_keras_where_pictures_differ(name, tmp_path):
    assert max(contract.export_errors(backbone(name), tmp_path).values()) < contract.TOLERANCE


def test_a_wrong_graph_does_not_pass_unseen():
    classifier = contract.lively(backbone("MobileNetV3Small"))
    images = contract.pictures(contract.SIDE)
    right = np.asarray(classifier(images))
    assert np.abs(np.asarray(classifier(images[..., ::-1])) - right).max() > 100 * contract.TOLERANCE
    assert np.abs(np.asarray(classifier(images // 2)) - right).max() > 100 * contract.TOLERANCE


def test_a_grouped_convolution_with_gelu_from_anywhere_is_exported_to_onnx(tmp_path):
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255.0)(image)
    x = keras.layers.Conv2D(8, 3, groups=1)(x)
    x = keras.layers.Conv2D(8, 3, groups=4, activation="gelu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    (artifact,) = exporters.export(
        model, tmp_path, ["onnx"], Contract(class_names=("a", "b", "c"), image_size=32, backbone="none")
    )
    images = contract.pictures(32)
    np.testing.assert_allclose(runtime.load(artifact.path).predict(images), model(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.name for spec in rows()])
def test_every_row_keeps_the_whole_contract(name, tmp_path):
    row = contract.check(name, tmp_path)
    assert row["blocks"] >= 4
    assert row["uncovered"] == row["freezing"] == 0
    assert row["scaling"] < 1e-5
    assert max(row[format_name] for format_name in contract.FORMATS) < contract.TOLERANCE
