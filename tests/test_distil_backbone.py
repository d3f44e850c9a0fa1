"""Weights that a student learnt are such as a backbone begins from, and are learnt from no picture that judges."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import distil_backbone  # noqa: E402

from keras_transfer.backbones import features, registry  # noqa: E402
from keras_transfer.errors import DataError  # noqa: E402

SIDE = 32


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 24 pictures, one of them twice and one broken."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for index in range(24):
        blotch = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        Image.fromarray(blotch).save(folder / f"{index}.png")
    (folder / "again.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_each_picture_is_taken_once_and_none_that_judges(pictures):
    found = distil_backbone.gathered([pictures], [str(pictures / "1.png")])
    taken = {Path(path).name for split in (found.train, found.validation) for path in split.pictures}
    assert taken - {"again.png"} | {"0.png"} == {f"{index}.png" for index in range(24) if index != 1}
    assert len(found.train) + len(found.validation) == 23
    assert len(found.validation) > 0


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"^At least 20 pictures are needed. Found in .*: 0$"):
        distil_backbone.gathered([tmp_path], [])


@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny"])
def test_what_is_written_is_what_a_backbone_begins_from(name, tmp_path):
    spec, images = registry.backbone(name), np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    base, _ = distil_backbone.pooled_model(spec, SIDE, "none")
    path = tmp_path / "learnt.weights.h5"
    distil_backbone.write(spec, base, SIDE, path)
    again = features.build(spec, image_size=SIDE, weights=str(path)).model
    np.testing.assert_array_equal(base.predict(images, verbose=0), again.predict(images, verbose=0))
