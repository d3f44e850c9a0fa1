"""Writes a SavedModel that takes pixels or encoded pictures, with its contract among its assets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_transfer.export import metadata
from keras_transfer.export.graph import Graph
from keras_transfer.export.metadata import Card
from keras_transfer.specs import PROBABILITIES_OUTPUT, Aspect

Square = Callable[[Any, int, Aspect], Any]
"""`square(pixels, side, aspect)`: uint8 (height, width, 3) to uint8 (side, side, 3), of TensorFlow operations."""


def write(graph: Graph, path: Path, card: Card, square: Square | None = None) -> None:
    """Write the folder `path` with the signatures `serving_default` and, where `square` is given, `serve_bytes`.

    `serving_default`: `image`, uint8 (batch, side, side, 3); `serve_bytes`: `image_bytes`, strings (batch,) of JPEG,
    PNG, BMP or GIF files, JPEG turned as the camera noted (Exif), the others as they are stored. Both give
    `probabilities`, float32 (batch, classes).
    square: how training made pictures square, so that serving does the same.
    """
    module = tf.Module()
    module.variables_of_model = graph.variables
    signatures = {"serving_default": graph.function}
    if square is not None:
        signatures["serve_bytes"] = _serve_bytes(graph, card.contract.aspect, square)
    with tempfile.TemporaryDirectory() as staging:
        module.assets = []
        for name, content in metadata.files(card).items():
            (Path(staging) / name).write_bytes(content)
            module.assets.append(tf.saved_model.Asset(str(Path(staging) / name)))
        tf.saved_model.save(module, str(path), signatures=signatures)


def write_frozen(graph: Graph, path: Path, *, batch: int) -> None:
    """Write a SavedModel of constants and one fixed batch: what the TFLite converter starts from.

    From variables the converter leaves READ_VARIABLE operators, which neither calibrate nor run in MediaPipe.
    """
    # The gradients of swish refer to tensors outside the frozen graph; nobody trains from this file.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": graph.fixed(batch)}, options=options)


def _serve_bytes(graph: Graph, aspect: Aspect, square: Square) -> Any:
    side = graph.image_size

    def picture(content: tf.Tensor) -> tf.Tensor:
        pixels = tf.image.decode_image(content, channels=3, expand_animations=False)
        return _upright(square(tf.ensure_shape(pixels, (None, None, 3)), side, aspect), content)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(picture, image_bytes, fn_output_signature=tf.TensorSpec((side, side, 3), tf.uint8))
        return {PROBABILITIES_OUTPUT: graph.function(image=images)[PROBABILITIES_OUTPUT]}

    return serve_bytes


NOTED = (
    r"(?s)\C*?Exif\x00\x00(?:II\*\x00\C*?\x12\x01\x03\x00\x01\x00\x00\x00"
    r"|MM\x00\*\C*?\x01\x12\x00\x03\x00\x00\x00\x01\x00)([\x01-\x08])\C*"
)
"""The first tag Orientation (0x0112, one SHORT) after the start of an Exif block, in either byte order
(Exif 2.32, 4.6.2 and 4.6.4 A). Searched for rather than parsed: TensorFlow has no operation that reads Exif."""
NOTED_WITHIN_BYTES = 65_536
"""An Exif block is one segment of a JPEG file, and no segment is longer."""


def _upright(picture: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Turn a square picture as the camera noted in the encoded file that it was decoded from."""
    head = tf.strings.substr(content, 0, NOTED_WITHIN_BYTES)
    is_noted = tf.logical_and(tf.strings.substr(content, 0, 2) == b"\xff\xd8", tf.strings.regex_full_match(head, NOTED))
    note = tf.where(is_noted, tf.strings.regex_replace(head, NOTED, r"\1"), b"\x01")
    orientation = tf.cast(tf.io.decode_raw(note, tf.uint8)[0], tf.int32)
    picture = tf.where(orientation >= 5, tf.transpose(picture, (1, 0, 2)), picture)
    picture = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), picture[::-1], picture)
    return tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), picture[:, ::-1], picture)
