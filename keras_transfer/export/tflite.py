"""Writes TFLite files of builtin operators at every precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.errors import ExportError
from keras_transfer.export import metadata
from keras_transfer.export.metadata import Card
from keras_transfer.specs import IMAGE_INPUT


def convert(source: Path, card: Card, calibration: np.ndarray | None = None) -> bytes:
    """Return a TFLite file at the card's precision.

    source: a SavedModel of constants with a batch of 1. calibration: uint8 (n, side, side, 3), read by `int8` and
    `int16x8`; the ranges of activations are measured on it.
    Raises ExportError for a precision that does not exist, or where the graph needs operators that are not builtin.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    _SETTINGS[card.precision](converter, calibration)
    try:
        model = converter.convert()
    except Exception as error:
        raise ExportError(f"TFLite {card.precision}: the converter refused this model: {_reason(error)}") from error
    refuse_flex(model)
    return metadata.into_tflite(model, card)


def refuse_flex(model: bytes) -> None:
    """Raise ExportError, naming them, where a TFLite file holds operators that are not builtin."""
    from ai_edge_litert.tools import flatbuffer_utils

    codes = flatbuffer_utils.read_model_from_bytearray(bytearray(model)).operatorCodes
    custom = sorted({code.customCode.decode() for code in codes if code.customCode})
    if custom:
        raise ExportError(
            f"TFLite: the model needs operators that are not builtin ({', '.join(custom)}); "
            "a phone's runtime would not open the file. Choose another backbone or export to ONNX."
        )


def _float32(converter: Any, calibration: np.ndarray | None) -> None:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]


def _int8(converter: Any, calibration: np.ndarray | None) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = _samples(calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8


_SETTINGS = {"float32": _float32, "int8": _int8}


def _samples(calibration: np.ndarray | None) -> Any:
    if calibration is None or not len(calibration):
        raise ExportError("int8 needs pictures to calibrate on, and none came. Give the training pictures.")

    def samples() -> Iterator[dict[str, np.ndarray]]:
        for picture in calibration:
            yield {IMAGE_INPUT: picture[None]}

    return samples


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
