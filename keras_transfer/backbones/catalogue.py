"""The rows of Keras Applications, data only.

Sizes, parameters and ImageNet top-1 accuracy are those of the table at https://keras.io/api/applications/.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keras_transfer.specs import BackboneSpec, Scaling, WeightsSource


def application(input_tensor: Any, *, name: str, weights: str | None = None, **options: Any) -> Any:
    """Return a Keras Application without its classifier on `input_tensor`: random, or with `weights="imagenet"`."""
    import keras

    return getattr(keras.applications, name)(
        include_top=False, weights=weights, input_tensor=input_tensor, pooling=None, **options
    )


def _row(
    name: str,
    family: str,
    *,
    size: int,
    smallest: int,
    scaling: Scaling,
    license: str,
    traits: str,
    millions: float,
    top1: float,
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family=family,
        build=partial(application, name=name),
        input_size=size,
        min_size=smallest,
        scaling=scaling,
        weights=(WeightsSource(kind="keras", name="imagenet", license=license),),
        traits=frozenset(traits.split()),
        parameters=round(millions * 1e6),
        top1=top1,
    )


ROWS = (
    _row(
        "MobileNetV2",
        "mobilenet_v2",
        size=224,
        smallest=32,
        scaling="tf",
        license="Apache-2.0",
        traits="relu6 depthwise",
        millions=3.5,
        top1=0.713,
    ),
)
