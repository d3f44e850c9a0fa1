"""Lists the pictures of folders in the layout of Pascal VOC: an XML file of boxes for each, a mask for some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_transfer.data.annotations import annotation_of
from keras_transfer.data.box_files import Found, gather_boxes
from keras_transfer.data.files import picture_paths
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import Listing
from keras_transfer.data.mask_files import gather_masks
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_TEXT_BYTES, expanded, read_text, regular
from keras_transfer.specs import Listener, Splits, silent

PICTURES, BOXES, MASKS = "JPEGImages", "Annotations", "SegmentationClass"
LISTS = {"boxes": Path("ImageSets") / "Main", "mask": Path("ImageSets") / "Segmentation"}
"""Where the pictures of each split are named, by what they are labelled with."""
SIDES = ("xmin", "ymin", "xmax", "ymax")


def load(source: str, *, annotation: str = "boxes", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a VOC folder: pictures in `JPEGImages`, and what they are labelled with.

    For boxes that is `Annotations/*.xml`, with lists in `ImageSets/Main` where it has them; for masks
    `SegmentationClass/*.png` and `ImageSets/Segmentation`, and `classes.csv` in the folder may name the classes as
    `mask_files.load` says. Lists named as a split (`train.txt`, `val.txt`, `test.txt`) divide the pictures; one that
    stands in none of them is left out and told. Without such lists all pictures are divided by their content.
    Corners are taken as they are written. Raises DataError for XML that cannot be read or that expands entities, for a
    picture without its XML or its mask, and for what `gather_boxes` and `gather_masks` refuse.
    """
    root = expanded(source)
    held = annotation if annotation in _held(root) else _held(root)[0]
    annotation_of(source, held, asked=annotation)
    pictures = {Path(path).stem: path for path in picture_paths(root / PICTURES)[0]}
    splits = _lists(root, LISTS[held])
    labelled = pictures if held == "boxes" else {Path(path).stem for path in picture_paths(root / MASKS)[0]}
    unlisted = sorted(set(labelled) - set(splits)) if splits else []
    passed = tuple(f"{stem}, which no list in {LISTS[held]} names" for stem in unlisted)
    if held == "mask":
        rows = list(_masked(root, pictures, splits))
        return gather_masks(source, root, rows, passed=passed, seed=seed, listener=listener)
    found = list(_found(root, pictures, splits))
    return gather_boxes(source, found, passed=passed, seed=seed, listener=listener)


def is_laid_out(folder: Path) -> bool:
    """Return whether a folder is laid out as VOC is."""
    return (folder / PICTURES).is_dir() and bool(_held(folder))


def _held(folder: Path) -> list[str]:
    """What the pictures of a folder are labelled with."""
    return [name for name, labels in (("boxes", BOXES), ("mask", MASKS)) if (folder / labels).is_dir()]


def _lists(root: Path, lists: Path) -> dict[str, str]:
    """The split of each picture that a list named as a split has, by its stem."""
    found: dict[str, str] = {}
    for file in sorted((root / lists).glob("*.txt")):
        split = SPLIT_FOLDERS.get(file.stem.casefold())
        for stem in _stems(file) if split else ():
            if found.setdefault(stem, str(split)) != split:
                raise DataError(f"'{file}': '{stem}' also stands in the list of the {found[stem]} split. Take one out.")
    return found


def _stems(file: Path) -> list[str]:
    try:
        stems = read_text(file).split()
    except (OSError, ValueError) as error:
        raise DataError(f"'{file}' is not a text file that can be read: {error}.") from None
    outside = next((stem for stem in stems if os.path.isabs(stem) or ".." in stem.split("/")), None)
    if outside is not None:
        raise DataError(f"'{file}': the pictures it names must stay in the folder. Received: '{outside}'")
    return stems


def _masked(root: Path, pictures: dict[str, str], splits: dict[str, str]) -> Iterator[Listing]:
    masks = {Path(path).stem: path for path in picture_paths(root / MASKS)[0]}
    asked = list(splits or pictures)
    missing = [stem for stem in asked if stem not in masks]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(asked)} pictures have no mask in '{root / MASKS}', the first: {missing[0]}.png. "
            f"Add the masks, or name the pictures that have one in {LISTS['mask']}."
        )
    for stem in asked:
        path = pictures.get(stem, str(root / PICTURES / f"{stem}.jpg"))
        yield Listing(path, Path(path).relative_to(root).as_posix(), masks[stem], splits.get(stem))


def _found(root: Path, pictures: dict[str, str], splits: dict[str, str]) -> Iterator[Found]:
    for stem in splits or pictures:
        file = root / BOXES / f"{stem}.xml"
        if not file.is_file():
            raise DataError(f"'{stem}' has no boxes: '{file}' is missing. An empty <annotation/> says there are none.")
        path = pictures.get(stem, str(root / PICTURES / f"{stem}.jpg"))
        size, boxes = _read(file)
        key = Path(path).relative_to(root).as_posix()
        yield Found(path, key, f"'{file}'", boxes, size, splits.get(stem))


def _read(file: Path) -> tuple[tuple[int, int] | None, list[tuple[float, float, float, float, str]]]:
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        with regular(file, MOST_TEXT_BYTES) as opened:
            root = ElementTree.parse(opened).getroot()
    except DefusedXmlException:
        raise DataError(f"'{file}' declares entities, which can expand to fill the memory. Write it anew.") from None
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"'{file}' is not XML that can be read: {error}.") from None
    try:
        width, height = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
        boxes = [_box(each) for each in root.findall("object")]
    except (TypeError, ValueError, AttributeError):
        raise DataError(
            f"'{file}': every object needs a name and a bndbox with {', '.join(SIDES)}, each a number."
        ) from None
    return ((width, height) if width and height else None), boxes


def _box(element: Any) -> tuple[float, float, float, float, str]:
    x1, y1, x2, y2 = (float(element.find("bndbox").findtext(side)) for side in SIDES)
    return x1, y1, x2, y2, element.findtext("name").strip()
