"""Opens any artifact in its own runtime and gives one way to ask it: pictures in, answers by name out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from keras_transfer import keras_files, vouching
from keras_transfer.errors import ArtifactError, DataError, first_line
from keras_transfer.export import apart, halves, manifest, metadata, outputs
from keras_transfer.export.metadata import Card
from keras_transfer.specs import DTYPES, FEATURES, IMAGE_INPUT, Answers, Artifact, Contract, Output

Format = Literal["keras", "saved_model", "tflite", "onnx"]
THREADED: frozenset[Format] = frozenset({"tflite", "onnx"})
"""Formats whose runtimes are told how many threads to take; TensorFlow takes all cores whatever it is told."""


@dataclass(frozen=True)
class Tensor:
    """Shape (None where it is free) and element type of an input or an output."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Opened:
    """What a reader of one format gives: the tensors as the file has them, its card, and how to run a batch."""

    image: Tensor
    outputs: Mapping[str, Tensor]
    """By the names that the file has for them, in its order."""
    card: Card | None
    run: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    """What the file takes, (batch, …), to float32 (batch, …) by the names of `outputs`."""
    batch: int
    """How many pictures `run` takes at most."""
    halves: tuple[Runtime, ...] = ()
    """The two files of a pair, in the order of `halves.NAMES`."""


@dataclass(frozen=True)
class Runtime:
    """An artifact that is open: ask it with `predict`."""

    artifact: Artifact
    threads: int
    """0: the runtime's own choice."""
    load_ms: float
    _opened: Opened
    _keys: tuple[str, ...]
    """What the file calls the outputs of the contract, in the contract's order."""

    @property
    def halves(self) -> tuple[Runtime, ...]:
        """Of a pair its two files, open: a frame to its features, and the features of a window to the answer."""
        return self._opened.halves

    def predict(self, images: np.ndarray) -> Answers:
        """Return what the file says of pictures, uint8 (n, side, side, 3): each output of the contract by its name.

        >>> load(Path("exports/model.tflite")).predict(images)["probabilities"].shape  # doctest: +SKIP
        (8, 10)

        Answers are float32 (n, …): whole numbers that a quantized file gives are turned into what they stand for.
        Raises DataError where the pictures are of another size or type.
        """
        contract = self.artifact.contract
        if images.dtype != DTYPES[contract.takes] or images.shape[1:] != contract.shape:
            things, shape = _things(contract), ", ".join(map(str, contract.shape))
            raise DataError(
                f"'{self.artifact.path.name}' takes {DTYPES[contract.takes]} {things} of shape (n, {shape}). "
                f"Received: {images.dtype} {images.shape}."
            )
        step = self._opened.batch
        parts = [self._opened.run(images[start : start + step]) for start in range(0, len(images), step)]
        return {
            output.name: np.concatenate([np.zeros((0, *output.shape), np.float32), *(part[key] for part in parts)])
            for output, key in zip(self.artifact.contract.outputs, self._keys, strict=True)
        }


def load(
    path: Path,
    *,
    threads: int | None = None,
    contract: Contract | None = None,
    labels: Sequence[str] | None = None,
) -> Runtime:
    """Open a `.keras`, `.tflite` or `.onnx` file, a SavedModel folder or a folder with a pair for streaming.

    >>> load(Path("exports/model.tflite")).artifact.contract.class_names  # doctest: +SKIP
    ('cat', 'dog')

    threads: for LiteRT and ONNX Runtime, all cores where it is left out. contract: of a file that carries none (a
    `.keras` file, a model made elsewhere); one inside the file wins. labels: its class names, where they are all that
    is known of it.
    Raises ArtifactError where the file is missing, damaged, or not what its contract or its manifest says.
    """
    format = _format(path)
    size_bytes, sha256 = _digest(path)
    _as_manifested(path, sha256)
    pair = path.is_dir() and format in THREADED
    if not pair:  # of a pair each file is looked at by itself
        _check_stranger(path, format, sha256)
    threads = (threads if format in THREADED else None) or os.cpu_count() or 1
    started = time.perf_counter()
    found = _open_pair(path, threads) if pair else opened(path, format, threads)
    load_ms = (time.perf_counter() - started) * 1000
    if contract is None and labels:
        contract = _named(path, found, labels)
    card = found.card or (Card(contract=contract) if contract else None)
    if card is None:
        raise ArtifactError(f"'{path}' does not carry its class names. Give them with --labels.")
    keys = _agree(path, found, card.contract)
    artifact = Artifact(
        path=path,
        format=format,
        precision=card.precision,
        input_dtype=found.image.dtype,
        output_dtype=found.outputs[keys[0]].dtype,
        size_bytes=size_bytes,
        sha256=sha256,
        contract=card.contract,
    )
    return Runtime(artifact, threads, load_ms, found, keys)


