"""Lists the boxes of a COCO file: what stands where in each of its images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from keras_transfer.data.box_files import Found
from keras_transfer.data.gathering import Listing
from keras_transfer.errors import DataError
from keras_transfer.files import read_text


def found(file: Path, listings: Sequence[Listing]) -> list[Found]:
    """Return the boxes of a COCO file that was found to be one; listings: of its images, in the file's order.

    Crowds are no single things and are left out. Raises DataError for an annotation without a `bbox` of four numbers.
    """
    content = json.loads(read_text(file))
    names = {str(row["id"]): str(row["name"]) for row in content["categories"]}
    boxes: dict[str, list[tuple[float, float, float, float, str]]] = defaultdict(list)
    for row in content["annotations"]:
        if row.get("iscrowd"):
            continue
        try:
            left, top, width, height = (float(side) for side in row["bbox"])
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"'{file}': an annotation of image {row['image_id']} has no bbox of left, top, width and height. "
                f"Received: {row.get('bbox')!r}"
            ) from None
        name = names[str(row["category_id"])]
        boxes[str(row["image_id"])].append((left, top, left + width, top + height, name))
    return [
        Found(
            row.path,
            row.key,
            f"'{file}', '{row.key}'",
            boxes[str(image["id"])],
            (image["width"], image["height"]) if image.get("width") and image.get("height") else None,
            row.split,
        )
        for image, row in zip(content["images"], listings, strict=True)
    ]
