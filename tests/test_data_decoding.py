"""Pictures of every kind come out as the upright RGB that a person sees; broken ones never crash or hang."""

import contextlib
import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from keras_transfer.data import decoding, remote
from keras_transfer.data.decoding import SCALES, square_rgb, upright_rgb
from keras_transfer.data.graph_squaring import squared
from keras_transfer.data.reading import from_files
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError


def scene(width=64, height=48):
    """Red above, blue below, a green corner top left: every turn of it looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2], pixels[height // 2 :] = (220, 30, 30), (30, 30, 220)
    pixels[: height // 3, : width // 3] = (30, 200, 30)
    return Image.fromarray(pixels)


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    undone = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[value]
    note = Image.Exif()
    note[0x0112] = undone
    stored = scene()
    stored.info["exif"] = note.tobytes()
    turned = Image.open(io.BytesIO(encoded(stored, "PNG", exif=note)))
    return ImageOps.exif_transpose(turned).convert("RGB"), exif


def seen(content, size=24, aspect="stretch"):
    return square_rgb(content, size, aspect).astype(int)


EXPECTED = seen(encoded(scene(), "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_stands_upright_whatever_the_camera_noted(kind, orientation):
    stored, exif = with_orientation(orientation)
    options = {"quality": 95} if kind != "PNG" else {}
    assert np.abs(seen(encoded(stored, kind, exif=exif, **options)) - EXPECTED).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, 8])
def test_a_jpeg_has_the_pixels_that_pillow_gives_it_in_full_and_made_small(orientation, size):
    stored, exif = with_orientation(orientation)
    content = encoded(stored.resize((72, 96)), "JPEG", exif=exif)
    with Image.open(io.BytesIO(content)) as picture:
        picture.draft(None, (8, 10) if size else (72, 96))
        expected = np.asarray(ImageOps.exif_transpose(picture))
    found = upright_rgb(content, size=size)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


KINDS = {
    "grey JPEG": lambda: encoded(scene().convert("L"), "JPEG"),
    "grey PNG": lambda: encoded(scene().convert("L"), "PNG"),
    "16-bit grey PNG": lambda: encoded(
        Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 257), "PNG"
    ),
    "grey TIFF": lambda: encoded(scene().convert("L"), "TIFF"),
    "1-bit PNG": lambda: encoded(scene().convert("L").point(lambda v: 255 * (v > 70)).convert("1"), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_grey_pictures_come_as_grey_rgb(kind):
    pixels = seen(KINDS[kind]())
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 1] == pixels[..., 2]).all()
    if kind != "1-bit PNG":
        assert np.abs(pixels - seen(encoded(scene().convert("L").convert("RGB"), "PNG"))).mean() < 3


@pytest.mark.parametrize(
    ("picture", "kind", "options"),
    [
        (scene().convert("CMYK"), "JPEG", {"quality": 95}),
        (scene().convert("CMYK"), "TIFF", {}),
        (scene().convert("P"), "PNG", {}),
        (scene().quantize(8), "GIF", {}),
        (scene(), "WEBP", {"quality": 95}),
        (scene(), "WEBP", {"lossless": True}),
        (scene(), "BMP", {}),
        (scene(), "JPEG", {"quality": 95, "progressive": True}),
        (scene(), "AVIF", {"quality": 95}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_picture_of_any_kind_looks_as_it_does_to_a_person(picture, kind, options):
    assert np.abs(seen(encoded(picture, kind, **options)) - EXPECTED).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind):
    frames = [scene(), Image.new("RGB", scene().size), Image.new("RGB", scene().size, "white")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(seen(content) - EXPECTED).mean() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(mode):
    picture = Image.new("RGBA", (32, 32), (200, 200, 200, 0)).convert(mode)
    content = encoded(picture, "PNG", **({"transparency": picture.getpixel((0, 0))} if mode == "P" else {}))
    assert (seen(content) == 255).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    large = scene(1024, 768).resize((1024, 768))
    assert np.abs(seen(encoded(large, "JPEG", quality=95), 96) - seen(encoded(scene(), "PNG"), 96)).mean() < 6


def test_shrinking_never_goes_below_the_size_asked_for():
    content = encoded(scene(500, 375), "JPEG")
    assert upright_rgb(content, size=96).shape == (187, 250, 3) or upright_rgb(content, size=96).shape == (188, 250, 3)
    assert upright_rgb(content, size=224).shape == (375, 500, 3)
    assert min(upright_rgb(encoded(scene(500, 375), "PNG"), size=96).shape[:2]) >= 96


def test_crop_keeps_the_middle_and_letterbox_pads_with_black():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (squared(tf.constant(pixels), 10, "crop").numpy() == 255).all()
    boxed = squared(tf.constant(np.full((10, 30, 3), 255, np.uint8)), 30, "letterbox").numpy()
    assert (boxed[10:20] == 255).all()
    assert not boxed[:10].any()
    assert not boxed[20:].any()


def test_a_batch_is_squared_like_its_pictures():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    for aspect in ("stretch", "crop", "letterbox"):
        batch = squared(tf.constant(pictures), 24, aspect).numpy()
        single = np.stack([squared(tf.constant(each), 24, aspect).numpy() for each in pictures])
        assert (batch == single).all()


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    bomb += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match=r"more pixels than any photograph|60000 x 60000 pixels"):
        upright_rgb(bomb)
    jpeg = bytearray(encoded(scene(), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = (65_000).to_bytes(2, "big") * 2
    with pytest.raises(DataError, match=r"more pixels than any photograph|65000 x 65000 pixels"):
        seen(bytes(jpeg))


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF0000WEBP"])
def test_what_is_no_picture_says_so(content):
    with pytest.raises(DataError, match="is not a picture that can be read"):
        upright_rgb(content)


FUZZED = 512
SEEDS = [
    encoded(scene(), "JPEG"),
    encoded(scene(), "JPEG", progressive=True),
    encoded(scene().convert("CMYK"), "JPEG"),
    encoded(with_orientation(6)[0], "JPEG", exif=with_orientation(6)[1]),
    encoded(scene(), "PNG"),
    encoded(scene().convert("P"), "GIF"),
    encoded(scene(), "WEBP"),
    encoded(scene(), "TIFF", compression="tiff_lzw"),
]


def mutated(rng):
    content = bytearray(SEEDS[rng.integers(len(SEEDS))])
    for _ in range(rng.integers(1, 12)):
        content[rng.integers(min(len(content), rng.choice([32, 400, 10_000])))] = rng.integers(256)
    if rng.random() < 0.3:
        content = content[: rng.integers(1, len(content))]
    return bytes(content)


def test_five_hundred_damaged_pictures_neither_crash_nor_hang_nor_shift_a_row(tmp_path):
    rng = np.random.default_rng(0)
    paths = np.array([str(tmp_path / f"{number}.jpg") for number in range(FUZZED)])
    for path in paths:
        with open(path, "wb") as file:
            file.write(mutated(rng))
    rows, images, problems = zip(*from_files(paths, np.arange(FUZZED), 32, "stretch", 64), strict=True)
    readable = np.concatenate(problems) == b""
    assert (np.concatenate(rows) == np.arange(FUZZED)).all()
    assert not np.concatenate(images)[~readable].any()
    assert 0 < readable.sum() < FUZZED


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]))
def test_any_bytes_are_a_picture_or_a_data_error(content, start):
    with contextlib.suppress(DataError):
        assert upright_rgb(start + content).dtype == np.uint8


PHOTO = np.random.default_rng(0).integers(0, 256, (38, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [24, 96, 100, 224])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_another_machine_and_pillow_decode_a_jpeg_to_the_very_same_pixels(mode, size, aspect):
    photo = Image.fromarray(PHOTO).convert(mode)
    for width, height in ((500, 375), (375, 500), (901, 230), (60, 41)):
        content = encoded(photo.resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=90)
        found = square_rgb(content, size, aspect)
        assert (remote._decoder(size, aspect)(tf.constant(content)).numpy() == found).all()
        assert (square(upright_rgb(content, size=size, aspect=aspect), size, aspect) == found).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300), st.sampled_from(["stretch", "crop", "letterbox"]))
def test_a_graph_makes_the_very_same_square(height, width, size, aspect):
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    assert (squared(tf.constant(pixels), size, aspect).numpy() == square(pixels, size, aspect)).all()


@pytest.mark.parametrize("kind", ["PNG", "CMYK", "turned"])
def test_another_machine_leaves_to_this_one_what_it_would_see_otherwise(kind):
    stored, exif = with_orientation(6)
    content = {
        "PNG": lambda: encoded(scene(), "PNG"),
        "CMYK": lambda: encoded(scene().convert("CMYK"), "JPEG"),
        "turned": lambda: encoded(stored, "JPEG", exif=exif),
    }[kind]()
    with pytest.raises(tf.errors.InvalidArgumentError):
        remote._decoder(24, "stretch")(tf.constant(content))


def test_a_picture_far_larger_than_needed_is_decoded_at_a_fraction():
    photo = Image.fromarray(PHOTO).resize((1600, 1216), Image.Resampling.BICUBIC)
    content = encoded(photo, "JPEG", quality=95)
    for scale in SCALES:
        whole = np.asarray(photo.reduce(scale))
        size = min(whole.shape[:2])
        assert np.abs(seen(content, size) - square(whole, size, "stretch").astype(int)).mean() < 2


READING_ONE = """
import sys
from keras_transfer.data.pictures import read_pictures
print(read_pictures([sys.argv[1]], image_size=20, aspect="stretch").shape, "tensorflow" in sys.modules)
"""


def test_reading_one_picture_needs_no_tensorflow(tmp_path):
    Image.fromarray(PHOTO).resize((700, 500)).save(tmp_path / "far_larger.png")
    command = [sys.executable, "-c", READING_ONE, str(tmp_path / "far_larger.png")]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.stdout.strip() == "(1, 20, 20, 3) False", shown.stderr[-2000:]


HEIC = b"\0\0\0\x18ftypheic" + bytes(40)


def test_heic_names_the_extra_that_reads_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding._open_heic.cache_clear()
    with pytest.raises(DataError, match=r"is HEIC, which needs pillow-heif: pip install 'keras-transfer\[heic\]'"):
        square_rgb(HEIC, 20, "stretch")


def test_what_begins_as_no_picture_does_says_so_as_a_person_would():
    with pytest.raises(DataError, match=r"^is not a picture that can be read \(it begins as no known kind of picture"):
        square_rgb(b"not a picture", 20, "stretch")


SUNSET = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 3, np.arange(96) * 2, np.uint8(60)), -1).astype(np.uint8)


@pytest.fixture
def telephone(tmp_path):
    """A picture as a telephone writes it."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.fromarray(SUNSET).save(tmp_path / "IMG_0001.HEIC", quality=90)
    return tmp_path / "IMG_0001.HEIC"


