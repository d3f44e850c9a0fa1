"""Where features are kept and how much they may take, as the command line is told."""

import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_transfer import cli, runs
from keras_transfer.errors import TrainingError, UsageError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (folder / name).mkdir()
        for index in range(12):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype("uint8")).save(folder / name / f"{index}.png")
    return folder


def train(pictures, folder, *options):
    """Train a head for an epoch as the command line does; return the run, or raise what it raises."""
    plan = folder / "plan.toml"
    plan.parent.mkdir(exist_ok=True)
    plan.write_text(
        f'data = "{pictures}"\nbackbone = "MobileNetV2"\nweights = "none"\nimage_size = 32\n'
        '[[stages]]\nname = "head"\nepochs = 1\n'
    )
    arguments = ["train", "--plan", plan, "--run", "small", "--engine", "litert", "--folder", folder, *options]
    done = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    if done.exception:
        raise done.exception
    return runs.open_run(folder / "small")


@contextmanager
def mounted(place, options):
    """A small file system of its own at `place`."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_features_go_to_the_folder_that_was_named(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path / "elsewhere"))
    run = train(pictures, tmp_path / "runs", "--cache-folder", tmp_path / "here")
    assert run.record.stages[0].engine != "none"
    assert len(list((tmp_path / "here" / "features").glob("*/features-0.npy"))) == 2
    assert not (tmp_path / "elsewhere" / "features").exists()


def test_a_limit_that_features_do_not_fit_streams_them_and_says_so(pictures, tmp_path):
    run = train(pictures, tmp_path / "runs", "--cache-folder", tmp_path / "here", "--cache-limit", 0)
    assert run.record.stages[0].engine == "none"
    assert "the cache may take" in run.record.stages[0].engine_reason
    assert not (tmp_path / "here" / "features").exists()


def test_a_limit_below_nothing_is_refused(pictures, tmp_path):
    done = CliRunner().invoke(cli.app, ["train", str(pictures), "--cache-limit", "-1"])
    assert done.exit_code == 2
    assert "--cache-limit" in done.output


def test_a_cache_folder_that_cannot_be_written_is_one_sentence_and_the_run_goes_on_with_another(pictures, tmp_path):
    with (
        mounted(tmp_path / "locked", "ro,size=64m") as locked,
        pytest.raises(TrainingError, match=r"The feature cache '.*locked' cannot take .* \(Read-only file system\)\. "),
    ):
        train(pictures, tmp_path / "runs", "--cache-folder", locked)
    assert train(pictures, tmp_path / "runs", "--cache-folder", tmp_path / "here").record.finished


def test_a_full_cache_folder_stores_nothing_and_training_streams(pictures, tmp_path):
    with mounted(tmp_path / "full", "size=1m") as full:
        (full / "filling").write_bytes(bytes(shutil.disk_usage(full).free - 8192))
        record = train(pictures, tmp_path / "runs", "--cache-folder", full).record
        assert record.finished
        assert record.stages[0].engine == "none"
        assert [each.name for each in full.iterdir()] == ["filling"]


FILLING = """
import sys
import numpy as np
from keras_transfer.errors import TrainingError
from keras_transfer.training.feature_store import Key, obtain
key = Key(**{**dict.fromkeys(Key.__dataclass_fields__, "a"), "seed": 0, "dtype": "float16"})
batch = (np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 2), np.float32), np.ones(4, np.float32))
view = {"count": 256, "feature_shapes": [(16, 16, 8)], "batches": [batch] * 64}
try:
    obtain(__import__("pathlib").Path(sys.argv[1]), key, compute=lambda _: [np.ones((4, 16, 16, 8))], **view)
except TrainingError as error:
    print(error)
"""
"""Stores a view of a megabyte, in a process of its own, which a full disk could end."""


def test_a_cache_folder_that_fills_up_while_a_view_is_stored_is_one_sentence_and_keeps_no_part_of_it(tmp_path):
    with mounted(tmp_path / "filling", "size=300k") as filling:
        done = subprocess.run([sys.executable, "-c", FILLING, filling], capture_output=True, text=True)
        assert done.returncode == 0, f"ended by {-done.returncode}"
        assert "cannot take 1 MB (No space left on device)" in done.stdout
        assert list((filling / "features").iterdir()) == []


def test_an_unknown_watcher_is_refused_before_the_pictures_are_read(tmp_path):
    with pytest.raises(UsageError, match="Unknown watcher 'tensorbord'"):
        train(tmp_path / "nowhere", tmp_path / "runs", "--watch", "tensorbord")
