"""A small model of clips with random weights and its exported files, made once per test process."""

import functools
import tempfile
from pathlib import Path

import cv2
import keras
import numpy as np

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.export import exporters, temperature
from keras_transfer.specs import Artifact, Contract
from keras_transfer.tasks import clips

FRAMES, SIZE = 3, 64
CONTRACT = Contract(
    class_names=("a", "b", "c"), image_size=SIZE, frames=FRAMES, spacing=0.2, task="clips", temperature=1.5
)
FORMATS = ("saved_model", "tflite", "tflite-int8", "onnx", "tflite-stream", "onnx-stream")


@functools.cache
def model() -> keras.Model:
    """Frames and their order say something, and a temperature is inside."""
    spec = registry.backbone("MobileNetV2")
    built = features.build(spec, image_size=SIZE, weights="none", frames=FRAMES)
    whole = clips.attach(built.model, blocks.cut(built.model, spec), classes=3).model
    rng = np.random.default_rng(1)
    for layer in whole.layers:
        if layer.name.startswith("of_"):  # begin at nothing
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return temperature.fold(whole, CONTRACT.temperature)


@functools.cache
def some_clips() -> np.ndarray:
    """Noise, uint8 (8, FRAMES, SIZE, SIZE, 3)."""
    return np.random.default_rng(0).integers(0, 256, (8, FRAMES, SIZE, SIZE, 3), np.uint8)


@functools.cache
def exported() -> dict[str, Artifact]:
    """Every format that clips have, by name."""
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    artifacts = exporters.export(model(), folder, FORMATS, CONTRACT, calibration=some_clips(), halve=clips.halved)
    return dict(zip(FORMATS, artifacts, strict=True))


def windows_of(frames: np.ndarray) -> np.ndarray:
    """What the model says of every window of some frames, uint8 (n, SIZE, SIZE, 3): float32 (n - FRAMES + 1, 3)."""
    windows = np.stack([frames[start : start + FRAMES] for start in range(len(frames) - FRAMES + 1)])
    return np.asarray(model()(windows, training=False))


def video(path: Path, frames: int, *, per_second: float = 10, codec: str = "mp4v") -> Path:
    """A video of noise that changes with every frame, SIZE pixels a side."""
    rng = np.random.default_rng(frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), per_second, (SIZE, SIZE))
    for _ in range(frames):
        writer.write(np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8))
    writer.release()
    return path
