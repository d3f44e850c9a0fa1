"""What every row of the catalogue must do, as functions that a test and the README's table both call.

Random weights make poor witnesses: activations vanish or saturate, all outputs are alike, and a wrong graph passes.
`lively` therefore sets every batch norm to the statistics of the pictures, spreads scales and shifts, and
standardizes the logits, so that each picture gets its own answer. That a wrong graph, a wrong scaling and a weight that
was frozen in vain do not pass is tested too.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.backbones import features
from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import LOGITS_LAYER, POOL_LAYER, BackboneSpec, Contract, Stage
from keras_transfer.tasks import classification
from keras_transfer.tasks import pooled as pooled_head
from keras_transfer.training import freezing

VERSION = 2
"""Counts up when rows are held to something else than before, so that what was found by then is not trusted."""
CLASSES = 4
PICTURES = 8
FORMATS = ("saved_model", "tflite", "onnx")
TOLERANCE = 1e-4
SCALING_TOLERANCE = 1e-5
STRAIGHT = 0.5
"""Deviations by which batch norms lift what they give, so that most of it passes the straight part of an activation.

Without it, random networks drive pictures that are nearly alike apart layer by layer, and with them the rounding of
float32: at ResNet's hundred layers that alone is as large as the tolerance.
"""


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


def batch_norms(layers) -> list[keras.Layer]:
    """Those of `layers` that keep moving statistics."""
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def lively(spec: BackboneSpec) -> keras.Model:
    """A classifier on the row with random weights under which pictures differ in their probabilities."""
    keras.utils.set_random_seed(3)
    size = side(spec)
    base = features.build(spec, image_size=size, weights="none").model
    images, rng = pictures(size), np.random.default_rng(5)
    for variable in base.trainable_variables:
        spread(variable, rng)
    norms = batch_norms(layers_of(base))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.center:
            norm.beta.assign_add(np.full(norm.beta.shape, STRAIGHT))
    if norms:
        base(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    pooled = np.asarray(base(images, training=False), np.float64).mean(axis=(1, 2))
    classifier = pooled_head.attach(base, classes=CLASSES, dropout=0.0, seed=0, activation="softmax")
    kernel = rng.normal(size=(pooled.shape[1], CLASSES))
    logits = pooled @ kernel
    kernel /= logits.std(axis=0)
    classifier.get_layer(LOGITS_LAYER).set_weights([kernel, -(pooled @ kernel).mean(axis=0)])
    for layer in layers_of(classifier):
        for rate in ("rate", "drop_path_rate"):  # chance would let layers stand still for a step that ought to learn
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    return classifier


def spread(variable: keras.Variable, rng: np.random.Generator) -> None:
    """Give a vector that begins as one constant values of its own: a factor between 0.5 and 1.5, a summand about 0.

    Factors are known by not being zero and not by their name, which ConvNeXt's, a millionth each, do not have: left so
    small they hide whole blocks.
    """
    values = np.asarray(variable)
    if values.ndim == 1 and values[0] and (values == values[0]).all():
        variable.assign(rng.uniform(0.5, 1.5, values.shape))
    elif values.ndim == 1 and not values.any():
        variable.assign(rng.normal(0, 0.1, values.shape))


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
    blocks = cut(classifier, spec, classifier.get_layer(POOL_LAYER).input)
    return pooled_head.network(classifier, blocks, losses=classification.cross_entropy, merit=classification.merit)


def undecided(spec: BackboneSpec, classifier: keras.Model, learning: int) -> list[str]:
    """Train one step with the last `learning` blocks; name frozen layers that moved, and learning ones that did not.

    Of a batch norm that learns the statistics must move as well. All weights are put back: a few steps at this rate
    drive the outputs into their limits, where no gradient is left.
    """
    freeze = freezing.decide(network(spec, classifier), Stage(name="top", blocks=tuple(range(-learning, 0))))
    must_move = [
        *((layer.name, learnable(layer)) for layer in freeze.learning if learnable(layer)),
        *((norm.name, [norm.moving_mean, norm.moving_variance]) for norm in batch_norms(freeze.learning)),
    ]
    freezing.apply(freeze)
    before = {id(w): np.array(w) for layer in (*freeze.frozen, *freeze.learning) for w in layer.weights}
    train_step(classifier, pictures(side(spec))[:2])

    def moved(variables) -> bool:
        return any((before[id(variable)] != np.array(variable)).any() for variable in variables)

    found = [
        *(layer.name for layer in freeze.frozen if moved(layer.weights)),
        *(name for name, variables in must_move if not moved(variables)),
    ]
    for layer in (*freeze.frozen, *freeze.learning):
        for variable in layer.weights:
            variable.assign(before[id(variable)])
    return found


def learnable(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of a layer that a gradient moves, once it may; those of a Normalization layer are constants."""
    trainable, layer.trainable = layer.trainable, True
    found = list(layer.trainable_variables)
    layer.trainable = trainable
    return found


