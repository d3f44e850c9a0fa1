"""A network's twin in whole numbers: what it rounds, what it shares, how it learns, and that its file says the same."""

import backbones_contract as contract
import keras
import numpy as np
import pytest
import tensorflow as tf
import whole_numbers_contract as whole
from ai_edge_litert.schema_py_generated import TensorType

from keras_transfer.backbones.registry import backbone, rows
from keras_transfer.errors import UsageError
from keras_transfer.export import activations, exporters, parity
from keras_transfer.specs import Block, Contract, Stage
from keras_transfer.tasks import classification
from keras_transfer.training import freezing, rounding, trainer, whole_numbers
from keras_transfer.training.job import Job, Settings

STAGE = Stage(name="int8", precision="int8", blocks="all", epochs=1, learning_rate=1e-4)


def looked(network, images):
    """The network's twin, its ranges measured."""
    twin = whole_numbers.of(network)
    whole_numbers.look(twin.model, [images[:16], images[16:]])
    return twin


def test_a_kernel_is_rounded_to_127_steps_on_either_side_of_zero_for_each_channel_and_learns_as_if_it_were_not():
    kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32"))
    with tf.GradientTape() as tape:
        given = rounding.rounded(kernel, rounding.steps_of(kernel, 1))
        total = tf.reduce_sum(given)
    steps = np.asarray(given) / (np.abs(kernel).max((0, 1, 2)) / 127)
    assert np.allclose(steps, np.rint(steps), atol=1e-3)
    assert (np.abs(steps).max((0, 1, 2)) > 126.9).all()
    assert (np.asarray(tape.gradient(total, kernel)) == 1).all()


def test_a_depthwise_kernel_has_a_step_for_every_channel():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype("float32"))
    steps = rounding.steps_of(kernel, 2)
    assert np.allclose(steps[0, 0], np.abs(kernel).max((0, 1)) / 127)
    assert np.abs(rounding.rounded(kernel, steps) - kernel).max() <= np.max(steps) / 2 * 1.001


def test_a_range_follows_what_passes_while_learning_and_stays_otherwise():
    layer = rounding.Rounding()
    layer.high.assign(1.0)
    values = tf.constant([-1.0, 3.0])
    layer(values, training=False)
    assert (float(layer.low), float(layer.high)) == (0.0, 1.0)
    layer(values, training=True)
    assert float(layer.low) == pytest.approx(-0.01)
    assert float(layer.high) == pytest.approx(1.02)


def test_what_a_range_does_not_reach_is_cut_off():
    assert np.allclose(rounding.Rounding(fixed=(-1.0, 127 / 128))(tf.constant([-3.0, 0.0, 3.0])), [-1, 0, 127 / 128])


def test_the_twin_shares_every_weight_and_leaves_the_network_as_it_was(network, stripes):
    images, _ = stripes["train"]
    before = np.asarray(network.model(images[:4], training=False))
    twin = looked(network, images)
    assert {id(each) for each in network.model.trainable_variables} == {
        id(each) for each in twin.model.trainable_variables
    }
    assert all(type(layer).__module__.startswith("keras.") for layer in network.model.layers)
    assert (np.asarray(network.model(images[:4], training=False)) == before).all()
    assert network.model.layers[1].output is not None  # no layer stands at a second place of a graph


def test_batch_norms_and_relus_become_a_part_of_the_convolution_before_them(network):
    made = [type(layer).__name__ for layer in whole_numbers.of(network).model.layers]
    assert made.count("Rounded") == 5
    assert not {"BatchNormalization", "ReLU", "Scaled"} & set(made)


def test_every_weight_and_every_range_of_the_twin_is_decided(network):
    twin = whole_numbers.of(network)
    freeze = freezing.decide(twin, STAGE)
    assert freeze.frozen == ()
    assert {id(each) for layer in freeze.learning for each in layer.weights} == {
        id(each) for each in twin.model.weights
    }


def test_rounding_costs_little_of_what_the_network_says(network, stripes):
    images, _ = stripes["train"]
    twin = looked(network, images)
    apart = np.asarray(twin.model(images, training=False)) - np.asarray(network.model(images, training=False))
    assert 0 < np.abs(apart).mean() < 0.02


def test_a_twin_made_again_with_the_ranges_of_another_says_the_same(network, stripes):
    images, _ = stripes["train"]
    twin = looked(network, images)
    again = whole_numbers.twin(network.model, whole_numbers.ranges(twin.model))
    assert (np.asarray(again(images)) == np.asarray(twin.model(images, training=False))).all()


