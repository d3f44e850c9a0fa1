"""A run of one epoch on pictures of three colours, trained once per test process."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_transfer import workflow
from keras_transfer.specs import Plan, Run, Stage

NAMES = ("red", "green", "blue")


@functools.cache
def trained() -> Run:
    """The run; tests that change it copy its folder first."""
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    draw(folder / "pictures")
    stage = Stage(name="head", epochs=1, learning_rate=0.01)
    plan = Plan(data=str(folder / "pictures"), backbone="MobileNetV2", weights="none", stages=(stage,), image_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(folder / "cache"))
        return workflow.train(plan, folder=folder, name="colours")


def draw(folder: Path, names: tuple[str, ...] = NAMES, seed: int = 0) -> None:
    """Twenty pictures of each colour, wider than high."""
    random = np.random.default_rng(seed)
    for channel, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 90, (40, 60, 3)).astype(np.uint8)
            pixels[..., channel % 3] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
