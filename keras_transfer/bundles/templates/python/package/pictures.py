"""Reads picture files into what the model takes, as a person sees them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .squaring import square

MAX_PIXELS = 178_956_970
"""A picture that declares more is taken for a decompression bomb."""
SCALES = (1, 2, 4, 8)
"""By how much pictures are decoded smaller than they are, as in training."""
SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B")


class PictureError(ValueError):
    """A picture cannot be read; the text says why, in one sentence."""


def read(source: str | Path | bytes, size: int, aspect: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return a picture, a path or encoded bytes, as the model takes it: uint8 (size, size, 3).

    Turned as the camera noted, what is clear on white, the first frame of an animation. Raises PictureError.
    """
    try:
        encoded = source if isinstance(source, bytes) else Path(source).read_bytes()
        with warnings.catch_warnings(), Image.open(io.BytesIO(encoded)) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.width * picture.height > max_pixels:
                raise PictureError(f"declares {picture.width} x {picture.height} pixels, more than {max_pixels:,}")
            side = (max if aspect == "letterbox" else min)(picture.size)
            scale = max(each for each in SCALES if side >= each * size or each == 1)
            if picture.format == "JPEG":
                picture.draft(None, (picture.width // scale, picture.height // scale))
                scale = 1
            seen = _rgb(ImageOps.exif_transpose(picture))
            return square(np.asarray(seen.reduce(scale) if scale > 1 else seen), size, aspect)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"declares more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise PictureError("is not a picture that can be read (it begins as no known kind of picture does)") from None
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror or error}") from None
    except Exception as error:  # decoders raise nearly every type on a broken file
        raise PictureError(f"is not a picture that can be read ({error})") from None


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in SIXTEEN_BIT:
        values = np.asarray(picture).astype(np.int64)
        eight = values >> 8 if values.max(initial=0) > 255 else values
        return Image.fromarray(np.clip(eight, 0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return picture.convert("RGB")
