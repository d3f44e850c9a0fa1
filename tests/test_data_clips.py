"""Clips: what sources of videos list, which frames stand for them, and what bad ones are told."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from keras_transfer.data import clips, pipeline
from keras_transfer.data.samples.moving import MOVES, moving
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError

SIDE, RATE = 32, 10


def video(path, frames, codec="mp4v", start=0):
    """A video whose frames get lighter by 5 a frame, so that each tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), RATE, (SIDE, SIDE))
    for number in range(frames):
        writer.write(np.full((SIDE, SIDE, 3), start + 5 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of six videos each."""
    for label, start in (("bright", 50), ("dark", 0)):
        for number in range(6):
            video(tmp_path / "videos" / label / f"{number}.mp4", 12 + number, start=start)
    return tmp_path / "videos"


def test_evenly_spaced_frames_are_the_middles_of_equal_parts(tmp_path):
    path = video(tmp_path / "a.avi", 40, codec="MJPG")
    frames = clips.frames_of(str(path), 4, SIDE, "stretch")
    numbers = frames.mean((1, 2, 3)) / 5
    assert np.allclose(numbers, [5, 15, 25, 35], atol=1)


def test_a_part_of_a_video_gives_frames_of_that_part_alone(tmp_path):
    path = video(tmp_path / "a.avi", 40, codec="MJPG")
    frames = clips.frames_of(clips.Clip(str(path), 2.0, 3.0).address, 2, SIDE, "stretch")
    assert np.allclose(frames.mean((1, 2, 3)) / 5, [22, 27], atol=1)


def test_frames_far_apart_are_the_same_whether_sought_or_passed_by(tmp_path, monkeypatch):
    path = video(tmp_path / "a.mp4", 50)
    passed = clips.frames_of(str(path), 4, SIDE, "stretch")
    monkeypatch.setattr(clips, "SEEK_FROM", 2)
    assert np.abs(clips.frames_of(str(path), 4, SIDE, "stretch").astype(int) - passed).max() <= 2


def test_a_folder_of_class_folders_becomes_batches_of_clips(folder):
    splits = load(str(folder), annotation="clip")
    feed = pipeline.make_feed(splits, cache_bytes=0)
    images, targets, weights = next(iter(feed("train", image_size=48, batch_size=2, augment="light", shuffle=True)))
    assert images.shape == (2, 8, 48, 48, 3)
    assert targets.shape == (2, 2)
    assert weights.numpy().tolist() == [1, 1]
    assert splits.class_names == ("bright", "dark")


def test_all_frames_of_a_clip_are_augmented_alike(folder):
    splits = load("sample:fashion-clips", annotation="clip")
    still = np.repeat(splits.train.pictures[:4, :1], 8, axis=1)
    few = type(splits.train)("train", still, splits.train.labels[:4], splits.train.keys[:4])
    feed = pipeline.make_feed(replace(splits, train=few))
    images, *_ = next(iter(feed("train", image_size=32, batch_size=4, augment="standard", epoch=3)))
    assert (images.numpy() == images.numpy()[:, :1]).all()


def in_time(folder, epoch, *, split="train", augment="light_in_time", seed=0):
    """Which frames a view of the clips in `folder` takes, of each clip, by how light they are."""
    feed = pipeline.make_feed(load(str(folder), annotation="clip"), seed=seed)
    feed = pipeline.make_feed(replace(feed.splits, frames=4), seed=seed)
    images, targets, _ = next(iter(feed(split, image_size=SIDE, batch_size=16, augment=augment, epoch=epoch)))
    darkest = 50 * targets.numpy()[:, :1]  # the first class is the bright one
    return np.round((images.numpy().mean((2, 3, 4)) - darkest) / 5).astype(int)


def test_a_view_in_time_takes_each_frame_from_its_part_and_keeps_their_order(folder):
    middle, first, second = in_time(folder, 0, augment="none"), in_time(folder, 0), in_time(folder, 1)
    assert (np.diff(first) > 0).all()
    assert np.abs(first - middle).max() <= 3
    assert (first != middle).any()
    assert (first != second).any()


def test_views_in_time_are_the_same_for_the_same_seed_and_epoch_alone(folder):
    assert (in_time(folder, 3, seed=7) == in_time(folder, 3, seed=7)).all()
    assert (in_time(folder, 3, seed=7) != in_time(folder, 3, seed=8)).any()


def test_frames_that_a_view_took_elsewhere_are_not_kept_for_the_others(folder):
    feed = pipeline.make_feed(load(str(folder), annotation="clip"))
    plain, _, again = (
        np.concatenate([images for images, *_ in feed("train", image_size=SIDE, batch_size=3, augment=augment)])
        for augment in ("none", "light_in_time", "none")
    )
    assert (plain == again).all()


def test_views_in_time_of_clips_in_memory_take_other_frames_too():
    frames = np.arange(8)
    assert clips.chosen(frames, 4, np.array([0.0, 0.9, 0.0, 0.9])).tolist() == [0, 3, 4, 7]
    assert clips.chosen(frames, 8, np.full(8, 0.99)).tolist() == frames.tolist()


def test_a_broken_video_is_named_and_left_out(folder):
    (folder / "dark" / "6.mp4").write_bytes(b"this is no video, whatever its name says")
    splits = load(str(folder), annotation="clip")
    assert splits.skipped == (
        "dark/6.mp4 is no video that can be read (its content is not what its name says, or it is cut off)",
    )


def test_a_video_of_one_frame_is_named_and_left_out(folder):
    video(folder / "dark" / "6.mp4", 1)
    assert load(str(folder), annotation="clip").skipped == (
        "dark/6.mp4 shows one frame, and movement needs two at least",
    )


def test_hours_of_video_are_no_clip():
    four_hours = clips.Facts(frames=4 * 3600 * 25, per_second=25, side=240)
    with pytest.raises(
        DataError, match=r"lasts 4:00:00, and a clip shows one action of at most 0:10:00: list its parts"
    ):
        clips.positions(four_hours, clips.Clip("day.mp4"), 8)


def test_a_part_behind_the_end_of_its_video_shows_no_frames():
    facts = clips.Facts(frames=50, per_second=25, side=240)
    with pytest.raises(DataError, match="shows no frames from 5 s to 2 s"):
        clips.positions(facts, clips.Clip("a.mp4", 5, 9), 8)


def table(folder, rows, header="path,start,end,label,split"):
    path = folder / "clips.csv"
    path.write_text("\n".join([header, *rows]))
    return str(path)


def test_a_table_names_parts_of_videos_and_they_stand_in_one_split(folder):
    rows = [
        f"{label}/{n}.mp4,{s},{s + 0.5},{label}," for label in ("bright", "dark") for n in range(6) for s in (0, 0.5)
    ]
    splits = load(table(folder, rows), annotation="clip")
    split_of = {}
    for name in ("train", "validation", "test"):
        for address in splits[name].pictures:
            split_of.setdefault(clips.clip_of(str(address)).path, set()).add(name)
    assert sum(splits.counts.values()) == 24
    assert all(len(names) == 1 for names in split_of.values())


def test_a_clip_that_starts_behind_its_end_is_refused_by_its_row(folder):
    with pytest.raises(DataError, match=r"row 1: a clip ends after it starts. Received: start 3, end 1"):
        load(table(folder, ["dark/0.mp4,3,1,dark,"]), annotation="clip")


def test_a_time_that_is_no_number_is_refused_by_its_row(folder):
    with pytest.raises(DataError, match=r"row 1: 'start' is a number of seconds, 0 or more. Received: 'soon'"):
        load(table(folder, ["dark/0.mp4,soon,1,dark,"]), annotation="clip")


def test_parts_that_overlap_across_splits_are_refused(folder):
    rows = [f"{label}/{n}.mp4,,,{label}," for label in ("bright", "dark") for n in range(1, 6)]
    rows += ["dark/0.mp4,0,0.8,dark,train", "dark/0.mp4,0.4,1.2,dark,test", "bright/0.mp4,,,bright,test"]
    with pytest.raises(
        DataError, match=r"'dark/0.mp4#t=0,0.8' in (train|validation) and 'dark/0.mp4#t=0.4,1.2' in test, which overlap"
    ):
        load(table(folder, rows), annotation="clip")


def test_a_folder_of_videos_asked_for_pictures_says_which_task_takes_them(folder):
    with pytest.raises(DataError, match=r"holds no pictures.* It holds videos: to train on these, add --task clips."):
        load(str(folder))


def test_the_moves_of_the_sample_differ_by_the_order_of_frames_alone():
    garment = np.full((1, 28, 28), 200, np.uint8)
    made, moves = moving(garment, count=400, frames=8, seed=0)
    light = made.mean((1, 2, 3))
    of_move = [light[moves == move] for move in range(len(MOVES))]
    off = [(each.mean() - light.mean()) / (light.std() / np.sqrt(len(each))) for each in of_move]
    assert np.abs(off).max() < 4  # standard errors: a frame's light says nothing of its move
