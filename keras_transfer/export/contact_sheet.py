"""Draws the pictures that an artifact and its model differ on most as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 5
TILE = 180
CAPTION = 44
MARGIN = 8


def draw(images: np.ndarray, captions: Sequence[str]) -> bytes:
    """Return a PNG with each picture over its caption, five in a row.

    >>> draw(np.zeros((2, 96, 96, 3), np.uint8), ["cat 0.9, not 0.2", "dog 0.8, not 0.6"])[:4]
    b'\\x89PNG'

    images: uint8 (n, side, side, 3). captions: n texts; lines are kept.
    """
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE + MARGIN) + MARGIN, rows * (TILE + CAPTION) + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for position, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(position, COLUMNS)
        left, top = MARGIN + column * (TILE + MARGIN), MARGIN + row * (TILE + CAPTION)
        sheet.paste(Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        pen.multiline_text((left, top + TILE + 2), caption, fill="black", font=font, spacing=1)
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    return encoded.getvalue()
