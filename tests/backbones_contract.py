"""What every row of the catalogue must do, as functions that a test and the README's table both call.

Random weights make poor witnesses: activations vanish or saturate, all outputs are alike, and a wrong graph passes.
`lively` therefore sets every batch norm to the statistics of the pictures, spreads scales and shifts, and
standardizes the logits, so that each picture gets its own answer.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.backbones import features
from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import BackboneSpec, Contract, Stage
from keras_transfer.tasks import classification
from keras_transfer.training import freezing

CLASSES = 4
PICTURES = 8
FORMATS = ("saved_model", "tflite", "onnx")
TOLERANCE = 1e-4


def side(spec: BackboneSpec) -> int:
    """Side in pixels at which a row is trained and exported here.

    Nearer to the smallest the last maps are 1 x 1, too few values for batch norm to say anything sound of.
    """
    return max(96, 2 * spec.min_size)


def pictures(size: int, count: int = PICTURES) -> np.ndarray:
    """Blotches of colour under fine noise, uint8 (count, size, size, 3), each of its own."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)
    return np.clip(coarse[:, :size, :size] + rng.normal(0, 20, (count, size, size, 3)), 0, 255).astype(np.uint8)


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """Every layer, those inside nested ones (ConvNeXt's stem) too."""
    return [layer for layer in model._flatten_layers(include_self=False) if not list(layer._layers)]


def lively(spec: BackboneSpec) -> keras.Model:
    """A classifier on the row with random weights under which pictures differ in their probabilities."""
    keras.utils.set_random_seed(3)
    size = side(spec)
    base = features.build(spec, image_size=size, weights="none").model
    images, rng = pictures(size), np.random.default_rng(5)
    for layer in layers_of(base):
        for variable in layer.trainable_variables:
            if variable.name == "gamma":
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            elif variable.name in ("beta", "bias"):
                variable.assign(rng.normal(0, 0.1, variable.shape))
    norms = [layer for layer in layers_of(base) if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        base(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    pooled = np.asarray(base(images, training=False), np.float64).mean(axis=(1, 2))
    classifier = classification.attach(base, classes=CLASSES)
    kernel = rng.normal(size=(pooled.shape[1], CLASSES))
    logits = pooled @ kernel
    kernel /= logits.std(axis=0)
    classifier.get_layer(classification.LOGITS_LAYER).set_weights([kernel, -(pooled @ kernel).mean(axis=0)])
    return classifier


def smallest(spec: BackboneSpec) -> keras.Model:
    """The row at its smallest size, random."""
    return features.build(spec, image_size=spec.min_size, weights="none").model


def scaling_error(spec: BackboneSpec, ours: keras.Model) -> float:
    """Largest difference, relative, from Keras' own model behind `preprocess_input` applied by hand."""
    application = getattr(keras.applications, spec.name)
    reference = application(include_top=False, weights=None, input_shape=ours.input.shape[1:])
    reference.set_weights(
        [value.reshape(w.shape) for value, w in zip(ours.get_weights(), reference.weights, strict=True)]
    )
    images = pictures(spec.min_size, 2)
    prepared = preprocess_input(application)(images.astype(np.float32))
    expected, found = np.asarray(reference(prepared)), np.asarray(ours(images))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def preprocess_input(application):
    """`preprocess_input` of the application's family."""
    return getattr(keras.applications, application.__module__.rpartition(".")[2]).preprocess_input


def uncovered(spec: BackboneSpec, model: keras.Model) -> int:
    """How many weights are in no block, or in more than one."""
    held = [id(w) for block in cut(model, spec) for layer in block.layers for w in getattr(layer, "weights", ())]
    return len(set(held) ^ {id(weight) for weight in model.weights}) + len(held) - len(set(held))


def network(spec: BackboneSpec, classifier: keras.Model):
    """The classifier with its blocks."""
    return classification.network(classifier, cut(classifier, spec, classification.features_of(classifier)))


def undecided(spec: BackboneSpec, classifier: keras.Model, learning: int) -> list[str]:
    """Train one step with the last `learning` blocks; name frozen layers that moved, and learning blocks that did not.

    A single layer that learns may stand still for a step, where stochastic depth left its bottleneck out.
    """
    whole = network(spec, classifier)
    freeze = freezing.decide(whole, Stage(name="top", blocks=tuple(range(-learning, 0))))
    freezing.apply(freeze)
    before = {id(layer): [np.array(w) for w in layer.weights] for layer in (*freeze.frozen, *freeze.learning)}
    train_step(classifier, pictures(side(spec))[:2])

    def moved(layer):
        return any((old != np.array(new)).any() for old, new in zip(before[id(layer)], layer.weights, strict=True))

    blocks = [[layer for layer in whole.blocks[index].layers if id(layer) in before] for index in freeze.blocks]
    return [
        *(layer.name for layer in freeze.frozen if moved(layer)),
        *(layers[0].name for layers in blocks if not any(map(moved, layers))),
    ]


def train_step(classifier: keras.Model, images: np.ndarray) -> None:
    """One step of plain gradient descent, batch norms in the mode that `trainable` gives them."""
    targets = tf.one_hot(np.arange(len(images)) % CLASSES, CLASSES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, classifier(images, training=True)))
    optimizer = keras.optimizers.SGD(0.1)
    variables = classifier.trainable_variables
    optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)


def export_errors(spec: BackboneSpec, folder: Path) -> dict[str, float]:
    """Largest difference in probability between Keras and each format's own runtime, on pictures that differ."""
    classifier, images = lively(spec), pictures(side(spec))
    expected = np.asarray(classifier(images, training=False))
    spread = float(expected.std(axis=0).min())
    if not spread > 0.05:
        raise AssertionError(f"{spec.name}: the pictures' probabilities are too much alike to prove anything: {spread}")
    names = tuple(f"class {index}" for index in range(CLASSES))
    contract = Contract(class_names=names, image_size=side(spec), backbone=spec.name)
    artifacts = exporters.export(classifier, folder, FORMATS, contract)
    return {
        name: float(np.abs(runtime.load(artifact.path).predict(images) - expected).max())
        for name, artifact in zip(FORMATS, artifacts, strict=True)
    }


def check(name: str, folder: Path) -> dict[str, float | int | str]:
    """Everything above for one row, as one line of the table."""
    spec = backbone(name)
    classifier = lively(spec)
    blocks = len(network(spec, classifier).blocks)
    model = smallest(spec)
    moved = {learning: undecided(spec, classifier, learning) for learning in range(blocks + 1)}
    return {
        "backbone": name,
        "side": side(spec),
        "blocks": blocks,
        "uncovered": uncovered(spec, model),
        "scaling": scaling_error(spec, model) if hasattr(keras.applications, name) else 0.0,
        "freezing": sum(map(len, moved.values())),
        **export_errors(spec, folder),
    }
