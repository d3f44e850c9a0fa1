"""A detector's files: four outputs without copies, what whole numbers lose, and how MediaPipe opens them."""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import stock_clients
import tensorflow as tf

from keras_transfer.data import box_labels, graph_decoding
from keras_transfer.data.sources import load
from keras_transfer.evaluation import detection as evaluation
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract
from keras_transfer.tasks import detection
from keras_transfer.workflow.tasks import TASKS

SIDE, SHOWN = 96, 8
TASK = TASKS["detection"]
NAMES = load("sample:fashion-boxes", annotation="boxes").class_names
CONTRACT = Contract(class_names=NAMES, image_size=SIDE, task="detection", outputs=TASK.outputs(len(NAMES), SIDE))
TFLITE = ("tflite", "tflite-float16", "tflite-int8")


@functools.cache
def data(split, count):
    part = load("sample:fashion-boxes", annotation="boxes")[split]
    return part.pictures[:count], part.labels[:count]


@functools.cache
def network():
    """A small network of five strides with the head, taught where things are, if not well what they are."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x, taps = keras.layers.Rescaling(1 / 127.5, offset=-1)(image), []
    for number, filters in enumerate((8, 16, 24, 32, 48)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(momentum=0.8)(x))
        taps += [x] if number > 1 else []
    made = detection.attach(keras.Model(image, x), (), taps=taps, classes=len(NAMES))
    pictures, labels = data("train", 256)
    targets = box_labels.targets_of(labels)(labels, len(NAMES), SIDE, "stretch")
    method, model = keras.optimizers.Adam(3e-3), made.model

    @tf.function
    def step(images, wanted):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(detection.task_aligned(tuple(model(images, training=True)), wanted, 0.0))
        method.apply(tape.gradient(loss, [each.value for each in model.trainable_variables]), model.trainable_variables)

    method.build(model.trainable_variables)
    for number in range(6 * 16):
        rows = slice(16 * (number % 16), 16 * (number % 16) + 16)
        step(tf.constant(pictures[rows]), tf.constant(targets[rows]))
    return made


@functools.cache
def exported(name):
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    model, calibration = TASK.fold(network().model, CONTRACT), data("train", 40)[0]
    (artifact,) = exporters.export(
        model, folder, [name], CONTRACT, calibration=calibration, decode=graph_decoding.square_rgb
    )
    return artifact.path


@functools.cache
def reference(count=SHOWN):
    scores, distances = network().model.predict(data("test", count)[0], verbose=0)
    return TASK.apply({"scores": scores, "distances": distances}, CONTRACT)


def faint():
    """A contract by which all boxes count: what a small network is sure of is little."""
    return CONTRACT.model_copy(update={"thresholds": (0.05,) * len(NAMES)})


@pytest.mark.parametrize("name", ["tflite", "onnx", "saved_model"])
def test_a_float_file_gives_the_boxes_that_a_run_gives(name):
    answers = runtime.load(exported(name)).predict(data("test", SHOWN)[0])
    assert reference()["number of detections"].min() > 0
    same, difference = TASK.differ(reference(), answers, faint())
    assert same.all()
    assert difference.max() < 1e-4


@pytest.mark.parametrize(("name", "client"), stock_clients.OPENED)
def test_another_runtime_finds_our_boxes(name, client):
    ours = reference()
    said = stock_clients.shaped(client(exported(name), data("test", SHOWN)[0]), ours)
    same, difference = TASK.differ(ours, said, faint())
    assert same.all()
    assert difference.max() < 1e-4
    assert said["number of detections"].tolist() == ours["number of detections"].tolist()


def test_whole_numbers_lose_little_of_what_is_found():
    pictures, labels = data("test", 60)
    truth = box_labels.squared(labels, SIDE, "stretch")
    whole = evaluation.right(reference(60), truth).mean()
    lost = whole - evaluation.right(runtime.load(exported("tflite-int8")).predict(pictures), truth).mean()
    assert whole > 0.1
    assert lost < 0.015


def test_whole_numbers_end_before_boxes_are_chosen():
    from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(exported("tflite-int8")))
    graph = model.subgraphs[0]
    types = {BuiltinOperator.DIV: set(), BuiltinOperator.CONV_2D: set()}
    for operator in graph.operators:
        found = types.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if found is not None:
            found.add(graph.tensors[operator.outputs[0]].type)
    assert types == {BuiltinOperator.DIV: {TensorType.FLOAT32}, BuiltinOperator.CONV_2D: {TensorType.INT8}}


def test_a_trained_detector_can_be_saved_with_its_boxes_chosen_and_opened_again(tmp_path):
    TASK.fold(network().model, CONTRACT).save(tmp_path / "folded.keras")
    again = keras.models.load_model(tmp_path / "folded.keras", compile=False)
    said = again.predict(data("test", 2)[0], verbose=0)
    np.testing.assert_allclose(said["score"], reference()["score"][:2], atol=1e-5)


@pytest.mark.parametrize("name", TFLITE)
def test_mediapipe_opens_a_detector_without_options_and_gives_our_boxes(name):
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    base = mediapipe.tasks.BaseOptions(model_asset_path=str(exported(name)))
    pictures = data("test", SHOWN)[0]
    ours = runtime.load(exported(name)).predict(pictures)
    with vision.ObjectDetector.create_from_options(vision.ObjectDetectorOptions(base_options=base)) as detector:
        for row, pixels in enumerate(pictures):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
            found = detector.detect(image).detections
            wanted = {}  # MediaPipe makes one detection of all classes that have the very same box
            for place in range(int(ours["number of detections"][row])):
                said = (NAMES[int(ours["category"][row][place])], float(ours["score"][row][place]))
                wanted.setdefault(tuple(ours["location"][row][place].tolist()), []).append(said)
            assert len(found) == len(wanted)
            for each, (box, kinds) in zip(found, wanted.items(), strict=True):
                place = each.bounding_box
                corners = (place.origin_y, place.origin_x, place.origin_y + place.height, place.origin_x + place.width)
                assert corners == pytest.approx([side * SIDE for side in box], abs=2)
                assert sorted(kind.category_name for kind in each.categories) == sorted(name for name, _ in kinds)
                assert each.categories[0].score == pytest.approx(kinds[0][1], abs=1e-3)
