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
GATED: dict[Callable[[Any], Any], Callable[[Any], Any]] = {
    keras.activations.silu: keras.activations.sigmoid,
    keras.activations.hard_silu: keras.activations.hard_sigmoid,
}
"""Functions that are a product of what goes in and another function of it, each rounded.

LiteRT has `HARD_SWISH` for the second one, but in whole numbers XNNPACK does not take it: in MobileNetV3 it was half of
the time, and each cut the graph. A range in between keeps the converter from making one of the parts.
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
        """A kernel, with the layer behind it that scales its channels, and a ReLU behind that."""
        layer, last, factors, own = node.operation, node, None, node.operation.activation
        activation = own if own in IN_ONE_GO else None
        if own is keras.activations.linear:
            following = self._only_reader(node)
            if following is not None and scales_channels(following.operation):
                last, factors = following, following.operation
            last, activation = self._with_relu(last)
        step = self._range_of[id(given)].step
        made = self._own(node, Rounded(layer, kernel, step, factors=factors, activation=activation, name=name))
        if factors is not None:
            self._done.add(id(following))
            self._made.setdefault(id(factors), []).append(made)
        if own is keras.activations.linear or own in IN_ONE_GO:
            self._round(last, made(given), name)
        else:
            self._activate(node, self._rounded(made(given), f"{name}{RANGE}"), own, f"{name}_activation")

    def _scaled(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        if len(inputs[0].shape) != 4:  # no map that could be convolved
            self._plain(node, inputs, name)
            return
        last, activation = self._with_relu(node)
        step = self._range_of[id(inputs[0])].step
        made = self._own(node, Scaled(node.operation, step, activation=activation, name=name))
        self._round(last, made(inputs[0]), name)

    def _scaled_sum(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        small = self._rounded(inputs[1] * node.operation.scale, f"{name}_scaled{RANGE}")
        last, activation = self._with_relu(node)
        given = inputs[0] + small
        self._round(last, activation(given) if activation else given, name)

    def _activation(self, node: Any, inputs: Sequence[Any], name: str) -> None:
        self._activate(node, inputs[0], _function(node.operation), name)

    def _activate(self, node: Any, given: Any, function: Any, name: str) -> None:
        """A function by itself; a swish is a sigmoid and a product, each rounded."""
        if function in GATED:
            gate = GATED[function]
            made = keras.layers.Activation(gate, name=f"{name}_{gate.__name__}")(given)
            self._round(node, given * self._rounded(made, f"{name}_part", gate), name)
        elif function in FIXED:
            given = keras.layers.Activation(function, name=name)(given)
            self._end(node, self._rounded(given, f"{name}_part", function))
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
        last, activation = self._with_relu(node)
        self._round(last, activation(given) if activation else given, name)

    def _with_relu(self, node: Any) -> tuple[Any, Any]:
        """What ends the go that a node begins, and the function that it is, where it is a ReLU; else the node, None."""
        following = self._only_reader(node)
        function = _function(following.operation) if following is not None else None
        if function not in IN_ONE_GO:
            return node, None
        self._done.add(id(following))
        return following, function

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

    def _rounded(self, given: Any, name: str, function: Any = None) -> Any:
        if name not in self._ranges:
            self._ranges[name] = self._own(self._at, Rounding(fixed=FIXED.get(function), name=name))
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