def opened(path: Path, format: Format, threads: int) -> Opened:
    """Return a file as the reader of its format opens it; ArtifactError, in one sentence, where it cannot be."""
    try:
        return _READERS[format](path, threads)
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(
            f"'{path}' is not a {format} model that can be opened; it may be damaged or incomplete: "
            f"{first_line(error, 200)}"
        ) from error


def trust(path: Path) -> None:
    """Take a SavedModel for what a person made who means well, from now on, and as long as it is not changed.

    >>> trust(Path("exports/saved_model"))  # doctest: +SKIP

    Its operations may read and write files of whoever runs it. Files of other formats hold numbers and layers alone
    and need no trust. Raises ArtifactError where it cannot be opened, which is tried in a process of its own.
    """
    if _format(path) == "saved_model":
        sha256 = _digest(path)[1]
        apart.check(path, "saved_model")
        vouching.vouch(sha256)


def _check_stranger(path: Path, format: Format, sha256: str) -> None:
    """Open what this machine does not know in a process of its own first, and a SavedModel not at all."""
    if vouching.is_vouched(sha256):
        return
    if format == "saved_model":
        raise ArtifactError(
            f"'{path}' was not exported on this machine, and a SavedModel can read and write files when it is run. "
            "If you trust whoever made it, say so with --trust; it is asked once."
        )
    apart.check(path, format)
    vouching.vouch(sha256)


def _digest(path: Path) -> tuple[int, str]:
    try:
        return manifest.digest(path)
    except OSError as error:
        raise ArtifactError(f"'{path}' cannot be read: {error.strerror}.") from None


def _format(path: Path) -> Format:
    if not path.exists():
        raise ArtifactError(f"There is no model at '{path}'.")
    found = path.name.removesuffix(".rejected").rpartition(".")[2]
    if path.is_dir():
        found = "saved_model" if (path / "saved_model.pb").is_file() else halves.suffix_of(path) or ""
    if found not in get_args(Format) or (found == "keras" and path.is_dir()):
        kind = "folder without saved_model.pb" if path.is_dir() else "file"
        raise ArtifactError(
            f"'{path}' is a {kind}; a model is a .keras, .tflite or .onnx file, or a SavedModel folder."
        )
    return found  # type: ignore[return-value]


def _as_manifested(path: Path, sha256: str) -> None:
    listed = {artifact.path.name: artifact for artifact in manifest.read(path.parent).all}.get(path.name)
    if listed and sha256 != listed.sha256:
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


def _agree(path: Path, opened: Opened, contract: Contract) -> tuple[str, ...]:
    """Return what the file calls the contract's outputs; ArtifactError where it breaks the contract."""
    side, image = contract.image_size, opened.image
    if image.dtype != DTYPES[contract.takes] or image.shape[1:] not in (contract.shape, (3, side, side)):
        size = f"{contract.features} {FEATURES}" if contract.features else f"{side} x {side} px"
        raise ArtifactError(
            f"'{path}' promises {DTYPES[contract.takes]} {_things(contract)} of {size}, but its input is "
            f"{image.dtype} {image.shape}."
        )
    try:
        keys = outputs.keys(list(opened.outputs), contract.outputs)
    except ArtifactError as error:
        raise ArtifactError(f"'{path}' breaks its contract. {error}") from None
    for output, key in zip(contract.outputs, keys, strict=True):
        given = opened.outputs[key]
        if given.dtype not in ("float32", "uint8") or not _fits(given.shape[1:], output.shape):
            raise ArtifactError(f"'{path}' promises {_promise(output)}, but its output is {given.dtype} {given.shape}.")
    return keys


def _things(contract: Contract) -> str:
    """What a file takes, for a person."""
    return "windows" if contract.features else "clips" if contract.frames else "pictures"


def _fits(given: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    """Whether shapes are the same, as far as the file says its own."""
    return len(given) == len(wanted) and all(each in (None, side) for each, side in zip(given, wanted, strict=True))


def _promise(output: Output) -> str:
    if output.labels == "axis" and len(output.shape) == 1:
        return f"{output.name} of {output.shape[0]} classes"
    return f"{output.name} of shape {output.shape}"


def _open_keras(path: Path, threads: int) -> Opened:
    model = keras_files.load(path)
    import tensorflow as tf

    (image,) = model.inputs
    given = _by_name(model.output)
    # Layer by layer, as a call of the model is, a batch takes three times as long as in one graph.
    whole = tf.function(
        lambda images: _by_name(model(images, training=False)),
        input_signature=[tf.TensorSpec((None, *image.shape[1:]), image.dtype)],
        autograph=False,
    )

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(answer, np.float32) for name, answer in whole(tf.constant(images)).items()}

    return Opened(
        Tensor(tuple(image.shape), image.dtype),
        {name: Tensor(tuple(tensor.shape), tensor.dtype) for name, tensor in given.items()},
        None,
        run,
        batch=64,
    )


