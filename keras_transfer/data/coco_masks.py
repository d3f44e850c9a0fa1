"""Draws the masks of a COCO file: polygons and run lengths of things, before a background."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.data.decoding import check_pixels, upright_size
from keras_transfer.data.mask_labels import Masked, listed
from keras_transfer.errors import DataError
from keras_transfer.files import read_text

BACKGROUND = "background"
"""The class of pixels that no thing covers."""


def drawing(file: Path, names: Sequence[str]) -> Callable[[str, str], Masked]:
    """Return what draws the mask of an image of a COCO file that was found to be one, by the image's id and its path.

    names: all classes, `BACKGROUND` first. Small things lie over large ones. Raises DataError, when it draws, for an
    annotation without a shape, and for an image without a size or of another than its picture has.
    """
    content = json.loads(read_text(file))
    sizes = {str(row["id"]): (row.get("height"), row.get("width")) for row in content["images"]}
    positions = {str(row["id"]): names.index(str(row["name"])) for row in content["categories"]}
    things: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in content["annotations"]:
        things[str(row["image_id"])].append(row)

    def drawn(image: str, picture: str) -> Masked:
        height, width = sizes[image]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise DataError(f"'{file}': image {image} has no height and width, which its masks are drawn in.")
        try:
            check_pixels(width, height)
        except DataError as error:
            raise DataError(f"'{file}': image {image} {error}.") from None
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
        _check_shape(shape, height, width)
        if isinstance(shape, dict) and isinstance(shape["counts"], str):
            return coco.decode(shape).astype(bool)
        runs = coco.frPyObjects(shape, height, width)
        return coco.decode(coco.merge(runs) if isinstance(runs, list) else runs).astype(bool)
    except Exception as error:  # the library raises whatever its C code meets
        raise DataError(
            f"'{file}': an annotation of image {row['image_id']} has no shape that can be drawn "
            f"({str(error) or type(error).__name__})."
        ) from None


def _check_shape(shape: Any, height: int, width: int) -> None:
    """Raise ValueError where the library would take memory by the shape's word, or write beside what it took.

    It makes a mask of the size that run lengths name, as far as the runs go, and walks along the edges of polygons
    pixel by pixel however far away their corners are.
    """
    if not isinstance(shape, dict):
        far = 2 * max(height, width)
        for side in np.concatenate([np.asarray(each, np.float64).ravel() for each in shape or ()]):
            if not -far <= side <= 2 * far:
                raise ValueError(f"a corner lies at {side:g}, far outside of the picture")
        return
    if [int(side) for side in shape["size"]] != [height, width]:
        raise ValueError(f"its size is {shape['size']}, its image is {height} high and {width} wide")
    runs = _runs(shape["counts"]) if isinstance(shape["counts"], str) else [int(run) for run in shape["counts"]]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs cover {sum(runs)} pixels of {height * width}")


def _runs(counts: str) -> list[int]:
    """Run lengths as COCO packs them: base 32, the lowest digits first, each but the first two as a difference to the
    one before the last. Source: `rleFrString` in common/maskApi.c of the COCO API."""
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii"):
        digit = character - 48
        if not 0 <= digit < 64:
            raise ValueError("its counts hold a character that is no digit")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        value -= (1 << shift) if digit & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its counts break off")
    return runs
