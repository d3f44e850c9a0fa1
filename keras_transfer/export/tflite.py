"""Writes TFLite files of builtin operators at every precision."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from keras_transfer.errors import ExportError, KerasTransferError, UsageError, first_line, unknown
from keras_transfer.export import (
    activations,
    float_tail,
    hard_swish,
    lone_relus,
    metadata,
    pixels,
    selective,
    stem,
    tflite_tree,
    wide_kernels,
)
from keras_transfer.export.activations import Ranges
from keras_transfer.export.graph import Affine
from keras_transfer.export.metadata import Card
from keras_transfer.export.refine import Moments, refine
from keras_transfer.specs import IMAGE_INPUT, Output

Made = TypeVar("Made")

SMALL_KERNEL = 16_384
"""Weights below which a convolution keeps float32 where only storage is saved: in EfficientNet-Lite0 early small ones
and depthwise ones are a fourteenth of the file and cause most of the error (float16: 0.041 to 0.002)."""


@dataclass(frozen=True)
class Frozen:
    """A SavedModel of constants with a batch of 1, and the float32 file that most other precisions start from."""

    path: Path
    affine: Affine | None = None
    """What it does to pixels first, where that is known."""
    whole: bool = True
    """Whether a fully quantized file gives whole numbers (see `whole_outputs`)."""
    ends_in_float: bool = False
    """Whether whole numbers are too coarse for the operations behind the last weights: for those that choose among
    boxes, and for those that give an embedding unit length."""
    learned: bool = False
    """Whether it was trained in whole numbers, and brings the ranges of its activations: none are measured."""

    @cached_property
    def float32(self) -> bytes:
        """The TFLite file as the converter writes it."""
        return _converted(self)


def whole_outputs(outputs: Sequence[Output]) -> bool:
    """Return whether 256 steps are enough for every output: numbers 0-1, one for each class.

    >>> whole_outputs((Output(name="location", shape=(25, 4), kind="boxes"),))
    False

    Boxes, embeddings and maps are given as float32, which is also what MediaPipe Tasks takes of them.
    """
    return all(output.labels == "axis" and len(output.shape) == 1 for output in outputs)


def convert(source: Frozen, card: Card, calibration: np.ndarray | None = None) -> bytes:
    """Return a TFLite file at the card's precision.

    calibration: uint8 (n, side, side, 3), read by `int8` and `int16x8`; the ranges of activations are measured on it,
    where the source does not bring those that it learnt.
    Raises ExportError for a precision that does not exist, or where the graph needs operators that are not builtin.
    """
    if card.precision not in PRECISIONS:
        raise UsageError(unknown("TFLite precision", card.precision, PRECISIONS))
    try:
        model = PRECISIONS[card.precision](source, calibration)
    except KerasTransferError:
        raise
    except Exception as error:
        raise ExportError(
            f"TFLite {card.precision}: the converter refused this model: {first_line(error, 300)}"
        ) from error
    refuse_flex(model)
    return metadata.into_tflite(model, card)


def refuse_flex(model: bytes) -> None:
    """Raise ExportError, naming them, where a TFLite file holds operators that are not builtin."""
    codes = tflite_tree.read(model).operatorCodes
    custom = sorted({code.customCode.decode() for code in codes if code.customCode})
    if custom:
        raise ExportError(
            f"TFLite: the model needs operators that are not builtin ({', '.join(custom)}); "
            "a phone's runtime would not open the file. Choose another backbone or export to ONNX."
        )


def _converted(source: Frozen, **settings: Any) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source.path))
    gc.collect()  # of what was loaded to see that it can be: it lies in cycles, and holds five times the weights
    converter.target_spec.supported_ops = settings.pop("supported_ops", [tf.lite.OpsSet.TFLITE_BUILTINS])
    for name, value in settings.items():
        setattr(converter, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an input that has no statistics: uint8 needs none
        return wide_kernels.taken_apart(converter.convert())


def _float32(source: Frozen, calibration: np.ndarray | None) -> bytes:
    return source.float32


def _dynamic(source: Frozen, calibration: np.ndarray | None) -> bytes:
    return _converted(source, optimizations=[tf.lite.Optimize.DEFAULT])


def _int8(source: Frozen, calibration: np.ndarray | None) -> bytes:
    if source.learned:
        return _quickened(_as_learned(source), source)
    return _finished(_quantizer(source, _calibration(calibration))(set()), source)


def _int8_mixed(source: Frozen, calibration: np.ndarray | None) -> bytes:
    pictures = _calibration(calibration)
    quantized = _quantizer(source, pictures)
    return _finished(quantized(selective.worst(source.float32, quantized(set()), pictures)), source)


def _quantizer(source: Frozen, pictures: np.ndarray) -> Callable[[set[str]], bytes]:
    """Return what makes whole numbers of a file, but for some operations, as its activations are on pictures."""
    moments = Moments(source.float32)
    rounded = nearest(source.float32, pictures, moments, whole=source.whole)
    return lambda floats: refine(rounded(floats), moments)


def nearest(exact: bytes, pictures: np.ndarray, moments: Moments, *, whole: bool) -> Callable[[set[str]], bytes]:
    """Return what rounds a float32 file to the nearest whole numbers, but operations of some names.

    >>> nearest(exact, pictures, Moments(exact), whole=True)(set())  # doctest: +SKIP

    pictures: uint8 (n, side, side, 3), on which the ranges of activations are measured, and moments in the same pass.
    whole: whether it gives whole numbers, too. It is the converter's own full quantization, but of the float32 file
    that it wrote before: it would convert the graph once more to come to that file, a third of the time for the same
    answer.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    ranges = Ranges(exact)
    for read in activations.shown(exact, pictures):
        ranges.see(read)
        moments.see(read)
    measured = ranges.written() if ranges.whole else _calibrated(exact, pictures)
    types = {"input_data_type": tf.uint8, "output_data_type": tf.uint8 if whole else tf.float32}
    return lambda floats: mlir_quantize(measured, denylisted_nodes=floats or None, **types)


