"""Reads lists of pairs of pictures, by which it is judged whether a model tells the same one from others.

A list is as that of Labeled Faces in the Wild: `FOLDS<TAB>PAIRS`, then for each fold PAIRS lines `NAME N1 N2` of the
same one and PAIRS lines `NAME1 N1 NAME2 N2` of two. Picture 1 of `ann` is `ann/ann_0001.jpg`, beside the list.
Source: Huang et al., Labeled Faces in the Wild, University of Massachusetts, Amherst, Technical Report 07-49, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_transfer.errors import DataError, UsageError
from keras_transfer.files import expanded, read_text

STEM, SUFFIX = "pairs", ".txt"

FEWEST_FOLDS = 2
"""The threshold of a fold is fitted on the others."""


@dataclass(frozen=True)
class ListedPairs:
    """Pairs of pictures, in the order of their list."""

    paths: tuple[str, ...]
    """Each picture once."""
    rows: np.ndarray
    """Positions of the two in `paths`, int (n, 2)."""
    same: np.ndarray
    """Whether both show the same one, bool (n,)."""
    folds: np.ndarray
    """int (n,), from 0."""


def are_listed_in(source: str) -> bool:
    """Return whether a source is a list of pairs, by its name: `pairs.txt`, `pairsDevTest.txt`.

    >>> are_listed_in("lfw/people.csv")
    False
    """
    path = expanded(source)
    return path.suffix.lower() == SUFFIX and path.name.casefold().startswith(STEM) and path.is_file()


def read(source: str) -> ListedPairs:
    """Return the pairs of a list.

    >>> read("lfw/pairs.txt").rows.shape  # doctest: +SKIP
    (6000, 2)

    Raises DataError, in one sentence, for a line that is none of a list, and for a picture that is not there.
    """
    path = expanded(source)
    lines = _lines(path)
    folds, pairs = _header(path, lines)
    if len(lines) - 1 != 2 * folds * pairs:
        raise DataError(
            f"'{path}' announces {folds} folds of {pairs} pairs of the same one and as many of others, which are "
            f"{2 * folds * pairs} lines. Received: {len(lines) - 1}."
        )
    listed = [_pair(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    same = np.array([first[0] == second[0] for first, second in listed])
    for fold, alike in enumerate(same.reshape(folds, -1).sum(axis=1).tolist(), start=1):
        if alike != pairs:
            raise DataError(f"Fold {fold} of '{path}' must have {pairs} pairs of the same one. Received: {alike}.")
    places: dict[tuple[str, int], int] = {}
    rows = np.array([[places.setdefault(each, len(places)) for each in pair] for pair in listed])
    paths = tuple(str(path.parent / name / f"{name}_{number:04d}.jpg") for name, number in places)
    missing = [each for each in paths if not Path(each).is_file()]
    if missing:
        raise DataError(
            f"'{path}' names {len(missing)} pictures that are not there, the first '{missing[0]}'. "
            f"Put the list into the folder that holds a folder for each name."
        )
    return ListedPairs(paths, rows, same, np.repeat(np.arange(folds), 2 * pairs))


def refuse(source: str, **_: object) -> NoReturn:
    """Raise UsageError: pairs judge a model, and nothing is learned from them."""
    raise UsageError(
        f"'{source}' is a list of pairs, which judge a model: keras-transfer evaluate RUN {source}. Name its folder."
    )


def _lines(path: Path) -> list[str]:
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not a text file that can be read: {error}.") from None
    lines = text.rstrip().splitlines()
    if not lines:
        raise DataError(f"'{path}' is empty. It begins with 'FOLDS PAIRS', and then has a pair in each line.")
    return lines


def _header(path: Path, lines: list[str]) -> tuple[int, int]:
    numbers = [int(part) for part in lines[0].split() if part.isdecimal()]
    if len(numbers) != len(lines[0].split()) or len(numbers) != 2 or numbers[0] < FEWEST_FOLDS or not numbers[1]:
        raise DataError(
            f"'{path}' must begin with 'FOLDS PAIRS', {FEWEST_FOLDS} folds or more of one pair of each kind or more: "
            f"the threshold of a fold is fitted on the others. Received: {lines[0]!r}"
        )
    return numbers[0], numbers[1]


def _pair(path: Path, number: int, line: str) -> tuple[tuple[str, int], tuple[str, int]]:
    parts = line.split("\t") if "\t" in line else line.split()
    if len(parts) == 3:
        parts = [parts[0], parts[1], parts[0], parts[2]]
    elif len(parts) == 4 and parts[0] == parts[2]:
        parts = []  # of the same one, and counted among those of others
    well = len(parts) == 4 and all(part.strip().isdecimal() for part in parts[1::2])
    if not well or parts[:2] == parts[2:] or any(name.strip() in ("", ".", "..") or "/" in name for name in parts[::2]):
        raise DataError(
            f"Line {number} of '{path}' must be 'NAME N1 N2', two pictures of the same one, or 'NAME1 N1 NAME2 N2', of "
            f"two. Received: {line!r}"
        )
    return (parts[0], int(parts[1])), (parts[2], int(parts[3]))
