"""Opens exported files in the runtimes of people who never heard of this package, and says what these answer.

`scripts/setup_clients` installs them; a test is skipped only where its client is not there. Each function takes a file
and pictures, uint8 (n, side, side, 3), and returns every output of the file, (n, …) or flat, by its name.
"""

import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLIENTS = Path(__file__).parent / "clients"
MODULES = CLIENTS / "node_modules"


def installed(found: bool, what: str) -> None:
    if not found and not os.environ.get("CI"):
        pytest.skip(f"{what} is not installed: scripts/setup_clients")
    assert found, f"{what} is not installed: scripts/setup_clients"


@contextmanager
def chrome(*options: str) -> Iterator[Any]:
    """Chromium without a window, driven by Selenium, with a log of what its pages say."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs Debian's chromium and chromium-driver")
    from selenium import webdriver

    given = webdriver.ChromeOptions()
    given.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *options):
        given.add_argument(argument)
    given.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(given, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def by_openvino(model: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    openvino = pytest.importorskip("openvino")
    # Left to itself, OpenVINO computes in bfloat16 on processors that can.
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {each.any_name: values for each, values in compiled(pictures).items()}


def by_opencv(model: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    cv2 = pytest.importorskip("cv2")
    network = cv2.dnn.readNetFromONNX(str(model))
    names = network.getUnconnectedOutLayersNames()
    network.setInput(pictures)
    return dict(zip(names, network.forward(names), strict=True))


def in_node(model: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """By ONNX Runtime."""
    installed((MODULES / "onnxruntime-node").is_dir() and bool(shutil.which("node")), "onnxruntime-node")
    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder) / "pictures.bin"
        pictures.tofile(pixels)
        command = ["node", "onnxruntime.cjs", str(model), str(pixels), str(pictures.shape[1])]
        done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, check=True)
    return {name: np.array(values) for name, values in json.loads(done.stdout).items()}


def streamed_in_node(pair: Path, frames: np.ndarray, every: float) -> np.ndarray:
    """What the package's loop in JavaScript says of a stream by ONNX Runtime, a row for each window."""
    installed((MODULES / "onnxruntime-node").is_dir() and bool(shutil.which("node")), "onnxruntime-node")
    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder) / "frames.bin"
        frames.tofile(pixels)
        command = ["node", "stream.mjs", str(pair), str(pixels), str(frames.shape[1]), str(every)]
        done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, check=True)
    return np.array(json.loads(done.stdout)["said"])


def in_a_browser(model: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """By ONNX Runtime or LiteRT, as the file is, on a page of `clients/` in headless Chromium."""
    module, page = BROWSER[model.suffix]
    installed((MODULES / module).is_dir(), module)
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    installed(bool(browser), "chromium")
    said: queue.Queue[str] = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder)
        shutil.copy(model, given / f"model{model.suffix}")
        pictures.tofile(given / "pictures.bin")
        (given / "given.json").write_text(json.dumps({"side": pictures.shape[1], "count": len(pictures)}))
        shutil.copy(CLIENTS / page, given / page)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(given, said)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}/{page}"
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={given / 'profile'}"]
            with subprocess.Popen([str(browser), *options, address], stderr=subprocess.DEVNULL) as process:
                try:
                    answer = json.loads(said.get(timeout=90))
                finally:
                    process.terminate()
                    process.wait()
                    server.shutdown()
    assert not isinstance(answer, str), answer
    return {name: np.array(values) for name, values in answer.items()}


BROWSER = {".onnx": ("onnxruntime-web", "onnxruntime.html"), ".tflite": ("@litertjs/core", "litert.html")}
"""Package and page that open a file, by its suffix."""


def _handler(folder: Path, said: queue.Queue[str]) -> type[http.server.SimpleHTTPRequestHandler]:
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

    return Handler


OPENED = (
    ("onnx", by_openvino),
    ("onnx", by_opencv),
    ("onnx", in_node),
    ("onnx", in_a_browser),
    ("tflite", in_a_browser),
)
"""Formats of float32 files and what opens them, beside MediaPipe Tasks."""


def shaped(said: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a client says, in the shapes of our own answers; fails where an output has another name."""
    assert set(said) == set(reference)
    return {name: np.reshape(said[name], values.shape).astype(np.float32) for name, values in reference.items()}