def _by_name(answers: Any) -> dict[str, Any]:
    """What a Keras model gives, by name where it has names, else by position."""
    if isinstance(answers, Mapping):
        return dict(answers)
    several = answers if isinstance(answers, (list, tuple)) else [answers]
    return {str(position): each for position, each in enumerate(several)}


def _open_saved_model(path: Path, threads: int) -> Opened:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["serving_default"]
    (image,) = function.structured_input_signature[1].values()
    if image.name != IMAGE_INPUT:
        raise ArtifactError(f"'{path}' breaks the contract: its input must be '{IMAGE_INPUT}'. Received: {image.name}.")

    def run(images: np.ndarray, kept: Any = loaded) -> dict[str, np.ndarray]:  # its variables live as long as `loaded`
        answers = function(**{IMAGE_INPUT: tf.constant(images)})
        return {name: answer.numpy() for name, answer in answers.items()}

    return Opened(
        Tensor(tuple(image.shape), image.dtype.name),
        {name: Tensor(tuple(each.shape), each.dtype.name) for name, each in function.structured_outputs.items()},
        metadata.from_saved_model(path),
        run,
        batch=64,
    )


def _open_tflite(path: Path, threads: int) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    content = path.read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (image,), given = interpreter.get_input_details(), _signed(interpreter)

    def dequantized(details: dict[str, Any]) -> np.ndarray:
        scale, zero_point = details["quantization"]
        values = interpreter.get_tensor(details["index"]).astype(np.float32)
        return (values - zero_point) * np.float32(scale) if scale else values

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return {name: dequantized(details) for name, details in given.items()}

    def tensor(details: dict[str, Any]) -> Tensor:
        return Tensor(tuple(details["shape"].tolist()), np.dtype(details["dtype"]).name)

    return Opened(
        tensor(image),
        {name: tensor(details) for name, details in given.items()},
        metadata.from_tflite(content, where=str(path)),
        run,
        batch=int(image["shape"][0]),
    )


def _signed(interpreter: Any) -> dict[str, Any]:
    """Outputs by the names of the file's signature: tensors themselves have names that the converter made up."""
    signatures = list(interpreter.get_signature_list())
    if signatures:
        return dict(interpreter.get_signature_runner(signatures[0]).get_output_details())
    return {details["name"]: details for details in interpreter.get_output_details()}


def _open_onnx(path: Path, threads: int) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (image,), given = session.get_inputs(), session.get_outputs()
    names = [output.name for output in given]
    channels_first = len(image.shape) == 4 and image.shape[1] == 3

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        answers = session.run(names, {image.name: images.transpose(0, 3, 1, 2) if channels_first else images})
        return {name: answer.astype(np.float32, copy=False) for name, answer in zip(names, answers, strict=True)}

    def tensor(value: Any) -> Tensor:
        name = value.type.removeprefix("tensor(").removesuffix(")")
        free = tuple(side if isinstance(side, int) else None for side in value.shape)
        return Tensor(free, {"float": "float32"}.get(name, name))

    return Opened(
        tensor(image),
        {output.name: tensor(output) for output in given},
        metadata.from_onnx(session.get_modelmeta().custom_metadata_map, where=str(path)),
        run,
        batch=16,  # what lies between layers of more pictures leaves the cache: a sixth slower a picture at 64
    )


def _open_pair(path: Path, threads: int) -> Opened:
    """Open two files as the one that they are together: each frame of a clip by the first, their features by the other.

    A program that is shown a stream asks the two itself and keeps what the first said of a frame.
    """
    suffix = halves.suffix_of(path)
    frame, window = (load(path / f"{name}.{suffix}", threads=threads) for name in halves.NAMES)
    contract = halves.whole_of(window.artifact.contract)
    described, wanted = frame.artifact.contract, (contract.frames, window.artifact.contract.features)
    given = (contract.frames, *described.outputs[0].shape)
    if given != wanted or described.run_digest != contract.run_digest:
        raise ArtifactError(f"'{path}' holds two files that were not exported together. Export them again.")

    def run(clips: np.ndarray) -> Answers:
        features = frame.predict(clips.reshape(-1, *described.shape))[FEATURES]
        return window.predict(features.reshape(len(clips), *wanted))

    return Opened(
        Tensor((None, *contract.shape), frame.artifact.input_dtype),
        {output.name: Tensor((None, *output.shape), "float32") for output in contract.outputs},
        Card(contract=contract, precision=window.artifact.precision),
        run,
        batch=16,
        halves=(frame, window),
    )


_READERS: dict[Format, Callable[[Path, int], Opened]] = {
    "keras": _open_keras,
    "saved_model": _open_saved_model,
    "tflite": _open_tflite,
    "onnx": _open_onnx,
}
