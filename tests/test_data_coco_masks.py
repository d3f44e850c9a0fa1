"""Masks of COCO files: polygons, run lengths, overlap, and what cannot be drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_transfer import masks
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError

SQUARE = [[10, 5, 20, 5, 20, 15, 10, 15]]
RUNS = {"size": [24, 32], "counts": [0, 24 * 4, 24 * 28]}
"""The first four columns, counted down each column."""


def _coco(folder, change=lambda content: None, pictures=12):
    (folder / "images").mkdir(parents=True)
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 24, "width": 32} for n in range(pictures)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"image_id": n, "category_id": category, "segmentation": shape}
            for n in range(pictures)
            for category, shape in ((7, SQUARE), (3, RUNS), (7, [[0, 0, 32, 0, 32, 2, 0, 2]]))
        ],
    }
    for n in range(pictures):
        Image.fromarray(np.full((24, 32, 3), 20 * n, np.uint8)).save(folder / "images" / f"{n}.png")
    change(content)
    (folder / "instances.json").write_text(json.dumps(content))
    return str(folder / "instances.json")


def test_polygons_and_run_lengths_become_masks_before_a_background(tmp_path):
    splits = load(_coco(tmp_path), annotation="mask")
    assert splits.class_names == ("background", "cat", "dog")
    expected = np.zeros((24, 32), np.uint8)
    expected[:, :4] = 1
    expected[:2] = 2  # the smaller of the two lies above
    expected[5:15, 10:20] = 2
    assert (masks.unpack(splits.train.labels[0]) == expected).all()


def test_an_annotation_without_a_shape_is_told(tmp_path):
    source = _coco(tmp_path, lambda content: content["annotations"][4].pop("segmentation"))
    with pytest.raises(DataError, match="an annotation of image 1 has no shape that can be drawn"):
        load(source, annotation="mask")


def test_an_image_without_a_size_is_told(tmp_path):
    source = _coco(tmp_path, lambda content: content["images"][2].pop("height"))
    with pytest.raises(DataError, match="image 2 has no height and width"):
        load(source, annotation="mask")


def test_an_image_of_another_size_than_its_picture_is_told(tmp_path):
    source = _coco(tmp_path, lambda content: content["images"][2].update(height=30))
    with pytest.raises(
        DataError, match=r"says that image 2 is 32 x 30 pixels, but '.*2.png' is 32 x 24. Write the masks in"
    ):
        load(source, annotation="mask")


def test_an_image_whose_picture_is_missing_is_left_out_and_told(tmp_path):
    source = _coco(tmp_path)
    (tmp_path / "images" / "2.png").unlink()
    splits = load(source, annotation="mask")
    assert sum(splits.counts.values()) == 11
    assert any(each.startswith("images/2.png") for each in splits.skipped)
