"""Decides which split a picture belongs to, from its content alone.

A picture's place is a number between 0 and 1 drawn from the hash of its bytes and the seed. Adding pictures to a
class therefore never moves the ones that were there, and copies of a picture always stand together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_transfer.data.near import joined
from keras_transfer.errors import DataError

TEST_SHARE = 0.15
VALIDATION_SHARE = 0.15

BLOCK = 2**16
"""Rows that are put into the digest at a time: together they would take as much memory as all of them apart."""


def place(content: str, *, seed: int = 0) -> float:
    """Return the number in [0, 1) that decides a picture's split.

    >>> round(place("5f70bf18a08660b5"), 3)
    0.403
    """
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def units_of(contents: Sequence[str], groups: Sequence[str], near: np.ndarray | None = None) -> list[str]:
    """Return a name for each picture, the same for all that must not be parted: copies, groups, near copies.

    >>> units_of(["1", "2", "3", "1"], ["", "monday", "monday", ""])
    ['1', 'group monday', 'group monday', '1']

    contents: a hash per picture; groups: a name, or nothing; near: numbers of near copies, int (n,). What nothing but
    its content holds together is called by its content, so that where it goes does not depend on the others.
    """
    if near is None and not any(groups):
        return list(contents)
    first: dict[str, int] = {}
    pairs = []
    for position, (content, group) in enumerate(zip(contents, groups, strict=True)):
        tied = [content, *([f"group {group}"] if group else []), *([] if near is None else [f"near {near[position]}"])]
        pairs += [(first.setdefault(each, position), position) for each in tied]
    number = joined(len(contents), pairs)
    names: dict[int, str] = {}
    for each, content, group in zip(number.tolist(), contents, groups, strict=True):
        name = f"group {group}" if group else content
        names[each] = max(names.get(each, name), name)  # "group …" comes after any hash
    return [names[each] for each in number.tolist()]


def split_by_content(
    contents: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int = 0,
    shares: tuple[float, float] | None = None,
    least: int = 1,
) -> np.ndarray:
    """Return `train`, `validation` or `test` for each picture, about 70 / 15 / 15 in every class.

    >>> names = split_by_content([str(n) for n in range(1000)], ["cat"] * 1000)
    >>> [int((names == split).sum()) for split in ("train", "validation", "test")]
    [685, 154, 161]

    contents: a hash per picture, or the name of what it must not be parted from (`units_of`); labels: a class name per
    picture; shares: of test and of validation, fractions (a share of 0 leaves that split empty); least: different ones
    that each split gets of a class. A class too small for its shares lends its nearest picture to the split that would
    be empty, and takes it back as the class grows. Raises DataError for a class with too few different pictures.
    """
    test_share, validation_share = shares or (TEST_SHARE, VALIDATION_SHARE)
    wanted = [name for name, share in (("test", test_share), ("validation", validation_share)) if share]
    first_label: dict[str, str] = {}
    for content, label in zip(contents, labels, strict=True):
        first_label.setdefault(content, label)
    by_label: dict[str, list[tuple[float, str]]] = {label: [] for label in labels}
    for content, label in first_label.items():
        by_label[label].append((place(content, seed=seed), content))
    split_of: dict[str, str] = {}
    for label, members in by_label.items():
        if len(members) < least * (len(wanted) + 1):
            raise DataError(
                f"Class '{label}' has {len(members)} different pictures, but {len(wanted) + 1} are the least that can "
                f"be divided into train and {' and '.join(reversed(wanted))}. Add pictures or remove the class."
            )
        members.sort()
        places = np.array([each for each, _ in members])
        natural = {
            "test": int((places < test_share).sum()),
            "validation": int(((places >= test_share) & (places < test_share + validation_share)).sum()),
        }
        counts = {name: max(least, natural[name]) for name in wanted}
        while sum(counts.values()) > len(members) - least:
            counts[max(counts, key=lambda name: counts[name])] -= 1
        order = [name for name in ("test", "validation") for _ in range(counts.get(name, 0))]
        for position, (_, content) in enumerate(members):
            split_of[content] = order[position] if position < len(order) else "train"
    return np.array([split_of[content] for content in contents], dtype=object)


def digest_of(pictures: Iterable[tuple[Any, ...]]) -> str:
    """Return the SHA-256 of a data set: its (split, class name, content[, weight]) rows, whatever their order.

    >>> digest_of([("train", "cat", b"1"), ("test", "dog", b"2")])[:12]
    '79b0f3f57ed2'
    >>> digest_of([("train", "cat", b"1", 1.0), ("test", "dog", b"2", 1.0)])[:12]
    '79b0f3f57ed2'

    content: the bytes, or their SHA-256 (hex). A weight of 1 is that of a picture of which no weight is known.
    """
    rows = sorted(
        "\0".join((str(split), str(label), _hashed(content), *_weighed(*weight)))
        for split, label, content, *weight in pictures
    )
    digest = hashlib.sha256()
    for start in range(0, len(rows), BLOCK):
        digest.update(("\n" * (start > 0) + "\n".join(rows[start : start + BLOCK])).encode())
    return digest.hexdigest()


def _hashed(content: bytes | str) -> str:
    return content if isinstance(content, str) else hashlib.sha256(content).hexdigest()


def _weighed(weight: float = 1.0) -> tuple[str, ...]:
    # In float32, which is what trains: a table of decimals and the shards made of it must say the same.
    return () if weight == 1 or np.float32(weight) == 1 else (f"{np.float32(weight):.9g}",)