@pytest.fixture
def hard():
    """Hard swish behind a batch norm and behind a sum, a hard sigmoid as MobileNetV3 spells it, and one by its name."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(keras.layers.Rescaling(1 / 128, -1.0)(image))
    x = keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(9.0))(x)
    x = keras.layers.Activation("hard_silu")(x)
    gate = keras.layers.Conv2D(8, 1)(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = keras.layers.Multiply()([x, keras.layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)])
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1, activation="hard_sigmoid")(x)])
    features = keras.Model(image, keras.layers.Activation("hard_silu")(x))
    return classification.attach(features, (Block(0, tuple(features.layers[1:]), features.output),), classes=3)


def file_of(network, twin, folder):
    promised = Contract(class_names=("a", "b", "c"), image_size=32)
    (artifact,) = exporters.export(network.model, folder, ["tflite-int8"], promised, learned=twin.model)
    return artifact.path


def test_hard_swish_and_hard_sigmoid_are_computed_in_whole_numbers_alone(hard, stripes, tmp_path):
    images, _ = stripes["train"]
    twin = looked(hard, images)
    apart = np.asarray(twin.model(images, training=False)) - np.asarray(hard.model(images, training=False))
    assert 0 < np.abs(apart).mean() < 0.02
    path = file_of(hard, twin, tmp_path)
    assert whole.in_floats(path) == []
    shares = whole_numbers.alike(twin.model, images[0], activations.on_steps(path.read_bytes(), images[0]))
    assert len(shares) == len(whole_numbers.roundings(twin.model))
    assert min(shares.values()) >= parity.WITHIN_A_STEP


def test_a_hard_sigmoid_behind_a_kernel_is_a_part_of_it_and_a_hard_swish_an_addition_and_a_product(hard):
    made = [type(layer).__name__ for layer in whole_numbers.of(hard).model.layers]
    assert "ReLU" not in made
    assert made.count("Activation") == 1  # the softmax


def test_a_layer_that_nobody_knows_how_to_round_is_named():
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    grown = keras.layers.Conv2DTranspose(4, 3, name="grown")
    features = keras.Model(image, grown(keras.layers.Rescaling(1 / 255)(image)))
    network = classification.attach(features, (Block(0, tuple(features.layers[1:]), features.output),), classes=3)
    with pytest.raises(UsageError, match=r"learnt in layers of Dep.*Received: Conv2DTranspose 'grown'$"):
        whole_numbers.of(network)


def job_of(network, feed, folder):
    return Job(network, feed, Settings(image_size=32, counts={"train": 96, "validation": 48, "test": 48}), folder)


def test_a_stage_in_whole_numbers_is_kept_where_it_beats_rounding_alone(network, feed, stripes, tmp_path):
    trainer.train(job_of(network, feed, tmp_path), [Stage(name="all", blocks="all", epochs=2)])
    for layer in network.model.layers:  # as coarse as can be: a few weights reach far, and all others are rounded away
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.array(layer.kernel)
            kernel[0, 0, 0] = 30 * np.abs(kernel).max()
            layer.kernel.assign(kernel)
    twin = looked(network, stripes["train"][0])
    learning = STAGE.model_copy(update={"epochs": 3, "learning_rate": 1e-3})
    (result,) = trainer.train(job_of(twin, feed, tmp_path / "int8"), [learning])
    assert result.precision == "int8"
    assert result.kept
    assert "of rounding alone" in result.reason


def test_a_stage_in_whole_numbers_that_brings_nothing_is_rolled_back_with_its_ranges(network, feed, stripes, tmp_path):
    twin = looked(network, stripes["train"][0])
    before = [np.array(each) for each in twin.model.variables]
    learning = STAGE.model_copy(update={"learning_rate": 10.0, "optimizer": "sgd", "schedule": "constant"})
    (result,) = trainer.train(job_of(twin, feed, tmp_path), [learning])
    assert not result.kept
    assert all((np.array(now) == then).all() for now, then in zip(twin.model.variables, before, strict=True))


FAMILIES = {spec.family: spec.name for spec in sorted(rows(), key=lambda spec: -spec.parameters)}
QUICK = ("MobileNetV3Small",)


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in FAMILIES.values()]
)
def test_the_file_of_a_family_has_no_float_convolution_and_computes_as_its_twin_does(name, tmp_path):
    spec = backbone(name)
    model = contract.lively(spec)
    images = contract.pictures(contract.side(spec), 32)
    twin = looked(contract.network(spec, model), images).model
    names = tuple(f"class {index}" for index in range(contract.CLASSES))
    promised = Contract(class_names=names, image_size=contract.side(spec))
    (artifact,) = exporters.export(model, tmp_path, ["tflite-int8"], promised, learned=twin)
    found = whole.weighted(artifact.path)
    assert found
    assert [each for each in found if each[1] != TensorType.INT8] == []
    given = activations.on_steps(artifact.path.read_bytes(), images[0])
    shares = whole_numbers.alike(twin, images[0], given)
    assert len(shares) > 0.9 * len(whole_numbers.roundings(twin))
    assert {name: share for name, share in shares.items() if share < parity.WITHIN_A_STEP} == {}
