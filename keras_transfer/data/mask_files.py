"""Reads masks of files: index and palette PNGs, colours that a table names, by the pictures they belong to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_transfer.data import mask_labels
from keras_transfer.data.annotations import annotation_of
from keras_transfer.data.decoding import in_turn, open_picture, upright_size
from keras_transfer.data.files import picture_paths
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.data.pictures import CORES
from keras_transfer.errors import DataError
from keras_transfer.files import MOST_PICTURE_BYTES, expanded, read_text, regular
from keras_transfer.masks import VOID
from keras_transfer.specs import Event, Listener, Splits, silent

PICTURES, MASKS, CLASSES = "images", "masks", "classes.csv"

VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore", "ignored")
"""Names of classes that are none: their pixels count nowhere."""


@dataclass(frozen=True)
class Classes:
    """What the values of a data set's masks mean."""

    names: tuple[str, ...]
    """Without void, in the order of their values."""
    positions: Mapping[int, int]
    """Of a value's class among the names, `VOID` for void. A value is an index, or 0xRRGGBB."""
    coloured: bool
    file: Path | None
    """Where it says so; None where the values themselves are all there is."""


def load(source: str, *, annotation: str = "mask", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder with pictures in `images` and masks of the same names in `masks`.

    Both may hold a folder for each split, or stand in one each (`train/images`, `train/masks`). `classes.csv` in the
    folder names the classes: columns `name` and `value`, or `name`, `red`, `green` and `blue`.
    Raises DataError for pictures without a mask, masks of another size than their picture, values without a class.
    """
    annotation_of(source, "mask", asked=annotation)
    root = expanded(source)
    pairs = [(_paired(root, place, split), place) for place, split in _places(root)]
    listings = [each for rows, _ in pairs for each in rows]
    passed = tuple(each for rows, place in pairs for each in _alone(root, place, rows))
    return gather_masks(source, root, listings, passed=passed, seed=seed, listener=listener)


def has_masks(folder: Path) -> bool:
    """Return whether a folder holds `images` and `masks`, or folders of splits that do."""
    return folder.is_dir() and bool(_places(folder))


def gather_masks(
    source: str,
    root: Path,
    listings: Sequence[Listing],
    *,
    passed: tuple[str, ...] = (),
    seed: int = 0,
    listener: Listener = silent,
) -> Splits:
    """Return the splits of pictures whose labels are the paths of their masks; `classes.csv` may stand in `root`.

    passed: what the source holds beside them, told with what is left out.
    """
    file = root / CLASSES
    classes = read_classes(file) if file.is_file() else _found([row.label for row in listings], listener)
    if len(classes.names) > VOID:
        raise DataError(f"'{source}' names {len(classes.names)} classes; a mask can tell {VOID} apart. Unite some.")
    labelled = []
    with ThreadPoolExecutor(CORES) as readers:
        for row, label in zip(listings, readers.map(lambda row: _label(row, classes), listings), strict=True):
            labelled.append(row._replace(label=label))
            if len(labelled) % 500 == 0:
                listener(Event("progress", "Reading masks", done=len(labelled), total=len(listings)))
    return gather(
        source, labelled, annotation="mask", declared=classes.names, passed=passed, seed=seed, listener=listener
    )


def read_classes(file: Path) -> Classes:
    """Return what a table of classes says; DataError where it cannot be read or says something twice."""
    try:
        lines = io.StringIO(read_text(file, encoding="utf-8-sig"), newline="")
        rows = [
            {str(key).strip(): str(cell or "").strip() for key, cell in row.items()} for row in csv.DictReader(lines)
        ]
        coloured = bool(rows) and {"red", "green", "blue"} <= set(rows[0])
        values = [
            (int(row["red"]) << 16) + (int(row["green"]) << 8) + int(row["blue"])
            if coloured
            else int(row.get("value") or number)
            for number, row in enumerate(rows)
        ]
        written = [row["name"] for row in rows]
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise DataError(
            f"'{file}' is not a table of classes: {error!s}. Write a row for each: name,value or name,red,green,blue"
        ) from None
    for what, given in (("name", written), ("value", [str(each) for each in values])):
        doubled = next((each for each in given if given.count(each) > 1), None)
        if doubled is not None:
            raise DataError(f"'{file}' gives the {what} '{doubled}' to two classes.")
    names = tuple(name for name in written if name.casefold() not in VOID_NAMES)
    places = {name: place for place, name in enumerate(names)}
    return Classes(
        names, {value: places.get(name, VOID) for name, value in zip(written, values, strict=True)}, coloured, file
    )


def read_mask(path: str, classes: Classes) -> np.ndarray:
    """Return the class positions of a mask file, `VOID` where it says nothing: uint8 (height, width).

    Raises DataError for what is no mask, or has a value that no class has.
    """
    values = _values(path, coloured=classes.coloured)
    found, places = np.unique(values, return_inverse=True)
    known = classes.positions if classes.coloured else {VOID: VOID, **classes.positions}
    for value in found.tolist():
        if value not in known:
            pixels, told = int((values == value).sum()), f"#{value:06x}" if classes.coloured else str(value)
            where = f"'{classes.file}'" if classes.file else f"a '{CLASSES}' beside the pictures"
            raise DataError(
                f"'{path}' has {pixels} pixels of {told}, which is no class. "
                f"Give it a row in {where}, as void if it is none."
            )
    return np.array([known[value] for value in found.tolist()], np.uint8)[places].reshape(values.shape)


def _values(path: str, *, coloured: bool) -> np.ndarray:
    try:
        with (
            regular(path, MOST_PICTURE_BYTES) as file,
            open_picture(file) as opened,
            in_turn(opened.width, opened.height),
        ):
            if coloured:
                red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB"), np.int32), -1, 0)
                return (red << 16) + (green << 8) + blue
            pixels = np.asarray(opened)
    except DataError as error:
        raise DataError(f"The mask '{path}' {error}.") from None
    except Exception as error:  # Pillow's decoders raise nearly every type on a broken file
        raise DataError(f"The mask '{path}' cannot be read: {error}.") from None
    if pixels.ndim == 3:
        raise DataError(
            f"'{path}' is a mask in colours. "
            f"Say what they mean in a '{CLASSES}' beside the pictures: name,red,green,blue"
        )
    return pixels.astype(np.int32)


def _label(row: Listing, classes: Classes) -> mask_labels.Masked:
    pixels = read_mask(row.label, classes)
    size = upright_size(row.path)
    if size not in (None, pixels.shape[::-1]):
        (width, height), (wide, high) = pixels.shape[::-1], size or (0, 0)
        raise DataError(
            f"The mask '{row.label}' is {width} x {height} pixels and its picture '{row.key}' {wide} x {high}. "
            "Both must have the same size."
        )
    return mask_labels.listed(pixels, classes.names)


def _found(paths: Sequence[str], listener: Listener) -> Classes:
    """Name classes by the values that masks have, where nothing else names them."""
    with ThreadPoolExecutor(CORES) as readers:
        found = {int(value) for each in readers.map(_distinct, paths) for value in each} - {VOID}
    listener(Event("note", f"no '{CLASSES}': classes are named by the values of masks, and {VOID} is void"))
    names = tuple(f"class {value}" for value in sorted(found))
    return Classes(names, {value: place for place, value in enumerate(sorted(found))}, coloured=False, file=None)


def _distinct(path: str) -> np.ndarray:
    return np.unique(_values(path, coloured=False))


def _places(root: Path) -> list[tuple[Path, str | None]]:
    """The folders that hold `images` and `masks`, each with its split."""
    if (root / PICTURES).is_dir() and (root / MASKS).is_dir():
        return [(root, None)]
    inside = sorted(root.iterdir()) if root.is_dir() else []
    named = [(each, SPLIT_FOLDERS.get(each.name.casefold())) for each in inside]
    return [(each, split) for each, split in named if split and (each / PICTURES).is_dir() and (each / MASKS).is_dir()]


def _alone(root: Path, place: Path, listings: Sequence[Listing]) -> Iterator[str]:
    """Yield what is to be told of each mask in a place whose picture is not there."""
    taken = {row.label for row in listings}
    for path in picture_paths(place / MASKS)[0]:
        if path not in taken:
            yield f"the mask {Path(path).relative_to(root).as_posix()}, which has no picture"


def _paired(root: Path, place: Path, split: str | None) -> list[Listing]:
    found = {_stem(path, place / MASKS): path for path in picture_paths(place / MASKS)[0]}
    pictures, _ = picture_paths(place / PICTURES)
    alone = [path for path in pictures if _stem(path, place / PICTURES) not in found]
    if alone or not pictures:
        raise DataError(
            f"{len(alone)} of {len(pictures)} pictures in '{place / PICTURES}' have no mask of the same name in "
            f"'{place / MASKS}'{f', the first: {os.path.basename(alone[0])}' if alone else ''}. "
            "Add the masks, or take these pictures away."
        )
    rows = []
    for path in pictures:
        stem = _stem(path, place / PICTURES)
        own = SPLIT_FOLDERS.get(stem.split("/")[0].casefold()) if "/" in stem else None
        rows.append(Listing(path, Path(path).relative_to(root).as_posix(), found[stem], split or own))
    return rows


def _stem(path: str, folder: Path) -> str:
    """What a picture and its mask have in common: the path in their folder, without its ending."""
    return os.path.splitext(os.path.relpath(path, folder))[0].replace(os.sep, "/")
