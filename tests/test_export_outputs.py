"""Files of several outputs, of outputs that are no classes, and of contracts from before outputs had names."""

import functools
import tempfile
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from export_model import CLASS_NAMES, SIDE, pictures

from keras_transfer.errors import ArtifactError, ExportError
from keras_transfer.export import exporters, metadata, outputs, runtime
from keras_transfer.export.metadata import Card
from keras_transfer.specs import Contract, Output

OLD = Path(__file__).parent / "reference" / "contract_1"
BOXES = 5
DETECTIONS = (
    Output(name="location", shape=(BOXES, 4), kind="boxes"),
    Output(name="category", shape=(BOXES,), labels="values"),
    Output(name="score", shape=(BOXES,)),
    Output(name="number of detections", shape=()),
)
FORMATS = ("saved_model", "tflite", "tflite-float16", "tflite-int8", "onnx", "onnx-int8", "onnx-nchw")
every_format = pytest.mark.parametrize("name", FORMATS)


def contract(*given: Output) -> Contract:
    return Contract(class_names=CLASS_NAMES, image_size=SIDE, outputs=given, task="detection")


def trunk():
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for _ in range(2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return image, keras.layers.GlobalAveragePooling2D()(x)


@functools.cache
def detector() -> keras.Model:
    """Boxes that lie about anywhere, in the four tensors of a detector."""
    keras.utils.set_random_seed(0)
    image, x = trunk()
    corners = keras.layers.Reshape((BOXES, 4))(keras.layers.Dense(BOXES * 4, activation="sigmoid")(x)) / 2
    corners = corners + np.array([0, 0, 0.5, 0.5], np.float32)  # top and left before bottom and right
    score = keras.layers.Dense(BOXES, activation="sigmoid")(x)
    category = keras.ops.round(score * 2)
    number = keras.ops.sum(keras.ops.ones_like(score), axis=-1)
    given = {"location": corners, "category": category, "score": score, "number of detections": number}
    return keras.Model(image, given)


@functools.cache
def detections() -> dict[str, np.ndarray]:
    return {name: np.asarray(each) for name, each in detector()(pictures()).items()}


@functools.cache
def exported() -> dict[str, Path]:
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    artifacts = exporters.export(detector(), folder, FORMATS, contract(*DETECTIONS), calibration=pictures())
    return {name: artifact.path for name, artifact in zip(FORMATS, artifacts, strict=True)}


@every_format
def test_a_file_gives_every_output_by_the_name_that_its_contract_has_for_it(name):
    answers = runtime.load(exported()[name]).predict(pictures())
    assert list(answers) == [output.name for output in DETECTIONS]
    for output in DETECTIONS:
        assert (answers[output.name].dtype, answers[output.name].shape) == (np.float32, (60, *output.shape))
        bound = 0.05 if name.endswith("int8") else 5e-3
        if output.name != "category":  # rounding turns the smallest difference into a whole one
            assert np.allclose(answers[output.name], detections()[output.name], atol=bound)


@every_format
def test_the_manifest_knows_a_file_of_several_outputs_as_its_runtime_does(name):
    path = exported()[name]
    listed = exporters.manifest.read(path.parent).artifacts
    assert runtime.load(path).artifact in [each.model_copy(update={"path": path}) for each in listed]


def test_outputs_of_no_pictures_have_their_shapes_too():
    answers = runtime.load(exported()["onnx"]).predict(pictures()[:0])
    assert [each.shape for each in answers.values()] == [(0, BOXES, 4), (0, BOXES), (0, BOXES), (0,)]


def test_a_keras_file_gives_its_outputs_in_order_by_the_names_of_the_contract(tmp_path):
    image, x = trunk()
    near, far = (keras.layers.Dense(3)(x) for _ in range(2))
    two = keras.Model(image, [near, far])
    two.save(tmp_path / "model.keras")
    names = (Output(name="near", shape=(3,)), Output(name="far", shape=(3,)))
    answers = runtime.load(tmp_path / "model.keras", contract=contract(*names)).predict(pictures())
    assert list(answers) == ["near", "far"]
    assert np.allclose(answers["far"], np.asarray(two(pictures())[1]), atol=1e-5)


def test_a_keras_file_with_named_outputs_gives_them_by_name(tmp_path):
    detector().save(tmp_path / "model.keras")
    answers = runtime.load(tmp_path / "model.keras", contract=contract(*reversed(DETECTIONS))).predict(pictures())
    assert list(answers) == [output.name for output in reversed(DETECTIONS)]
    assert np.allclose(answers["location"], detections()["location"], atol=1e-5)


def test_a_model_of_fewer_outputs_than_the_contract_names_is_refused(tmp_path):
    more = contract(*DETECTIONS, Output(name="mask", shape=(1,)))
    with pytest.raises(ExportError, match=r"names 5 outputs \(location, .*, mask\), the model has 4"):
        exporters.export(detector(), tmp_path, ["onnx"], more)


def test_a_file_of_other_outputs_than_its_contract_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    detector().save(path)
    with pytest.raises(ArtifactError, match=r"breaks its contract\. The contract names 3 outputs .* the model has 4"):
        runtime.load(path, contract=contract(*DETECTIONS[:3]))


def test_names_that_are_not_all_known_are_taken_by_position():
    assert outputs.keys(["a", "b"], DETECTIONS[:2]) == ("a", "b")
    assert outputs.keys(["category", "location"], DETECTIONS[:2]) == ("location", "category")


@pytest.mark.parametrize("name", ["tflite", "tflite-int8"])
def test_metadata_stands_in_the_order_of_the_files_own_outputs(name):
    content = exported()[name].read_bytes()
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    by_tensor = {each.tensorIndex: each.name.decode() for each in tree.signatureDefs[0].outputs}
    order = [by_tensor[each["index"]] for each in Interpreter(model_content=content).get_output_details()]
    ordered = [output.name for output in metadata._in_file_order(tree, DETECTIONS)]
    assert ordered == order
    described = next(bytes(tree.buffers[each.buffer].data) for each in tree.metadata if each.name == b"TFLITE_METADATA")
    assert flatbuffers.util.BufferHasIdentifier(described, 0, b"M001")
    at = [described.index(len(each).to_bytes(4, "little") + each.encode()) for each in order]
    assert at == sorted(at, reverse=True)  # a flatbuffer is written from its end


@pytest.mark.parametrize("name", ["tflite", "tflite-float16", "tflite-int8"])
def test_mediapipe_opens_a_detector_and_reads_its_boxes(name):
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    ours = runtime.load(exported()[name])
    with vision.ObjectDetector.create_from_model_path(str(exported()[name])) as opened:
        for pixels in pictures()[:4]:
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            wanted = {key: each[0] for key, each in ours.predict(pixels[None]).items()}
            found = opened.detect(image).detections
            assert {each.categories[0].category_name for each in found} <= set(CLASS_NAMES)
            assert found
            boxes = [(each.bounding_box.origin_x, each.bounding_box.origin_y) for each in found]
            corners = [(int(left * SIDE), int(top * SIDE)) for top, left, _, _ in wanted["location"]]
            assert set(boxes) <= set(corners)


@pytest.mark.parametrize("name", ["tflite", "tflite-int8"])
def test_mediapipe_opens_a_file_of_several_labels_a_picture(name, tmp_path):
    mediapipe = pytest.importorskip("mediapipe")
    image, x = trunk()
    model = keras.Model(image, keras.layers.Activation("sigmoid", name="probabilities")(keras.layers.Dense(3)(x)))
    labels = Contract(class_names=CLASS_NAMES, image_size=SIDE, task="multilabel", thresholds=(0.5, 0.4, 0.6))
    (artifact,) = exporters.export(model, tmp_path, [name], labels, calibration=pictures())
    ours = runtime.load(artifact.path)
    assert ours.artifact.contract == labels
    with mediapipe.tasks.vision.ImageClassifier.create_from_model_path(str(artifact.path)) as opened:
        for pixels in pictures()[:4]:
            shown = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            (found,) = opened.classify(shown).classifications
            scores = {category.category_name: category.score for category in found.categories}
            wanted = ours.predict(pixels[None])["probabilities"][0]
            assert np.allclose([scores[each] for each in CLASS_NAMES], wanted, atol=1e-5)


@pytest.mark.parametrize("file", ["model.tflite", "model.onnx"])
def test_a_file_of_contract_version_1_opens_and_gives_probabilities(file):
    opened = runtime.load(OLD / file)
    answers = opened.predict(np.full((2, 16, 16, 3), 200, np.uint8))
    assert np.allclose(answers["probabilities"], [[0.8067626, 0.1932373]] * 2, atol=1e-6)
    kept = opened.artifact.contract
    assert (kept.version, kept.class_names, kept.temperature) == (1, ("cat", "château"), 2.0)
    assert kept.outputs == (Output(name="probabilities", shape=(2,), labels="axis"),)


def test_what_mediapipe_is_told_of_a_classifier_is_as_it_was():
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray((OLD / "model.tflite").read_bytes()))
    before = next(bytes(tree.buffers[each.buffer].data) for each in tree.metadata if each.name == b"TFLITE_METADATA")
    card = Card(contract=Contract(class_names=("cat", "château"), image_size=16))
    assert metadata._model_metadata(card, card.contract.outputs) == before
