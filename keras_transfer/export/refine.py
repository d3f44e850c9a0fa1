"""Rounds the weights of a quantized TFLite file so that its layers answer as the float ones do.

Rounding each weight to the nearest step leaves errors that add up where weights nearly cancel: stems and depthwise
filters, exactly where a network multiplies small differences. Two known remedies, both from what goes in:

- kernels of few weights are rounded one weight after the other, each passing its error on to those still to come
  (GPTQ: Frantar et al. 2023, algorithm 1, https://arxiv.org/abs/2210.17323);
- the bias takes up what the rounding shifts on average (Nagel et al. 2019, section 4.2,
  https://arxiv.org/abs/1906.04721).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from keras_transfer.export import tflite_tree
from keras_transfer.export.activations import Read

LARGEST_KERNEL = 32
"""Weights per output channel up to which rounding is compensated: the stem (27) and depthwise ones (9, 25). On
EfficientNet-Lite0 these hold nine tenths of the rounding error; compensating all of it gained nothing more."""
PICTURES = 64
POSITIONS = 256
"""Places of a feature map that are looked at, per picture."""
DAMPING = 0.01
"""Share of the mean variance added to each input's, as in the paper."""


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer of one file, in the order in which it runs."""

    kind: str
    operator: Any
    weight: Any
    bias: Any | None


class Moments:
    """What goes into the layers of a float32 file, in the mean and as covariance, over the first `PICTURES` seen.

    largest: weights per output channel up to which there are covariances.
    """

    def __init__(self, exact: bytes, largest: int = LARGEST_KERNEL) -> None:
        self.largest = largest
        self.model = tflite_tree.read(exact)
        self.layers = _layers(self.model)
        self._random = np.random.default_rng(0)
        self._sums: list[list[Any]] = [[0.0, 0.0] for _ in self.layers]
        self._count = 0

    def see(self, read: Read) -> None:
        """Take in what the file gave for one picture."""
        if self._count == PICTURES:
            return
        self._count += 1
        for layer, total in zip(self.layers, self._sums, strict=True):
            seen = _patches(read(int(layer.operator.inputs[0])), layer, self._random)
            total[0] = total[0] + seen.mean(axis=1, dtype=np.float64)
            if seen.shape[2] <= self.largest:
                # Products of a few hundred float32 are right to a millionth, where damping adds a hundredth, and take
                # half of the time of float64; what is summed over pictures is float64.
                products = (seen.swapaxes(1, 2) @ seen).astype(np.float64)
                total[1] = total[1] + products / seen.shape[1]

    def found(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Mean (1 or channels, weights) and covariance (1 or channels, weights, weights) of what each layer sees."""
        for mean, second in self._sums:
            mean = mean / self._count
            covariance = None if np.isscalar(second) else second / self._count - mean[:, :, None] * mean[:, None, :]
            yield mean, covariance


def refine(quantized: bytes, moments: Moments, *, largest: int = LARGEST_KERNEL, damping: float = DAMPING) -> bytes:
    """Return the quantized TFLite file with weights and biases chosen anew; its shape, size and speed stay.

    moments: of the float32 file that the quantized one was made from. largest: weights per output channel up to which
    rounding is compensated, where moments know the covariance. damping: share of the mean variance, above 0.
    """
    given = tflite_tree.read(quantized)
    others = _layers(given)
    if [_shape(layer) for layer in moments.layers] != [_shape(layer) for layer in others]:
        return quantized  # the converter merged layers, or put branches in another order: nothing to compare with
    for layer, other, (mean, covariance) in zip(moments.layers, others, moments.found(), strict=True):
        if other.weight.type == _tensor_type("INT8"):
            small = mean.shape[1] <= largest
            damped = _damped(covariance, damping) if small and covariance is not None else None
            _choose(given, other, _weights(moments.model, layer), mean, damped)
    return tflite_tree.written(given)


def _shape(layer: Layer) -> tuple[str, tuple[int, ...]]:
    return layer.kind, tuple(layer.weight.shape)


def _choose(model: Any, layer: Layer, exact: np.ndarray, mean: np.ndarray, covariance: np.ndarray | None) -> None:
    """Set weights and bias of a layer; exact: (channels, weights); mean: (1 or channels, weights)."""
    stored = _weights(model, layer)
    steps = np.broadcast_to(np.asarray(layer.weight.quantization.scale, np.float64), len(exact))
    if covariance is not None:
        groups = len(covariance)  # a depthwise layer has one covariance per channel, the others one for all
        by_group = exact.reshape(groups, -1, exact.shape[1]), steps.reshape(groups, -1)
        stored = _rounded(*by_group, covariance).reshape(exact.shape)
    shift = ((exact - stored * steps[:, None]) * mean).sum(axis=1)
    tflite_tree.store(model, layer.weight, _unflat(stored, layer))
    if layer.bias is None:
        return
    bias = tflite_tree.data_of(model, layer.bias)
    if np.issubdtype(bias.dtype, np.floating):
        tflite_tree.store(model, layer.bias, bias + shift)
    else:
        scale = np.asarray(layer.bias.quantization.scale, np.float64)
        limits = np.iinfo(bias.dtype)
        tflite_tree.store(model, layer.bias, np.clip(bias + np.rint(shift / scale), limits.min, limits.max))


