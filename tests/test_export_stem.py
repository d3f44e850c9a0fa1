"""The first convolution of a file in whole numbers sees several pixels at once, and the file says the same."""

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from export_model import CONTRACT, model, pictures
from test_export_pixels import answers, kinds

from keras_transfer.export import graph, saved_model, stem, tflite
from keras_transfer.export.metadata import Card


def written(folder, precision="int8") -> bytes:
    traced = graph.trace(model(), CONTRACT.outputs)
    saved_model.write_frozen(traced, folder, batch=1)
    return tflite.convert(
        tflite.Frozen(folder, traced.affine), Card(contract=CONTRACT, precision=precision), pictures()
    )


@pytest.fixture
def narrow(tmp_path, monkeypatch):
    """The small model's file as it is without any of this."""
    with monkeypatch.context() as patch:
        patch.setattr(stem, "widened", lambda quantized: quantized)
        return written(tmp_path)


def test_the_answers_are_those_of_the_narrow_convolution_to_the_last_bit(narrow):
    wide = stem.widened(narrow)
    assert kinds(wide).count("RESHAPE") == kinds(narrow).count("RESHAPE") + 2
    assert np.array_equal(answers(wide), answers(narrow))


@pytest.mark.parametrize("most", [1, 2])
def test_fewer_results_at_once_say_the_same(narrow, monkeypatch, most):
    monkeypatch.setattr(stem, "MOST", most)
    assert np.array_equal(answers(stem.widened(narrow)), answers(narrow))


def test_its_kernel_gives_four_results_of_eight_pixels(narrow):
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(stem.widened(narrow))).subgraphs[0]
    shapes = [tuple(graph.tensors[index].shape) for index in graph.operators[2].inputs[:2]]
    assert shapes == [(1, 32, 4, 24), (32, 3, 2, 24)]


def test_what_is_computed_in_floats_stays_as_it_is(tmp_path):
    exact = tflite.Frozen(tmp_path)
    saved_model.write_frozen(graph.trace(model(), CONTRACT.outputs), tmp_path, batch=1)
    assert stem.widened(exact.float32) == exact.float32


def test_a_widened_file_stays_as_it_is(narrow):
    wide = stem.widened(narrow)
    assert stem.widened(wide) == wide
