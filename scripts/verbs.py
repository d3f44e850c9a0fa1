"""The verbs that campaigns run on small pictures: how each begins, what it ends with, and one run of it."""

import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.training import recipes

SIDE = 32

PLAN = """data = "pictures"
backbone = "MobileNetV2"
weights = "none"
image_size = 32
[[stages]]
name = "head"
epochs = 2
"""

FACES = """data = "people"
task = "embedding"
backbone = "EfficientNetLite0"
image_size = 32
[[stages]]
name = "head"
epochs = 1
"""


@dataclass(frozen=True)
class Verb:
    """A command line, and what is the same whenever it was run."""

    words: tuple[str, ...]
    ends_with: tuple[str, ...]
    """Files that are the same, byte for byte, by their names or by patterns of them."""
    after: str = ""
    """The verb whose end it begins from; nothing was run before it where this is empty."""


def _trained(*words: str, name: str = "small", stage: str = "0-head", after: str = "") -> Verb:
    return Verb(("train", *words, "--run", name), (f"saved_models/{name}/stages/{stage}/weights.npz",), after)


def _by_recipe(name: str) -> Verb:
    """A recipe on a backbone with its pretrained weights, an epoch of each stage."""
    stages = recipes.stages(name, 5)
    return _trained(
        "pictures", "--recipe", name, *_SMALL, "--epochs", "1", stage=f"{len(stages) - 1}-{stages[-1].name}"
    )


RUN = "saved_models/small"
_SMALL = ("--backbone", "EfficientNetLite0", "--image-size", str(SIDE))
_LARGER = (*_SMALL[:-1], str(2 * SIDE))
"""Detectors want at least two places a side of their coarsest map."""
_TRIALS = ("--recipes", "head", "--sizes", str(SIDE), "--seeds", "0,1")

VERBS: dict[str, Verb] = {
    "train": _trained("--plan", "plan.toml"),
    "train streamed": _trained("--plan", "plan.toml", "--engine", "stream"),
    **{f"train {name}": _by_recipe(name) for name in recipes.ADVISED},
    "train whole numbers": Verb(
        ("train", "pictures", "--recipe", f"head{recipes.WHOLE}", *_SMALL, "--epochs", "1", "--run", "whole"),
        ("saved_models/whole/stages/0-head/weights.npz", "saved_models/whole/int8/stages/0-int8/weights.npz"),
    ),
    "train faces": _trained("--plan", "faces.toml", name="faces"),
    "train solved": _trained("people", "--task", "embedding", "--recipe", "solved", "head=grid", *_SMALL),
    "train boxes": _trained("boxes.csv", "--task", "detection", *_LARGER, "--epochs", "1", stage="1-all"),
    "train masks": _trained("scenes", "--task", "segmentation", *_SMALL, "--epochs", "1", stage="1-all"),
    "train clips": _trained("films", "--task", "clips", "frames=2", *_SMALL, "--epochs", "1", stage="2-top"),
    "export": Verb(
        ("export", RUN, "--format", "tflite", "--format", "onnx"),
        (f"{RUN}/exports/model.tflite", f"{RUN}/exports/model.onnx"),
        after="train",
    ),
    "export saved_model": Verb(
        ("export", RUN, "--format", "saved_model"),
        (f"{RUN}/exports/saved_model/variables/variables.data-00000-of-00001",),
        after="train",
    ),
    "verify": Verb(("verify", RUN), (f"{RUN}/exports/model.tflite", f"{RUN}/exports/model.onnx"), after="export"),
    "report": Verb(("report", RUN), (f"{RUN}/report.html",), after="export"),
    "bundle": Verb(("bundle", RUN, "--for", "python"), (f"{RUN}/bundles/small-python.zip",), after="export"),
    "evaluate": Verb(("evaluate", RUN, "--split", "train"), (f"{RUN}/answers/train.npz",), after="train"),
    "predict": Verb(
        ("predict", RUN, "pictures/ant/0.png", "pictures/bee/1.png", "--output", "seen"), ("seen/*.png",), after="train"
    ),
    "suggest": Verb(
        ("suggest", RUN, "people", "--count", "3", "--write", "people/to-label.csv", "--html", "page.html"),
        ("people/to-label.csv", "page.html"),
        after="train",
    ),
    "gallery": Verb(
        ("gallery", "saved_models/faces", "people", "--file", "known.npz"), ("known.npz",), after="train faces"
    ),
    "doctor": Verb(("doctor", "pictures", "--write", "clean.csv", "--no-labels"), ("clean.csv",)),
    "advise": Verb(("advise", "pictures", *_SMALL, "--write", "advised.toml"), ("advised.toml",)),
    "features": Verb(("features", "pictures", *_SMALL), (".KERAS_TRANSFER_CACHE/features/*/*.npy",)),
    "sweep": Verb(
        ("sweep", "pictures", "weights=none", "epochs=1", "--backbones", "MobileNetV2", *_TRIALS),
        ("saved_models/*/stages/0-head/weights.npz", "saved_models/*/exports/model.tflite"),
    ),
}


