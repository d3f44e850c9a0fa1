"""Draws what a segmenter says of a picture: its mask, and the picture under it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from keras_transfer.drawing import overlay, palette_bytes
from keras_transfer.evaluation.segmentation import CLASSES_ANSWER, keep
from keras_transfer.masks import unsquare
from keras_transfer.specs import Answers, Contract


def draw(picture: np.ndarray, answers: Answers, contract: Contract) -> Mapping[str, bytes]:
    """Return an answer as two PNGs of the picture's own size: the mask, with a palette, and the mask over the picture.

    picture: uint8 (height, width, 3) as a person sees it; answers: to this one picture. A value of the mask is the
    position of its class; what a cropped square did not show is `VOID`.
    """
    mask = unsquare(keep(answers)[CLASSES_ANSWER][0], picture.shape[0], picture.shape[1], contract.aspect)
    indexed = Image.fromarray(mask, mode="P")
    indexed.putpalette(palette_bytes())
    return {"mask.png": _png(indexed), "overlay.png": _png(Image.fromarray(overlay(picture, mask)))}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
