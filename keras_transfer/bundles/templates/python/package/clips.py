"""Reads videos into what the model takes: evenly spaced frames, each made square as training did."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .pictures import MAX_PIXELS, PictureError
from .squaring import square

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a broken file is told of once, in our words
import cv2

MOST_SECONDS = 600
"""A clip shows one action."""
SEEK_FROM = 60
"""Frames that are passed by without looking at them; where more lie between, the video is sought instead."""
GIF = b"GIF8"
"""What a gif begins with: seeking would begin it anew."""


def read(source: str | Path, count: int, size: int, aspect: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return the frames of a video that the model looks at: uint8 (count, size, size, 3), middles of equal parts.

    Raises PictureError where it cannot be read or shows no movement.
    """
    with _opened(source) as video:
        shown, rate = _facts(video, max_pixels)
        if shown < 2:
            raise PictureError(f"shows {'one frame' if shown else 'no frames'}, and movement needs two at least")
        if shown / rate > MOST_SECONDS:
            raise PictureError(
                f"lasts {shown / rate:.0f} seconds, and a clip at most {MOST_SECONDS}: cut it into parts"
            )
        wanted = [(2 * number + 1) * shown // (2 * count) for number in range(count)]
        return np.stack([square(each, size, aspect) for each in _frames(video, wanted, _seek_from(source))])


def of_strip(encoded: bytes, count: int) -> np.ndarray:
    """Return the frames that stand side by side in an encoded picture: uint8 (count, side, side, 3)."""
    with Image.open(io.BytesIO(encoded)) as strip:
        return np.stack(np.split(np.asarray(strip.convert("RGB")), count, axis=1))


@contextmanager
def _opened(source: str | Path) -> Iterator[Any]:
    if not Path(source).is_file():  # nothing else may reach FFmpeg, which opens addresses and waits for pipes
        raise PictureError("is no file that is there")
    video = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise PictureError("is no video that can be read")
        yield video
    finally:
        video.release()


def _facts(video: Any, max_pixels: int) -> tuple[int, float]:
    """How many frames a video says it has, and how many of them pass in a second."""
    frames, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), float(video.get(cv2.CAP_PROP_FPS))
    width, height = (int(video.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > max_pixels:
        raise PictureError(f"declares {width} x {height} pixels, more than {max_pixels:,}")
    if frames <= 0:  # some containers do not say
        frames = 0
        while video.grab():
            frames += 1
        video.set(cv2.CAP_PROP_POS_FRAMES, 0)
    return frames, rate if math.isfinite(rate) and rate > 0 else 25.0


def _seek_from(source: str | Path) -> float:
    with open(source, "rb") as opened:
        return math.inf if opened.read(len(GIF)) == GIF else SEEK_FROM


def _frames(video: Any, wanted: Sequence[int], seek_from: float) -> Iterator[np.ndarray]:
    """Yield the frames at rising positions, RGB; the last that there is where a video says it has a few more."""
    following, seen = 0, None
    for number, position in enumerate(wanted):
        if position - following > seek_from and video.set(cv2.CAP_PROP_POS_FRAMES, position):
            following = position
        while following < position and video.grab():
            following += 1
        if following == position:
            there, pixels = video.read()
            following += there
            seen = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if there else seen
        if seen is None or (following <= position and 2 * number < len(wanted)):
            raise PictureError(f"breaks off after {following} frames of {wanted[-1] + 1}")
        yield seen