def test_a_heic_file_is_read_as_the_picture_it_is(telephone):
    content = telephone.read_bytes()
    assert content[4:12] in decoding.HEIC_STARTS
    found = decoding.upright_rgb(content)
    assert found.shape == (64, 96, 3)
    assert np.abs(found.astype(int) - SUNSET).mean() < 3


def test_a_heic_file_stands_in_a_folder_of_pictures_like_any_other(telephone, tmp_path):
    from keras_transfer.data import pipeline
    from keras_transfer.data.sources import load

    for name in ("ant", "bee"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.roll(PHOTO, 7 * number + (name == "bee"), axis=0)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "pets" / "ant" / "IMG_0001.HEIC").write_bytes(telephone.read_bytes())
    splits = load(str(tmp_path / "pets"))
    assert splits.skipped == ()
    assert sum(splits.counts.values()) == 9
    (name,) = (name for name in ("train", "validation", "test") if any("HEIC" in key for key in splits[name].keys))
    row = next(number for number, key in enumerate(splits[name].keys) if "HEIC" in key)
    batches = pipeline.make_feed(splits)(name, image_size=32, batch_size=9)
    images = np.concatenate([np.asarray(each) for each, *_ in batches])
    assert np.abs(images[row].astype(int) - square(SUNSET, 32, "stretch")).mean() < 4


def test_a_heic_file_that_was_cut_short_is_one_sentence(telephone):
    with pytest.raises(DataError, match=r"^is not a picture that can be read"):
        square_rgb(telephone.read_bytes()[:300], 20, "stretch")