def _damped(covariance: np.ndarray, damping: float) -> np.ndarray:
    """A covariance (groups, n, n) that has an inverse."""
    size = covariance.shape[1]
    variance = np.trace(covariance, axis1=1, axis2=2) / size
    return covariance + np.eye(size) * (damping * variance + 1e-12)[:, None, None]


def _rounded(weights: np.ndarray, steps: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """GPTQ: weights (groups, rows, n), steps (groups, rows), covariance (groups, n, n); whole numbers come back."""
    size = weights.shape[2]
    upper = np.linalg.cholesky(np.linalg.inv(covariance)).swapaxes(1, 2)
    remaining, result = weights.copy(), np.empty_like(weights)
    for column in range(size):
        result[..., column] = np.clip(np.rint(remaining[..., column] / steps), -127, 127)
        error = (remaining[..., column] - result[..., column] * steps) / upper[:, column, column, None]
        remaining[..., column + 1 :] -= error[..., None] * upper[:, None, column, column + 1 :]
    return result


def _patches(features: np.ndarray, layer: Layer, random: np.random.Generator) -> np.ndarray:
    """What the kernel lies on at some places: (1 or, of a depthwise layer, channels, places, weights)."""
    if layer.kind == "FULLY_CONNECTED":
        rows = features.reshape(-1, features.shape[-1])
        return rows[random.permutation(len(rows))[:POSITIONS]][None]
    options, (height, width) = layer.operator.builtinOptions, layer.weight.shape[1:3]
    steps, apart = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    reach = [(side - 1) * dilation + 1 for side, dilation in zip((height, width), apart, strict=True)]
    if options.padding == _padding("SAME"):
        missing = [
            max((-(-side // step) - 1) * step + far - side, 0)
            for side, step, far in zip(features.shape[1:3], steps, reach, strict=True)
        ]
        around = [(each // 2, each - each // 2) for each in missing]
        features = np.pad(features, ((0, 0), *around, (0, 0)))
    which = int(random.integers(len(features))) if len(features) > 1 else 0  # one of the frames of a clip
    windows = sliding_window_view(features, reach, axis=(1, 2))[which, :: steps[0], :: steps[1]]
    windows = windows[..., :: apart[0], :: apart[1]]
    down, across, channels = windows.shape[:3]
    # A window is a view until it is picked: copying all of them first took most of the time.
    places = random.permutation(down * across)[:POSITIONS]
    seen = windows[places // across, places % across]
    if layer.kind == "CONV_2D":
        return seen.transpose(0, 2, 3, 1).reshape(1, len(places), height * width * channels)
    by_channel = seen.transpose(1, 0, 2, 3).reshape(channels, len(places), height * width)
    filters = layer.weight.shape[3] // channels  # of each channel, beside each other among the outputs
    return by_channel if filters == 1 else np.repeat(by_channel, filters, axis=0)


def _layers(model: Any) -> list[Layer]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {getattr(BuiltinOperator, name): name for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")}
    graph = model.subgraphs[0]  # the main one: others hold the branches of loops and conditions
    found = []
    for operator in graph.operators:
        kind = kinds.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if kind:
            indices = [*operator.inputs, -1]
            bias = graph.tensors[indices[2]] if indices[2] >= 0 else None
            found.append(Layer(kind, operator, graph.tensors[indices[1]], bias))
    return found


def _weights(model: Any, layer: Layer) -> np.ndarray:
    """The layer's weights as (channels, weights)."""
    values = tflite_tree.data_of(model, layer.weight).reshape(layer.weight.shape).astype(np.float64)
    if layer.kind == "DEPTHWISE_CONV_2D":
        return values[0].reshape(-1, values.shape[3]).T
    return values.reshape(len(values), -1)


def _unflat(values: np.ndarray, layer: Layer) -> np.ndarray:
    return (values.T if layer.kind == "DEPTHWISE_CONV_2D" else values).reshape(layer.weight.shape)


def _tensor_type(name: str) -> int:
    from ai_edge_litert.schema_py_generated import TensorType

    return getattr(TensorType, name)


def _padding(name: str) -> int:
    from ai_edge_litert.schema_py_generated import Padding

    return getattr(Padding, name)
