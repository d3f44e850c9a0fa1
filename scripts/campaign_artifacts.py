"""Models, records and stores that were changed by a seed, opened as the verbs open them.

    scripts/campaign artifacts [--count 200] [--seed 0] [--only tflite]

Models that are changed are known to nobody, so the tool opens them in a process of their own first; what takes this
process down all the same is lost. It holds where a file answers or one sentence comes.
"""

import atexit
import io
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import campaigning
import numpy as np
import warmed

from keras_transfer import plan, runs
from keras_transfer.backbones import torch_pickle
from keras_transfer.errors import KerasTransferError
from keras_transfer.export import manifest, runtime
from keras_transfer.specs import Contract, Output, Plan
from keras_transfer.training import checkpoints
from keras_transfer.training.feature_store import Key, obtain
from keras_transfer.workflow import galleries

REFERENCE = Path(__file__).parents[1] / "tests" / "reference"
CONTRACT = Contract(
    class_names=(),
    image_size=16,
    task="embedding",
    outputs=(Output(name="embedding", shape=(3,)),),
    thresholds=(0.9,),
    run_digest="ab" * 32,
)
LABELS = ("a", "b", "c")
KEY = Key(**{**dict.fromkeys(Key.__dataclass_fields__, "a"), "seed": 0, "dtype": "float16"})
MADE = """
import h5py, keras, sys, pathlib
from campaign_artifacts import tiny
from keras.src.legacy.saving import legacy_h5_format
from keras_transfer.export import exporters
from keras_transfer.specs import Contract
folder = pathlib.Path(sys.argv[1])
image = keras.Input((32, 32, 3), dtype="uint8", name="image")
x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(image))
x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
model = keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x))
model.save(folder / "model.keras")
network = tiny(keras.Input((32, 32, 3)))
network.save_weights(folder / "tiny.weights.h5")
with h5py.File(folder / "tiny.h5", "w") as file:  # as Keras wrote them before, and its own pretrained ones still are
    legacy_h5_format.save_weights_to_hdf5_group(file, network)
exporters.export(model, folder / "exports", ["saved_model"], Contract(class_names=("a", "b", "c"), image_size=32))
"""
"""Writes the files that TensorFlow has to write, in a process of its own."""


