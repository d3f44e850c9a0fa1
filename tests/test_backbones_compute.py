"""The work of a network is what its authors say it is."""

import pytest

from keras_transfer.backbones import features
from keras_transfer.backbones.blocks import cut
from keras_transfer.backbones.registry import backbone


@pytest.mark.parametrize(
    ("name", "millions"), [("MobileNetV2", 300), ("MobileNet", 568), ("EfficientNetLite0", 385), ("ResNet50", 3860)]
)
def test_multiply_adds_are_those_of_the_papers(name, millions):
    spec = backbone(name)
    blocks = cut(features.build(spec, image_size=224, weights="none").model, spec)
    assert sum(block.multiply_adds for block in blocks) / 1e6 == pytest.approx(millions, rel=0.02)