def begin(folder: Path) -> None:
    """Write the pictures and the plans that the verbs take."""
    drawn(folder / "pictures", ("ant", "bee"), 12)
    drawn(folder / "people", tuple("abcdefgh"), 4)
    scenes(folder)
    films(folder / "films", ("left", "right"), 8)
    (folder / "plan.toml").write_text(PLAN)
    (folder / "faces.toml").write_text(FACES)


def drawn(folder: Path, names: Sequence[str], count: int, *, others: int = 0) -> None:
    """Write so many pictures for each name: what is of one name is alike, and unlike so many that were drawn before."""
    for number, name in enumerate(names, others):
        (folder / name).mkdir(parents=True)
        base = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
        for each in range(count):
            noise = np.random.default_rng(1000 * number + each).normal(0, 40, base.shape)
            picture = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
            picture.save(folder / name / f"{each}.png")


def scenes(folder: Path, count: int = 20) -> None:
    """Write pictures of a square on a ground, the mask of each beside it, and a table of the boxes around them."""
    for name in ("images", "masks"):
        (folder / "scenes" / name).mkdir(parents=True)
    (folder / "scenes" / "masks" / "classes.csv").write_text("name,value\nground,0\nsquare,1\n")
    rng, rows = np.random.default_rng(7), ["path,label,x1,y1,x2,y2"]
    for number in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        x, y = rng.integers(0, SIDE // 2, 2)
        mask[y : y + SIDE // 2, x : x + SIDE // 2] = 1
        name, light = (("grey", 80), ("white", 150))[number % 2]
        seen = rng.integers(0, 100, (SIDE, SIDE, 3), np.uint8) + np.uint8(light) * mask[..., None]
        Image.fromarray(seen).save(folder / "scenes" / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "scenes" / "masks" / f"{number}.png")
        rows.append(f"scenes/images/{number}.png,{name},{x},{y},{x + SIDE // 2},{y + SIDE // 2}")
    (folder / "boxes.csv").write_text("\n".join([*rows, ""]))


def films(folder: Path, names: Sequence[str], count: int) -> None:
    """Write so many clips of two frames for each way in which a bar moves."""
    for way, name in zip((-1, 1), names, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            frames = []
            for step in range(2):
                frame = np.random.default_rng(100 * number + way + 1).integers(0, 80, (SIDE, SIDE, 3), np.uint8)
                frame[:, 12 + 8 * way * step : 20 + 8 * way * step] += 150
                frames.append(Image.fromarray(frame))
            frames[0].save(folder / name / f"{number}.gif", save_all=True, append_images=frames[1:], duration=100)


@cache
def reference(name: str) -> tuple[Path, Mapping[str, str]]:
    """The folder in which a verb begins, and what it ends with, from a run that nothing disturbed but was counted."""
    verb, place = VERBS[name], Path(tempfile.mkdtemp(prefix="campaign-base-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    shutil.copytree(after(verb.after), place / "base") if verb.after else begin(place / "base")
    shutil.copytree(place / "base", place / "after")
    given = (str(place / "after"), verb.words)
    counted = f"import striking; striking.struck(*{given!r}, count={str(place / 'count')!r})"
    code, said = run(verb.words, place / "after", code=counted)
    found = results(name, place / "after")
    if code or not found:
        raise SystemExit(f"'{name}' fails by itself: {said}")
    return place / "base", found


def after(name: str) -> Path:
    """The folder as a verb leaves it."""
    return reference(name)[0].parent / "after"


def writings(name: str) -> int:
    """How often a verb writes where nothing strikes it."""
    return int((reference(name)[0].parent / "count").read_text())


def results(name: str, folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a verb ends with, as far as they are there."""
    paths = (path for each in VERBS[name].ends_with for path in sorted(folder.glob(each)))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def environment(folder: Path, **others: str) -> dict[str, str]:
    """What a verb finds around it: a cache and a state of its own in the folder."""
    own = {name: str(folder / f".{name}") for name in ("KERAS_TRANSFER_CACHE", "KERAS_TRANSFER_STATE")}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return os.environ | own | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"} | others


def run(words: Sequence[str], folder: Path, code: str = "", **options: Any) -> tuple[int, str]:
    """Run a command line in a folder; its exit code and what it said.

    code: Python to run in place of the program. options: of `subprocess.run`, such as another environment.
    """
    command = [sys.executable, *(("-c", code) if code else ("-m", "keras_transfer", *words))]
    given = {"env": environment(folder), "stdin": subprocess.DEVNULL, "capture_output": True} | options
    done = subprocess.run(command, cwd=folder, text=True, errors="replace", check=False, **given)
    return done.returncode, ((done.stdout or "") + (done.stderr or "")).strip()
