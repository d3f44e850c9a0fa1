"""Every row of the catalogue keeps one contract; one row per family on each run, all of them with the slow tests."""

import backbones_contract as contract
import keras
import numpy as np
import onnx
import pytest

from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone, rows
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract

SMALLEST = {spec.family: spec.name for spec in sorted(rows(), key=lambda spec: -spec.parameters)}
FAMILIES = tuple(SMALLEST.values())
HIDDEN_IN_ONNX = ("EfficientNetB0", "ConvNeXtTiny")
"""What plain Keras cannot export: constants that become inputs, and functions and operators that ONNX lacks."""


def test_the_catalogue_holds_every_application_of_the_installed_keras():
    public = {name for name in vars(keras.applications) if name[0].isupper()}
    assert public == {spec.name for spec in rows() if spec.family != "efficientnet_lite"}


@pytest.fixture(scope="module", params=FAMILIES)
def built(request):
    """One row of each family at its smallest size."""
    spec = backbone(request.param)
    return spec, contract.smallest(spec)


def test_four_blocks_or_more_cover_a_row_of_each_family(built):
    spec, model = built
    assert len(cut(model, spec)) >= 4
    assert contract.uncovered(spec, model) == 0


def test_pixels_are_scaled_once_and_as_preprocess_input_does(built):
    spec, model = built
    if not hasattr(keras.applications, spec.name):
        pytest.skip("the original of this family is no Keras Application: see test_backbones_lite.py")
    assert contract.scaling_error(spec, model) < 1e-5


def test_freezing_leaves_exactly_the_frozen_weights_as_they_were():
    spec = backbone("MobileNetV3Small")
    classifier = contract.lively(spec)
    for learning in range(6):
        assert contract.undecided(spec, classifier, learning) == []


@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", *(pytest.param(name, marks=pytest.mark.slow) for name in HIDDEN_IN_ONNX)]
)
def test_exports_agree_with_keras_where_pictures_differ(name, tmp_path):
    assert max(contract.export_errors(backbone(name), tmp_path).values()) < contract.TOLERANCE


def test_a_wrong_graph_does_not_pass_unseen():
    classifier = contract.lively(backbone("MobileNetV3Small"))
    images = contract.pictures(contract.side(backbone("MobileNetV3Small")))
    right = np.asarray(classifier(images))
    assert np.abs(np.asarray(classifier(images[..., ::-1])) - right).max() > 100 * contract.TOLERANCE
    assert np.abs(np.asarray(classifier(images // 2)) - right).max() > 100 * contract.TOLERANCE


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[900.0, 1000.0, 1100.0]),
        keras.layers.Conv2D(6, 3, groups=3, activation="gelu"),
    ],
    ids=["constants that become inputs", "a call and an operator that ONNX lacks"],
)
def test_what_onnx_lacks_is_exported_whichever_network_holds_it(layer, tmp_path):
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = layer(keras.layers.Rescaling(1.0)(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    contract_of_file = Contract(class_names=("a", "b", "c"), image_size=32, backbone="none")
    (artifact,) = exporters.export(model, tmp_path, ["onnx"], contract_of_file)
    images = contract.pictures(32)
    np.testing.assert_allclose(runtime.load(artifact.path).predict(images), model(images), atol=1e-4)
    assert len(onnx.load(artifact.path).graph.input) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.name for spec in rows()])
def test_every_row_keeps_the_whole_contract(name, tmp_path):
    row = contract.check(name, tmp_path)
    assert row["blocks"] >= 4
    assert row["uncovered"] == row["freezing"] == 0
    assert row["scaling"] < 1e-5
    assert max(row[format_name] for format_name in contract.FORMATS) < contract.TOLERANCE
