"""Lists the pictures of a folder: a folder per class, or train/validation/test with a folder per class in each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from keras_transfer.data import clip_files, clips
from keras_transfer.data.annotations import ANNOTATIONS
from keras_transfer.data.files import SUFFIXES, paths_below
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.errors import DataError
from keras_transfer.files import expanded
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

UNLABELLED = "unlabelled"
"""The folder, in any case, of pictures of which one class is asked and none is known."""

FEWEST_SESSIONS = 3
"""Folders below a class that can be divided into training, validation and test."""


def load_class_folders(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder that holds a folder of pictures for each class.

    The folders' names, sorted, are the class names. Asked for several labels a picture, one that stands in several
    folders has all of theirs. Where every picture lies in a folder below its class, and every class has at least three
    such folders, these are groups (sessions) that no split parts. Asked for one class a picture, the folder
    `unlabelled` holds those of which none is known. Raises DataError for a class without pictures.
    """
    root = expanded(source)
    return _gathered(source, root, [(root, None)], annotation, seed, listener)


def load_split_folders(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a folder with `train`, and perhaps `validation` and `test`, in it; each holds class folders.

    A split that has no folder is taken out of the training pictures. A class that validation or test lacks shifts
    no label: the class order is that of the training folder.
    """
    root = expanded(source)
    parts = [(each, SPLIT_FOLDERS.get(each.name.casefold())) for each in _folders(root)]
    return _gathered(source, root, [part for part in parts if part[1]], annotation, seed, listener)


def listings(root: Path) -> list[Listing]:
    """Return the pictures of a folder of classes, or of splits, one class each; nothing but names is read.

    Those without a label come last. Folders without pictures are no mistake here: somebody may be about to fill them.
    """
    splits = [(each, SPLIT_FOLDERS.get(each.name.casefold())) for each in _folders(root)]
    parts = [part for part in splits if part[1]] if has_split_folders(root) else [(root, None)]
    passed: list[str] = []
    listed = [each for folder, split in parts for each in _listed(root, folder, split, "class", passed, empty=True)]
    return [*listed, *_without_label(root)]


def _gathered(
    source: str, root: Path, parts: Sequence[tuple[Path, str | None]], annotation: str, seed: int, listener: Listener
) -> Splits:
    listings: list[Listing] = []
    passed: list[str] = []
    for folder, split in parts:
        listings += _listed(root, folder, split, annotation, passed)
    start = len(os.path.join(root, ""))
    thing = ANNOTATIONS[annotation].thing
    named = tuple(f"{path[start:].replace(os.sep, '/')} is not named as a {thing} is" for path in passed)
    if annotation == "clip":
        return clip_files.gather_clips(source, listings, passed=named, seed=seed, listener=listener)
    free = list(_without_label(root)) if annotation == "class" else []
    return gather(source, listings, annotation=annotation, seed=seed, listener=listener, passed=named, unlabelled=free)


def _without_label(root: Path) -> Iterator[Listing]:
    start = len(os.path.join(root, ""))
    for folder in filter(_is_unlabelled, _folders(root)):
        for path in paths_below(folder)[0]:
            yield Listing(path=path, key=path[start:].replace(os.sep, "/"), label=None)


def _is_unlabelled(folder: Path) -> bool:
    return folder.name.casefold() == UNLABELLED


def has_split_folders(root: Path) -> bool:
    """Return whether a folder holds a training split, rather than classes."""
    try:
        return any(SPLIT_FOLDERS.get(folder.name.casefold()) == "train" for folder in _folders(root))
    except DataError:
        return False


def _listed(
    root: Path, folder: Path, split: str | None, annotation: str, passed: list[str], *, empty: bool = False
) -> Iterator[Listing]:
    classes, start = _folders(folder), len(os.path.join(root, ""))
    if annotation == "class":
        classes = [each for each in classes if not _is_unlabelled(each)]
    if not classes and not empty:
        raise DataError(
            f"'{folder}' holds no class folders. Make one folder per class and put its pictures in: "
            f"{folder.name}/cat/1.jpg, {folder.name}/dog/2.jpg."
        )
    listed: dict[Path, list[str]] = {}
    for each in classes:
        listed[each], others = paths_below(each, _suffixes(annotation))
        passed += others
    sessions = _hold_sessions(listed)
    for each, paths in listed.items():
        if not paths and split in (None, "train") and not empty:
            raise DataError(
                f"Class folder '{each}' holds no {ANNOTATIONS[annotation].thing}s. Put some in or remove the folder."
                f"{_holds_others(each, annotation)}"
            )
        label = (each.name,) if annotation == "classes" else each.name
        for path in paths:
            group = f"{each.name}/{_below(each, path)[0]}" if sessions else ""
            yield Listing(path=path, key=path[start:].replace(os.sep, "/"), label=label, split=split, group=group)


def _suffixes(annotation: str) -> frozenset[str]:
    return clips.SUFFIXES if ANNOTATIONS[annotation].clips else SUFFIXES


def _holds_others(folder: Path, annotation: str) -> str:
    """What to ask for where a folder holds videos and was asked for pictures."""
    holds_videos = annotation != "clip" and paths_below(folder, clips.SUFFIXES)[0]
    return " It holds videos: to train on these, add --task clips." if holds_videos else ""


def _hold_sessions(listed: Mapping[Path, Sequence[str]]) -> bool:
    """Return whether the folders below the classes are sessions: every picture lies in one, and every class has enough
    of them to be divided. A folder or two, or a few stray ones, are somebody's way to keep order."""
    below = {each: [_below(each, path) for path in paths] for each, paths in listed.items()}
    return all(
        all(len(parts) > 1 for parts in rows) and len({parts[0] for parts in rows}) >= FEWEST_SESSIONS
        for rows in below.values()
        if rows
    )


def _below(folder: Path, path: str) -> list[str]:
    return path[len(os.path.join(folder, "")) :].split(os.sep)


def _folders(root: Path) -> list[Path]:
    try:
        found = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise DataError(f"The folder '{root}' cannot be read: {error.strerror}.") from None
    for each in found:
        if each.is_symlink() and root.resolve().is_relative_to(each.resolve()):
            raise DataError(f"'{each}' is a link that leads back to a folder it stands in. Remove the link.")
    return found