def _finished(refined: bytes, source: Frozen) -> bytes:
    if source.ends_in_float:
        refined = float_tail.in_float(refined, source.float32)
    return _quickened(float_tail.softmax_in_float(refined), source)


def _as_learned(source: Frozen) -> bytes:
    # Kernels lie on their grids already, so the converter's rounding of them changes nothing.
    kind = tf.uint8 if source.whole else tf.float32
    types = {"inference_input_type": tf.uint8, "inference_output_type": kind}
    return _converted(source, optimizations=[tf.lite.Optimize.DEFAULT], **types)


def _quickened(quantized: bytes, source: Frozen) -> bytes:
    """Return the file with what its runtime is slow at written otherwise."""
    if source.affine is not None:
        quantized = pixels.taken_as_they_are(quantized, source.affine.factor, source.affine.offset)
    return lone_relus.in_additions(hard_swish.taken_apart(stem.widened(quantized)))


def _calibrated(exact: bytes, pictures: np.ndarray) -> bytes:
    """Return a float32 file with the ranges that TensorFlow's calibrator measures, which sees inside loops."""
    from tensorflow.lite.python.optimize import calibrator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about inputs that have no statistics: uint8 needs none
        measuring = calibrator.Calibrator(calibrator.add_intermediate_tensors(exact))
        return measuring.calibrate(lambda: ([picture[None]] for picture in pictures))


