"""Turns picture files with labels into checked splits, whatever kind of source listed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_transfer.data.files import facts_of
from keras_transfer.data.splitting import digest_of, split_by_content
from keras_transfer.errors import DataError
from keras_transfer.specs import SPLIT_NAMES, Event, Listener, Split, Splits, silent

MOST_UNREADABLE = 0.5
"""Share of unreadable files above which this is taken for the wrong folder, not for a few broken files."""

SIZED = 256
"""Files whose headers are read, evenly spaced, to learn the typical size."""


class Listing(NamedTuple):
    """One picture as a source lists it; a tuple, because 100,000 of them are made in a third of a dataclass's time."""

    path: str
    key: str
    """How a person finds it: the path as the source writes it."""
    label: str
    split: str | None = None
    """None: decided by the picture's content."""
    weight: float = 1.0


def gather(source: str, listings: Sequence[Listing], *, seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of the pictures a source lists.

    Each file is read once. Broken ones are left out and named in `skipped`. Where the source gives only some
    splits, the others are taken out of its training pictures. A training picture whose copy stands in validation or
    test is left out of training.

    Raises DataError for what no training could use: one class only, a class without pictures, names of classes that
    differ in case or blanks only, mostly unreadable files.
    """
    check_class_names({each.label for each in listings})
    facts = facts_of([each.path for each in listings], listener=listener)
    skipped = [f"{row.key} {fact.problem}" for row, fact in zip(listings, facts, strict=True) if fact.problem]
    if len(skipped) > MOST_UNREADABLE * len(listings):
        raise DataError(
            f"{len(skipped)} of {len(listings)} files in '{source}' are not readable pictures, the first: {skipped[0]}."
        )
    rows = [(row, fact.content) for row, fact in zip(listings, facts, strict=True) if not fact.problem]
    gone = {each.label for each in listings} - {row.label for row, _ in rows}
    if gone:
        raise DataError(f"Class '{min(gone)}' in '{source}' holds no readable picture. Add some or remove the class.")
    names = _split_names(rows, seed=seed)
    held_out = {content for (_, content), name in zip(rows, names, strict=True) if name != "train"}
    kept = []
    for (row, content), name in zip(rows, names, strict=True):
        if name == "train" and content in held_out:
            skipped.append(f"{row.key} is also a validation or test picture, so it is not trained on")
        else:
            kept.append((row, content, name))
    if skipped:
        first = "; ".join(skipped[:3]) + (" …" if len(skipped) > 3 else "")
        listener(Event("warning", f"Left out {len(skipped)} of {len(listings)} pictures: {first}"))
    return _made(source, kept, tuple(skipped))


def check_class_names(names: set[str]) -> None:
    """Raise DataError where there are fewer than two classes, or names that a person could not tell apart."""
    if len(names) < 2:
        only = f" Found only '{min(names)}'." if names else ""
        raise DataError(f"At least two classes are needed to tell anything apart.{only}")
    folded: dict[str, str] = {}
    for name in sorted(names):
        alike = folded.setdefault("".join(name.split()).casefold(), name)
        if alike != name:
            raise DataError(f"Classes '{alike}' and '{name}' differ in case or blanks only. Make them one, or rename.")


def _split_names(rows: Sequence[tuple[Listing, str]], *, seed: int) -> np.ndarray:
    given = np.array([row.split or "" for row, _ in rows], dtype=object)
    free = np.isin(given, ("", "train"))
    present = Counter(given[~free])
    shares = (0.0 if present["test"] else 0.15, 0.0 if present["validation"] else 0.15)
    if any(shares):
        chosen = [rows[position] for position in np.flatnonzero(free).tolist()]
        contents, labels = [content for _, content in chosen], [row.label for row, _ in chosen]
        given[free] = split_by_content(contents, labels, seed=seed, shares=shares)
    else:
        given[given == ""] = "train"
    return given


def _made(source: str, rows: Sequence[tuple[Listing, str, str]], skipped: tuple[str, ...]) -> Splits:
    class_names = tuple(sorted({row.label for row, _, name in rows if name == "train"}))
    position = {name: index for index, name in enumerate(class_names)}
    for row, _, name in rows:
        if row.label not in position:
            raise DataError(
                f"Class '{row.label}' has {name} pictures but no training picture. Add some or remove the class."
            )
    splits = {}
    for name in SPLIT_NAMES:
        members = [row for row, _, split in rows if split == name]
        weights = np.array([row.weight for row in members], np.float32)
        splits[name] = Split(
            name=name,
            pictures=np.array([row.path for row in members], dtype=str),
            labels=np.array([position[row.label] for row in members], np.int64),
            keys=tuple(row.key for row in members),
            weights=None if (weights == 1).all() else weights,
        )
    return Splits(
        source=source,
        **splits,
        class_names=class_names,
        annotation="class",
        digest=digest_of((name, row.label, content) for row, content, name in rows),
        typical_size=_typical_size([row.path for row, _, name in rows if name == "train"]),
        skipped=skipped,
        given=tuple(name for name in SPLIT_NAMES if any(row.split == name for row, _, _ in rows)),
    )


def _typical_size(paths: Sequence[str]) -> int:
    sides = []
    for path in paths[:: max(1, len(paths) // SIZED)]:
        try:
            with Image.open(path) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return int(np.median(sides)) if sides else 0
