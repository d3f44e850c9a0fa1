"""Has a model take pictures several times as large and average them, for clients that make them smaller carelessly."""

from __future__ import annotations

import keras

from keras_transfer.specs import IMAGE_INPUT

POINTWISE = (keras.layers.Rescaling, keras.layers.Normalization)
"""What may be done to pixels before they are averaged as well as afterwards."""
ASKED = "asked"
"""The name, in the model that averages, of the one that it asks."""


def supersampled(model: keras.Model, times: int) -> keras.Model:
    """Return a model that takes pictures `times` as large a side, and asks `model` about the means of its squares.

    >>> supersampled(model, 3).input.shape  # doctest: +SKIP
    (None, 672, 672, 3)

    A client that makes photographs smaller by looking at two pixels a side, as MediaPipe and OpenCV do, hands over
    what lies between them by chance (aliasing). The less it has to make them smaller, the less of that: the rest is
    done here, by a box filter over `times` x `times` pixels (supersampling; Whitted, CACM 1980).

    model: one input, uint8 (None, side, side, 3), the one that comes back where `times` is 1. Weights are shared with
    it. Means are of scaled pixels, so that scaling stays what comes first, which exporters fold into what follows.
    """
    if times == 1:
        return model
    given, scaled, scaling = model.inputs[0], model.inputs[0], []
    for layer in model.operations[1:]:
        if not isinstance(layer, POINTWISE) or layer.input is not scaled:
            break
        scaling.append(layer)
        scaled = layer.output
    side = times * given.shape[1]
    image = keras.Input((side, side, 3), dtype=given.dtype, name=IMAGE_INPUT)
    pixels = image
    # Where nothing scales pixels first, means are whole numbers again for what follows, which cuts their fractions off.
    for layer in scaling or [keras.layers.Rescaling(1.0, offset=0.5)]:
        pixels = layer(pixels)
    means = keras.layers.AveragePooling2D(times, name="supersampling")(pixels)
    return keras.Model(image, keras.Model(scaled, model.output, name=ASKED)(means), name=model.name)
