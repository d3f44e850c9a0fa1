"""Decodes clips: evenly spaced frames of a video, or of a part of one."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from keras_transfer.data.decoding import check_pixels
from keras_transfer.data.pictures import readers
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_VIDEO_BYTES, regular

SUFFIXES = frozenset({".mp4", ".avi", ".webm", ".gif", ".mov", ".mkv", ".m4v"})
"""Names that are taken for videos; what a file really is, its first bytes say."""

FRAMES = 8
"""Of a clip, where a plan names no other number."""

MOST_SECONDS = 600
"""A clip shows one action. Eight frames of hours would show nothing of it."""

SEEK_FROM = 60
"""Frames that are passed by without looking at them; where more lie between, the video is sought instead.

With a whole picture every 12 frames both cost the same between 15 and 30 frames, of mp4, avi and webm (`scripts/bench
clips --only reading`, AVX-512, processor time of an mp4: 17 ms sought and 15 ms passed by at 15, 20 and 21 ms at 30, 23
and 53 ms at 120). A video with fewer whole pictures is sought at a higher cost, for it is decoded from the last one on;
so this is more than the measured distance. A gif is never sought, for that begins it anew: 2,468 ms sought and 432 ms
passed by at 120.
"""

GAP = 4
"""Pixels between two thumbnails, at least."""

GIF = b"GIF8"
"""What a gif begins with, whatever it is called."""

PART = re.compile(r"#t=(?P<start>[0-9.]+),(?P<end>[0-9.]*)$")
"""Media Fragments URI 1.0 (W3C 2012), section 4.2.1."""

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a broken file is told of once, in our words


class Clip(NamedTuple):
    """A video file, or the part of it from one second to another."""

    path: str
    start: float = 0.0
    end: float = math.inf

    @property
    def address(self) -> str:
        """What stands for the clip among the paths of a split.

        >>> Clip("walk.mp4", 1.5, 4).address
        'walk.mp4#t=1.5,4'
        """
        if self.start == 0 and self.end == math.inf:
            return self.path
        return f"{self.path}#t={self.start:g},{'' if self.end == math.inf else f'{self.end:g}'}"


class Facts(NamedTuple):
    """What a video says of itself before any frame of it is looked at."""

    frames: int
    per_second: float
    side: int
    """The shorter one, in pixels."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.per_second


def clip_of(address: str) -> Clip:
    """Return the clip that an address names.

    >>> clip_of("walk.mp4#t=1.5,4")
    Clip(path='walk.mp4', start=1.5, end=4.0)
    """
    found = PART.search(address)
    if not found:
        return Clip(address)
    return Clip(address[: found.start()], float(found["start"]), float(found["end"] or math.inf))


def facts_of(path: str | Path) -> Facts:
    """Return what a video says of itself. Raises DataError, in a person's words, where it is none."""
    with _opened(str(path)) as video:
        return _facts(video)


def positions(facts: Facts, clip: Clip, count: int, moments: np.ndarray | None = None) -> list[int]:
    """Return which frames of a video stand for a clip: the middles of `count` equal parts of it.

    >>> positions(Facts(frames=100, per_second=25, side=240), Clip("walk.mp4", 2), 4)
    [56, 68, 81, 93]

    moments: where in each part its frame is taken instead, float (count,) in [0, 1). A clip of fewer frames has some of
    them several times. Raises DataError for one that shows no movement: fewer than
    two frames, or hours.
    """
    first = round(clip.start * facts.per_second)
    last = min(facts.frames, math.inf if clip.end == math.inf else round(clip.end * facts.per_second))
    shown = int(last) - first
    if shown < 2:
        within = "" if clip.address == clip.path else f" from {clip.start:g} s to {min(clip.end, facts.seconds):g} s"
        raise DataError(f"shows {_frames(max(shown, 0))}{within}, and movement needs two at least")
    seconds = shown / facts.per_second
    if seconds > MOST_SECONDS:
        raise DataError(
            f"lasts {lasting(seconds)}, and a clip shows one action of at most {lasting(MOST_SECONDS)}: list its parts "
            "in a table with the columns path, start, end, label"
        )
    return [first + number for number in _spread(shown, count, moments)]


