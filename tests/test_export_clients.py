"""The runtimes of people who never heard of this package open its files and get the same answers.

`stock_clients` asks them; the files of detectors and segmenters are opened in `test_export_detection` and
`test_export_segmentation`, beside the networks that these train.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import stock_clients
from export_model import CLASS_NAMES, FORMATS, exported, pictures, reference
from PIL import Image

from keras_transfer.export.formats import format_of

SHOWN = 6
"""Pictures that each client is asked about."""
STEP = 1 / 256
"""Of an 8-bit answer."""
TFLITE = [name for name in FORMATS if format_of(name).format == "tflite"]


def bound(name: str) -> float:
    return {"float32": 1e-4, "float16": 5e-3}.get(format_of(name).precision, 0.1)


@pytest.mark.parametrize("name", TFLITE)
def test_mediapipe_gives_our_labels_and_scores_without_options(name):
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    with vision.ImageClassifier.create_from_model_path(str(exported()[name])) as classifier:
        for pixels, wanted in zip(pictures()[:SHOWN], reference(), strict=False):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            (found,) = classifier.classify(image).classifications
            scores = {category.category_name: category.score for category in found.categories}
            assert set(scores) == set(CLASS_NAMES)
            assert max(scores, key=scores.__getitem__) == CLASS_NAMES[wanted.argmax()]
            assert np.allclose([scores[each] for each in CLASS_NAMES], wanted, atol=bound(name))


@pytest.mark.parametrize("name", ["onnx", "onnx-float16", "onnx-nchw"])
def test_openvino_reads_the_onnx_files(name):
    given = pictures()[:SHOWN].transpose(0, 3, 1, 2) if name.endswith("nchw") else pictures()[:SHOWN]
    said = stock_clients.by_openvino(exported()[name], given)
    assert np.allclose(said["probabilities"], reference()[:SHOWN], atol=bound(name))


def test_opencv_reads_the_onnx_file():
    said = stock_clients.by_opencv(exported()["onnx"], pictures()[:SHOWN])
    assert np.allclose(said["probabilities"], reference()[:SHOWN], atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_onnxruntime_in_node_reads_the_onnx_files(name):
    said = stock_clients.in_node(exported()[name], pictures()[:SHOWN])
    assert np.allclose(said["probabilities"].reshape(SHOWN, -1), reference()[:SHOWN], atol=bound(name))


@pytest.mark.parametrize("name", ["onnx", "tflite", "tflite-float16"])
def test_a_browser_reads_the_onnx_and_tflite_files(name):
    said = stock_clients.in_a_browser(exported()[name], pictures()[:SHOWN])
    assert np.allclose(said["probabilities"].reshape(SHOWN, -1), reference()[:SHOWN], atol=bound(name))


def test_a_process_without_keras_transfer_serves_pixels_and_png_bytes(tmp_path):
    for number, pixels in enumerate(pictures()[:SHOWN]):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    np.save(tmp_path / "pictures.npy", pictures()[:SHOWN])
    code = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf
model, folder = tf.saved_model.load(sys.argv[1]), pathlib.Path(sys.argv[2])
pixels = model.signatures["serving_default"](image=tf.constant(np.load(folder / "pictures.npy")))["probabilities"]
files = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
encoded = model.signatures["serve_bytes"](image_bytes=tf.constant(files))["probabilities"]
assert not any(name.startswith("keras_transfer") for name in sys.modules)
print(json.dumps([pixels.numpy().tolist(), encoded.numpy().tolist()]))
"""
    command = [sys.executable, "-c", code, str(exported()["saved_model"]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-500:]
    for answers in json.loads(done.stdout):
        assert np.allclose(answers, reference()[:SHOWN], atol=1e-5)
