"""Draws masks over pictures, in colours that the colour-blind tell apart."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from keras_transfer.evaluation.segmentation import CLASSES_ANSWER, keep
from keras_transfer.masks import VOID, unsquare
from keras_transfer.specs import Answers, Contract

PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (68, 68, 68),
    (136, 34, 85),
    (153, 221, 255),
    (17, 119, 51),
    (221, 204, 119),
    (51, 34, 136),
    (170, 68, 153),
    (187, 204, 51),
    (255, 170, 187),
)
"""RGB by class position, from the start again where there are more classes: the eight of Okabe & Ito (2008), with grey
in place of black, then those of Tol's `muted` and `light` schemes (2021) that are unlike them."""

SHARE = 0.55
"""Of the colour in a pixel of an overlay; the picture is the rest."""


def colour(position: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class.

    >>> colour(0)
    (0, 114, 178)
    """
    return PALETTE[position % len(PALETTE)]


def draw(picture: np.ndarray, answers: Answers, contract: Contract) -> Mapping[str, bytes]:
    """Return an answer as two PNGs of the picture's own size: the mask, with a palette, and the mask over the picture.

    picture: uint8 (height, width, 3) as a person sees it; answers: to this one picture. A value of the mask is the
    position of its class; what a cropped square did not show is `VOID`.
    """
    mask = unsquare(keep(answers)[CLASSES_ANSWER][0], picture.shape[0], picture.shape[1], contract.aspect)
    indexed = Image.fromarray(mask, mode="P")
    indexed.putpalette(palette_bytes())
    return {"mask.png": _png(indexed), "overlay.png": _png(Image.fromarray(overlay(picture, mask)))}


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture with the classes of its pixels over it: uint8 (height, width, 3).

    image: uint8 (height, width, 3); mask: class positions, uint8 (height, width); void stays as the picture is.
    """
    colours = np.array([colour(i) for i in range(VOID + 1)], np.float32)[mask]
    share = np.where(mask == VOID, 0.0, SHARE).astype(np.float32)[..., None]
    return np.rint(image * (1 - share) + colours * share).astype(np.uint8)


def palette_bytes() -> bytes:
    """Return the palette of a mask's PNG, 256 RGB triples: index images show their classes in any viewer."""
    return b"".join(bytes(colour(i)) for i in range(VOID)) + b"\xff\xff\xff"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