def _float16(source: Frozen, calibration: np.ndarray | None) -> bytes:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import ComputePrecision, OpQuantizationConfig, TensorDataType
    from ai_edge_quantizer.qtyping import TensorQuantizationConfig as TensorConfig

    halves = OpQuantizationConfig(
        weight_tensor_config=TensorConfig(num_bits=16, dtype=TensorDataType.FLOAT),
        compute_precision=ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    return _large_weights(source.float32, halves, AlgorithmName.FLOAT_CASTING)


def _weight_int8(source: Frozen, calibration: np.ndarray | None) -> bytes:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import ComputePrecision, OpQuantizationConfig, QuantGranularity
    from ai_edge_quantizer.qtyping import TensorQuantizationConfig as TensorConfig

    bytes_by_channel = OpQuantizationConfig(
        weight_tensor_config=TensorConfig(num_bits=8, granularity=QuantGranularity.CHANNELWISE),
        compute_precision=ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    return _large_weights(source.float32, bytes_by_channel, AlgorithmName.MIN_MAX_UNIFORM_QUANT)


def _large_weights(model: bytes, config: Any, algorithm: str) -> bytes:
    """Quantize the weights of dense layers and of large convolutions; the others stay float32."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    recipe = quantizer.Quantizer(bytearray(model))
    for operation in (TFLOperationName.CONV_2D, TFLOperationName.FULLY_CONNECTED):
        recipe.update_quantization_recipe(
            regex=".*", operation_name=operation, op_config=config, algorithm_key=algorithm
        )
    for name in small_convolutions(model, SMALL_KERNEL):
        recipe.update_quantization_recipe(
            regex=re.escape(name),
            operation_name=TFLOperationName.CONV_2D,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    return _quietly(lambda: bytes(recipe.quantize().quantized_model))


def _int16x8(source: Frozen, calibration: np.ndarray | None) -> bytes:
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    pictures, exact = _calibration(calibration), source.float32
    steps = quantizer.Quantizer(bytearray(exact), recipe.static_wi8_ai16())
    for operation in (TFLOperationName.SOFTMAX, TFLOperationName.OUTPUT):
        steps.update_quantization_recipe(regex=".*", operation_name=operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ranges, moments = Ranges(exact), Moments(exact)
    for read in activations.shown(exact, pictures):
        ranges.see(read)
        moments.see(read)
    # Its calibrator takes the moving mean of how far pictures reach, and cuts off what is beyond. It alone sees inside
    # loops.
    asked = pictures[:1] if ranges.whole else pictures
    samples = {"serving_default": [{IMAGE_INPUT: picture[None]} for picture in asked]}
    found = _quietly(lambda: steps.calibrate(samples))
    for name, reached in ranges.by_name().items():
        if found.get(name):
            found[name] |= {
                end: np.full_like(found[name][end], value) for end, value in zip(("min", "max"), reached, strict=True)
            }
    return refine(_quietly(lambda: bytes(steps.quantize(found).quantized_model)), moments)


PRECISIONS: dict[str, Callable[[Frozen, np.ndarray | None], bytes]] = {
    "float32": _float32,
    "float16": _float16,
    "dynamic": _dynamic,
    "weight-int8": _weight_int8,
    "int8": _int8,
    "int8-mixed": _int8_mixed,
    "int16x8": _int16x8,
}


def small_convolutions(model: bytes, below: int) -> list[str]:
    """Return the output names of the convolutions of a TFLite file that have fewer weights than `below`."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    tree = tflite_tree.read(model)
    return [
        graph.tensors[operator.outputs[0]].name.decode()
        for graph in tree.subgraphs
        for operator in graph.operators
        if tree.operatorCodes[operator.opcodeIndex].builtinCode == BuiltinOperator.CONV_2D
        and np.prod(graph.tensors[operator.inputs[1]].shape) < below
    ]


def _calibration(pictures: np.ndarray | None) -> np.ndarray:
    """The pictures to measure on, and one of all values: so a step of the input is a pixel value, whatever came."""
    if pictures is None or not len(pictures):
        raise ExportError("int8 needs pictures to calibrate on, and none came. Give the training pictures.")
    whole = pictures[:1].copy()
    whole.flat[:2] = (0, 255)
    return np.concatenate([pictures, whole])


def _quietly(work: Callable[[], Made]) -> Made:
    """The quantizer prints its figures; standard output belongs to whoever asked for JSON."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return work()
