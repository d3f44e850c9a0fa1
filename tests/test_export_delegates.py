"""What delegates of phones take of a file, by the lists that their makers publish."""

import json

import onnx
import pytest
import tensorflow as tf
from export_model import exported
from onnx import TensorProto, helper

from keras_transfer import cli
from keras_transfer.errors import ArtifactError
from keras_transfer.export import delegate_lists, delegates
from keras_transfer.export.delegates import Step


def told(name):
    return {each.delegate: each for each in delegates.told(exported()[name])}


@pytest.fixture
def places(tmp_path):
    """A TFLite file that says where a picture is bright, which no accelerator does."""
    image = tf.TensorSpec((1, 4), tf.bool, name="image")
    function = tf.function(lambda image: tf.where(image), input_signature=[image]).get_concrete_function()
    path = tmp_path / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    return path


def test_every_delegate_of_a_format_is_told_with_its_source():
    assert list(told("tflite")) == list(told("onnx")) == ["gpu", "nnapi", "coreml"]
    for name in ("tflite", "onnx"):
        for each in told(name).values():
            assert each.source
            assert each.operators >= sum(each.left.values())


def test_of_floats_the_cast_of_pixels_stays_and_of_whole_numbers_core_ml_takes_nothing():
    assert told("tflite")["gpu"].left == told("tflite")["coreml"].left == {"CAST": 1}
    assert told("tflite-int8")["gpu"].left == {}
    whole = told("tflite-int8")["coreml"]
    assert sum(whole.left.values()) == whole.operators


def test_what_widens_halves_is_no_operator_of_its_own():
    assert told("tflite-float16")["gpu"].operators == told("tflite")["gpu"].operators
    assert told("onnx-float16")["gpu"].operators == told("onnx")["gpu"].operators


def test_a_later_version_and_other_numbers_are_left_to_the_cpu():
    leaves = delegates._beyond(delegate_lists.COREML)
    steps = [Step("CONV_2D"), Step("CONV_2D", version=2), Step("CONV_2D", reads="q"), Step("CAST")]
    assert leaves(steps) == steps[1:]


def test_a_file_of_which_no_delegate_takes_anything_is_one_sentence(places):
    found = delegates.told(places)
    assert [each.left for each in found] == [{"WHERE": 1}] * 3
    with pytest.raises(ArtifactError, match=r"No delegate takes any operator of '.*' \(WHERE\): on a phone all of it"):
        delegates.check(places, found)


def test_a_format_that_no_delegate_opens_is_told_of_by_none(capsys):
    path = exported()["saved_model"]
    assert delegates.told(path) == ()
    cli.app(["bench", "latency", str(path), "--delegates"], standalone_mode=False)
    assert "everything: no delegate opens this format" in capsys.readouterr().out


def test_operators_of_other_domains_are_told_by_their_whole_name(tmp_path):
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("NonZero", ["image"], ["at"]), helper.make_node("Odd", ["at"], ["odd"], domain="mine")]
    graph = helper.make_graph(nodes, "odd", [picture], [helper.make_empty_tensor_value_info("odd")])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    assert delegates.told(tmp_path / "model.onnx")[0].left == {"NonZero": 1, "mine:Odd": 1}


def test_the_command_line_tells_of_each_file(capsys):
    paths = [str(exported()[name]) for name in ("tflite-int8", "onnx")]
    cli.app(["bench", "latency", *paths, "--delegates", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert list(found) == paths
    assert {"delegate", "operators", "left", "source"} == set(found[paths[0]][0])
    cli.app(["bench", "latency", *paths, "--delegates"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "left to the CPU" in shown
    assert "coreml" in shown
