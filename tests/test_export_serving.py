"""`serve_bytes` on JPEG and PNG files as they come, asked by a process that has TensorFlow and nothing of ours."""

import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer.data import decoding, graph_decoding
from keras_transfer.export import exporters
from keras_transfer.specs import Contract

SIDE = 32
CODE = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf
model, folder = tf.saved_model.load(sys.argv[1]), pathlib.Path(sys.argv[2])
files = [path.read_bytes() for path in sorted(folder.glob("*.image"))]
encoded = model.signatures["serve_bytes"](image_bytes=tf.constant(files))["probabilities"]
pixels = model.signatures["serving_default"](image=tf.constant(np.load(folder / "seen.npy")))["probabilities"]
assert not any(name.startswith("keras_transfer") for name in sys.modules)
print(json.dumps([encoded.numpy().tolist(), pixels.numpy().tolist()]))
"""


def stored() -> Image.Image:
    """A photograph's like: wider than high, each corner of another colour."""
    corners = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [200, 200, 20]]], np.uint8)
    return Image.fromarray(corners).resize((96, 64), Image.Resampling.BILINEAR)


def noted(orientation: int, byte_order: str) -> bytes:
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010F] = "A camera"  # an entry before the one that matters, as cameras have
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A file that says what colour the upper left corner has."""
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 64.0)(image)
    x = keras.layers.Cropping2D(((0, 24), (0, 24)))(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(x))
    contract = Contract(class_names=("red", "green", "blue"), image_size=SIDE)
    folder = tmp_path_factory.mktemp("served")
    (artifact,) = exporters.export(model, folder, ["saved_model"], contract, decode=graph_decoding.square_rgb)
    return artifact.path


def ask(served, folder, files) -> tuple[np.ndarray, np.ndarray]:
    """What the file says of encoded pictures, and of the pixels that training would see of them."""
    seen = []
    for number, content in enumerate(files):
        (folder / f"{number:02}.image").write_bytes(content)
        seen.append(decoding.square_rgb(content, SIDE, "stretch"))
    np.save(folder / "seen.npy", np.stack(seen))
    command = [sys.executable, "-c", CODE, str(served), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-500:]
    encoded, pixels = json.loads(done.stdout)
    return np.array(encoded), np.array(pixels)


def jpeg(times=1, **options) -> bytes:
    target = io.BytesIO()
    stored().resize((96 * times, 64 * times), Image.Resampling.NEAREST).save(target, "JPEG", quality=95, **options)
    return target.getvalue()


def test_jpeg_files_are_turned_as_the_camera_noted(served, tmp_path):
    notes = [noted(orientation, order) for order in ("<", ">") for orientation in range(1, 9)]
    encoded, pixels = ask(served, tmp_path, [jpeg(exif=note) for note in notes])
    assert np.array_equal(encoded, pixels)
    assert len({int(answer.argmax()) for answer in pixels}) == 3  # the corners do tell the turns apart


def test_jpeg_files_without_a_note_or_with_a_wrong_one_stay_as_they_are_stored(served, tmp_path):
    files = [jpeg(), jpeg(exif=noted(0, "<")), jpeg(exif=noted(9, ">")), jpeg(progressive=True), jpeg(comment=b"Exif")]
    encoded, pixels = ask(served, tmp_path, files)
    assert np.array_equal(encoded, pixels)
    assert (encoded.argmax(axis=1) == 0).all()


def test_large_and_grey_jpeg_files_are_seen_as_training_sees_them(served, tmp_path):
    grey = io.BytesIO()
    stored().convert("L").save(grey, "JPEG", subsampling=0)
    files = [jpeg(times) for times in (2, 4, 9)] + [jpeg(5, subsampling=2, exif=noted(6, ">")), grey.getvalue()]
    encoded, pixels = ask(served, tmp_path, files)
    assert np.array_equal(encoded, pixels)


def png(picture: Image.Image, **options) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", **options)
    return target.getvalue()


def pngs() -> dict[str, bytes]:
    """One file of each kind that PNG has, by name."""
    random = np.random.default_rng(0)
    solid, clear = (Image.fromarray(random.integers(0, 256, (131, 150, count), np.uint8)) for count in (3, 4))
    grey, palette = solid.convert("L"), solid.quantize(64)
    deep = random.integers(0, 65536, (131, 150)).astype(np.uint16)
    return {
        "colour": png(solid),
        "colour with one that is clear": png(solid, transparency=solid.getpixel((0, 0))),
        "colour seen through": png(clear),
        "grey": png(grey),
        "grey with one that is clear": png(grey, transparency=100),
        "grey seen through": png(clear.convert("LA")),
        "black and white": png(grey.convert("1")),
        "palette": png(palette),
        "palette seen through": png(palette, transparency=bytes(range(0, 256, 4))),
        "16 bits": png(Image.fromarray(deep)),
        "16 bits of which 8 are used": png(Image.fromarray(deep % 256)),
    }


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("kind", pngs())
def test_png_files_are_decoded_as_training_decodes_them(kind, aspect):
    content = pngs()[kind]
    decoded = graph_decoding.square_rgb(tf.constant(content), SIDE, aspect)
    np.testing.assert_array_equal(decoded, decoding.square_rgb(content, SIDE, aspect))


@pytest.mark.parametrize("side", [20, 64, 67, 300])
def test_png_files_of_any_size_are_averaged_as_training_averages_them(side):
    content = png(Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side + 9, 3), np.uint8)))
    decoded = graph_decoding.square_rgb(tf.constant(content), SIDE, "crop")
    np.testing.assert_array_equal(decoded, decoding.square_rgb(content, SIDE, "crop"))


def test_png_files_are_seen_on_white_and_turned_as_noted_in_another_process_too(served, tmp_path):
    clear = stored().copy()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    files = [png(clear)] + [png(stored(), exif=noted(orientation, ">")) for orientation in range(1, 9)]
    encoded, pixels = ask(served, tmp_path, files)
    assert np.array_equal(encoded, pixels)
