"""Finds the operations of a TFLite file that whole numbers hurt most, for the quantizer to leave in float.

Both files of one graph, in floats and in whole numbers, see the same pictures. What stands between operations is
compared by name: noise is the mean squared difference over the variance in floats. An operation is charged with what
it adds to the noise of what goes in, in whole numbers of its own or by ranges that do not fit it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_transfer.export import activations, tflite_tree

PICTURES = 16
"""Enough: the order of the worst is that of 200 pictures, and each picture is run twice, operator by operator."""
SHARE = 0.1
"""Of the operations that compute, left in float."""


def worst(exact: bytes, quantized: bytes, pictures: np.ndarray) -> set[str]:
    """Return the names of what the worst `SHARE` of the operations give, as the quantizer knows them.

    exact: the float32 file; quantized: what whole numbers made of it; pictures: uint8 (n, side, side, 3).
    """
    noise = _noise(exact, quantized, pictures[:PICTURES])
    added = _added(_graph(exact), noise)
    count = max(1, round(SHARE * len(added)))
    return set(sorted(added, key=lambda name: -added[name])[:count])


def _noise(exact: bytes, quantized: bytes, pictures: np.ndarray) -> dict[str, float]:
    """By name, the noise of every tensor that both files have, in one of them as floats."""
    ours, others = _graph(exact), _graph(quantized)
    places = {_name(others.tensors[index]): index for index in _given(others)}
    given = _given(ours)
    shared = {index: places[_name(ours.tensors[index])] for index in given if _name(ours.tensors[index]) in places}
    errors, means, squares = dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0)
    both = zip(activations.shown(exact, pictures), activations.shown(quantized, pictures), strict=True)
    for read, read_other in both:
        for index, other in shared.items():
            wanted = read(index).astype(np.float64)
            found = _as_floats(read_other(other), others.tensors[other])
            errors[index] += float(np.mean((found - wanted) ** 2))
            means[index] += float(np.mean(wanted))
            squares[index] += float(np.mean(wanted**2))
    count = len(pictures)
    return {
        _name(ours.tensors[index]): errors[index] / max(squares[index] - means[index] ** 2 / count, 1e-12)
        for index in shared
    }


def _added(graph: Any, noise: dict[str, float]) -> dict[str, float]:
    """By the name of what it gives, the noise that each operation adds to the worst of what it takes."""
    found = {}
    for operator in graph.operators:
        name = _name(graph.tensors[operator.outputs[0]])
        before = [noise.get(_name(graph.tensors[index]), 0.0) for index in operator.inputs if index >= 0]
        if name in noise:
            found[name] = noise[name] - max(before, default=0.0)
    return found


def _graph(model: bytes) -> Any:
    return tflite_tree.read(model).subgraphs[0]


def _given(graph: Any) -> list[int]:
    """The positions of the tensors that operators give; files hold others, which nothing computes any more."""
    return [int(index) for operator in graph.operators for index in operator.outputs]


def _name(tensor: Any) -> str:
    return tensor.name.decode()


def _as_floats(values: np.ndarray, tensor: Any) -> np.ndarray:
    if np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float64)
    steps = tensor.quantization
    return (values.astype(np.float64) - int(steps.zeroPoint[0])) * float(steps.scale[0])
