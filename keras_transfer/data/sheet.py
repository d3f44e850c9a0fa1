"""Draws a sheet of examples: what each augmentation policy makes of the same pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from keras_transfer.data import augment
from keras_transfer.files import drafted

MARGIN = 4
CAPTION = 16


def draw(pictures: np.ndarray, path: Path, *, views: int = 3, seed: int = 0) -> Path:
    """Write a PNG with a band per policy, a row in it per view, a column per picture; return its path.

    pictures: uint8 (n, size, size, 3), eight or so; views: epochs shown.
    """
    targets = np.eye(len(pictures), dtype=np.float32)
    bands = {
        name: [_augmented(name, pictures, targets, seed, epoch) for epoch in range(views if name != "none" else 1)]
        for name in augment.POLICIES
        if name not in augment.IN_TIME
    }
    cell = pictures.shape[1] + MARGIN
    width = MARGIN + cell * len(pictures)
    height = sum(CAPTION + cell * len(band) for band in bands.values()) + MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for name, band in bands.items():
        pen.text((MARGIN, top + 2), name, fill="black")
        top += CAPTION
        for row in band:
            for column, picture in enumerate(row):
                sheet.paste(Image.fromarray(picture), (MARGIN + cell * column, top))
            top += cell
    with drafted(path) as draft:
        sheet.save(draft, "PNG")
    return path


def _augmented(name: str, pictures: np.ndarray, targets: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    noise = augment.noise(seed, epoch, len(pictures))
    images, _ = augment.policy(name)(tf.constant(pictures), tf.constant(targets), tf.constant(noise))
    return np.asarray(images)
