"""Files of videos, whatever they are: how each kind is read, and what those are told that show nothing."""

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_transfer.data import clips
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError

SIDE, FRAMES = 32, 40

KINDS = {"mp4": "mp4v", "avi": "MJPG", "avi by XVID": "XVID", "webm": "VP80", "webm by VP9": "VP90", "gif": ""}
"""How the file of each kind is encoded; a gif is written by Pillow."""


def written(folder: Path, kind: str, frames: int = FRAMES, rate: float = 10) -> Path:
    """A video whose frames get lighter by 5 a frame, so that each tells its number."""
    path = folder / f"video.{kind.partition(' ')[0]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [np.full((SIDE, SIDE, 3), 5 * number % 256, np.uint8) for number in range(frames)]
    if not KINDS[kind]:
        first, *others = map(Image.fromarray, shown)
        first.save(path, save_all=True, append_images=others, duration=1000 / rate)
        return path
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*KINDS[kind]), rate, (SIDE, SIDE))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV {cv2.__version__} writes no {KINDS[kind]}, so there is no file to read")
    for each in shown:
        writer.write(each)
    writer.release()
    return path


def numbers(path: Path | str, count: int = 4) -> list[float]:
    """Which frames of such a video are read, by how light they are."""
    return (clips.frames_of(str(path), count, SIDE, "stretch").mean((1, 2, 3)) / 5).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_any_kind_gives_the_middles_of_its_parts(tmp_path, kind):
    path = written(tmp_path, kind)
    assert numbers(path) == pytest.approx([5, 15, 25, 35], abs=0.9)  # three grey levels are lost in colour
    facts = clips.facts_of(path)
    assert (facts.frames, facts.side) == (FRAMES, SIDE)
    assert facts.seconds == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_any_kind_that_is_sought_gives_the_same_frames_as_one_that_is_passed_through(
    tmp_path, monkeypatch, kind
):
    path = written(tmp_path, kind)
    passed = numbers(path)
    monkeypatch.setattr(clips, "seek_from", lambda path: 2)
    assert numbers(path) == pytest.approx(passed, abs=0.4)


def test_a_gif_is_never_sought_whatever_it_is_called(tmp_path):
    called = shutil.copy(written(tmp_path, "gif"), tmp_path / "called.mp4")
    assert clips.seek_from(str(called)) == math.inf
    assert clips.seek_from(str(written(tmp_path, "mp4"))) == clips.SEEK_FROM


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_video_of_any_kind_is_read_by_its_seconds(tmp_path, kind):
    path = written(tmp_path, kind)
    assert numbers(clips.Clip(str(path), 2, 3).address, 2) == pytest.approx([22, 27], abs=0.9)


def test_what_a_file_is_decides_and_not_what_it_is_called(tmp_path):
    path = shutil.copy(written(tmp_path, "webm"), tmp_path / "called.mp4")
    assert numbers(path) == pytest.approx([5, 15, 25, 35], abs=0.9)


def folder_with(tmp_path: Path, name: str, content: bytes) -> str:
    """Two classes of three videos each, and one file more in the first."""
    video = written(tmp_path / "made", "avi", 12)
    for label in ("one", "two"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(3):
            made = video.read_bytes() + bytes(f"{label} {number}", "ascii")  # no two are copies
            (tmp_path / "videos" / label / f"{number}.avi").write_bytes(made)
    (tmp_path / "videos" / "one" / name).write_bytes(content)
    return str(tmp_path / "videos")


def test_a_picture_that_is_called_a_video_is_named_and_left_out(tmp_path):
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "picture.jpg")
    source = folder_with(tmp_path, "3.mp4", (tmp_path / "picture.jpg").read_bytes())
    (told,) = load(source, annotation="clip").skipped
    assert told.startswith("one/3.mp4 ")
    assert "shows one frame" in told or "is no video that can be read" in told


def test_a_video_that_is_called_something_else_is_named_and_left_out(tmp_path):
    source = folder_with(tmp_path, "3.txt", written(tmp_path / "other", "mp4").read_bytes())
    (told,) = load(source, annotation="clip").skipped
    assert told == "one/3.txt is not named as a video is"


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00AVI LIST", b"\x00\x00\x00\x18ftypmp42"])
def test_a_video_without_frames_is_named_and_left_out(tmp_path, content):
    (told,) = load(folder_with(tmp_path, "3.mp4", content), annotation="clip").skipped
    assert told == "one/3.mp4 is no video that can be read (its content is not what its name says, or it is cut off)"


def test_a_video_of_four_hours_is_named_and_left_out_with_what_to_do(tmp_path):
    hours = written(tmp_path / "long", "avi", 288, rate=0.02)
    (told,) = load(folder_with(tmp_path, "day.avi", hours.read_bytes()), annotation="clip").skipped
    assert told == (
        "one/day.avi lasts 4:00:00, and a clip shows one action of at most 0:10:00: list its parts in a table with the "
        "columns path, start, end, label"
    )


def test_a_model_asked_about_a_video_that_shows_nothing_is_told_which_and_why(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    good = written(tmp_path, "avi", 12)
    with pytest.raises(DataError, match=r"'.*empty\.mp4' is no video that can be read"):
        clips.read_clips([good, tmp_path / "empty.mp4"], frames=4, image_size=SIDE, aspect="stretch")
