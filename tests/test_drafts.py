"""What is written aside: whole and on the disk before it has its name, and swept out where its process died."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from keras_transfer import files
from keras_transfer.errors import RunError
from keras_transfer.training import feature_store


def hidden(folder):
    return [each.name for each in folder.iterdir() if each.name.startswith(files.DRAFTS)]


def killed_while_writing(folder):
    code = f"""
import os, pathlib, signal
from keras_transfer import files
with files.drafted(pathlib.Path({str(folder)!r}) / "a.json") as draft:
    draft.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_wrote_aside_is_swept_out_by_the_next_one_that_writes_there(tmp_path):
    killed_while_writing(tmp_path)
    assert len(hidden(tmp_path)) == 1
    files.write_bytes(tmp_path / "b.json", b"{}")
    assert [each.name for each in tmp_path.iterdir()] == ["b.json"]


def test_what_is_being_written_is_left_alone(tmp_path):
    with files.drafted(tmp_path / "slow") as slow:
        slow.write_bytes(b"first half")
        files.write_bytes(tmp_path / "quick", b"")
        slow.write_bytes(slow.read_bytes() + b", second half")
    assert (tmp_path / "slow").read_bytes() == b"first half, second half"
    assert hidden(tmp_path) == []


def test_hidden_folders_of_people_are_left_alone(tmp_path):
    (tmp_path / ".a.json-old").mkdir()
    files.write_bytes(tmp_path / "a.json", b"")
    assert (tmp_path / ".a.json-old").is_dir()


@pytest.mark.parametrize("name", ["a" * 255, "ж" * 127, "猫" * 85])
def test_a_name_may_be_as_long_as_the_file_system_takes(name, tmp_path):
    files.write_bytes(tmp_path / name, b"1")
    assert (tmp_path / name).read_bytes() == b"1"


def test_a_name_that_is_too_long_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"could not be written \(File name too long\)"):
        files.write_bytes(tmp_path / ("a" * 256), b"1")


def test_files_are_on_the_disk_before_their_names_and_names_when_it_returns(tmp_path, monkeypatch):
    seen = []
    sync, replace = os.fsync, os.replace

    def synced(number):
        seen.append(("synced", os.path.basename(os.readlink(f"/proc/self/fd/{number}"))))
        sync(number)

    def named(old, new):
        seen.append(("named", os.path.basename(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", named)
    with files.drafted(tmp_path / "bundle") as draft:
        draft.mkdir()
        (draft / "inside").write_bytes(b"1")
    assert seen == [("synced", "inside"), ("synced", "bundle"), ("named", "bundle"), ("synced", tmp_path.name)]


def test_a_folder_takes_the_place_of_another_and_leaves_nothing(tmp_path):
    for content in (b"1", b"2"):
        with files.drafted(tmp_path / "bundle") as draft:
            draft.mkdir()
            (draft / "inside").write_bytes(content)
    assert (tmp_path / "bundle" / "inside").read_bytes() == b"2"
    assert hidden(tmp_path) == []


KEY = feature_store.Key(**{**dict.fromkeys(feature_store.Key.__dataclass_fields__, "a"), "seed": 0, "dtype": "float16"})


def obtained(folder, value):
    batch = (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 3), np.float32), np.ones(2, np.float32))
    compute = lambda _: [np.full((2, 5), value)]  # noqa: E731
    given = {"count": 2, "feature_shapes": [(5,)], "compute": compute, "batches": [batch]}
    return feature_store.obtain(folder, KEY, **given).features[0][0, 0]


def test_features_of_which_a_killed_eviction_left_half_are_computed_again(tmp_path):
    obtained(tmp_path, 1)
    place = tmp_path / "features" / KEY.name
    (place / "key.json").unlink()
    assert obtained(tmp_path, 2) == 2


def test_features_that_vanish_are_computed_again(tmp_path):
    obtained(tmp_path, 1)
    feature_store._evict(tmp_path / "features", 0, keep="another")
    assert list((tmp_path / "features").iterdir()) == []
    assert obtained(tmp_path, 2) == 2


def test_of_two_who_add_to_a_file_at_once_nobody_is_forgotten(tmp_path):
    code = f"""
import pathlib, sys, time
from keras_transfer import files
path = pathlib.Path({str(tmp_path / "names")!r})
for number in range(20):
    with files.alone(path):
        before = path.read_bytes() if path.exists() else b""
        time.sleep(0.001)
        files.write_bytes(path, before + sys.argv[1].encode())
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "ab"]
    assert [each.wait() for each in both] == [0, 0]
    assert sorted((tmp_path / "names").read_text()) == ["a"] * 20 + ["b"] * 20
