"""Pictures and videos that were changed by a seed, read as doctor, train and predict read them.

    scripts/campaign pictures [--count 1000] [--seed 0] [--only JPEG]

Each is read in a process of its own, of 6 GB of addresses and 10 s of computing, whose heap glibc checks. It holds
where nothing but a sentence comes, and where doctor, train and predict say the same of it: that it cannot be read, or
the same pixels. Of a video doctor looks at no frame: what it finds wrong train must, too.
"""

import hashlib
import io
import itertools
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import campaigning
import cv2
import numpy as np
from PIL import Image

from keras_transfer.data import clips, decoding
from keras_transfer.data.decoding import square_rgb, upright_rgb, upright_size
from keras_transfer.data.pictures import content_of
from keras_transfer.errors import DataError

SIZE = 96
FRAMES = 4
PICTURES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
VIDEOS = {"mp4": "mp4v", "avi": "MJPG", "webm": "VP80", "mkv": "mp4v"}
"""How the file of each kind is encoded."""


def encoded(kind: str, rng: random.Random) -> bytes:
    """A whole picture of a kind, in one of the modes and with one of the notes that such files come with."""
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (12, 17, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((rng.randrange(1, 400), rng.randrange(1, 300)))
    modes = {"JPEG": ("RGB", "L", "CMYK"), "BMP": ("RGB", "L", "P", "1"), "GIF": ("P", "L"), "WEBP": ("RGB", "RGBA")}
    mode = rng.choice(modes.get(kind, ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")))
    picture = picture.convert("L").convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode)
    options: dict[str, object] = {}
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.5:
        note = Image.Exif()
        note[0x0112] = rng.randrange(1, 9)
        options["exif"] = note
    if kind in ("JPEG", "PNG", "WEBP") and rng.random() < 0.3:
        options["icc_profile"] = rng.randbytes(rng.randrange(1, 4000))
    if kind == "JPEG":
        options["progressive"] = rng.random() < 0.5
    if kind == "TIFF":
        options["compression"] = rng.choice((None, "tiff_lzw", "tiff_adobe_deflate", "packbits"))
    if kind in ("GIF", "WEBP", "PNG") and rng.random() < 0.2:
        options |= {"save_all": True, "append_images": [picture.rotate(90), picture]}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def enlarged(content: bytes, rng: random.Random) -> bytes:
    """Among the first bytes, where formats keep width and height, stand sizes that no picture has."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2))):
        place, width = rng.randrange(min(len(changed), 64)), rng.choice((2, 4))
        changed[place : place + width] = rng.choice((b"\xff", b"\x7f\xff", b"\x40\x00")) * (width // 2 or 1)
    return bytes(changed)


def verdict(read: object) -> tuple[bool, str]:
    """Whether a picture can be read, and a hash of its pixels or the sentence that is told."""
    try:
        pixels = read()  # type: ignore[operator]
    except DataError as error:
        return False, str(error)
    return True, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


@cache
def filmed(kind: str) -> bytes:
    """A whole video of a kind, of few bytes, so that what is changed is often what describes it."""
    cv2.setNumThreads(0)  # what has threads is not forked
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video.{kind}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*VIDEOS[kind]), 10, (48, 32))
        for number in range(3 * FRAMES):
            writer.write(np.full((32, 48, 3), 20 * number, np.uint8))
        writer.release()
        return path.read_bytes()


def of_picture(path: Path) -> str:
    """Read a picture every way; where they differ, in words."""
    content = content_of(str(path))
    upright_size(str(path))
    decoding.stored_size(str(path))
    doctor = verdict(lambda: upright_rgb(content, size=256))
    train = verdict(lambda: square_rgb(content, SIZE, "stretch"))
    predict = verdict(lambda: square_rgb(content_of(str(path)), SIZE, "stretch"))
    verdict(lambda: upright_rgb(content))  # as what is drawn of it is
    if train != predict:
        return f"train and predict differ: {train[1]}, {predict[1]}"
    return "" if doctor[0] == train[0] else f"doctor says {doctor}, train says {train}"


def of_video(path: Path) -> str:
    """Read a video every way; where they differ, in words."""
    (doctor,) = clips.problems_of([str(path)])
    (pixels,), (problem,) = clips.squares([str(path)], FRAMES, SIZE, "stretch")
    predict = verdict(lambda: clips.read_clips([path], frames=FRAMES, image_size=SIZE, aspect="stretch"))
    verdict(lambda: np.stack(clips.thumbnails(path, 1.0, width=200, height=20)))
    verdict(lambda: len(list(itertools.islice(clips.stepped(path, 0.3), 2 * FRAMES))))  # as a long one is looked at
    train = (False, f"'{path}' {problem.decode()}.") if problem else verdict(lambda: pixels)
    if train != predict:
        return f"train and predict differ: {train[1]}, {predict[1]}"
    return f"doctor says '{doctor}', train reads it" if doctor and not problem else ""


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Change a picture or a video and read it every way; what was lost, in words."""
    read: Callable[[Path], str] = of_video if kind in VIDEOS else of_picture
    whole = filmed(kind) if kind in VIDEOS else encoded(kind, rng)
    path = folder / f"picture.{kind.lower()}"
    path.write_bytes(campaigning.changed(whole, rng, (*campaigning.OF_BYTES, enlarged)))
    differ, problem = campaigning.apart(lambda: read(path))
    return problem or differ


if __name__ == "__main__":
    campaigning.check_heap()
    campaigning.main("pictures", (*PICTURES, *VIDEOS), attempt, count=1000)
