"""A small run on pictures of three colours, trained once per test process."""

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_transfer import runs, workflow
from keras_transfer.specs import Plan, Run, Stage

NAMES = ("red", "green", "blue")


@functools.cache
def trained() -> Run:
    """The run; tests that change it copy its folder first."""
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    draw(folder / "pictures")
    stage = Stage(name="head", epochs=10, learning_rate=0.01)
    plan = Plan(data=str(folder / "pictures"), backbone="EfficientNetLite0", stages=(stage,), image_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(folder / "cache"))
        return workflow.train(plan, folder=folder, name="colours")


def shipped(folder: Path, formats: tuple[str, ...] = ("tflite", "onnx")) -> Run:
    """A copy of the run in `folder`, with files that are proven: a TFLite and an ONNX one, or those that are named."""
    run = runs.open_run(Path(shutil.copytree(trained().folder, folder / "colours")))
    workflow.export(run, formats)
    return run


def draw(folder: Path, names: tuple[str, ...] = NAMES, seed: int = 0) -> None:
    """Twenty pictures of each colour, wider than high."""
    random = np.random.default_rng(seed)
    for channel, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 200, (40, 60, 3)).astype(np.uint8)
            pixels[..., channel % 3] += 20  # little enough that some are mistaken, and confidence means something
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
