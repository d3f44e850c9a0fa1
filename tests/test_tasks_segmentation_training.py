"""A segmenter in training: the cut holds its taps, and its gate is the mean IoU of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from keras_transfer.backbones import blocks, features, registry
from keras_transfer.data.pipeline import make_feed
from keras_transfer.data.sources import load
from keras_transfer.errors import UsageError
from keras_transfer.specs import Network, Stage
from keras_transfer.tasks import segmentation
from keras_transfer.training import freezing

SIDE = 64


@pytest.fixture(scope="module")
def network() -> Network:
    spec = registry.backbone("EfficientNetLite0")
    model = features.build(spec, image_size=SIDE, weights="none").model
    cut = blocks.cut(model, spec)
    taps = blocks.taps(cut, segmentation.STRIDES, SIDE)
    return segmentation.attach(model, cut, taps=taps, classes=11)


def test_the_head_learns_from_all_taps_and_nothing_below_them(network: Network) -> None:
    decided = freezing.decide(network, Stage(name="head"))
    assert [tensor.shape[1] for tensor in decided.cut] == [16, 8, 4, 2]
    owned = {id(layer) for block in network.blocks for layer in block.layers}
    assert not any(id(layer) in owned for layer in decided.learning)


def test_a_stage_of_the_last_blocks_stores_every_tap_before_them(network: Network) -> None:
    decided = freezing.decide(network, Stage(name="top", blocks=(-2, -1)))
    assert [tensor.shape[1] for tensor in decided.cut] == [16, 8]


def test_the_network_takes_the_feeds_masks(network: Network) -> None:
    feed = make_feed(load("sample:fashion-masks", annotation="mask"))
    images, targets, _ = next(iter(feed("train", image_size=SIDE, batch_size=4, augment="light")))
    raw = network.model.predict_on_batch(np.asarray(images))
    assert network.losses((np.log(raw),), targets, 0.1).shape == (4,)
    assert np.all((np.asarray(network.merit((raw,), targets)) >= 0) & (np.asarray(network.merit((raw,), targets)) <= 1))


def test_a_side_that_its_strides_do_not_divide_is_told() -> None:
    spec = registry.backbone("EfficientNetLite0")
    model = features.build(spec, image_size=100, weights="none").model
    cut = blocks.cut(model, spec)
    with pytest.raises(UsageError, match=r"multiple of 32 pixels a side. Received: 100"):
        segmentation.attach(model, cut, taps=blocks.taps(cut, segmentation.STRIDES, 100), classes=3)
