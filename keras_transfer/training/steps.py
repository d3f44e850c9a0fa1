"""What is computed for each batch of a stage: a step of learning, and what the network is worth on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.specs import Network, Stage
from keras_transfer.training.resizing import resized
from keras_transfer.training.stage_data import StageData
from keras_transfer.training.strategy import Strategy

Step = Callable[..., Any]
"""(inputs, targets, weights) of batches that lie one behind the other and the rate of each, float32 (batches,), in; the
sums of their losses, merits and weights out, float32 (3,)."""


def suffix_of(network: Network, data: StageData) -> keras.Model:
    """Return what a stage trains: from the cut, or from the picture where the stage is streamed, to the raw outputs."""
    return keras.Model(list(data.cut) or network.model.input, list(network.raw))


def learning_step(
    suffix: keras.Model,
    network: Network,
    method: keras.optimizers.Optimizer,
    stage: Stage,
    data: StageData,
    average: list[Any],
    strategy: Strategy,
    batch_size: int | None = None,
) -> Step:
    """Return the compiled step that moves the weights of `suffix`, and `average` after them.

    method: built for the suffix's trainable variables. average: a shadow of each of them, or nothing. strategy: the
    devices that share the batch, whose sums it gives. batch_size: where several batches come at once, by how many
    pictures each is followed by the next; with None there is one.
    """
    inputs, targets, weights = _any_size(data.validation().element_spec, data.train_shapes, data.train_targets)
    of_one = [shape[1 - len(own.shape) :] for shape, own in zip(data.train_shapes, suffix.inputs, strict=True)]
    learner = resized(suffix, of_one)
    trainable = suffix.trainable_variables
    momentum = stage.ema or 0.0

    def of_a_part(inputs: Any, targets: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            raw = in_float32(learner(taken(inputs, learner), training=True))
            losses = network.losses(raw, targets, stage.label_smoothing)
            divisor, part = strategy.divisor(tf.reduce_sum(weights))
            loss = tf.reduce_sum(losses * weights) / divisor
            if learner.losses:
                loss += tf.add_n(learner.losses) * part
            scaled = method.scale_loss(loss)
        before = tf.identity(method.iterations)
        merits = network.merit(raw, targets) if judged_while_learning(network) else losses * 0
        gradients = tape.gradient(scaled, [variable.value for variable in trainable])
        gradients, sums = strategy.of_whole_batch(gradients, _sums(losses, merits, weights), divisor)
        method.apply(gradients, trainable)
        # Batches that only gather gradients, and steps that overflowed, move nothing: the average waits with them.
        moved = method.iterations > before
        for shadow, variable in zip(average, trainable, strict=False):
            shadow.assign(tf.where(moved, shadow * momentum + variable.value * (1 - momentum), shadow))
        return sums

    def of_a_batch(*batch: Any) -> Any:
        return strategy.run(of_a_part, *batch)

    if batch_size is None:
        compiled = tf.function(of_a_batch, input_signature=(inputs, targets, weights), autograph=False)

        def step(inputs: Any, targets: Any, weights: Any, rates: Sequence[float]) -> Any:
            (method.learning_rate,) = rates
            return compiled(inputs, targets, weights)

        return step

    @tf.function(input_signature=(inputs, targets, weights, tf.TensorSpec((None,))), autograph=False)
    def steps(inputs: Any, targets: Any, weights: Any, rates: Any) -> Any:
        def of_the_next(number: Any, sums: Any) -> Any:
            method.learning_rate = rates[number]
            rows = slice(number * batch_size, (number + 1) * batch_size)
            mine = tf.nest.map_structure(lambda each: each[rows], (inputs, targets, weights))
            return number + 1, sums + of_a_batch(*mine)

        # Batches learn one after the other: none may begin before the last one moved the weights.
        begin = (tf.constant(0), tf.zeros((3,)))
        return tf.while_loop(lambda number, _: number < tf.shape(rates)[0], of_the_next, begin, parallel_iterations=1)[
            1
        ]

    return steps


def evaluation(
    suffix: keras.Model, network: Network, data: StageData, strategy: Strategy
) -> Callable[[], tuple[float, float]]:
    """Return what passes validation once and gives loss and merit of a picture, in inference mode."""
    specs = _any_size(data.validation().element_spec)

    def of_a_part(inputs: Any, targets: Any, weights: Any) -> Any:
        raw = in_float32(suffix(taken(inputs, suffix), training=False))
        return strategy.added(_sums(network.losses(raw, targets, 0.0), network.merit(raw, targets), weights))

    @tf.function(input_signature=specs, autograph=False)
    def of_a_batch(inputs: Any, targets: Any, weights: Any) -> Any:
        if network.merit_over == "split":  # every worker has all of it (`stage_data`)
            return tf.zeros((3,)), in_float32(suffix(taken(inputs, suffix), training=False))
        return strategy.run(of_a_part, inputs, targets, weights), ()

    def evaluate() -> tuple[float, float]:
        totals, parts = tf.zeros((3,)), []
        for inputs, targets, weights in data.validation():
            sums, raw = of_a_batch(inputs, targets, weights)
            totals += sums
            if raw:
                parts.append((raw, targets, weights))
        if parts:  # pictures are judged beside all others, whatever batches they came in
            raw, targets, weights = tf.nest.map_structure(lambda *each: tf.concat(each, 0), *parts)
            totals = _sums(network.losses(raw, targets, 0.0), network.merit(raw, targets), weights)
        return means(totals)

    return evaluate


def means(totals: Any) -> tuple[float, float]:
    """Return loss and merit of a picture from the sums of losses, merits and weights of many."""
    loss, merit, weight = (float(value) for value in totals)
    return loss / max(weight, 1e-9), merit / max(weight, 1e-9)


def judged_while_learning(network: Network) -> bool:
    """Whether a step of learning also says what its batch was worth."""
    return network.training_merit and network.merit_over == "batch"


@contextmanager
def averaged(suffix: keras.Model, average: list[Any]) -> Iterator[None]:
    """Put the averaged weights in place while it lasts; do nothing where there is no average."""
    pairs = list(zip(suffix.trainable_variables, average, strict=False))
    kept = [variable.numpy() for variable, _ in pairs]
    for variable, shadow in pairs:
        variable.assign(shadow)
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, kept, strict=True):
            variable.assign(value)


def _any_size(specs: Any, shapes: Any = None, target_shape: Any = None) -> Any:
    """The signature of batches of any size: a second shape for the last one would be a second trace, of seconds.

    shapes, target_shape: of the inputs and of the targets of a picture, where they are not those of `specs`.
    """
    inputs, targets, weights = tf.nest.map_structure(
        lambda spec: tf.TensorSpec((None, *spec.shape[1:]), spec.dtype), specs
    )
    if shapes:
        flat = zip(tf.nest.flatten(inputs), shapes, strict=True)
        sized = [tf.TensorSpec((None, *shape), spec.dtype) for spec, shape in flat]
        inputs = tf.nest.pack_sequence_as(inputs, sized)
        targets = tf.TensorSpec((None, *target_shape), targets.dtype)
    return inputs, targets, weights


def _sums(losses: Any, merits: Any, weights: Any) -> Any:
    return tf.stack([tf.reduce_sum(losses * weights), tf.reduce_sum(merits * weights), tf.reduce_sum(weights)])


def taken(inputs: Any, model: keras.Model) -> Any:
    """Return inputs as a model takes them: float32, and behind a cut a row for each frame where samples are clips."""
    wanted = [each.shape for each in model.inputs]
    flat = [
        tf.reshape(each, (-1, *shape[1:])) if len(each.shape) > len(shape) else each
        for each, shape in zip(tf.nest.flatten(inputs), wanted, strict=True)
    ]
    return tf.nest.pack_sequence_as(inputs, [tf.cast(each, tf.float32) for each in flat])


def in_float32(outputs: Any) -> tuple[Any, ...]:
    """Return outputs, of which a model may have one or several, as losses and merits take them."""
    return tuple(tf.cast(each, tf.float32) for each in tf.nest.flatten(outputs))
