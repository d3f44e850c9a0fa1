"""The table of export formats: what they are called, which files they are, what they want; `exporters` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keras_transfer.errors import UsageError, unknown


@dataclass(frozen=True)
class Format:
    """One row: a file name and what it is."""

    file: str
    format: Literal["saved_model", "tflite", "onnx"]
    title: str
    """For people, beside the name that verbs take."""
    precision: str = "float32"
    output_dtype: str = "float32"
    calibrated: bool = False
    """Whether it measures activations on pictures."""
    halved: bool = False
    """Whether it is a folder with two files: a frame to its features, and features of a window to the answer."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """Of the picture that it takes."""


def _whole(file: str, title: str, precision: str) -> Format:
    """A TFLite file in whole numbers throughout, its outputs too."""
    return Format(file, "tflite", title, precision, output_dtype="uint8", calibrated=True)


FORMATS: Mapping[str, Format] = {
    "saved_model": Format("saved_model", "saved_model", "SavedModel"),
    "tflite": Format("model.tflite", "tflite", "TFLite"),
    "tflite-float16": Format("model-float16.tflite", "tflite", "TFLite, half floats", "float16"),
    "tflite-dynamic": Format("model-dynamic.tflite", "tflite", "TFLite, 8-bit weights", "dynamic"),
    "tflite-weight-int8": Format(
        "model-weight-int8.tflite", "tflite", "TFLite, 8-bit weights, float arithmetic", "weight-int8"
    ),
    "tflite-int16x8": Format(
        "model-int16x8.tflite", "tflite", "TFLite, 16-bit activations", "int16x8", calibrated=True
    ),
    "tflite-int8": _whole("model-int8.tflite", "TFLite, whole numbers", "int8"),
    "tflite-int8-mixed": _whole("model-int8-mixed.tflite", "TFLite, mostly whole numbers", "int8-mixed"),
    "onnx": Format("model.onnx", "onnx", "ONNX"),
    "onnx-float16": Format("model-float16.onnx", "onnx", "ONNX, half floats", "float16"),
    "onnx-int8": Format("model-int8.onnx", "onnx", "ONNX, large layers in whole numbers", "int8", calibrated=True),
    "onnx-nchw": Format("model-nchw.onnx", "onnx", "ONNX, channels first", layout="nchw"),
    "tflite-stream": Format("stream-tflite", "tflite", "TFLite, frame by frame", halved=True),
    "onnx-stream": Format("stream-onnx", "onnx", "ONNX, frame by frame", halved=True),
}


def format_of(name: str) -> Format:
    """Return the row of a format; UsageError with the nearest name where there is none.

    >>> format_of("tflite-int8").file
    'model-int8.tflite'
    """
    if name not in FORMATS:
        raise UsageError(unknown("export format", name, FORMATS))
    return FORMATS[name]


def check_halves(names: Sequence[str], halve: object | None) -> None:
    """Raise UsageError where one of these formats is a pair of files, and nothing makes two of the model.

    >>> check_halves(["tflite", "onnx"], None)

    halve: what does, a row's `halve` in the table of tasks.
    """
    pairs = [name for name in names if format_of(name).halved]
    if pairs and halve is None:
        raise UsageError(
            f"{pairs[0]} is a pair of files for clips, of which each frame is computed once, and this model takes "
            f"pictures. Export to: {FORMATS[pairs[0]].format}"
        )
