"""The runtimes of people who never heard of this package open its files and get the same answers.

`scripts/setup_clients` installs them; a test is skipped only where its client is not there.
"""

import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from export_model import CLASS_NAMES, SIDE, exported, pictures, reference
from PIL import Image

from keras_transfer.export import exporters

CLIENTS = Path(__file__).parent / "clients"
MODULES = CLIENTS / "node_modules"
SHOWN = 6
"""Pictures that each client is asked about."""
STEP = 1 / 256
"""Of an 8-bit answer."""
TFLITE = [name for name, row in exporters.EXPORTERS.items() if row.format == "tflite"]


def bound(name: str) -> float:
    return {"float32": 1e-4, "float16": 5e-3}.get(exporters.EXPORTERS[name].precision, 0.1)


def installed(found: bool, what: str) -> None:
    if not found and not os.environ.get("CI"):
        pytest.skip(f"{what} is not installed: scripts/setup_clients")
    assert found, f"{what} is not installed: scripts/setup_clients"


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
    openvino = pytest.importorskip("openvino")
    # Left to itself, OpenVINO computes in bfloat16 on processors that can.
    compiled = openvino.Core().compile_model(str(exported()[name]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = pictures()[:SHOWN].transpose(0, 3, 1, 2) if name.endswith("nchw") else pictures()[:SHOWN]
    assert np.allclose(compiled(given)["probabilities"], reference()[:SHOWN], atol=bound(name))


def test_opencv_reads_the_onnx_file():
    cv2 = pytest.importorskip("cv2")
    network = cv2.dnn.readNetFromONNX(str(exported()["onnx"]))
    for pixels, wanted in zip(pictures()[:SHOWN], reference(), strict=False):
        network.setInput(pixels[None])
        assert np.allclose(network.forward(), wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_onnxruntime_in_node_reads_the_onnx_files(name, tmp_path):
    installed((MODULES / "onnxruntime-node").is_dir() and bool(shutil.which("node")), "onnxruntime-node")
    pictures()[:SHOWN].tofile(tmp_path / "pictures.bin")
    command = ["node", "onnxruntime.cjs", str(exported()[name]), str(tmp_path / "pictures.bin"), str(SIDE)]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, check=True)
    answers = np.array(json.loads(done.stdout)).reshape(SHOWN, -1)
    assert np.allclose(answers, reference()[:SHOWN], atol=bound(name))


def test_onnxruntime_in_a_browser_reads_the_onnx_file(tmp_path):
    installed((MODULES / "onnxruntime-web").is_dir(), "onnxruntime-web")
    answers = in_a_browser("onnxruntime.html", exported()["onnx"], tmp_path)
    assert np.allclose(answers, reference()[:SHOWN], atol=1e-4)


@pytest.mark.parametrize("name", ["tflite", "tflite-float16"])
def test_litert_in_a_browser_reads_the_tflite_files(name, tmp_path):
    installed((MODULES / "@litertjs" / "core").is_dir(), "@litertjs/core")
    answers = in_a_browser("litert.html", exported()[name], tmp_path)
    assert np.allclose(answers, reference()[:SHOWN], atol=bound(name))


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


def in_a_browser(page: str, model: Path, folder: Path) -> np.ndarray:
    """Open a page of `clients/` in headless Chromium beside a model and pictures; return what it posts back."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    installed(bool(browser), "chromium")
    shutil.copy(model, folder / f"model{model.suffix}")
    pictures()[:SHOWN].tofile(folder / "pictures.bin")
    (folder / "given.json").write_text(json.dumps({"side": SIDE, "count": SHOWN}))
    shutil.copy(CLIENTS / page, folder / page)
    said: queue.Queue[str] = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {
            ".mjs": "text/javascript",
            ".js": "text/javascript",
            ".wasm": "application/wasm",
            ".html": "text/html",
            "": "application/octet-stream",
        }

        def translate_path(self, path):
            root, name = (MODULES, path.removeprefix("/modules/")) if path.startswith("/modules/") else (folder, path)
            return str(root / name.lstrip("/").partition("?")[0])

        def do_POST(self):
            said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        with subprocess.Popen([str(browser), *options, address], stderr=subprocess.DEVNULL) as process:
            try:
                answer = json.loads(said.get(timeout=90))
            finally:
                process.terminate()
                process.wait()
                server.shutdown()
    assert not isinstance(answer, str), answer
    return np.array(answer).reshape(SHOWN, -1)
