"""The campaigns in their short form: nothing is lost, each case can be repeated, and what is lost is told."""

import os
import platform
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import campaign_soak  # noqa: E402
import campaigning  # noqa: E402
import striking  # noqa: E402
import verbs  # noqa: E402
from campaign_soak import Seen  # noqa: E402
from losing import Losing  # noqa: E402


def campaign(name, *arguments):
    """Run a campaign in a process of its own, which has no threads yet when it is forked."""
    path = os.pathsep.join([str(SCRIPTS.parent), *sys.path])
    command = [sys.executable, str(SCRIPTS / f"campaign_{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})


@pytest.mark.parametrize(("name", "count"), [("pictures", 100), ("annotations", 45)])
def test_hostile_pictures_and_annotations_lose_nothing(name, count):
    done = campaign(name, "--count", count)
    assert f"{name}: tried {count}, held {count}, lost 0" in done.stdout, done.stdout + done.stderr[-500:]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("kinds", "each"),
    [
        (("run.json", "plan.toml", "manifest.json", "checkpoint", "features", "gallery", "pth"), 6),
        (("tflite", "onnx"), 2),
    ],
    ids=["records and stores", "files of runtimes"],
)
def test_hostile_artifacts_lose_nothing(kinds, each):
    done = campaign("artifacts", "--count", each * len(kinds), *(word for kind in kinds for word in ("--only", kind)))
    for kind in kinds:
        assert f"{kind}: tried {each}, held {each}, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "h5", "weights.h5", "saved_model"])
def test_hostile_files_of_tensorflow_lose_nothing(kind):
    done = campaign("artifacts", "--count", 3, "--only", kind)
    assert f"{kind}: tried 3, held 3, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


STRIKES = ["kill", "disk", "stop", "power"]


@pytest.mark.parametrize(
    "name",
    ["kill", "disk", pytest.param("stop", marks=pytest.mark.slow), pytest.param("power", marks=pytest.mark.slow)],
)
def test_a_clean_table_is_whole_or_not_there_wherever_its_writing_ends(name):
    done = campaign(name, "--count", 1, "--only", "doctor")
    assert f"{name}: tried 1, held 1, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


STRUCK = [(name, verb) for verb in ("train", "export", "report", "bundle", "gallery", "advise") for name in STRIKES]
STRUCK += [("kill", verb) for verb in ("evaluate", "predict", "suggest", "features", "sweep", "train whole numbers")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verb"), STRUCK)
def test_every_verb_ends_with_the_same_bytes_after_it_was_struck(name, verb):
    done = campaign(name, "--count", 1, "--only", verb)
    assert f"{name}: tried 1, held 1, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("limits", "file size doctor"),
        ("limits", "open files doctor"),
        pytest.param("limits", "room features", marks=pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")),
        ("together", "one table"),
        ("together", "one gallery"),
        ("circumstances", "LANG=C"),
        ("circumstances", "no home"),
        ("circumstances", "no terminal"),
        ("circumstances", "output closed"),
        ("circumstances", "odd path"),
        ("circumstances", "long names"),
        ("circumstances", "one picture"),
    ],
)
def test_odd_circumstances_lose_nothing(name, kind):
    done = campaign(name, "--count", 1, "--only", kind)
    assert f"{name}: tried 1, held 1, lost 0" in done.stdout, done.stdout + done.stderr[-500:]


def test_every_verb_begins_where_another_ends():
    assert {verb.after for verb in verbs.VERBS.values()} - {""} <= set(verbs.VERBS)
    assert all(verb.ends_with for verb in verbs.VERBS.values())


def failed(folder, names):
    """What a power failure leaves of a file that was synced, one that was not, and one that got another's name."""
    code = f"""
import os, pathlib, losing
folder = pathlib.Path({str(folder)!r})
watched = losing.Losing(folder)
watched.watch()
for name in ("safe", "used", "late", "late and used"):
    (folder / name).write_bytes(b"new")
for name in ("safe", "used"):
    with open(folder / name, "rb") as file:
        os.fsync(file.fileno())
for name in ("used", "late and used"):
    os.utime(folder / name)
watched.renames(str(folder / "safe"), str(folder / "old"))
os.replace(folder / "safe", folder / "old")
watched.lose(names={names})
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_power_failure_takes_what_was_not_synced_and_by_choice_the_names_given_since(tmp_path):
    by_time = {"used": b"new", "late and used": b"", "late": b""}  # a time that is set changes no byte of a file
    for names, left in ((False, {"old": b"new"}), (True, {"old": b"old", "safe": b"new"})):
        folder = tmp_path / str(names)
        folder.mkdir()
        (folder / "old").write_bytes(b"old")
        assert failed(folder, names) == left | by_time


def test_names_stay_whose_folder_was_synced(tmp_path, monkeypatch):
    watched = Losing(tmp_path)
    for name in ("fsync", "utime"):
        monkeypatch.setattr(os, name, getattr(os, name))  # put back at the end
    watched.watch()
    watched.renames(str(tmp_path / "a"), str(tmp_path / "b"))
    place = os.open(tmp_path, os.O_RDONLY)
    os.fsync(place)
    os.close(place)
    assert watched.given == []


def test_a_soak_tells_what_grows():
    flat = [Seen(10**9, 40, 9)] * 9
    assert campaign_soak.lost(flat) == []
    assert campaign_soak.lost([Seen(10**9 + number * 10**8, 40 + number, 9) for number in range(9)]) == [
        "files grew from 45 to 46",
        "memory grew from 1400 to 1700 MB",
    ]
    assert campaign_soak.lost(flat[:2]) == ["2 rounds are too few to tell: give more --minutes"]


def test_what_is_lost_is_told_with_the_line_that_repeats_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["campaign", "--count", "3", "--seed", "7"])
    with pytest.raises(SystemExit) as ended:
        campaigning.main("own", ("a", "b"), lambda kind, rng, folder: "gone" if kind == "b" else "", count=9)
    told = capsys.readouterr().out
    assert "lost: b, gone\n  again: scripts/campaign own --count 1 --seed 7 --only b\n" in told
    assert "own: tried 3, held 1, lost 2" in told
    assert ended.value.code == 1


def test_a_campaign_that_is_stopped_tells_what_it_tried(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["campaign", "--count", "3"])

    def attempt(kind, rng, folder):
        if kind == "b":
            os.kill(os.getpid(), signal.SIGINT)
        return ""

    with pytest.raises(SystemExit) as ended:
        campaigning.main("own", ("a", "b"), attempt, count=9)
    assert "own: tried 1, held 1, lost 0, in 0 s, from seed 0; stopped before 3" in capsys.readouterr().out
    assert ended.value.code == 1


def test_a_crash_too_much_memory_and_no_end_are_lost_and_take_nothing_down():
    assert campaigning.apart(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (None, "ended by SIGKILL")
    assert campaigning.apart(lambda: bytearray(2**40)) == (None, "MemoryError: ")
    assert campaigning.apart(lambda: "fine") == ("fine", "")


OVERFLOW = """
import ctypes, campaigning
campaigning.check_heap()
ctypes.pythonapi.PyMem_RawMalloc.restype = ctypes.c_void_p
def overflow():
    block = ctypes.c_void_p(ctypes.pythonapi.PyMem_RawMalloc(ctypes.c_size_t(1000)))
    ctypes.memset(block, 1, 1016)
    ctypes.pythonapi.PyMem_RawFree(block)
print(campaigning.apart(overflow)[1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the checks are those of glibc")
def test_what_writes_past_the_end_of_a_block_is_lost(tmp_path):
    (tmp_path / "overflow.py").write_text(OVERFLOW)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), *sys.path])}
    command = [sys.executable, str(tmp_path / "overflow.py")]
    assert subprocess.check_output(command, env=environment, text=True) == "ended by SIGABRT\n"


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
    (tmp_path / "events.jsonl").write_bytes(b"")  # a journal grows from nothing
    assert not striking.is_half(tmp_path / "events.jsonl")
