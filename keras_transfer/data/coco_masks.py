"""Draws the masks of a COCO file: polygons and run lengths of things, before a background."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data.decoding import upright_size
from keras_transfer.data.mask_labels import Masked, listed
from keras_transfer.errors import DataError

BACKGROUND = "background"
"""The class of pixels that no thing covers."""


def drawing(file: Path, names: Sequence[str]) -> Callable[[str, str], Masked]:
    """Return what draws the mask of an image of a COCO file that was found to be one, by the image's id and its path.

    names: all classes, `BACKGROUND` first. Small things lie over large ones. Raises DataError, when it draws, for an
    annotation without a shape, and for an image without a size or of another than its picture has.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    sizes = {str(row["id"]): (row.get("height"), row.get("width")) for row in content["images"]}
    positions = {str(row["id"]): names.index(str(row["name"])) for row in content["categories"]}
    things: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in content["annotations"]:
        things[str(row["image_id"])].append(row)

    def drawn(image: str, picture: str) -> Masked:
        height, width = sizes[image]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise DataError(f"'{file}': image {image} has no height and width, which its masks are drawn in.")
        size = upright_size(picture)
        if size not in (None, (width, height)):
            wide, high = size or (0, 0)
            raise DataError(
                f"'{file}' says that image {image} is {width} x {height} pixels, but '{picture}' is {wide} x {high}. "
                "Write the masks in the pixels of the picture as it is."
            )
        shapes = [(_shape(file, row, height, width), positions[str(row["category_id"])]) for row in things[image]]
        mask = np.zeros((height, width), np.uint8)
        for shape, position in sorted(shapes, key=lambda pair: -int(pair[0].sum())):
            mask[shape] = position
        return listed(mask, names)

    return drawn


def _shape(file: Path, row: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """The pixels of one thing: bool (height, width)."""
    from pycocotools import mask as coco  # here, because every source is recognised without it

    shape = row.get("segmentation")
    try:
        if isinstance(shape, dict) and isinstance(shape["counts"], str):
            return coco.decode(shape).astype(bool)
        runs = coco.frPyObjects(shape, height, width)
        return coco.decode(coco.merge(runs) if isinstance(runs, list) else runs).astype(bool)
    except Exception as error:  # the library raises whatever its C code meets
        raise DataError(
            f"'{file}': an annotation of image {row['image_id']} has no shape that can be drawn "
            f"({str(error) or type(error).__name__})."
        ) from None
