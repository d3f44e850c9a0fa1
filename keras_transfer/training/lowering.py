"""Goes through the graph of a network and makes the twin that rounds where LiteRT does: a row a kind of operation.

LiteRT rounds what an operation gives, and computes some in one go: a convolution with the batch norm and the ReLU
behind it, a sum with its ReLU. Rows of `ROWS` say what is one go, and on which range its result lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer.errors import UsageError
from keras_transfer.training.folding import KERNELS, OF_DEPTH, OF_POINTS, Kernel, scales_channels
from keras_transfer.training.rounding import STEPS, Rounded, Rounding, Scaled, Shared

RANGE = "_range"
"""What the name of a range ends with, behind that of the operation whose result lies on it."""
PIXELS = "pixels"
FIXED: dict[Callable[[Any], Any], tuple[float, float]] = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.softmax: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
"""The range that LiteRT gives the result of a function, whatever goes in."""
ROOT = math.sqrt(6)
HARD: dict[Callable[[Any], Any], tuple[float, float]] = {
    keras.activations.hard_sigmoid: (1 / 6, 1 / 2),
    keras.activations.hard_silu: (1 / ROOT, 0.0),
}
"""Functions of ReLU6(x + 3), and the factor and summand of x that the kernel before them takes in.

A range cuts off what lies outside of it, so x / 6 + 1 / 2 on one from 0 to 1 is a hard sigmoid, and costs nothing. Of
r = x / √6 a hard swish, x ReLU6(x + 3) / 6, is r (r + 3 / √6), that sum on a range from 0 to √6: an addition and a
product. LiteRT's `HARD_SWISH` XNNPACK does not compute in whole numbers: it was half of the time of MobileNetV3, and
each cut the graph. A function that no range stands inside of is computed in floats.
"""
IN_ONE_GO = (keras.activations.relu, keras.activations.relu6)
"""Functions that LiteRT computes together with what comes before them."""
PASSED_ON = (
    keras.layers.MaxPooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Cropping2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)
"""What gives values that it was given, or zero: on the range that they are on."""
OF_PIXELS = (keras.layers.Rescaling, keras.layers.Normalization)


class Lowering:
    """The twin of one model, and where each tensor and each layer of the model went."""

    def __init__(self, model: keras.Model, kept: Iterable[Any] = ()) -> None:
        """Make the twin; kept: KerasTensors of the model that the twin has to have as well."""
        (given,) = model.inputs
        self.source = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
        self.tensors: dict[int, Any] = {id(given): self.source}
        """The twin's tensor by the id of the model's, but for those inside of what is computed in one go."""
        self._kept = {id(each) for each in (*model.outputs, *kept)}
        self._readers: dict[int, list[Any]] = {}
        self._done: set[int] = set()
        self._made: dict[int, list[Any]] = {}
        self._pixels = {id(self.source)}
        self._at: Any = None
        self._ranges: dict[str, Rounding] = {}
        self._range_of: dict[int, Rounding] = {}
        self._through(model, "")
        self.model = keras.Model(self.source, self.tensors[id(model.output)], name=model.name)

    def made_of(self, layers: Iterable[Any]) -> tuple[Any, ...]:
        """Return the twin's layers that stand for these layers of the model."""
        return tuple(dict.fromkeys(made for each in layers for made in self._made.get(id(each), ())))

    def _through(self, model: Any, prefix: str) -> None:
        nodes = _nodes(model)
        for node in nodes:
            for tensor in node.input_tensors:
                self._readers.setdefault(id(tensor), []).append(node)
        for node in nodes:
            if id(node) not in self._done:
                self._one(node, prefix + node.operation.name)

    def _one(self, node: Any, name: str) -> None:
        self._at = node
        inputs = [self.tensors[id(each)] for each in node.arguments.keras_tensors]
        if all(id(each) in self._pixels for each in inputs) and _scales_pixels(node.operation):
            given = self._own(node, Shared(node, name=name))(_one_or_all(inputs))
            self._pixels.add(id(given))
            self._end(node, given)
            return
        inputs = [self._on_its_range(each) for each in inputs]
        lower = next((lower for applies, lower in ROWS if applies(node.operation)), Lowering._plain)
        lower(self, node, inputs, name)

    def _kernel(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        kernel = next(kernel for kind, kernel in KERNELS.items() if isinstance(node.operation, kind))
        self._convolved(node, kernel, inputs[0], name)

    def _separable(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        step = self._range_of[id(inputs[0])].step
        depth = self._own(node, Rounded(node.operation, OF_DEPTH, step, biased=False, name=f"{name}_depth"))
        self._convolved(node, OF_POINTS, self._rounded(depth(inputs[0]), f"{name}_depth{RANGE}"), name)

    def _convolved(self, node: Any, kernel: Kernel, given: Any, name: str) -> None:
        """A kernel, with what scales its channels behind it, and the function behind that."""
        last, factors, function = node, [], node.operation.activation
        if function is keras.activations.linear:
            following = self._only_reader(node)
            if following is not None and scales_channels(following.operation):
                last, factors = following, [following.operation]
            last, function = self._with_function(last, (*IN_ONE_GO, *HARD))
        made = Rounded(
            node.operation,
            kernel,
            self._range_of[id(given)].step,
            factors=factors,
            taken_in=HARD.get(function),
            activation=function if function in IN_ONE_GO else None,
            name=name,
        )
        for each in (node.operation, *factors):
            self._made.setdefault(id(each), []).append(made)
        if factors:
            self._done.add(id(following))
        self._end_go(last, made(given), function, name)

    def _end_go(self, last: Any, given: Any, function: Any, name: str) -> None:
        """End what a kernel began, by the function behind it."""
        if function is None or function in IN_ONE_GO:
            self._round(last, given, name)
        elif function is keras.activations.hard_sigmoid:
            self._end(last, self._rounded(given, f"{name}_part", (0.0, 1.0)))
        elif function is keras.activations.hard_silu:
            root = self._rounded(given, f"{name}_root{RANGE}")
            gate = self._rounded(root + 3 / ROOT, f"{name}_gate", (0.0, ROOT))
            self._round(last, root * gate, name)
        else:
            self._activate(last, self._rounded(given, f"{name}{RANGE}"), function, f"{name}_activation")

    def _scaled(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        if len(inputs[0].shape) != 4:  # no map that could be convolved
            self._plain(node, inputs, name)
            return
        last, activation = self._with_function(node)
        step = self._range_of[id(inputs[0])].step
        made = self._own(node, Scaled(node.operation, step, activation=activation, name=name))
        self._round(last, made(inputs[0]), name)

    def _scaled_sum(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        small = self._rounded(inputs[1] * node.operation.scale, f"{name}_scaled{RANGE}")
        last, activation = self._with_function(node)
        given = inputs[0] + small
        self._round(last, activation(given) if activation else given, name)

    def _activation(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        self._activate(node, inputs[0], _function(node.operation), name)

    def _activate(self, node: Any, given: Any, function: Any, name: str) -> None:
        """A function by itself; what is made of several is rounded after each."""
        if function is keras.activations.silu:
            gate = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(given)
            self._round(node, given * self._rounded(gate, f"{name}_part", FIXED[keras.activations.sigmoid]), name)
        elif function in HARD:
            lifted = self._rounded(keras.activations.relu6(given + 3.0), f"{name}_sum", (0.0, 6.0))
            sixth = keras.layers.Rescaling(1 / 6, name=f"{name}_sixth")(lifted)
            gate = self._rounded(sixth, f"{name}_part", (0.0, 1.0))
            if function is keras.activations.hard_sigmoid:
                self._end(node, gate)
            else:
                self._round(node, given * gate, name)
        elif function in FIXED:
            given = keras.layers.Activation(function, name=name)(given)
            self._end(node, self._rounded(given, f"{name}_part", FIXED[function]))
        else:
            self._round(node, keras.layers.Activation(function, name=name)(given), name)

    def _passed_on(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        given = self._own(node, Shared(node, name=name))(_one_or_all(inputs))
        self._range_of[id(given)] = self._range_of[id(inputs[0])]
        self._end(node, given)

    def _averaged(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        given = self._own(node, Shared(node, name=name))(inputs[0])
        self._end(node, self._onto(given, self._range_of[id(inputs[0])]))

    def _nested(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        model = node.operation
        self.tensors |= {id(source): given for source, given in zip(model.inputs, inputs, strict=True)}
        self._kept |= {id(each) for each in model.outputs}
        self._through(model, f"{name}_")
        self._made[id(model)] = list(self.made_of(model.layers))
        for outer, inner in zip(node.outputs, model.outputs, strict=True):
            self.tensors[id(outer)] = self.tensors[id(inner)]

    def _plain(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        """Any other operation: as it is, in floats where LiteRT does not know it, on a range of its own."""
        _check(node.operation)
        given = self._own(node, Shared(node, name=name))(_one_or_all(inputs))
        last, activation = self._with_function(node)
        self._round(last, activation(given) if activation else given, name)

    def _with_function(self, node: Any, functions: Sequence[Any] = IN_ONE_GO) -> tuple[Any, Any]:
        """What ends the go that a node begins, and the function that it is, where it is one of these; else the node,
        None."""
        following = self._only_reader(node)
        if following is None:
            return node, None
        spelt = self._spelt(following) if keras.activations.hard_sigmoid in functions else ()
        function = keras.activations.hard_sigmoid if spelt else _function(following.operation)
        if function not in functions:
            return node, None
        ends = spelt or (following,)
        self._done.update(map(id, ends))
        return ends[-1], function

    def _spelt(self, node: Any) -> tuple[Any, ...]:
        """The three nodes from this one on that spell a hard sigmoid, as MobileNetV3 has it; none where they do not."""
        relu = self._only_reader(node) if _with_number("Add", 3, node) else None
        if relu is None or _function(relu.operation) is not keras.activations.relu6:
            return ()
        last = self._only_reader(relu)
        return (node, relu, last) if last is not None and _with_number("Multiply", 1 / 6, last) else ()

    def _only_reader(self, node: Any) -> Any:
        """What alone takes what a node gives; None where others do, too, or it is wanted for itself."""
        (tensor,) = node.outputs
        readers = self._readers.get(id(tensor), [])
        return readers[0] if len(readers) == 1 and id(tensor) not in self._kept else None

    def _round(self, last: Any, given: Any, name: str) -> None:
        """End with a range of its own; parts of a concatenation, and nothing else, lie on that of the whole."""
        following = self._only_reader(last)
        whole = following is not None and isinstance(following.operation, keras.layers.Concatenate)
        self._end(last, self._rounded(given, f"{following.operation.name if whole else name}{RANGE}"))

    def _rounded(self, given: Any, name: str, fixed: tuple[float, float] | None = None) -> Any:
        if name not in self._ranges:
            self._ranges[name] = self._own(self._at, Rounding(fixed=fixed, name=name))
        return self._onto(given, self._ranges[name])

    def _on_its_range(self, tensor: Any) -> Any:
        if id(tensor) not in self._pixels:
            return tensor
        if PIXELS not in self._ranges:
            self._ranges[PIXELS] = self._own(self._at, _of_pixels(keras.Model(self.source, tensor)))
        return self._onto(tensor, self._ranges[PIXELS])

    def _onto(self, tensor: Any, rounding: Rounding) -> Any:
        given = rounding(tensor)
        self._range_of[id(given)] = rounding
        return given

    def _own(self, node: Any, made: Any) -> Any:
        self._made.setdefault(id(node.operation), []).append(made)
        return made

    def _end(self, node: Any, given: Any) -> None:
        (tensor,) = node.outputs
        self.tensors[id(tensor)] = given


def _function(operation: Any) -> Any:
    """The function that an operation is, where it is an activation; None where it is something else."""
    if isinstance(operation, keras.layers.ReLU):
        plain = not operation.negative_slope and not operation.threshold
        named = {None: keras.activations.relu, 6.0: keras.activations.relu6}
        return named.get(operation.max_value) if plain else None
    if isinstance(operation, keras.layers.Softmax):
        return keras.activations.softmax
    return operation.activation if isinstance(operation, keras.layers.Activation) else None


def _with_number(kind: str, number: float, node: Any) -> bool:
    """Whether a node adds this number to a tensor, or multiplies a tensor by it."""
    numbers = [each for each in node.arguments.args if isinstance(each, int | float)]
    return type(node.operation).__name__ == kind and len(numbers) == 1 and math.isclose(numbers[0], number)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda operation: isinstance(operation, kinds)


ROWS: tuple[tuple[Callable[[Any], bool], Callable[..., None]], ...] = (
    (_is(keras.Model), Lowering._nested),
    (_is(keras.layers.SeparableConv2D), Lowering._separable),
    (_is(*KERNELS), Lowering._kernel),
    (scales_channels, Lowering._scaled),
    (lambda operation: type(operation).__name__ == "CustomScaleLayer", Lowering._scaled_sum),
    (lambda operation: _function(operation) is keras.activations.linear, Lowering._passed_on),
    (_is(*PASSED_ON), Lowering._passed_on),
    (_is(keras.layers.AveragePooling2D), Lowering._averaged),
    (_function, Lowering._activation),
)
"""Whether an operation is of a kind, and how the twin computes it; the first row that applies."""


def _nodes(model: Any) -> list[Any]:
    """The uses of operations in a model's graph, each after those that it takes from."""
    function = getattr(model, "_functional", None) or model  # a Sequential keeps its graph inside
    by_depth = function._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def _scales_pixels(operation: Any) -> bool:
    """Whether an operation only scales pixels, or puts their channels in another order."""
    return isinstance(operation, OF_PIXELS) or not isinstance(operation, keras.layers.Layer)


def _of_pixels(scaling: keras.Model) -> Rounding:
    """The range of scaled pixels: where all channels are scaled alike, a step of it is a pixel value.

    But zero has to be a step; where it is none, all values lie in the middle between two steps, and a file takes each
    for the step of its own number (`export.pixels`).
    """
    shape = (1, *scaling.input_shape[1:])
    dark, light = (np.asarray(scaling(np.full(shape, value, np.uint8))) for value in (0, 255))
    low, high = float(min(dark.min(), light.min())), float(max(dark.max(), light.max()))
    step = (high - low) / STEPS
    alike = max(np.ptp(dark), np.ptp(light)) < step / 100
    zero = math.ceil(-low / step - 1e-3)
    return Rounding(fixed=(-zero * step, (STEPS - zero) * step), lean=step / 4 if alike else 0.0, name=PIXELS)


def _one_or_all(inputs: Sequence[Any]) -> Any:
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _check(operation: Any) -> None:
    """Raise UsageError for a layer that has a kernel nobody here knows how to round."""
    if any(len(each.shape) > 1 for each in getattr(operation, "weights", ())):
        known = ", ".join(kind.__name__ for kind in (*KERNELS, keras.layers.SeparableConv2D))
        raise UsageError(
            f"Whole numbers are learnt in layers of {known}. Received: {type(operation).__name__} '{operation.name}'"
        )
