"""Opens any artifact in its own runtime and gives one way to ask it: pictures in, probabilities out."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from keras_transfer.errors import ArtifactError, DataError
from keras_transfer.export import manifest, metadata
from keras_transfer.export.metadata import Card
from keras_transfer.specs import IMAGE_INPUT, PROBABILITIES_OUTPUT, Artifact, Contract

Format = Literal["keras", "saved_model", "tflite", "onnx"]


@dataclass(frozen=True)
class Tensor:
    """Shape (None where it is free) and element type of an input or an output."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Opened:
    """What a reader of one format gives: the tensors as the file has them, its card, and how to run a batch."""

    image: Tensor
    output: Tensor
    card: Card | None
    run: Callable[[np.ndarray], np.ndarray]
    """uint8 (batch, side, side, 3) to float32 (batch, classes)."""
    batch: int
    """How many pictures `run` takes at most."""


@dataclass(frozen=True)
class Runtime:
    """An artifact that is open: ask it with `predict`."""

    artifact: Artifact
    threads: int
    """0: the runtime's own choice."""
    load_ms: float
    _opened: Opened

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 (n, classes), of pictures, uint8 (n, side, side, 3).

        Whole numbers that a quantized file gives are turned into probabilities. Raises DataError where the pictures
        are of another size or type.
        """
        side = self.artifact.contract.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            raise DataError(
                f"'{self.artifact.path.name}' takes uint8 pictures of shape (n, {side}, {side}, 3). "
                f"Received: {images.dtype} {images.shape}."
            )
        step = self._opened.batch
        parts = [self._opened.run(images[start : start + step]) for start in range(0, len(images), step)]
        classes = len(self.artifact.contract.class_names)
        return np.concatenate([np.zeros((0, classes), np.float32), *parts])


def load(
    path: Path,
    *,
    threads: int | None = None,
    contract: Contract | None = None,
    labels: Sequence[str] | None = None,
) -> Runtime:
    """Open a `.keras`, `.tflite` or `.onnx` file or a SavedModel folder.

    >>> load(Path("exports/model.tflite")).predict(images).shape  # doctest: +SKIP
    (8, 10)

    threads: for LiteRT and ONNX Runtime, all cores where it is left out. contract: of a file that carries none (a
    `.keras` file, a model made elsewhere); one inside the file wins. labels: its class names, where they are all that
    is known of it.
    Raises ArtifactError where the file is missing, damaged, or not what its contract or its manifest says.
    """
    format = _format(path)
    _as_manifested(path)
    threads = threads or os.cpu_count() or 1
    started = time.perf_counter()
    try:
        opened = _READERS[format](path, threads)
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(
            f"'{path}' is not a {format} model that can be opened; it may be damaged or incomplete: {_first(error)}"
        ) from error
    load_ms = (time.perf_counter() - started) * 1000
    if contract is None and labels:
        contract = _named(path, opened, labels)
    card = opened.card or (Card(contract=contract) if contract else None)
    if card is None:
        raise ArtifactError(f"'{path}' does not carry its class names. Give them with --labels.")
    _agree(path, opened, card.contract)
    size_bytes, sha256 = manifest.digest(path)
    artifact = Artifact(
        path=path,
        format=format,
        precision=card.precision,
        input_dtype=opened.image.dtype,
        output_dtype=opened.output.dtype,
        size_bytes=size_bytes,
        sha256=sha256,
        contract=card.contract,
    )
    return Runtime(artifact, threads, load_ms, opened)


def _format(path: Path) -> Format:
    if not path.exists():
        raise ArtifactError(f"There is no model at '{path}'.")
    found = "saved_model" if path.is_dir() else path.name.removesuffix(".rejected").rpartition(".")[2]
    if found not in get_args(Format) or (path.is_dir() and not (path / "saved_model.pb").is_file()):
        kind = "folder without saved_model.pb" if path.is_dir() else "file"
        raise ArtifactError(
            f"'{path}' is a {kind}; a model is a .keras, .tflite or .onnx file, or a SavedModel folder."
        )
    return found  # type: ignore[return-value]


def _as_manifested(path: Path) -> None:
    listed = {artifact.path.name: artifact for artifact in manifest.read(path.parent).artifacts}.get(path.name)
    if listed and manifest.digest(path)[1] != listed.sha256:
        raise ArtifactError(
            f"'{path}' is not the file that was exported: its SHA-256 differs from the one in "
            f"{manifest.MANIFEST_FILE}. Export it again."
        )


def _named(path: Path, opened: Opened, labels: Sequence[str]) -> Contract:
    side = max(size or 0 for size in opened.image.shape[1:])
    if len(labels) < 2 or side < 16:
        raise ArtifactError(
            f"'{path}' must take square pictures of a known size and tell at least 2 classes apart. "
            f"Received: input {opened.image.shape} and {len(labels)} labels."
        )
    return Contract(class_names=tuple(labels), image_size=side, normalization="")


def _agree(path: Path, opened: Opened, contract: Contract) -> None:
    side, classes = contract.image_size, len(contract.class_names)
    image, output = opened.image, opened.output
    if image.dtype != "uint8" or image.shape[1:] not in ((side, side, 3), (3, side, side)):
        raise ArtifactError(
            f"'{path}' promises uint8 pictures of {side} x {side} px, but its input is {image.dtype} {image.shape}."
        )
    if output.dtype not in ("float32", "uint8") or output.shape[1:] != (classes,):
        raise ArtifactError(
            f"'{path}' promises probabilities of {classes} classes, but its output is {output.dtype} {output.shape}."
        )


def _open_keras(path: Path, threads: int) -> Opened:
    if not zipfile.is_zipfile(path):
        raise ArtifactError(f"'{path}' is no whole .keras file: it was cut short, or is something else.")
    import keras

    model = keras.saving.load_model(path, compile=False)
    (image,), (output,) = model.inputs, model.outputs
    return Opened(
        Tensor(tuple(image.shape), image.dtype),
        Tensor(tuple(output.shape), output.dtype),
        None,
        lambda images: np.asarray(model(images, training=False), np.float32),
        batch=64,
    )


def _open_saved_model(path: Path, threads: int) -> Opened:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["serving_default"]
    (image,) = function.structured_input_signature[1].values()
    output = function.structured_outputs.get(PROBABILITIES_OUTPUT)
    if image.name != IMAGE_INPUT or output is None:
        raise ArtifactError(f"'{path}' breaks the contract: it must map '{IMAGE_INPUT}' to '{PROBABILITIES_OUTPUT}'.")

    def run(images: np.ndarray, kept: Any = loaded) -> np.ndarray:  # the variables live as long as `loaded` does
        return function(**{IMAGE_INPUT: tf.constant(images)})[PROBABILITIES_OUTPUT].numpy()

    return Opened(
        Tensor(tuple(image.shape), image.dtype.name),
        Tensor(tuple(output.shape), output.dtype.name),
        metadata.from_saved_model(path),
        run,
        batch=64,
    )


def _open_tflite(path: Path, threads: int) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    content = path.read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = output["quantization"]

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        values = interpreter.get_tensor(output["index"]).astype(np.float32)
        return (values - zero_point) * np.float32(scale) if scale else values

    return Opened(
        Tensor(tuple(image["shape"].tolist()), np.dtype(image["dtype"]).name),
        Tensor(tuple(output["shape"].tolist()), np.dtype(output["dtype"]).name),
        metadata.from_tflite(content, where=str(path)),
        run,
        batch=int(image["shape"][0]),
    )


def _open_onnx(path: Path, threads: int) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()

    channels_first = image.shape[1] == 3

    def run(images: np.ndarray) -> np.ndarray:
        given = images.transpose(0, 3, 1, 2) if channels_first else images
        return session.run([output.name], {image.name: given})[0].astype(np.float32, copy=False)

    def tensor(value: Any) -> Tensor:
        name = value.type.removeprefix("tensor(").removesuffix(")")
        free = tuple(side if isinstance(side, int) else None for side in value.shape)
        return Tensor(free, {"float": "float32"}.get(name, name))

    return Opened(
        tensor(image),
        tensor(output),
        metadata.from_onnx(session.get_modelmeta().custom_metadata_map, where=str(path)),
        run,
        batch=64,
    )


_READERS: dict[Format, Callable[[Path, int], Opened]] = {
    "keras": _open_keras,
    "saved_model": _open_saved_model,
    "tflite": _open_tflite,
    "onnx": _open_onnx,
}


def _first(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