@cache
def made() -> Path:
    """A folder with a small `model.keras` and `exports/saved_model`."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    code = [sys.executable, "-c", MADE, str(folder)]
    subprocess.run(code, check=True, stderr=subprocess.DEVNULL, cwd=Path(__file__).parent)
    return folder


def tiny(pixels: Any) -> Any:
    """A backbone of 40 weights."""
    import keras

    x = keras.layers.Conv2D(2, 3, strides=2, name="first")(pixels)
    return keras.Model(pixels, keras.layers.BatchNormalization(name="second")(x))


def copied(source: Path) -> Callable[[Path], Path]:
    """What copies a file."""
    return lambda folder: Path(shutil.copy(source, folder))


def checkpoint(folder: Path) -> Path:
    """Arrays and a state."""
    checkpoints.save(folder / "weights.npz", {"v0": np.zeros((4, 4), np.float32)}, {"epoch": 3})
    return folder / "weights.npz"


def gallery(folder: Path) -> Path:
    """Two people."""
    arrays = {"version": 1, "names": ["ann", "bob"], "embeddings": np.eye(2, 3, dtype=np.float32)}
    np.savez(folder / "gallery.npz", **arrays, digest=CONTRACT.run_digest, threshold=0.9)
    return folder / "gallery.npz"


def features(folder: Path) -> Path:
    """A stored view of four pictures; its first array."""
    _features(folder)
    return next(folder.glob("features/*/features-0.npy"))


def _features(folder: Path) -> None:
    batch = (np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 2), np.float32), np.ones(4, np.float32))
    shapes = [(2, 2, 3)]
    obtain(folder, KEY, count=4, feature_shapes=shapes, compute=lambda _: [np.zeros((4, 2, 2, 3))], batches=[batch])


class _Tensors(pickle.Pickler):
    """Writes what PyTorch writes of a tensor, by its names and without PyTorch."""

    def persistent_id(self, each: object) -> object:
        return ("storage", np.dtype("<f4"), "0", "cpu", 4, None) if each == "storage" else None


def state_dict(folder: Path) -> Path:
    """A PyTorch file without tensors, which is all that an unpickler has to be careful of."""
    content = io.BytesIO()
    for each in (torch_pickle.MAGIC_NUMBER, 1001, {"little_endian": True}, OrderedDict(), []):
        _Tensors(content, 2).dump(each)
    (folder / "weights.pth").write_bytes(content.getvalue())
    return folder / "weights.pth"


def a_plan(folder: Path) -> Path:
    """A plan as runs keep it."""
    (folder / "plan.toml").write_text(plan.to_toml(Plan(data="pets", stages=({"name": "head"},))))  # type: ignore[arg-type]
    return folder / "plan.toml"


def saved_model(folder: Path) -> Path:
    """A SavedModel; its graph."""
    shutil.copytree(made() / "exports" / "saved_model", folder / "saved_model")
    return folder / "saved_model" / "saved_model.pb"


def asked(path: Path) -> None:
    """Open a model and ask it, as predict does."""
    opened = runtime.load(path, labels=LABELS)
    opened.predict(np.zeros((1, *opened.artifact.contract.shape), np.uint8))


def given(path: Path) -> None:
    """Take a file as the weights of a backbone."""
    import keras

    from keras_transfer.backbones import weights
    from keras_transfer.specs import BackboneSpec, silent

    spec = BackboneSpec("tiny", "tiny", tiny, 32, 32, "none", ())
    weights.load(spec, keras.Input((32, 32, 3)), str(path), silent)


def trusted(path: Path) -> None:
    """Trust a SavedModel and ask it."""
    runtime.trust(path.parent)
    asked(path.parent)


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object], bool]] = {
    "run.json": (copied(REFERENCE / "run_1" / "run.json"), lambda path: runs.open_run(path.parent), True),
    "plan.toml": (a_plan, plan.read, True),
    "manifest.json": (
        copied(REFERENCE / "contract_1" / "manifest.json"),
        lambda path: manifest.read(path.parent),
        True,
    ),
    "checkpoint": (checkpoint, checkpoints.load, False),
    "features": (features, lambda path: _features(path.parents[2]), False),
    "gallery": (gallery, lambda path: galleries.read(path, CONTRACT), False),
    "pth": (state_dict, torch_pickle.read, False),
    "tflite": (copied(REFERENCE / "contract_1" / "model.tflite"), asked, False),
    "onnx": (copied(REFERENCE / "contract_1" / "model.onnx"), asked, False),
    "keras": (lambda folder: Path(shutil.copy(made() / "model.keras", folder)), asked, False),
    "h5": (lambda folder: Path(shutil.copy(made() / "tiny.h5", folder)), given, False),
    "weights.h5": (lambda folder: Path(shutil.copy(made() / "tiny.weights.h5", folder)), given, False),
    "saved_model": (saved_model, trusted, False),
}
"""What writes a file, what opens it, and whether it is text."""


OF_TENSORFLOW = ("keras", "h5", "weights.h5", "saved_model")


def attempt(kind: str, rng: random.Random, folder: Path) -> str:
    """Change a file and open it; what was lost, in words."""
    write, read, text = KINDS[kind]
    path = write(folder)
    path.write_bytes(campaigning.changed(path.read_bytes(), rng, campaigning.OF_TEXT if text else campaigning.OF_BYTES))
    if kind in OF_TENSORFLOW:
        code, said = warmed.call("campaign_artifacts", "told", folder, kind=kind, path=str(path))
        return "" if code == 0 else f"exit code {code}: {said[-300:]}"

    def work() -> str:
        try:
            read(path)
        except KerasTransferError as error:
            return str(error)
        return ""

    said, problem = campaigning.apart(work)
    return problem or ("a sentence of several lines" if "\n" in said else "")


def told(kind: str, path: str) -> None:
    """Open a file; what is no sentence is raised."""
    try:
        KINDS[kind][1](Path(path))
    except KerasTransferError as error:
        if "\n" in str(error):
            raise


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="campaign-state-") as state:
        os.environ["KERAS_TRANSFER_STATE"] = state
        campaigning.main("artifacts", tuple(KINDS), attempt, count=200)
