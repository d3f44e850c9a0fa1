"""Lists the pictures of COCO files (`instances.json`): which categories each picture shows, and where."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_transfer.data import coco_boxes, coco_masks
from keras_transfer.data.annotations import annotation_of
from keras_transfer.data.box_files import gather_boxes
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_TEXT_BYTES, expanded, read_text, regular
from keras_transfer.specs import Listener, Splits, silent

FIELDS = {"images": ("id", "file_name"), "categories": ("id", "name"), "annotations": ("image_id", "category_id")}
"""What is read of each part of a file."""

_NAMED = re.compile(r"(instances|_?annotations|train|val|test)", re.IGNORECASE)
_BEGINS = re.compile(r'\s*\{\s*"(info|licenses|images|annotations|categories)"\s*:')


def load(source: str, *, annotation: str = "classes", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a COCO file, or of a folder that holds one or one for each split.

    A file's split is in its name or its folder's (`instances_train2017.json`, `valid/_annotations.coco.json`); the
    pictures stand beside it, in `images`, or in a folder named as the split is (`train2017`). Pictures without an
    annotation have no label. Raises DataError for what is no COCO file, a repeated id, an id that nothing has.
    """
    annotation_of(source, annotation if annotation in ("mask", "boxes") else "classes", asked=annotation)
    path = expanded(source)
    files = [path] if path.is_file() else files_in(path)
    root = path.parent if path.is_file() else path
    read = [(file, _read(file)) for file in files]
    declared = sorted({name for _, content in read for _, name in content["categories"]})
    if annotation == "mask":
        declared = [coco_masks.BACKGROUND, *declared]
    alone = len(files) == 1
    by_file = {
        file: list(_listed(root, file, content, _labelling(file, annotation, declared), alone=alone))
        for file, content in read
    }
    if annotation == "boxes":
        found = [each for file, rows in by_file.items() for each in coco_boxes.found(file, rows)]
        return gather_boxes(source, found, declared=declared, seed=seed, listener=listener)
    listings = [each for rows in by_file.values() for each in rows]
    return gather(source, listings, annotation=annotation, declared=declared, seed=seed, listener=listener)


def files_in(folder: Path) -> list[Path]:
    """Return the COCO files of a folder: in it, in `annotations`, or in the folders of its splits."""
    places = [folder, folder / "annotations", *(folder / name for name in SPLIT_FOLDERS)]
    found = [file for place in places for file in sorted(place.glob("*.json")) if _NAMED.match(file.name)]
    return [file for file in found if _begins_as_coco(file)]


def _begins_as_coco(file: Path) -> bool:
    try:
        with regular(file, MOST_TEXT_BYTES) as opened:
            return bool(_BEGINS.match(opened.read(200).decode("utf-8", "replace")))
    except OSError:
        return False


def _read(file: Path) -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of each part of a file, as tuples of the fields that FIELDS names, as text."""
    try:
        content = json.loads(read_text(file))
        read = {
            part: [tuple(str(row[field]) for field in fields) for row in content[part]]
            for part, fields in FIELDS.items()
        }
        numbers = Counter(row["id"] for row in content["annotations"] if row.get("id") is not None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"'{file}' is not a COCO file with images, annotations and categories: {error!s}.") from None
    doubled = next((number for number, times in numbers.items() if times > 1), None)
    if doubled is not None:
        raise DataError(f"'{file}': {numbers[doubled]} annotations have the id {doubled}. Give each its own.")
    return read


def _labelling(file: Path, annotation: str, declared: Sequence[str]) -> Callable[[str, str, set[str]], Any]:
    """What makes the label of an image, as the annotation lists it, of its id, its file and what it shows."""
    if annotation != "mask":
        return lambda image, picture, shown: tuple(sorted(shown))
    drawn = coco_masks.drawing(file, declared)
    return lambda image, picture, shown: drawn(image, picture)


def _listed(
    root: Path, file: Path, content: Mapping[str, Any], label: Callable[[str, str, set[str]], Any], *, alone: bool
) -> Iterator[Listing]:
    images, names = (_by_id(file, part, content[part]) for part in ("images", "categories"))
    shown: dict[str, set[str]] = {each: set() for each in images}
    for image, category in content["annotations"]:
        if image not in images or category not in names:
            raise DataError(
                f"'{file}' has an annotation of image {image}, category {category}, but does not list both."
            )
        shown[image].add(names[category])
    folder = _pictures_of(file, list(images.values()))
    for image, name in images.items():
        inside = os.path.normpath(name)
        if os.path.isabs(inside) or inside.split(os.sep)[0] == "..":
            raise DataError(f"'{file}': a file name must stay in the folder of pictures. Received: '{name}'")
        path = folder / inside
        key = path.relative_to(root).as_posix() if path.is_relative_to(root) else name
        yield Listing(str(path), key, label(image, str(path), shown[image]), None if alone else _split(file))


def _by_id(file: Path, part: str, rows: Sequence[tuple[str, ...]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, name in rows:
        if number in found:
            raise DataError(f"'{file}': two {part} have the id {number}: '{found[number]}' and '{name}'.")
        found[number] = name
    return found


def _split(file: Path) -> str | None:
    words = re.findall(r"[a-z]+", f"{file.parent.name} {file.stem}".casefold())
    return next((SPLIT_FOLDERS[word] for word in reversed(words) if word in SPLIT_FOLDERS), None)


def _pictures_of(file: Path, names: Sequence[str]) -> Path:
    own = file.stem.removeprefix("instances_")
    bases = (file.parent, file.parent.parent)
    places = [base / inside for base in bases for inside in (".", "images", own, f"images/{own}")]
    for place in places:
        if any((place / name).is_file() for name in names[:20]):
            return place
    raise DataError(
        f"None of the pictures that '{file}' names stands beside it, in 'images' or in '{own}'. "
        f"The first: '{names[0] if names else ''}'"
    )
