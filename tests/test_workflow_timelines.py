"""Videos longer than a clip: windows slide over them, neighbours are joined, and a strip shows when what happens."""

import itertools
import json

import export_model
import numpy as np
import pytest
from clips_model import CONTRACT, FRAMES, SIZE, exported, video, windows_of
from PIL import Image

import keras_transfer as kt
from keras_transfer import cli
from keras_transfer.data import clips
from keras_transfer.data.squaring import square
from keras_transfer.errors import DataError, UsageError
from keras_transfer.specs import silent
from keras_transfer.workflow import timelines, using

PAIR = "tflite-stream"
LASTS = FRAMES * CONTRACT.spacing


@pytest.fixture
def long(tmp_path):
    """Four seconds: 20 parts of 0.2 seconds, so 18 windows."""
    return video(tmp_path / "long.mp4", 40)


def seen(path):
    return np.stack([square(each, SIZE, "stretch") for each in clips.stepped(path, CONTRACT.spacing)])


def test_a_window_slides_over_the_whole_video(long):
    (said,) = kt.predict(exported()[PAIR].path, [long])
    wanted = windows_of(seen(long))
    assert len(said.windows) == 18
    assert np.allclose([each["probability"] for each in said.windows], wanted.max(1), atol=1e-4)
    assert [each["class_name"] for each in said.windows] == [CONTRACT.class_names[n] for n in wanted.argmax(1)]
    assert [(each["start"], each["end"]) for each in said.windows[:2]] == [(0, 0.6), (0.2, 0.8)]


def test_what_is_said_of_all_of_a_video_is_the_mean_of_its_windows(long):
    (said,) = kt.predict(exported()[PAIR].path, [long])
    assert np.allclose(list(said.probabilities.values()), windows_of(seen(long)).mean(0), atol=1e-4)


def test_segments_follow_one_another_from_the_first_second_to_the_last(long):
    (said,) = kt.predict(exported()[PAIR].path, [long])
    edges = [(each["start"], each["end"]) for each in said.segments]
    assert edges[0][0] == 0
    assert edges[-1][1] == said.seconds == 4
    assert all(before[1] == after[0] for before, after in itertools.pairwise(edges))
    names = [each["class_name"] for each in said.segments]
    assert all(before != after for before, after in itertools.pairwise(names))


def test_a_file_of_whole_clips_says_the_same_and_that_a_pair_is_quicker(long):
    told = []
    (by_file,) = kt.predict(exported()["tflite"].path, [long], listener=told.append)
    (by_pair,) = kt.predict(exported()[PAIR].path, [long])
    assert [each["class_name"] for each in by_file.windows] == [each["class_name"] for each in by_pair.windows]
    assert any("looks at each frame 3 times" in event.message for event in told)


def test_a_video_shorter_than_two_windows_is_one_clip(tmp_path):
    path = video(tmp_path / "short.mp4", 11)
    (said,) = kt.predict(exported()[PAIR].path, [path])
    whole = clips.frames_of(str(path), FRAMES, SIZE, "stretch")
    assert np.allclose(list(said.probabilities.values()), windows_of(whole)[0], atol=1e-4)
    (window,), (segment,) = said.windows, said.segments
    assert window == segment
    assert (window["start"], window["end"]) == (0, 1.1)


def test_a_window_that_was_asked_for_slides_over_any_video_that_it_fits_into(tmp_path):
    path = video(tmp_path / "short.mp4", 11)
    (said,) = kt.predict(exported()[PAIR].path, [path], window=0.9)
    assert [(each["start"], each["end"]) for each in said.windows] == [(0, 0.9)]


def test_a_video_of_hours_is_never_in_memory_as_a_whole(monkeypatch):
    read, described = [], []

    def hours(path, seconds):
        for number in range(500):
            read.append(number)
            yield np.zeros((8, 8, 3), np.uint8)

    def describe(frames):
        described.extend(frames[:, 0, 0])
        assert len(read) == len(described)  # nothing was read ahead of what is looked at
        assert len(frames) <= timelines.BATCH
        return frames[:, 0, 0]

    monkeypatch.setattr(clips, "stepped", hours)
    halves = using.Halves(describe, lambda windows: {"probabilities": windows[:, 0]})
    ask = using.Asked(CONTRACT, lambda clip: {}, lambda: halves)
    answers = timelines._of_windows(ask, "day.mp4", clips.Facts(2500, 25, 8), 0.2, silent)
    assert len(answers["probabilities"]) == 500 - FRAMES + 1


