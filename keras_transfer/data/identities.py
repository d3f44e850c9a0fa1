"""Divides pictures so that whom validation and test show is never trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_transfer.data.annotations import EVERYONE
from keras_transfer.data.splitting import split_by_content
from keras_transfer.errors import DataError

if TYPE_CHECKING:
    from keras_transfer.data.gathering import Listing

FEWEST = 2
"""Identities that a split needs: with one of them there is nobody to be taken for."""


def kept_apart(source: str, rows: Sequence[tuple[Listing, str]], skipped: list[str]) -> list[tuple[Listing, str]]:
    """Return the rows whose pictures can be compared, each with its identity for its group where it has none.

    rows: (listing, SHA-256 of the picture). What is left out is told in `skipped`: a picture of someone of whom
    validation or test has no other. Raises DataError where someone stands on both sides of a split, or a split that
    the source gives shows fewer than two identities.
    """
    given: dict[str, dict[str, None]] = {}
    for row, _ in rows:
        if row.split:
            given.setdefault(row.label, {})[row.split] = None
    both = sorted(name for name, splits in given.items() if len(splits) > 1)
    if both:
        sides = " and ".join(given[both[0]])
        raise DataError(
            f"'{both[0]}' in '{source}' stands in {sides}: whom validation and test show must never be trained on. "
            f"Keep each identity in one split ({len(both)} are in several), or give no splits and they are drawn."
        )
    pictures = Counter((row.label, row.split) for row, _ in rows)
    kept = []
    for row, content in rows:
        if row.split in ("validation", "test") and pictures[row.label, row.split] == 1:
            skipped.append(f"{row.key} is the one picture of '{row.label}', so it can be compared with no other")
        else:
            kept.append((row._replace(group=row.group or row.label), content))
    for split in {row.split for row, _ in rows if row.split}:
        shown = {row.label for row, _ in kept if row.split == split}
        if len(shown) < FEWEST:
            raise DataError(
                f"The {split} split of '{source}' shows {len(shown)} identities with pictures that can be compared, "
                f"and {FEWEST} are the least. Add identities, of validation and test with two pictures each."
            )
    return kept


def divided(rows: Sequence[Listing], *, seed: int, shares: tuple[float, float]) -> np.ndarray:
    """Return `train`, `validation` or `test` for each picture, all of an identity in one, shares by their number.

    Someone with one picture is trained on. Raises DataError where there are too few with two pictures or more.
    """
    pictures = Counter(row.label for row in rows)
    wanted = [name for name, share in zip(("test", "validation"), shares, strict=True) if share]
    able = sorted(name for name, count in pictures.items() if count > 1)
    if len(able) < FEWEST * (1 + len(wanted)):
        raise DataError(
            f"{len(able)} of {len(pictures)} identities have two pictures or more, and {FEWEST * (1 + len(wanted))} "
            f"are the least that can be divided into train and {' and '.join(reversed(wanted))}. Add pictures of more."
        )
    drawn = split_by_content(able, [EVERYONE] * len(able), seed=seed, shares=shares, least=FEWEST)
    of_name = dict(zip(able, drawn, strict=True))
    return np.array([of_name.get(row.label, "train") for row in rows], dtype=object)
