"""The target `python`: a package with a wheel that needs neither TensorFlow nor this package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from keras_transfer.bundles import data, filling
from keras_transfer.bundles.content import Content

REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "tflite": ("ai-edge-litert>=2.1", "numpy>=2", "pillow>=11"),
    "onnx": ("onnxruntime>=1.20", "numpy>=2", "pillow>=11"),
}
"""Of the package, by the format of its model."""
OF_VIDEOS = ("opencv-python-headless>=4.10",)
"""What reads videos, for models of clips."""
CLIPS = "clips.py"
"""The module that does, which packages for pictures are without."""
VERBS: Mapping[str, str] = {"segmentation": "segment", "detection": "detect", "embedding": "embed"}
"""What its command calls asking, by task; `classify` for the others."""
OLDEST = 315_532_800
"""Seconds from 1970 to 1980, where the time of zip files begins: wheels of equal content are equal."""


def write(content: Content, folder: Path) -> None:
    """Write the project, and its wheel in `dist/`."""
    write_project(content, folder)
    _build(folder)
    data.write_json(folder / data.BUNDLE_FILE, data.described(content))


def write_project(content: Content, folder: Path) -> None:
    """Write the sources of the package, its data inside."""
    contract = content.artifact.contract
    thing = "videos" if contract.frames else "pictures"
    given = data.values(
        content,
        requirements=requirements(content),
        verb=VERBS.get(contract.task, "classify"),
        place=f"{content.package}/data/",
        description=f"A model of {thing} ({contract.task}) with its own self-test",
    )
    without = () if contract.frames else (CLIPS,)
    filling.fill("python", folder, given, package=content.package, without=without)
    data.write(content, folder / content.package / "data")
    data.write_papers(content, folder)
    data.write_papers(content, folder / content.package / "data")


def requirements(content: Content) -> tuple[str, ...]:
    """Return what the package needs."""
    return (*REQUIREMENTS[content.artifact.format], *(OF_VIDEOS if content.artifact.contract.frames else ()))


def _build(folder: Path) -> None:
    from flit_core.wheel import make_wheel_in

    for each in folder.rglob("*"):
        os.utime(each, (OLDEST, OLDEST))
    (folder / "dist").mkdir()
    make_wheel_in(folder / "pyproject.toml", folder / "dist")
