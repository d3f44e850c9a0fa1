"""Turns an encoded picture into the upright square RGB that a model sees.

Common JPEG files are decoded by libjpeg-turbo, whose bindings take a third less time than TensorFlow's decoder and give
the same pixels; everything else (and the orientation that a camera noted) is read by Pillow, which knows what a person
would see.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import IO

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_PICTURE_BYTES, regular

MAX_PIXELS = 178_956_970
"""A picture that declares more is taken for a decompression bomb (Pillow's own limit, 512 MB of RGB)."""

LARGE_PIXELS = 2**25
"""Pictures that declare more are decoded one at a time: what the largest takes, 3 GB on the way from colours with
opacity to RGB, is taken once and not by every core."""
_LARGE = threading.Lock()

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "AVIF", "DIB")
"""What Pillow may take a file for, whatever its name; it knows thirty more that no photograph comes in, one of which
(EPS) it would give to Ghostscript to run."""

JPEG_START = b"\xff\xd8\xff"
EXIF_WITHIN_BYTES = 4096
"""Where the Exif block of a JPEG file begins, if there is one: before anything else of size."""

HEIC_STARTS = frozenset(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"))
"""Bytes 4 to 12 of a file that telephones write (ISO/IEC 23008-12, 10.2.2)."""

NEEDS_HEIC = "is HEIC, which needs pillow-heif: pip install 'keras-transfer[heic]'"

COMMON_COLOURS = ("YCbCr", "Gray", "RGB")
"""Of a JPEG file. Four components are CMYK, which is told apart from its inverse by marks that only Pillow reads."""

SCALES = (1, 2, 4, 8)
"""By how much pictures can be decoded smaller than they are; for JPEG at a fraction of the work."""


TURNED = (5, 6, 7, 8)
"""EXIF orientations in which a picture's width is its height."""


def upright_size(path: str) -> tuple[int, int] | None:
    """Width and height of a picture as a person sees it; None where it cannot be read, which is told elsewhere."""
    return _size(path, lambda opened: opened.size[::-1] if _noted(opened) in TURNED else opened.size)


def stored_size(path: str) -> tuple[int, int] | None:
    """Width and height of a picture as it is stored; None where it cannot be read, which is told elsewhere."""
    return _size(path, lambda opened: opened.size)


def _size(path: str, size: Callable[[Image.Image], tuple[int, ...]]) -> tuple[int, int] | None:
    try:
        with regular(path, MOST_PICTURE_BYTES) as file, open_picture(file) as opened:
            width, height = size(opened)
            return width, height
    except Exception:  # Pillow's readers raise nearly every type on a broken file
        return None


def open_picture(file: IO[bytes]) -> Image.Image:
    """Return a picture of one of `FORMATS`, or HEIC, of which nothing but the header is read yet.

    Raises DataError where it declares more than `MAX_PIXELS`, and what Pillow raises where it is none.
    """
    heic = file.read(12)[4:] in HEIC_STARTS
    if heic:
        _open_heic()
    file.seek(0)
    try:
        picture = Image.open(file, formats=("HEIF",) if heic else FORMATS)
    except Image.DecompressionBombError:
        raise DataError(f"declares more pixels than any photograph ({MAX_PIXELS:,})") from None
    check_pixels(picture.width, picture.height)
    return picture


def check_pixels(width: int, height: int) -> None:
    """Raise DataError where a picture or a mask declares more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise DataError(f"declares {width} x {height} pixels, more than any photograph ({MAX_PIXELS:,})")


def upright_rgb(encoded: bytes, *, size: int | None = None, aspect: str = "stretch") -> np.ndarray:
    """Return a picture of any kind as a person sees it: uint8 (height, width, 3).

    Turned as the camera noted, transparent parts on white, the first frame of an animation, 16-bit grey as 8-bit.
    size, aspect: the square that it is meant for; it may come smaller than it is but not below that. None: in full.
    Raises DataError, in a person's words, where it cannot be read.
    """
    pixels = _common_jpeg(encoded, size, aspect)
    if pixels is None:
        return _read_by_pillow(encoded, size, aspect)
    return np.ascontiguousarray(_turned(pixels, encoded))  # what draws on pixels takes no view that runs backwards


def _read_by_pillow(encoded: bytes, size: int | None, aspect: str) -> np.ndarray:
    try:
        with open_picture(io.BytesIO(encoded)) as picture, in_turn(picture.width, picture.height):
            scale = scale_of(picture.height, picture.width, size, aspect) if size else 1
            if picture.format == "JPEG":
                picture.draft(None, (picture.width // scale, picture.height // scale))
                scale = 1
            seen = _FROM_MODE.get(picture.mode, _plain)(_upright(picture))
            return np.asarray(seen.reduce(scale) if scale > 1 else seen)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("is not a picture that can be read (it begins as no known kind of picture does)") from None
    except Exception as error:  # Pillow's decoders raise nearly every type on a broken file
        raise DataError(f"is not a picture that can be read ({error})") from None


def in_turn(width: int, height: int) -> AbstractContextManager[object]:
    """Return what to hold while pixels of a picture are in memory: pictures of more than `LARGE_PIXELS` wait."""
    return _LARGE if width * height > LARGE_PIXELS else nullcontext()


@cache
def _open_heic() -> None:
    """Teach Pillow to read HEIC, for the rest of the process."""
    try:
        import pillow_heif
    except ImportError:
        raise DataError(NEEDS_HEIC) from None
    pillow_heif.register_heif_opener()


def _plain(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    seen = picture.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(white, seen).convert("RGB")


def _palette(picture: Image.Image) -> Image.Image:
    return _on_white(picture) if "transparency" in picture.info else _plain(picture)


def _sixteen_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    eight = values >> 8 if values.max(initial=0) > 255 else values
    return _plain(Image.fromarray(np.clip(eight, 0, 255).astype(np.uint8)))


_FROM_MODE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "RGBA": _on_white,
    "RGBa": _on_white,
    "LA": _on_white,
    "La": _on_white,
    "PA": _on_white,
    "P": _palette,
    "L": _palette,
    "RGB": _palette,
    "I": _sixteen_bit,
    "I;16": _sixteen_bit,
    "I;16L": _sixteen_bit,
    "I;16B": _sixteen_bit,
}
"""How each of Pillow's modes becomes RGB; the others say it themselves. Grey and RGB may name a transparent colour."""


def scale_of(height: int, width: int, size: int, aspect: str) -> int:
    """Return by how much a picture may be decoded smaller without falling below the square it is meant for.

    >>> scale_of(3000, 4000, 224, "stretch"), scale_of(375, 500, 224, "stretch")
    (8, 1)
    """
    side = (max if aspect == "letterbox" else min)(height, width)
    return max(each for each in SCALES if side >= each * size or each == 1)


def square_rgb(encoded: bytes, size: int, aspect: str, into: np.ndarray | None = None) -> np.ndarray:
    """Return the square picture of encoded bytes, upright as a person sees it: uint8 (size, size, 3).

    aspect: as `squaring.square` takes it; into: where it is to stand, if it has a place already.
    Raises DataError, in a person's words, where it cannot be read.
    """
    pixels = _common_jpeg(encoded, size, aspect)
    if pixels is None:
        return square(_read_by_pillow(encoded, size, aspect), size, aspect, into)
    result = square(pixels, size, aspect, into)  # which is smaller to turn
    turned = _turned(result, encoded)
    if turned is not result:
        result[:] = turned.copy()  # turned is a view of it
    return result


def _turned(pixels: np.ndarray, encoded: bytes) -> np.ndarray:
    """Return the pixels of a JPEG file as its camera noted that they are to be turned."""
    orientation = _orientation(encoded) if b"Exif" in encoded[:EXIF_WITHIN_BYTES] else 1
    return _TURNS[orientation](pixels) if orientation > 1 else pixels


def _common_jpeg(encoded: bytes, size: int | None, aspect: str) -> np.ndarray | None:
    """Return the pixels as they are stored; None where Pillow knows better: another format, CMYK, or damaged."""
    if not encoded.startswith(JPEG_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    if colours not in COMMON_COLOURS or height * width > MAX_PIXELS:
        return None
    scale = scale_of(height, width, size, aspect) if size else 1
    least = {"min_height": -(-height // scale), "min_width": -(-width // scale), "min_factor": scale}
    try:
        with in_turn(width, height):
            return simplejpeg.decode_jpeg(encoded, **least)
    except ValueError:  # also where libjpeg only warns: Pillow decides whether there is a picture
        return None


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x[::-1].transpose(1, 0, 2),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[::-1],
}
"""What undoes each value of the Exif tag Orientation (Exif 2.32, 4.6.4 A); 1 is upright."""


_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The same of a picture of Pillow's."""


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # what some formats note is known only then
    noted = _noted(picture)
    return picture if noted == 1 else picture.transpose(_METHODS[noted])


def _orientation(encoded: bytes) -> int:
    try:
        with open_picture(io.BytesIO(encoded)) as picture:
            return _noted(picture)
    except Exception:  # what is wrong with the header, its decoder has told or overlooked
        return 1


def _noted(picture: Image.Image) -> int:
    """What the camera noted of how a picture is to be turned, 1-8; 1 where the note itself is broken."""
    try:
        noted = picture.getexif().get(0x0112, 1)
    except Exception:  # a broken note does not make the picture unreadable
        return 1
    return noted if isinstance(noted, int) and 1 <= noted <= 8 else 1
