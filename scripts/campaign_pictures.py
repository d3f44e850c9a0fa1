"""Pictures that were changed by a seed, read as doctor, train and predict read them.

    scripts/campaign pictures [--count 1000] [--seed 0] [--only JPEG]

Each is read in a process of its own, of 6 GB of addresses and 10 s of computing. It holds where nothing but a sentence
comes, and where doctor, train and predict say the same of it: that it cannot be read, or the same pixels.
"""

import hashlib
import io
import random
from pathlib import Path

import campaigning
import numpy as np
from PIL import Image

from keras_transfer.data import decoding
from keras_transfer.data.decoding import square_rgb, upright_rgb, upright_size
from keras_transfer.data.pictures import content_of
from keras_transfer.errors import DataError

SIZE = 96


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


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Change a picture and read it every way; what was lost, in words."""
    path = folder / f"picture.{kind.lower()}"
    path.write_bytes(campaigning.changed(encoded(kind, rng), rng, (*campaigning.OF_BYTES, enlarged)))

    def work() -> list[tuple[bool, str]]:
        content = content_of(str(path))
        upright_size(str(path))
        decoding.stored_size(str(path))
        return [
            verdict(lambda: upright_rgb(content, size=256)),  # as doctor looks
            verdict(lambda: square_rgb(content, SIZE, "stretch")),
            verdict(lambda: square_rgb(content_of(str(path)), SIZE, "stretch")),
            verdict(lambda: upright_rgb(content)),  # as what is drawn of it is
        ]

    found, problem = campaigning.apart(work)
    if problem:
        return problem
    doctor, train, predict, _ = found
    if train != predict:
        return f"train and predict differ: {train[1]}, {predict[1]}"
    return "" if doctor[0] == train[0] else f"doctor says {doctor}, train says {train}"


if __name__ == "__main__":
    campaigning.main("pictures", ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"), attempt, count=1000)
