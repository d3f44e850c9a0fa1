"""A file that is converted without its large weights is the file that is converted with them."""

import io

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from keras_transfer.errors import ExportError
from keras_transfer.export import graph, weightless
from keras_transfer.export import onnx as exporter
from keras_transfer.export.graph import node_of
from keras_transfer.export.metadata import Card
from keras_transfer.specs import Contract

SIDE = 16
CONTRACT = Contract(class_names=("a", "b", "c"), image_size=SIDE, backbone="Small")


@pytest.fixture(scope="module")
def network():
    """Convolutions with and without a bias, a depthwise one, each with a batch norm that has seen something."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for biased in (False, True):
        x = keras.layers.Conv2D(64, 3, padding="same", use_bias=biased, bias_initializer="normal")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.0)(x))
    x = keras.layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(momentum=0.0)(x))
    x = keras.layers.Dense(64, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    model(pictures(), training=True)
    return model


def pictures():
    return np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)


def converted(model, path):
    exporter.write(graph.trace(model, CONTRACT.outputs), path, Card(contract=CONTRACT))
    return onnx.load(path)


def answers(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": pictures()})[0]


def constants(model):
    return sorted(numpy_helper.to_array(each).tobytes() for each in model.graph.initializer)


@pytest.fixture(scope="module")
def apart(network, tmp_path_factory):
    return converted(network, tmp_path_factory.mktemp("apart") / "model.onnx")


@pytest.fixture(scope="module")
def together(network, tmp_path_factory):
    kept, graph.LARGE = graph.LARGE, 10**9
    try:
        return converted(network, tmp_path_factory.mktemp("together") / "model.onnx")
    finally:
        graph.LARGE = kept


def test_it_has_the_same_operators_and_the_same_weights_to_the_last_bit(apart, together):
    assert [node.op_type for node in apart.graph.node] == [node.op_type for node in together.graph.node]
    assert constants(apart) == constants(together)


def test_it_says_the_same_to_the_last_bit_and_what_keras_says(network, apart, together):
    assert (answers(apart) == answers(together)).all()
    np.testing.assert_allclose(answers(apart), network(pictures(), training=False), atol=1e-5)


def test_it_takes_nothing_but_the_picture(apart):
    assert [value.name for value in apart.graph.input] == ["image"]


def test_a_graph_holds_no_large_weight_and_shares_the_memory_of_the_models(network):
    traced = graph.trace(network, CONTRACT.outputs)
    assert len(traced.weights) == 4  # all kernels but that of the last layer
    assert traced.light.ByteSize() < 60_000
    assert not any(weight.flags.owndata for weight in traced.weights.values())


def test_no_factor_stays_behind_a_convolution(network):
    traced = graph.trace(network, CONTRACT.outputs)
    gives = [node_of(output) for output in traced.outputs]
    light, weights = weightless.folded(traced.light, traced.weights, traced.takes, gives)
    multiplied = [node for node in light.node if node.op == "Mul"]
    assert len(multiplied) == 1  # that of the rescaling
    changed = [name for name, weight in weights.items() if not np.array_equal(weight, traced.weights[name])]
    assert len(changed) == 3


def test_weights_of_layers_of_one_name_have_several_and_none_that_tensorflow_refuses():
    found = graph._unique(["a/kernel", "my layer/kernel", "a/kernel"])
    assert found == ["weights/a.kernel", "weights/my_layer.kernel", "weights/a.kernel_1"]


def test_what_is_written_piece_by_piece_is_what_protobuf_reads_and_no_weight_is_kept():
    given = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "halves": np.ones(200, np.float16)}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    body = onnx.helper.make_graph([], "of weights", inputs, [])
    model, file, weights = onnx.helper.make_model(body, producer_name="somebody"), io.BytesIO(), dict(given)
    weightless.written(model, weights, file)
    read = onnx.load_from_string(file.getvalue())
    assert (read.producer_name, read.graph.name, list(read.graph.input), weights) == ("somebody", "of weights", [], {})
    for each in read.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(each), given[each.name], strict=True)
    assert len(read.SerializeToString()) == len(file.getvalue())


def test_more_than_protobuf_reads_is_refused(monkeypatch):
    monkeypatch.setattr(weightless, "MOST_BYTES", 1000)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "of weights", [], []))
    with pytest.raises(ExportError, match=r"^ONNX: a file holds at most 2 GiB. This model takes 0.0 GiB.$"):
        weightless.written(model, {"kernel": np.zeros((300, 1), np.float32)}, io.BytesIO())


def test_constants_have_the_names_of_their_takers_whatever_a_set_made_of_them(apart):
    """The converter names them otherwise in each process, and a run is exported to the same bytes twice."""
    before = apart.SerializeToString()
    mine, other = onnx.load_from_string(before), onnx.load_from_string(before)
    names = {each.name: f"of another process {number}" for number, each in enumerate(other.graph.initializer)}
    names |= {made: made.replace("__", "__90") for node in other.graph.node for made in node.output if "__" in made}
    assert any("__90" in name for name in names.values())
    for node in other.graph.node:
        node.name = node.name.replace("__", "__90")
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for each in (*other.graph.initializer, *other.graph.value_info):
        each.name = names.get(each.name, each.name)
    turned = list(other.graph.initializer)[::-1]
    other.graph.ClearField("initializer")
    other.graph.initializer.extend(turned)
    exporter.in_order(other)
    exporter.in_order(mine)
    assert other.SerializeToString() == mine.SerializeToString()
    np.testing.assert_array_equal(answers(other), answers(onnx.load_from_string(before)))
