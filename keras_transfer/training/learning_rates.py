"""How fast each weight learns: schedules over a stage, and rates per block for any Keras optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.errors import TrainingError, UsageError, unknown
from keras_transfer.specs import Stage

Schedule = Callable[[float], float]
"""Progress through the stage (0 to 1) in, factor on the stage's learning rate out."""


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _one_cycle(progress: float, *, rising: float = 0.2) -> float:
    if progress < rising:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / rising))
    return max(1e-4, _cosine((progress - rising) / (1 - rising)))


SCHEDULES: dict[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "cosine": _cosine,  # Loshchilov & Hutter 2017, one period
    "one_cycle": _one_cycle,  # Smith & Topin 2018: warm up over the first fifth, then anneal
}


def optimizer(stage: Stage, factors: Mapping[int, float]) -> keras.optimizers.Optimizer:
    """Return the optimizer of `stage`, with its own learning rate for each variable.

    >>> optimizer(Stage(name="head", optimizer="adamw"), {}).name
    'adamw'

    factors: `key(variable)` to a factor on the stage's rate; 1 where it is missing. Weight decay spares biases and
    batch norms (vectors), as is usual. Raises UsageError for a name that Keras does not have.
    """
    classes = {
        name.lower(): item
        for name, item in vars(keras.optimizers).items()
        if isinstance(item, type) and issubclass(item, keras.optimizers.Optimizer) and name not in _NOT_A_METHOD
    }
    kind = classes.get(stage.optimizer.lower())
    if kind is None:
        raise UsageError(unknown("optimizer", stage.optimizer, classes))
    accumulate = stage.accumulate if stage.accumulate > 1 else None
    return _with_factors(kind, factors)(
        learning_rate=0.0 if stage.learning_rate == "auto" else peak_of(stage),  # whoever looks for it sets it
        weight_decay=stage.weight_decay,
        gradient_accumulation_steps=accumulate,
        name=stage.optimizer.lower(),
    )


_NOT_A_METHOD = ("Optimizer", "LossScaleOptimizer")


def peak_of(stage: Stage) -> float:
    """Return the peak rate of a stage that has begun; TrainingError where it is still to be found."""
    if isinstance(stage.learning_rate, str):
        raise TrainingError(f"The rate of stage '{stage.name}' ({stage.learning_rate}) was not found before it began.")
    return stage.learning_rate


def key(variable: Any) -> int:
    """Return what a factor is filed under: Keras hands its optimizers the TensorFlow variable inside its own."""
    return id(_plain(variable))


def _plain(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _with_factors(kind: type[Any], factors: Mapping[int, float]) -> type[Any]:
    """Return a subclass of `kind` whose steps, weight decay included, are scaled for each variable.

    Keras has no parameter groups, but calls `update_step(gradient, variable, learning_rate)` once per variable.
    """

    one_kernel = issubclass(kind, keras.optimizers.Adam)

    class PerVariable(kind):
        def build(self, variables: Any) -> None:
            super().build(variables)
            self._factors = [factors.get(key(variable), 1.0) for variable in variables]

        def _factor(self, variable: Any) -> float:
            # By position: a copy of a variable on one of several devices has an identity of its own.
            return self._factors[self._get_variable_index(variable)]

        # Gradients are those of all devices by then (`Strategy.added`), and each device moves its own copy.
        def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                self.update_step(gradient, _plain(variable), learning_rate)

        def _backend_increment_gradient_accumulators(self, grads: Any, acc_grads: Any) -> None:
            for gradient, sum_of_them in zip(grads, acc_grads, strict=True):
                sum_of_them.assign(sum_of_them + gradient)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = learning_rate * self._factor(variable)
            if one_kernel and not self.amsgrad and not isinstance(gradient, tf.IndexedSlices):
                _adam_in_one_kernel(self, gradient, variable, rate)
            else:
                super().update_step(gradient, variable, rate)

        def _apply_weight_decay(self, variables: Any) -> None:
            if not self.weight_decay:
                return
            for variable in variables:
                if len(variable.shape) > 1:
                    rate = self.learning_rate * self._factor(variable)
                    variable.assign(variable * (1 - rate * self.weight_decay))

    PerVariable.__name__ = kind.__name__
    return PerVariable


def _adam_in_one_kernel(method: Any, gradient: Any, variable: Any, rate: Any) -> None:
    """Do what `keras.optimizers.Adam.update_step` does with one pass over memory instead of ten.

    A sixth of a step's time went into the small operations that Keras writes Adam with.
    """
    index = method._get_variable_index(variable)
    step = tf.cast(method.iterations + 1, tf.float32)
    tf.raw_ops.ResourceApplyAdam(
        var=_handle(variable),
        m=_handle(method._momentums[index]),
        v=_handle(method._velocities[index]),
        beta1_power=tf.pow(tf.constant(method.beta_1, tf.float32), step),
        beta2_power=tf.pow(tf.constant(method.beta_2, tf.float32), step),
        lr=tf.cast(rate, tf.float32),
        beta1=method.beta_1,
        beta2=method.beta_2,
        epsilon=method.epsilon,
        grad=tf.cast(gradient, tf.float32),
        use_locking=True,
    )


def _handle(variable: Any) -> Any:
    return _plain(variable).handle
