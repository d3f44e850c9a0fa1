"""Measures how far pictures are from photographs in what a camera decides: colour, sharpness, variety."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_transfer.errors import DataError

GREY_LEVELS = 4
"""Channels closer than this, of 255, are grey to the eye; JPEG alone moves them by two or three."""


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

    images: uint8 (n, side, side, 3). Raises DataError for no pictures.
    Source: natural pictures have power that falls with the square of the frequency (Field, JOSA A 1987); blur and
    enlargement take the high frequencies away.
    """
    if not len(images):
        raise DataError("Nothing can be said of no pictures. Name a source that holds some.")
    pixels = images.astype(np.float32)
    grey = np.ptp(pixels, axis=-1).mean(axis=(1, 2)) < GREY_LEVELS
    luminance = pixels.mean(axis=-1)
    luminance -= luminance.mean(axis=(1, 2), keepdims=True)
    # A window keeps the jump between opposite edges out of the spectrum.
    side = luminance.shape[1]
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    power = np.abs(np.fft.fft2(luminance * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    whole = float(power.sum())
    fine = float(power[:, frequency > 0.25].sum()) / whole if whole > 0 else 0.0
    return InputShift(float(grey.mean()), fine, bool((images == images[:1]).all()))
