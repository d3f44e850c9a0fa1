"""What bundles carry in two languages says the same in both: how pictures become square, how answers are read."""

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import stock_clients
from PIL import Image

from keras_transfer.bundles import filling
from keras_transfer.bundles.templates.python.package import answers, pictures

SHAPES = [(1, 1), (7, 90), (64, 64), (65, 33), (96, 400), (131, 257), (300, 200), (512, 40)]
ASPECTS = ("stretch", "crop", "letterbox")
SIZES = (16, 33)
SCRIPT = """
import { readFileSync } from "node:fs";
import { square } from "./squaring.js";
import { difference, read } from "./answers.js";
const { squares, said } = JSON.parse(readFileSync(0, "utf8"));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const tensors = (given) => Object.fromEntries(
  Object.entries(given).map(([name, text]) => [name, new Float32Array(bytes(text).buffer)]),
);
console.log(JSON.stringify({
  squares: squares.map(({ data, width, height, size, aspect }) =>
    Buffer.from(square({ data: bytes(data), width, height }, size, aspect)).toString("base64")),
  said: said.map(({ outputs, golden, about }) =>
    [read(tensors(outputs), about), difference(tensors(outputs), golden, about)]),
}));
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Give cases to the JavaScript twin; what it says comes back."""
    stock_clients.installed(bool(shutil.which("node")), "node")
    folder = tmp_path_factory.mktemp("twin")
    filling.fill("javascript", folder, {})
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "ask.js").write_text(SCRIPT)

    def given(squares=(), said=()):
        text = json.dumps({"squares": squares, "said": said})
        done = subprocess.run(["node", "ask.js"], cwd=folder, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return given


def encoded(values):
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def test_pictures_become_square_alike_to_the_last_bit(ask):
    random, given, wanted = np.random.default_rng(0), [], []
    for height, width in SHAPES:
        pixels = random.integers(0, 256, (height, width, 4)).astype(np.uint8)
        pixels[..., 3] = 255
        png = io.BytesIO()
        Image.fromarray(pixels[..., :3]).save(png, "PNG")
        for aspect in ASPECTS:
            for size in SIZES:
                case = {"data": encoded(pixels), "width": width, "height": height, "size": size, "aspect": aspect}
                given.append(case)
                wanted.append(pictures.read(png.getvalue(), size, aspect))
    for case, text, square in zip(given, ask(given)["squares"], wanted, strict=True):
        found = np.frombuffer(base64.b64decode(text), np.uint8).reshape(square.shape)
        far = np.abs(found.astype(int) - square.astype(int)).max()
        assert far == 0, {name: case[name] for name in ("width", "height", "size", "aspect")}


ABOUT = {"class_names": ["cat", "dog", "fox"], "thresholds": [0.5, 0.25, 0.75], "tolerance": 0.001}
FOUND = {
    "location": np.float32([[0, 0, 0.5, 0.5], [0.1, 0.2, 0.9, 0.75], [0, 0, 1, 1]]),
    "category": np.float32([1, 0, 2]),
    "score": np.float32([0.875, 0.625, 0.125]),
    "number of detections": np.float32([2]),
}
SAID = {
    "classification": ({"probabilities": np.float32([0.25, 0.625, 0.125])}, {"probabilities": [0.25, 0.5, 0.25]}),
    "multilabel": ({"probabilities": np.float32([0.75, 0.25, 0.5])}, {"probabilities": [0.75, 0.25, 0.5]}),
    "segmentation": (
        {"probabilities": np.eye(3, dtype=np.float32)[[[0, 0], [2, 1]]]},
        {"classes": [[0, 1], [1, 1], [2, 1], [1, 1]]},
    ),
    "detection": (
        FOUND,
        {"boxes": [{"category": 1, "score": 0.75, "box": [0, 0, 0.5, 0.5]}]},
    ),
    "embedding": ({"embedding": np.float32([0.6, 0.8])}, {"embedding": [0.6, 0.7]}),
}


@pytest.mark.parametrize("task", SAID)
def test_answers_are_read_and_compared_alike(ask, task):
    outputs, golden = SAID[task]
    about = {**ABOUT, "task": task}
    case = {"outputs": {name: encoded(each) for name, each in outputs.items()}, "golden": golden, "about": about}
    ((read, far),) = ask(said=[case])["said"]
    given = {**outputs, **({"number of detections": np.float32(2)} if task == "detection" else {})}  # without a side
    wanted = answers.read(given, about)
    assert read == wanted
    assert [list(each) for each in read.values() if isinstance(each, dict)] == [
        list(each) for each in wanted.values() if isinstance(each, dict)
    ]
    assert far == pytest.approx(answers.difference(given, golden, about), abs=1e-6)
