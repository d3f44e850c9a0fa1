"""Runs a verb that is struck while it writes, and looks at what is left: what the campaigns `kill` and `disk` share."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WRITING = os.O_WRONLY | os.O_RDWR
MAKING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
UNFORESEEN = "Something unforeseen"

PLAN = """data = "pictures"
backbone = "MobileNetV2"
weights = "none"
image_size = 32
[[stages]]
name = "head"
epochs = 2
"""

VERBS: dict[str, tuple[str, ...]] = {
    "train": ("train", "--plan", "plan.toml", "--run", "small"),
    "export": ("export", "saved_models/small", "--format", "tflite"),
    "verify": ("verify", "saved_models/small"),
    "report": ("report", "saved_models/small"),
    "doctor": ("doctor", "pictures", "--write", "clean.csv", "--no-labels"),
}
"""Each begins where the ones before it ended; doctor where nothing is yet."""

RESULTS: dict[str, tuple[str, ...]] = {
    "train": ("saved_models/small/stages/0-head/weights.npz",),
    "export": ("saved_models/small/exports/model.tflite",),
    "verify": ("saved_models/small/exports/model.tflite",),
    "report": ("saved_models/small/report.html",),
    "doctor": ("clean.csv",),
}
"""Files that a verb ends with, the same bytes whenever it ran."""


def begin(folder: Path) -> None:
    """Write the pictures and the plan that the verbs take."""
    for number, name in enumerate(("ant", "bee")):
        (folder / "pictures" / name).mkdir(parents=True)
        for each in range(12):
            pixels = np.random.default_rng(100 * number + each).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{each}.png")
    (folder / "plan.toml").write_text(PLAN)


@cache
def reference(verb: str) -> tuple[Path, int, Mapping[str, str]]:
    """The folder in which a verb begins, how often it writes, and what it ends with, from a run that nothing struck."""
    place = Path(tempfile.mkdtemp(prefix="campaign-base-"))
    before = {"export": "train", "verify": "export", "report": "export"}.get(verb)
    shutil.copytree(after(before), place / "base") if before else begin(place / "base")
    shutil.copytree(place / "base", place / "after")
    code, said = run(verb, place / "after", count=place / "count")
    if code:
        raise SystemExit(f"'{verb}' fails by itself: {said}")
    return place / "base", int((place / "count").read_text()), results(verb, place / "after")


def after(verb: str) -> Path:
    """The folder as a verb leaves it."""
    return reference(verb)[0].parent / "after"


def results(verb: str, folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a verb ends with, empty where it is not there."""
    found = {}
    for name in RESULTS[verb]:
        path = folder / name
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def run(verb: str, folder: Path, **strike: Any) -> tuple[int, str]:
    """Run a verb in a folder, struck or counted as `struck` takes it; its exit code and what it said."""
    told = {name: str(value) for name, value in strike.items()}
    code = f"import striking; striking.struck({str(folder)!r}, {VERBS[verb]!r}, **{told!r})"
    home = {name: str(folder / f".{name}") for name in ("KERAS_TRANSFER_CACHE", "KERAS_TRANSFER_STATE")}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | home | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def struck(folder: str, arguments: Sequence[str], *, at: str = "0", how: str = "", count: str = "") -> None:
    """Run the command line with arguments, and strike at its `at`-th writing below a folder.

    A writing is a file that is opened to be written, a folder made, a name given or taken away. how: `kill` ends the
    process as SIGKILL does, `full` raises what a full disk raises, from there on. count: where to write how many.
    """
    from keras_transfer.__main__ import main

    seen = 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event in MAKING or (event == "open" and isinstance(given[2], int) and given[2] & WRITING)
        if not writes or not str(given[0]).startswith((folder, *map(str, ("saved_models", "clean", ".clean")))):
            return
        seen += 1
        if how == "kill" and seen == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "full" and seen >= int(at) and event not in ("os.remove", "os.rmdir"):
            raise OSError(28, os.strerror(28))

    sys.addaudithook(hook)
    sys.argv = ["keras-transfer", *arguments]
    try:
        main()
    finally:
        if count:
            made, seen = seen, -(10**9)
            Path(count).write_text(str(made))


def attempt(verb: str, rng: random.Random, folder: Path, how: str) -> str:
    """Strike a verb at a moment that the seed chooses, look at what it left, and run it again; what was lost."""
    base, writings, wanted = reference(verb)
    at, work = rng.randrange(1, writings + 1), folder / "work"
    shutil.copytree(base, work)
    code, said = run(verb, work, at=at, how=how)
    when = f"at writing {at} of {writings}"
    if how == "kill" and code != -signal.SIGKILL:
        return f"{when}: was to be killed and ended with {code}: {said[-300:]}"
    if UNFORESEEN in said or (code not in (0, 1, -signal.SIGKILL)):
        return f"{when}: exit code {code}, {said[-300:]}"
    if half := next((str(path.relative_to(work)) for path in work.rglob("*") if is_half(path)), ""):
        return f"{when}: '{half}' is half a file"
    code, said = run(verb, work)
    if code:
        return f"{when}: the same command then ended with {code}: {said[-300:]}"
    found = results(verb, work)
    return "" if found == wanted else f"{when}: the same command then ended with other bytes of {sorted(found)}"


def is_half(path: Path) -> bool:
    """Whether a file that has its final name cannot be what its name says; drafts lie in hidden folders."""
    if not path.is_file() or any(part.startswith(".") for part in path.parts[1:]):
        return False
    try:
        if path.suffix in (".npz", ".keras"):
            with zipfile.ZipFile(path) as packed:
                return packed.testzip() is not None
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (ValueError, OSError, zipfile.BadZipFile):
        return True
    return path.stat().st_size == 0
