"""Lists the pictures of YOLO folders: `data.yaml` names classes and splits, each picture has a text file of boxes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_transfer.data.annotations import annotation_of
from keras_transfer.data.box_files import Found, gather_boxes
from keras_transfer.data.files import picture_paths
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.errors import DataError
from keras_transfer.files import expanded, read_text
from keras_transfer.specs import Listener, Splits, silent

CARD = "data.yaml"
PICTURES, BOXES = "images", "labels"

MOST_CARD_BYTES = 2**20
"""It is read twice, slowly; the longest lists of class names take a tenth of that."""


def load(source: str, *, annotation: str = "boxes", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a YOLO folder, or of its `data.yaml`: `names`, and a folder or list of pictures per split.

    The boxes of `images/a.jpg` stand in `labels/a.txt`, a line each: class number, then middle, width and height in
    shares of the picture. A picture without such a file shows nothing. Raises DataError for a card without names or
    splits, a line that is no box, a class number without a name.
    """
    annotation_of(source, "boxes", asked=annotation)
    card = expanded(source)
    card = card / CARD if card.is_dir() else card
    content = _read(card)
    names = _names(card, content.get("names"))
    found = [
        _found(card, path, names, split)
        for name, split in SPLIT_FOLDERS.items()
        if content.get(name)
        for path in _pictures(card, content, str(name))
    ]
    if not found:
        raise DataError(f"'{card}' names no pictures. Write the folder of each split, as train: images/train")
    return gather_boxes(source, found, declared=tuple(names.values()), seed=seed, listener=listener)


def is_card(path: Path) -> bool:
    """Return whether a path is a YOLO folder or its card."""
    return (path / CARD).is_file() if path.is_dir() else path.suffix.lower() in (".yaml", ".yml") and path.is_file()


def _read(card: Path) -> Mapping[str, Any]:
    import yaml

    try:
        text = read_text(card, MOST_CARD_BYTES)
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise DataError(f"'{card}' refers to its own parts (*name), which can expand to any size. Write them out.")
        content = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"'{card}' is not YAML that can be read: {said}.") from None
    if not isinstance(content, dict):
        raise DataError(f"'{card}' must hold names and the folder of each split. Received: {type(content).__name__}")
    return content


def _names(card: Path, given: Any) -> dict[int, str]:
    try:
        pairs = given.items() if isinstance(given, dict) else enumerate(given or ())
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        names = {}
    if not names:
        raise DataError(f"'{card}' must name the classes, as names: [cat, dog]. Received: {given!r}")
    return names


def _pictures(card: Path, content: Mapping[str, Any], split: str) -> Iterator[str]:
    root = card.parent / str(content.get("path") or ".")
    places = content[split] if isinstance(content[split], list) else [content[split]]
    for place in places:
        # Cards are often written for the folder above, as ../train/images; what stands beside the card is meant.
        folders = [root / str(place), card.parent / str(place), card.parent / str(place).removeprefix("../")]
        folder = next((each for each in folders if each.is_dir()), None)
        if folder is None:
            raise DataError(f"'{card}': there is no folder '{place}' for {split}, beside it or in '{root}'.")
        yield from picture_paths(folder)[0]


def _found(card: Path, path: str, names: Mapping[int, str], split: str) -> Found:
    parts = list(Path(path).parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == PICTURES:
            parts[position] = BOXES
            break
    file = Path(*parts).with_suffix(".txt")
    lines = _lines(file) if file.exists() else []
    boxes = [_box(f"'{file}', line {n}", line, names) for n, line in enumerate(lines, start=1) if line.strip()]
    key = Path(os.path.relpath(path, card.parent)).as_posix()
    return Found(path, key, f"'{file}'", boxes, split=split, shares=True)


def _lines(file: Path) -> list[str]:
    try:
        return read_text(file).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"'{file}' is not a text file that can be read: {error}.") from None


def _box(where: str, line: str, names: Mapping[int, str]) -> tuple[float, float, float, float, str]:
    try:
        kind, *numbers = line.split()
        x, y, width, height = (float(number) for number in numbers)
        name = names[int(kind)]
    except KeyError:
        raise DataError(f"{where}: class {kind} has no name. There are {len(names)}, from {min(names)} on.") from None
    except ValueError:
        raise DataError(f"{where}: a box is a class number and x y width height. Received: '{line[:80]}'") from None
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2, name
