"""The model: opened by its own runtime, asked about pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from . import answers, pictures

DATA = resources.files(__package__) / "data"
"""What travels with the code: the model, `bundle.json`, the golden pictures, the model card."""


def about() -> dict[str, Any]:
    """Return `bundle.json`: what the model is, which classes it knows, how pictures must come."""
    return json.loads((DATA / "bundle.json").read_text(encoding="utf-8"))


class ModelError(ValueError):
    """The model is not the one that this package was made for."""


class Model:
    """The model, open; one of these serves one thread at a time.

    >>> Model().ask("picture.jpg")["class_name"]  # doctest: +SKIP
    'cat'

    threads: cores it may take. Raises ModelError where the file is not the one that was proven.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self.about = about()
        content = (DATA / self.about["file"]).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.about["sha256"]:
            raise ModelError(f"{self.about['file']} is not the file that was proven: its SHA-256 is {digest}.")
        self._run = _READERS[self.about["format"]](content, threads)

    def ask(self, picture: str | Path | bytes, *, max_pixels: int = pictures.MAX_PIXELS) -> dict[str, Any]:
        """Return what the model says of a picture, a path or encoded bytes; PictureError where it cannot be read.

        A model of clips is asked about the path of a video.
        """
        return answers.read(self.outputs(self._given(picture, max_pixels)), self.about)

    def golden(self, encoded: bytes) -> np.ndarray:
        """Return a golden picture as `outputs` takes it; of a clip its frames stand side by side."""
        if self.about["frames"]:
            from . import clips

            return clips.of_strip(encoded, self.about["frames"])
        return self._given(encoded, pictures.MAX_PIXELS)

    def outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return every output by its name, as the file gives it, float32.

        pixels: one square, uint8 (size, size, 3), or of a clip (frames, size, size, 3).
        """
        said, names = self._run(pixels[None]), [each["name"] for each in self.about["outputs"]]
        keys = names if set(names) == set(said) else list(said)
        return {name: said[key][0] for name, key in zip(names, keys, strict=True)}

    def _given(self, picture: str | Path | bytes, max_pixels: int) -> np.ndarray:
        size, aspect, frames = (self.about[name] for name in ("image_size", "aspect", "frames"))
        if not frames:
            return pictures.read(picture, size, aspect, max_pixels=max_pixels)
        if isinstance(picture, bytes):
            raise pictures.PictureError("is bytes: a video is asked about by its path")
        from . import clips

        return clips.read(picture, frames, size, aspect, max_pixels=max_pixels)


Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def _tflite(content: bytes, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    given = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list()))).get_output_details()

    def real(details: dict[str, Any]) -> np.ndarray:
        scale, zero_point = details["quantization"]
        values = interpreter.get_tensor(details["index"]).astype(np.float32)
        return (values - zero_point) * np.float32(scale) if scale else values

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return {name: real(details) for name, details in given.items()}

    return run


def _onnx(content: bytes, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (image,), names = session.get_inputs(), [each.name for each in session.get_outputs()]
    channels_first = len(image.shape) == 4 and image.shape[1] == 3

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        given = images.transpose(0, 3, 1, 2) if channels_first else images
        return dict(zip(names, session.run(names, {image.name: given}), strict=True))

    return run


_READERS: Mapping[str, Callable[[bytes, int], Run]] = {"tflite": _tflite, "onnx": _onnx}
"""By format: what opens the file of this bundle."""
