"""Shows the backbones, fetches their weights, and cuts them into blocks."""

from __future__ import annotations

from collections.abc import Sequence

from keras_transfer.backbones import blocks, registry
from keras_transfer.specs import BackboneSpec, Value


class BlockShape(Value):
    """One block of a backbone, as a person chooses by."""

    index: int
    resolution: int
    """Height in pixels of its output."""
    channels: int
    parameters: int
    multiply_adds: int
    """Per picture."""
    share: float
    """Of the backbone's multiply-adds, as a fraction."""
    storable: bool
    """Whether features can be stored at its end."""


def backbones(
    *, having: Sequence[str] = (), lacking: Sequence[str] = (), sort: str | None = None
) -> tuple[BackboneSpec, ...]:
    """Return the rows of the catalogue that have and lack these words; see `registry.select`."""
    return registry.select(having, lacking, sort)


def fetch(backbone: str) -> str:
    """Make sure that the ImageNet weights of `backbone` are on this machine and whole; return where they came from."""
    from keras_transfer.backbones import features  # here, because it brings Keras along, and a list needs none

    spec = registry.backbone(backbone)
    return features.build(spec, image_size=spec.min_size).weights_source


def backbone_blocks(backbone: str, image_size: int | None = None) -> tuple[BlockShape, ...]:
    """Return what each block of `backbone` is at `image_size` pixels (its native side where left out)."""
    from keras_transfer.backbones import features

    spec = registry.backbone(backbone)
    built = features.build(spec, image_size=image_size or spec.input_size, weights="none")
    cut = blocks.cut(built.model, spec)
    work = sum(block.multiply_adds for block in cut)
    return tuple(
        BlockShape(
            index=block.index,
            resolution=block.resolution,
            channels=block.output.shape[-1],
            parameters=block.parameters,
            multiply_adds=block.multiply_adds,
            share=block.multiply_adds / work,
            storable=block.alone,
        )
        for block in cut
    )