def train_step(classifier: keras.Model, images: np.ndarray) -> None:
    """One step of plain gradient descent, batch norms in the mode that `trainable` gives them."""
    targets = tf.one_hot(np.arange(len(images)) % CLASSES, CLASSES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, classifier(images, training=True)))
    optimizer = keras.optimizers.SGD(0.1)
    variables = classifier.trainable_variables
    optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)


def export_errors(
    spec: BackboneSpec,
    classifier: keras.Model,
    folder: Path,
    *,
    formats: tuple[str, ...] = FORMATS,
    written: keras.Model | None = None,
) -> dict[str, float]:
    """Largest difference in probability between Keras and each format's own runtime, on pictures that differ.

    written: the model that is exported, where it is to be another than the one it is compared with.
    """
    images = pictures(side(spec))
    expected = np.asarray(classifier(images, training=False))
    apart = float(expected.std(axis=0).min())
    if not apart > 0.05:
        raise AssertionError(f"{spec.name}: the pictures' probabilities are too much alike to prove anything: {apart}")
    names = tuple(f"class {index}" for index in range(CLASSES))
    contract = Contract(class_names=names, image_size=side(spec), backbone=spec.name)
    artifacts = exporters.export(written or classifier, folder, formats, contract)
    return {
        name: float(np.abs(runtime.load(artifact.path).predict(images)["probabilities"] - expected).max())
        for name, artifact in zip(formats, artifacts, strict=True)
    }


def check(name: str, folder: Path) -> dict[str, float | int | str]:
    """Everything above for one row, as one line of the table."""
    spec = backbone(name)
    model = smallest(spec)
    without_classifier = {
        "uncovered": uncovered(spec, model),
        "scaling": scaling_error(spec, model) if hasattr(keras.applications, name) else 0.0,
    }
    del model
    classifier = lively(spec)
    errors = export_errors(spec, classifier, folder)
    blocks = len(network(spec, classifier).blocks)
    undone = [layer for learning in range(blocks + 1) for layer in undecided(spec, classifier, learning)]
    return {
        "backbone": name,
        "side": side(spec),
        "blocks": blocks,
        **without_classifier,
        "freezing": len(undone),
        **errors,
    }


def measured(name: str) -> dict[str, float | int | str]:
    """`check` with what it cost, for a process of its own; what went wrong is in `error`."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            row = check(name, Path(folder))
        except Exception as error:
            row = {"backbone": name, "error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cost = {"cpu_s": round(time.process_time() - began), "peak_gb": round(peak_gb, 1)}
    return {**row, **cost, "version": VERSION}


def keeps(row: dict[str, float | int | str]) -> bool:
    """Whether a line of the table keeps the contract."""
    return "error" not in row and (
        row["blocks"] >= 4
        and row["uncovered"] == row["freezing"] == 0
        and row["scaling"] < SCALING_TOLERANCE
        and all(row[name] < TOLERANCE for name in FORMATS)
    )
