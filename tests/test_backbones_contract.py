"""Every row keeps one contract: a row of each family here, all of them and the whole in test_backbones_table.py."""

from dataclasses import replace

import backbones_contract as contract
import keras
import numpy as np
import pytest

from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone, rows

SMALLEST = {spec.family: spec.name for spec in sorted(rows(), key=lambda spec: -spec.parameters)}
FAMILIES = tuple(SMALLEST.values())


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
    assert contract.scaling_error(spec, model) < contract.SCALING_TOLERANCE


@pytest.fixture(scope="module")
def lively():
    """A small row, and a classifier on it under which pictures differ."""
    spec = backbone("MobileNetV3Small")
    return spec, contract.lively(spec)


def test_freezing_leaves_exactly_the_frozen_weights_as_they_were(lively):
    spec, classifier = lively
    for learning in range(6):
        assert contract.undecided(spec, classifier, learning) == []


def test_exports_agree_with_keras_where_pictures_differ(tmp_path, lively):
    assert max(contract.export_errors(*lively, tmp_path).values()) < contract.TOLERANCE


def changed(classifier, change):
    """A twin of `classifier` to which `change` was done."""
    twin = keras.models.clone_model(classifier)
    twin.set_weights(classifier.get_weights())
    change(twin)
    return twin


def swap_channels(twin):
    kernel = first(twin, keras.layers.Conv2D).kernel
    kernel.assign(np.flip(kernel, axis=2))


def leave_scaling_out(twin):
    scaling = twin.get_layer("scaling")
    scaling.scale, scaling.offset = 1 / 255, 0.0


def move_one_statistic(twin):
    mean = first(twin, keras.layers.BatchNormalization).moving_mean
    mean.assign(np.array(mean) + 0.05 * np.eye(mean.shape[0])[0])


def use_another_epsilon(twin):
    for norm in contract.batch_norms(twin.layers):
        norm.epsilon = 2e-3


def first(model, kind):
    return next(layer for layer in model.layers if isinstance(layer, kind))


@pytest.mark.parametrize("change", [swap_channels, leave_scaling_out, move_one_statistic, use_another_epsilon])
def test_an_export_of_another_graph_breaks_the_contract(change, tmp_path, lively):
    spec, classifier = lively
    written = changed(classifier, change)
    found = contract.export_errors(spec, classifier, tmp_path, formats=("saved_model",), written=written)
    assert found["saved_model"] > contract.TOLERANCE


def test_a_single_statistic_that_moved_is_seen_in_every_format(tmp_path, lively):
    spec, classifier = lively
    found = contract.export_errors(spec, classifier, tmp_path, written=changed(classifier, move_one_statistic))
    assert min(found.values()) > contract.TOLERANCE


@pytest.mark.parametrize(("right", "wrong"), [("tf", "signed"), ("tf", "inside"), ("caffe", "inside")])
def test_pixels_scaled_for_another_family_break_the_contract(right, wrong):
    spec = next(each for each in map(backbone, ("MobileNet", "VGG16")) if each.scaling == right)
    wrongly = replace(spec, scaling=wrong)
    assert contract.scaling_error(spec, contract.smallest(wrongly)) > 100 * contract.SCALING_TOLERANCE


def test_a_frozen_statistic_that_moves_breaks_the_contract(lively, monkeypatch):
    spec, classifier = lively
    norm, step = first(classifier, keras.layers.BatchNormalization), contract.train_step

    def nudging_step(*arguments):
        step(*arguments)
        move_one_statistic(classifier)

    monkeypatch.setattr(contract, "train_step", nudging_step)
    assert contract.undecided(spec, classifier, 1) == [norm.name]


def test_a_layer_that_should_learn_and_does_not_breaks_the_contract(lively, monkeypatch):
    spec, classifier = lively
    layer, step = contract.network(spec, classifier).blocks[-1].layers[0], contract.train_step
    assert layer.weights

    def forgetful_step(*arguments):
        layer.trainable = False
        step(*arguments)

    monkeypatch.setattr(contract, "train_step", forgetful_step)
    assert contract.undecided(spec, classifier, 1) == [layer.name]


def test_statistics_that_should_learn_and_do_not_break_the_contract(lively, monkeypatch):
    spec, classifier = lively
    norm = contract.batch_norms(contract.network(spec, classifier).blocks[-1].layers)[0]
    monkeypatch.setattr(norm, "momentum", 1.0)
    assert contract.undecided(spec, classifier, 1) == [norm.name]


def test_a_layer_in_no_block_or_in_two_breaks_the_contract(lively, monkeypatch):
    spec, model = lively[0], contract.smallest(lively[0])
    blocks = cut(model, spec)
    monkeypatch.setattr(contract, "cut", lambda *_: blocks[1:])
    assert contract.uncovered(spec, model) > 0
    monkeypatch.setattr(contract, "cut", lambda *_: (*blocks, blocks[-1]))
    assert contract.uncovered(spec, model) > 0
