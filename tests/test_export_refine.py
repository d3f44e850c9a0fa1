"""Weights of a file in whole numbers are chosen so that its layers answer as those in floats do."""

import functools
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from export_model import CONTRACT, model, pictures

from keras_transfer.export import graph, refine, saved_model, tflite


@functools.cache
def rounded():
    """The small model in floats, what goes into its layers, and its file of the nearest whole numbers."""
    with tempfile.TemporaryDirectory() as folder:
        traced = graph.trace(model(), CONTRACT.outputs)
        saved_model.write_frozen(traced, Path(folder), batch=1)
        exact = tflite.Frozen(Path(folder)).float32
    moments = refine.Moments(exact)
    return exact, moments, tflite.nearest(exact, pictures(), moments, whole=False)(set())


def kernels(content: bytes) -> list[np.ndarray]:
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    return [refine._weights(tree, layer) for layer in refine._layers(tree)]


def moved(content: bytes) -> list[int]:
    """Weights per output channel of each kernel that is no longer the nearest."""
    pairs = zip(kernels(content), kernels(rounded()[2]), strict=True)
    return sorted({now.shape[1] for now, then in pairs if (now != then).any()})


def test_rounding_is_compensated_up_to_so_many_weights_per_output_channel():
    _, moments, nearest = rounded()
    assert moved(refine.refine(nearest, moments)) == [9, 16, 27]
    assert moved(refine.refine(nearest, moments, largest=9)) == [9]
    assert moved(refine.refine(nearest, moments, largest=0)) == []


def test_what_is_damped_beyond_measure_is_rounded_to_the_nearest():
    _, moments, nearest = rounded()
    assert moved(refine.refine(nearest, moments, damping=1e6)) == []