def test_a_video_that_breaks_off_is_told_of_as_far_as_it_goes(tmp_path):
    path = video(tmp_path / "cut.avi", 60, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = []
    (said,) = kt.predict(exported()[PAIR].path, [path], listener=told.append)
    assert 0 < said.seconds < 6
    assert said.segments[-1]["end"] == said.seconds


def test_frames_that_lie_closer_than_those_of_the_video_come_several_times(tmp_path):
    path = video(tmp_path / "slow.avi", 4, per_second=2, codec="MJPG")
    frames = list(clips.stepped(path, 0.25))
    assert len(frames) == 8
    assert all((frames[n] == frames[n + 1]).all() for n in (0, 2, 4, 6))


def test_the_command_line_prints_segments_and_draws_a_strip(long, tmp_path, capsys):
    words = ["predict", str(exported()[PAIR].path), str(long), "--output", str(tmp_path / "drawn")]
    cli.app(words, standalone_mode=False)
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.split() == ["video", "start", "end", "class", "probability"]
    assert "0.0 s" in rows[0]
    with Image.open(tmp_path / "drawn" / "long-timeline.png") as strip:
        assert strip.width == 1240


def test_the_command_line_gives_windows_and_segments_in_json(long, capsys):
    cli.app(["predict", str(exported()[PAIR].path), str(long), "--json"], standalone_mode=False)
    (said,) = json.loads(capsys.readouterr().out)
    assert set(said["segments"][0]) == set(said["windows"][0]) == {"start", "end", "class_name", "probability"}


def test_a_short_video_is_told_of_in_one_line_without_times(tmp_path, capsys):
    path = video(tmp_path / "short.mp4", 11)
    cli.app(["predict", str(exported()[PAIR].path), str(path)], standalone_mode=False)
    first, row = capsys.readouterr().out.splitlines()[:2]
    assert first.split() == ["picture", "class", "probability"]
    assert row.startswith(str(path))


def test_where_nobody_knows_how_long_a_window_is_a_long_video_asks_for_it(long, monkeypatch):
    monkeypatch.setattr(clips, "MOST_SECONDS", 2)
    ask = using.Asked(CONTRACT.model_copy(update={"spacing": 0.0}), lambda clip: {})
    with pytest.raises(DataError, match=r"lasts 0:00:04, and the model does not say .* --window SECONDS"):
        timelines.of_videos(ask, [long], None, silent)


@pytest.mark.parametrize("window", [0, -1, 601])
def test_a_window_of_no_time_or_of_hours_is_refused(long, window):
    with pytest.raises(UsageError, match=rf"more than 0 and at most 600 seconds. Received: {window}"):
        kt.predict(exported()[PAIR].path, [long], window=window)


def test_a_model_of_pictures_has_no_window(tmp_path):
    Image.fromarray(export_model.pictures()[0]).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"classification looks at pictures. Leave --window out"):
        kt.predict(export_model.exported()["tflite"], [tmp_path / "a.png"], window=2)


def test_short_and_long_videos_are_told_of_in_the_order_that_they_came_in(long, tmp_path):
    short = [video(tmp_path / f"{name}.mp4", count) for name, count in (("a", 9), ("b", 10))]
    said = kt.predict(exported()[PAIR].path, [short[0], long, short[1]])
    assert [each.seconds for each in said] == [0.9, 4, 1]
    assert [len(each.windows) for each in said] == [1, 18, 1]


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "note.mp4").write_text("this is no video")
    with pytest.raises(DataError, match=r"note.mp4' is no video that can be read"):
        kt.predict(exported()[PAIR].path, [tmp_path / "note.mp4"])
