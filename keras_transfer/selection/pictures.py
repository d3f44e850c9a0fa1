"""Measures how far pictures are from photographs in what a camera decides: colour, sharpness, variety."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from keras_transfer.errors import DataError

GREY_LEVELS = 4
"""Channels closer than this, of 255, are grey to the eye; JPEG alone moves them by two or three."""

JUDGED = 100
"""Pictures whose colour and detail are looked at: a share of them is then known to five points."""


@dataclass(frozen=True)
class InputShift:
    """How the pictures differ from the photographs a backbone learned from."""

    grey_share: float
    """Share of pictures without colour, 0-1."""
    fine_detail: float
    """Share of the pictures' variation that is finer than four pixels, 0-1; a sharp photograph has 0.02 to 0.1, one
    enlarged threefold a tenth of that."""
    alike: bool
    """Whether all pictures are the same."""


def input_shift(images: np.ndarray) -> InputShift:
    """Return how unlike photographs the pictures are, at the size the backbone will see them.

    >>> input_shift(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)).grey_share
    0.0

    images: uint8 (n, side, side, 3), in random order: the first `JUDGED` are judged. Raises DataError for no pictures.
    Source: natural pictures have power that falls with the square of the frequency (Field, JOSA A 1987); blur and
    enlargement take the high frequencies away.
    """
    if not len(images):
        raise DataError("Nothing can be said of no pictures. Name a source that holds some.")
    alike = all((images[0] == each).all() for each in images)
    channels = [images[:JUDGED, ..., i].astype(np.float32) for i in range(3)]
    spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
    grey = spread.mean(axis=(1, 2)) < GREY_LEVELS
    luminance = sum(channels) / np.float32(3)
    luminance -= luminance.mean(axis=(1, 2), keepdims=True)
    # A window keeps the jump between opposite edges out of the spectrum.
    side = luminance.shape[1]
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    spectrum = fft.fft2(luminance * window, workers=-1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    whole = float(power.sum())
    fine = float(power[frequency > 0.25].sum()) / whole if whole > 0 else 0.0
    return InputShift(float(grey.mean()), fine, alike)
