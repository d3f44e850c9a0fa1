"""The campaigns in their short form: nothing is lost, each case can be repeated, and what is lost is told."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import campaigning  # noqa: E402
import striking  # noqa: E402


def campaign(name, *arguments):
    """Run a campaign in a process of its own, which has no threads yet when it is forked."""
    path = os.pathsep.join([str(SCRIPTS.parent), *sys.path])
    command = [sys.executable, str(SCRIPTS / f"campaign_{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})


@pytest.mark.parametrize(("name", "count"), [("pictures", 60), ("annotations", 45)])
def test_hostile_pictures_and_annotations_lose_nothing(name, count):
    done = campaign(name, "--count", count)
    assert f"{name}: tried {count}, held {count}, lost 0" in done.stdout, done.stdout + done.stderr[-500:]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("run.json", 6),
        ("plan.toml", 6),
        ("manifest.json", 6),
        ("checkpoint", 6),
        ("features", 6),
        ("gallery", 6),
        ("pth", 6),
        ("tflite", 2),
        ("onnx", 2),
    ],
)
def test_hostile_artifacts_lose_nothing(kind, count):
    done = campaign("artifacts", "--count", count, "--only", kind)
    assert f"{kind}: tried {count}, held {count}, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


@pytest.mark.parametrize("name", ["kill", "disk"])
def test_a_clean_table_is_whole_or_not_there_wherever_its_writing_ends(name):
    done = campaign(name, "--count", 1, "--only", "doctor")
    assert f"{name}: tried 1, held 1, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kill", "disk"])
def test_every_verb_ends_with_the_same_bytes_after_it_was_struck(name):
    done = campaign(name, "--count", 5)
    assert f"{name}: tried 5, held 5, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


def test_what_is_lost_is_told_with_the_line_that_repeats_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["campaign", "--count", "3", "--seed", "7"])
    with pytest.raises(SystemExit) as ended:
        campaigning.main("own", ("a", "b"), lambda kind, rng, folder: "gone" if kind == "b" else "", count=9)
    told = capsys.readouterr().out
    assert "lost: b, gone\n  again: scripts/campaign own --count 1 --seed 7\n" in told
    assert "own: tried 3, held 1, lost 2" in told
    assert ended.value.code == 1


def test_a_crash_too_much_memory_and_no_end_are_lost_and_take_nothing_down():
    assert campaigning.apart(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (None, "ended by SIGKILL")
    assert campaigning.apart(lambda: bytearray(2**40)) == (None, "MemoryError: ")
    assert campaigning.apart(lambda: "fine") == ("fine", "")


@pytest.mark.parametrize("way", campaigning.OF_TEXT, ids=lambda way: way.__name__)
def test_a_seed_changes_bytes_in_one_way_alone(way):
    content = bytes(range(256)) * 4
    assert way(content, random.Random(3)) == way(content, random.Random(3)) != way(content, random.Random(4))


def test_half_a_file_under_its_final_name_is_found(tmp_path):
    for name, content in (("run.json", b'{"a"'), ("model.keras", b"PK"), ("clean.csv", b"")):
        (tmp_path / name).write_bytes(content)
        assert striking.is_half(tmp_path / name)
    (tmp_path / "clean.csv").write_bytes(b"path,label\n")
    assert not striking.is_half(tmp_path / "clean.csv")
