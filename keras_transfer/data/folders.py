"""Lists the pictures of a folder: a folder per class, or train/validation/test with a folder per class in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keras_transfer.data.files import picture_paths
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.errors import DataError
from keras_transfer.specs import Listener, Splits, silent

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""Folder names, in any case, that are splits and not classes."""


def load_class_folders(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder that holds a folder of pictures for each class.

    The folders' names, sorted, are the class names. Asked for several labels a picture, one that stands in several
    folders has all of theirs. Raises DataError for a class without pictures.
    """
    root = Path(source).expanduser()
    return gather(
        source, list(_listed(root, root, None, annotation)), annotation=annotation, seed=seed, listener=listener
    )


def load_split_folders(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder with `train`, and perhaps `validation` and `test`, in it; each holds class folders.

    A split that has no folder is taken out of the training pictures. A class that validation or test lacks shifts
    no label: the class order is that of the training folder.
    """
    root = Path(source).expanduser()
    listings = [
        each
        for folder in _folders(root)
        if folder.name.casefold() in SPLIT_FOLDERS
        for each in _listed(root, folder, SPLIT_FOLDERS[folder.name.casefold()], annotation)
    ]
    return gather(source, listings, annotation=annotation, seed=seed, listener=listener)


def has_split_folders(root: Path) -> bool:
    """Return whether a folder holds a training split, rather than classes."""
    try:
        return any(SPLIT_FOLDERS.get(folder.name.casefold()) == "train" for folder in _folders(root))
    except DataError:
        return False


def _listed(root: Path, folder: Path, split: str | None, annotation: str) -> Iterator[Listing]:
    classes, start = _folders(folder), len(os.path.join(root, ""))
    if not classes:
        raise DataError(
            f"'{folder}' holds no class folders. Make one folder per class and put its pictures in: "
            f"{folder.name}/cat/1.jpg, {folder.name}/dog/2.jpg."
        )
    for each in classes:
        paths = picture_paths(each)
        if not paths and split in (None, "train"):
            raise DataError(f"Class folder '{each}' holds no pictures. Put some in or remove the folder.")
        label = each.name if annotation == "class" else (each.name,)
        for path in paths:
            yield Listing(path=path, key=path[start:].replace(os.sep, "/"), label=label, split=split)


def _folders(root: Path) -> list[Path]:
    try:
        found = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise DataError(f"The folder '{root}' cannot be read: {error.strerror}.") from None
    for each in found:
        if each.is_symlink() and root.resolve().is_relative_to(each.resolve()):
            raise DataError(f"'{each}' is a link that leads back to a folder it stands in. Remove the link.")
    return found