def _spread(there: int, count: int, moments: np.ndarray | None = None) -> list[int]:
    """Which ones of `there` frames are taken, one of each of `count` equal parts: never a later one first."""
    if moments is None:
        return [(2 * number + 1) * there // (2 * count) for number in range(count)]
    return [int((number + float(moment)) * there / count) for number, moment in enumerate(moments)]


def frames_of(
    address: str,
    count: int,
    size: int,
    aspect: str,
    into: np.ndarray | None = None,
    moments: np.ndarray | None = None,
) -> np.ndarray:
    """Return `count` evenly spaced frames of a clip as squares: uint8 (count, size, size, 3).

    >>> frames_of("walk.mp4", 8, 96, "stretch").shape  # doctest: +SKIP
    (8, 96, 96, 3)

    aspect: as `squaring.square` takes it; into: where they are to stand, if they have a place already; moments: as
    `positions` takes them. Raises DataError, in a person's words, where the video cannot be read or shows no movement.
    """
    clip, into = clip_of(address), np.empty((count, size, size, 3), np.uint8) if into is None else into
    with _opened(clip.path) as video:
        wanted = positions(_facts(video), clip, count, moments)
        for place, pixels in zip(into, _read(video, wanted, seek_from(clip.path)), strict=True):
            square(pixels, size, aspect, place)
    return into


def stepped(path: str | Path, seconds: float) -> Iterator[np.ndarray]:
    """Yield the frames of a whole video that lie `seconds` apart, RGB, uint8 (height, width, 3): the middles of parts.

    >>> len(list(stepped("walk.mp4", 0.5)))  # of four seconds  # doctest: +SKIP
    8

    Only one is in memory at a time, so that a video may last for hours; where it breaks off, they end. Raises
    DataError, in a person's words, where it cannot be read.
    """
    with _opened(str(path)) as video:
        facts, sought_from, following, seen = _facts(video), seek_from(str(path)), 0, None
        for number in range(parts_of(facts, seconds)):
            position = int((number + 0.5) * seconds * facts.per_second)
            if position >= following:  # in a slow video the same frame stands for two parts
                following = _reached(video, following, position, sought_from)
                pixels = video.read()[1] if following == position else None
                if pixels is None:
                    return
                following, seen = following + 1, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            assert seen is not None
            yield seen


def parts_of(facts: Facts, seconds: float) -> int:
    """Return how many whole parts of so many seconds a video has.

    >>> parts_of(Facts(frames=100, per_second=25, side=240), 0.5)
    8
    """
    return math.floor(facts.seconds / seconds + 1e-9)  # 4 / 0.1 is 39.99…


def thumbnails(path: str | Path, seconds: float, *, width: int, height: int) -> list[np.ndarray]:
    """Return as many frames of a video as stand in a strip, small and evenly spaced: uint8 (height, …, 3), RGB.

    seconds: how much of the video they show; width, height: of the strip, in pixels.
    """
    with _opened(str(path)) as video:
        facts = _facts(video)
        shown = max(1, min(facts.frames, round(seconds * facts.per_second)))
        high, wide = (int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        small = max(1, round(wide * height / max(high, 1)))
        count = min(shown, max(1, width // (small + GAP)))
        read = _read(video, _spread(shown, count), seek_from(str(path)))
        return [cv2.resize(each, (small, height), interpolation=cv2.INTER_AREA) for each in read]


def squares(
    addresses: Sequence[str], count: int, size: int, aspect: str, moments: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of some clips, and what is wrong with each: uint8 (n, count, size, size, 3), bytes (n,).

    moments: as `positions` takes them, a row for each clip. All cores work on them, each on one clip at a time.
    """
    images = np.zeros((len(addresses), count, size, size, 3), np.uint8)
    problems = np.full(len(addresses), b"", object)

    def read(row: int) -> None:
        try:
            taken = None if moments is None else moments[row]
            frames_of(str(addresses[row]), count, size, aspect, images[row], taken)
        except DataError as error:
            images[row], problems[row] = 0, str(error).encode()

    for done in [readers().submit(read, row) for row in range(len(addresses))]:
        done.result()
    return images, problems


def read_clips(paths: Sequence[Path | str], *, frames: int, image_size: int, aspect: str) -> np.ndarray:
    """Return videos as a model takes them: uint8 (n, frames, image_size, image_size, 3).

    >>> read_clips(["walk.mp4"], frames=8, image_size=96, aspect="stretch").shape  # doctest: +SKIP
    (1, 8, 96, 96, 3)

    Raises DataError that names the first file which cannot be read.
    """
    found, problems = squares([str(path) for path in paths], frames, image_size, aspect)
    for path, problem in zip(paths, problems, strict=True):
        if problem:
            raise DataError(f"'{path}' {problem.decode()}.")
    return found


def problems_of(addresses: Sequence[str]) -> list[str]:
    """Return what is wrong with each clip as far as its video says it, empty where nothing is; no frame is decoded."""

    def problem(address: str) -> str:
        clip = clip_of(address)
        try:
            positions(facts_of(clip.path), clip, 1)
        except DataError as error:
            return str(error)
        return ""

    return list(readers().map(problem, addresses))


def chosen(frames: np.ndarray, count: int, moments: np.ndarray | None = None) -> np.ndarray:
    """Return `count` evenly spaced ones of the frames of a clip that is in memory: (count, …) of (n, …).

    >>> chosen(np.arange(8), 4).tolist()
    [1, 3, 5, 7]

    moments: as `positions` takes them.
    """
    return frames if len(frames) == count else frames[_spread(len(frames), count, moments)]


def strip(frames: np.ndarray) -> np.ndarray:
    """Return the frames of a clip side by side, in their order: (height, n * width, 3) of (n, height, width, 3)."""
    return np.concatenate(list(frames), axis=1)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        with regular(path, MOST_VIDEO_BYTES):  # nothing else may reach FFmpeg, which would wait for a pipe's other end
            pass
    except FileNotFoundError:
        raise DataError("is not there") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise DataError("is no video that can be read (its content is not what its name says, or it is cut off)")
        yield video
    finally:
        video.release()


def _facts(video: Any) -> Facts:
    frames, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), float(video.get(cv2.CAP_PROP_FPS))
    if frames <= 0:  # some containers do not say
        frames = 0
        while video.grab():
            frames += 1
        video.set(cv2.CAP_PROP_POS_FRAMES, 0)
    width, height = (int(video.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    check_pixels(width, height)
    side = min(width, height)
    return Facts(frames, rate if math.isfinite(rate) and rate > 0 else 25.0, side)


def seek_from(path: str) -> float:
    """Return how many frames of that video are passed by at most before it is sought."""
    with open(path, "rb") as opened:
        return math.inf if opened.read(len(GIF)) == GIF else SEEK_FROM


def _read(video: Any, wanted: Sequence[int], sought_from: float) -> Iterator[np.ndarray]:
    """Yield the frames at rising positions, RGB; the last that there is where a video says it has a few more."""
    following, seen = 0, None
    for number, position in enumerate(wanted):
        following = _reached(video, following, position, sought_from)
        if following == position:
            there, pixels = video.read()
            following += there
            seen = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if there else seen
        if seen is None or (following <= position and 2 * number < len(wanted)):
            raise DataError(f"breaks off after {_frames(following)} of {wanted[-1] + 1}")
        yield seen


def _reached(video: Any, following: int, position: int, sought_from: float) -> int:
    """Go to a frame, seeking it or passing others by; return the one that is read next, an earlier one at the end."""
    if position - following > sought_from and video.set(cv2.CAP_PROP_POS_FRAMES, position):
        following = position
    while following < position and video.grab():
        following += 1
    return following


def _frames(number: int) -> str:
    return "one frame" if number == 1 else f"{number or 'no'} frames"


def lasting(seconds: float) -> str:
    """Return how long something lasts, for a person.

    >>> lasting(4 * 3600)
    '4:00:00'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
