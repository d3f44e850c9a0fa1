"""Writes the requests that TensorFlow Serving answers before it serves, so that the first real one is not slow.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLog messages (tensorflow.github.io/serving,
"SavedModel Warmup"). The few messages are described here: the package that brings them pins a TensorFlow of its own.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.bundles.content import Content
from keras_transfer.specs import IMAGE_INPUT

FILE = "assets.extra/tf_serving_warmup_requests"
SIGNATURES = ("serving_default", "serve_bytes")
PICTURES = 3
"""Asked about by each signature."""

_FIELDS = {
    "ModelSpec": (("name", 1, "string"), ("signature_name", 3, "string")),
    "Input": (("key", 1, "string"), ("value", 2, "bytes")),
    "PredictRequest": (("model_spec", 1, "ModelSpec"), ("inputs", 2, "*Input")),
    "PredictLog": (("request", 1, "PredictRequest"),),
    "PredictionLog": (("predict_log", 6, "PredictLog"),),
}
"""tensorflow_serving/apis: prediction_log, predict and model .proto, as far as they are needed. `Input` is an entry of
the map of inputs; its value, a TensorProto, is put in as the bytes that it is written as."""


def write(content: Content, folder: Path) -> None:
    """Write requests with golden pictures beside a SavedModel."""
    import tensorflow as tf

    size = content.artifact.contract.image_size
    pixels = [np.asarray(Image.open(io.BytesIO(each.png)).convert("RGB")) for each in content.golden]
    squares = [(each, golden.png) for each, golden in zip(pixels, content.golden, strict=True) if len(each) == size]
    place = folder / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(place)) as file:
        for square, png in squares[:PICTURES]:
            given = (tf.make_tensor_proto(square[None]), tf.make_tensor_proto([png], tf.string))
            names = (IMAGE_INPUT, f"{IMAGE_INPUT}_bytes")
            for signature, name, tensor in zip(SIGNATURES, names, given, strict=True):
                file.write(_request(content.name, signature, name, tensor.SerializeToString()))


def _request(model: str, signature: str, name: str, tensor: bytes) -> bytes:
    known = _messages()
    request = known["PredictRequest"](
        model_spec=known["ModelSpec"](name=model, signature_name=signature),
        inputs=[known["Input"](key=name, value=tensor)],
    )
    return known["PredictionLog"](predict_log=known["PredictLog"](request=request)).SerializeToString()


@functools.cache
def _messages() -> dict[str, Any]:
    """The classes of the messages, in a pool of their own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="warming.proto", package="warming", syntax="proto3")
    for message, rows in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind in rows:
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            plain = {"string": kinds.TYPE_STRING, "bytes": kinds.TYPE_BYTES}.get(kind)
            field.type = plain or kinds.TYPE_MESSAGE
            if plain is None:
                field.type_name = f".warming.{kind.removeprefix('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"warming.{message}") for message in _FIELDS)
    return {each.name: message_factory.GetMessageClass(each) for each in found}
