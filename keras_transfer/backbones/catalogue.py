"""The rows of Keras Applications, data only.

Native sizes, parameters and ImageNet top-1 accuracy are those of the table at https://keras.io/api/applications/;
MobileNetV3's, which that table leaves out, those of https://keras.io/api/applications/mobilenet/. Licences are those of
the weights' first publishers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keras_transfer.specs import BackboneSpec, Scaling, WeightsSource


@dataclass(frozen=True)
class _Family:
    """What the members of a family share."""

    scaling: Scaling
    license: str
    traits: str = ""
    min_size: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the Keras Application. Where Keras can leave its own scaling out it does, so that it happens once
    and in float32."""


WITHOUT_SCALING = {"include_preprocessing": False}
FAMILIES = {
    "convnext": _Family("torch", "MIT", "depthwise layer-scale gelu", options=WITHOUT_SCALING),
    "densenet": _Family("torch", "BSD-3-Clause"),
    "efficientnet": _Family("inside", "Apache-2.0", "depthwise squeeze-excite swish"),
    "efficientnet_v2_b": _Family("torch", "Apache-2.0", "depthwise squeeze-excite swish", options=WITHOUT_SCALING),
    "efficientnet_v2": _Family("signed", "Apache-2.0", "depthwise squeeze-excite swish", options=WITHOUT_SCALING),
    "inception": _Family("tf", "Apache-2.0", "no-stride-4 no-stride-8 no-stride-16 no-stride-32", min_size=75),
    "mobilenet": _Family("tf", "Apache-2.0", "depthwise relu6"),
    "mobilenet_v2": _Family("tf", "Apache-2.0", "depthwise relu6"),
    "mobilenet_v3": _Family("tf", "Apache-2.0", "depthwise squeeze-excite hard-swish", options=WITHOUT_SCALING),
    "nasnet": _Family("tf", "Apache-2.0", "depthwise"),
    "resnet": _Family("caffe", "MIT"),
    "resnet_v2": _Family("tf", "BSD-3-Clause"),
    "vgg": _Family("caffe", "CC-BY-4.0", "no-stride-16"),
    "xception": _Family("tf", "MIT", "depthwise no-stride-4", min_size=71),
}
"""Inception's convolutions do not pad, nor do the first of Xception's: their maps are a few pixels smaller than strides
say. VGG's maps of stride 16 are pooled to 32 with no weights between."""

MODELS: tuple[tuple[str, str, int, float, float], ...] = (
    ("MobileNet", "mobilenet", 224, 4.3, 70.4),
    ("MobileNetV2", "mobilenet_v2", 224, 3.5, 71.3),
    ("MobileNetV3Small", "mobilenet_v3", 224, 2.9, 68.1),
    ("MobileNetV3Large", "mobilenet_v3", 224, 5.4, 75.6),
    ("EfficientNetB0", "efficientnet", 224, 5.3, 77.1),
    ("EfficientNetB1", "efficientnet", 240, 7.9, 79.1),
    ("EfficientNetB2", "efficientnet", 260, 9.2, 80.1),
    ("EfficientNetB3", "efficientnet", 300, 12.3, 81.6),
    ("EfficientNetB4", "efficientnet", 380, 19.5, 82.9),
    ("EfficientNetB5", "efficientnet", 456, 30.6, 83.6),
    ("EfficientNetB6", "efficientnet", 528, 43.3, 84.0),
    ("EfficientNetB7", "efficientnet", 600, 66.7, 84.3),
    ("EfficientNetV2B0", "efficientnet_v2_b", 224, 7.2, 78.7),
    ("EfficientNetV2B1", "efficientnet_v2_b", 240, 8.2, 79.8),
    ("EfficientNetV2B2", "efficientnet_v2_b", 260, 10.2, 80.5),
    ("EfficientNetV2B3", "efficientnet_v2_b", 300, 14.5, 82.0),
    ("EfficientNetV2S", "efficientnet_v2", 384, 21.6, 83.9),
    ("EfficientNetV2M", "efficientnet_v2", 480, 54.4, 85.3),
    ("EfficientNetV2L", "efficientnet_v2", 480, 119.0, 85.7),
    ("ResNet50", "resnet", 224, 25.6, 74.9),
    ("ResNet101", "resnet", 224, 44.7, 76.4),
    ("ResNet152", "resnet", 224, 60.4, 76.6),
    ("ResNet50V2", "resnet_v2", 224, 25.6, 76.0),
    ("ResNet101V2", "resnet_v2", 224, 44.7, 77.2),
    ("ResNet152V2", "resnet_v2", 224, 60.4, 78.0),
    ("DenseNet121", "densenet", 224, 8.1, 75.0),
    ("DenseNet169", "densenet", 224, 14.3, 76.2),
    ("DenseNet201", "densenet", 224, 20.2, 77.3),
    ("NASNetMobile", "nasnet", 224, 5.3, 74.4),
    ("NASNetLarge", "nasnet", 331, 88.9, 82.5),
    ("InceptionV3", "inception", 299, 23.9, 77.9),
    ("InceptionResNetV2", "inception", 299, 55.9, 80.3),
    ("Xception", "xception", 299, 22.9, 79.0),
    ("ConvNeXtTiny", "convnext", 224, 28.6, 81.3),
    ("ConvNeXtSmall", "convnext", 224, 50.2, 82.3),
    ("ConvNeXtBase", "convnext", 224, 88.5, 85.3),
    ("ConvNeXtLarge", "convnext", 224, 197.7, 86.3),
    ("ConvNeXtXLarge", "convnext", 224, 350.1, 86.7),
    ("VGG16", "vgg", 224, 138.4, 71.3),
    ("VGG19", "vgg", 224, 143.7, 71.3),
)
"""Name, family, native side in pixels, millions of parameters with the ImageNet head, ImageNet top-1 in percent."""

BLOCK_ENDS = {
    "NASNetMobile": ("stem_bn1", "reduction_concat_stem_1", "normal_concat_3", "normal_concat_8"),
    "NASNetLarge": ("stem_bn1", "reduction_concat_stem_1", "normal_concat_5", "normal_concat_12"),
}
"""A NASNet cell takes the last two cells, so after the stem the graph has no cut; Keras names cells by position."""


def application(input_tensor: Any, *, name: str, weights: str | None = None, **options: Any) -> Any:
    """Return a Keras Application without its classifier on `input_tensor`: random, or with `weights="imagenet"`."""
    import keras

    build = getattr(keras.applications, name)
    return build(include_top=False, weights=weights, input_tensor=input_tensor, pooling=None, **options)


def _row(name: str, family: str, size: int, millions: float, top1: float) -> BackboneSpec:
    shared = FAMILIES[family]
    return BackboneSpec(
        name=name,
        family=family,
        build=partial(application, name=name, **shared.options),
        input_size=size,
        min_size=shared.min_size,
        scaling=shared.scaling,
        weights=(WeightsSource(kind="keras", name="imagenet", license=shared.license),),
        traits=frozenset(shared.traits.split()),
        parameters=round(millions * 1e6),
        top1=round(top1 / 100, 3),
        block_ends=BLOCK_ENDS.get(name),
    )


ROWS = tuple(_row(*model) for model in MODELS)
