"""What bundles carry says what this package says, in two languages: how pictures and videos are read, and answers."""

import base64
import io
import json
import shutil
import subprocess

import clips_model
import numpy as np
import pytest
import stock_clients
from PIL import Image

from keras_transfer.bundles import filling
from keras_transfer.bundles.templates.python.package import answers, clips, pictures
from keras_transfer.data import clips as ours

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


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A short one, one that is sought, one of few frames, a gif, and one that is cut off."""
    folder = tmp_path_factory.mktemp("videos")
    made = [clips_model.video(folder / f"{frames}.mp4", frames) for frames in (12, 400, 2)]
    made.append(clips_model.video(folder / "moving.avi", 30, codec="MJPG"))
    frames = [Image.fromarray(np.full((40, 60, 3), 9 * number, np.uint8)) for number in range(20)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "cut.avi").write_bytes(made[-1].read_bytes()[: made[-1].stat().st_size * 9 // 10])
    return [*made, folder / "moving.gif", folder / "cut.avi"]


@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("aspect", ["stretch", "letterbox"])
def test_videos_are_read_as_in_training_to_the_last_bit(videos, count, aspect):
    for video in videos:
        found, wanted = clips.read(video, count, 32, aspect), ours.frames_of(str(video), count, 32, aspect)
        assert np.array_equal(found, wanted), video.name


def test_what_is_no_clip_is_refused_in_a_sentence(videos, tmp_path):
    one = clips_model.video(tmp_path / "one.mp4", 1)
    half = tmp_path / "half.avi"
    half.write_bytes(videos[3].read_bytes()[: videos[3].stat().st_size // 2])
    slow = clips_model.video(tmp_path / "slow.avi", 30, per_second=0.04, codec="MJPG")
    for video, told in (
        (one, "shows one frame, and movement needs two at least"),
        (half, r"breaks off after \d frames of 27"),
        (slow, "lasts 750 seconds, and a clip at most 600: cut it into parts"),
        (tmp_path / "gone.mp4", "is no file that is there"),
        ("http://127.0.0.1:9/video.mp4", "is no file that is there"),
    ):
        with pytest.raises(pictures.PictureError, match=told):
            clips.read(video, 4, 32, "stretch")
    with pytest.raises(pictures.PictureError, match="declares 64 x 64 pixels, more than 4,000"):
        clips.read(videos[0], 4, 32, "stretch", max_pixels=4000)
