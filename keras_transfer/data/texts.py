"""Holds columns of texts, such as the paths of a million pictures, in little more than the bytes of their letters."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

BLOCK = 2**16
"""Texts that are encoded at a time."""

CODE = ("utf-8", "surrogateescape")
"""How texts become bytes, whatever the locale: names of files that are no UTF-8 come back as they were."""


def encoded(texts: Iterable[str]) -> Any:
    """Return texts as a pyarrow array of large_binary."""
    import pyarrow

    kind, each = pyarrow.large_binary(), iter(texts)
    blocks = iter(lambda: list(itertools.islice(each, BLOCK)), [])
    return pyarrow.chunked_array([_block(block) for block in blocks], kind).combine_chunks()


def _block(texts: list[str]) -> Any:
    import pyarrow

    try:
        return pyarrow.array(texts, pyarrow.large_string()).cast(pyarrow.large_binary())
    except UnicodeEncodeError:
        return pyarrow.array([each.encode(*CODE) for each in texts], pyarrow.large_binary())


class Texts(Sequence[str]):
    """Texts in a fixed order, each made when it is asked for; read as a tuple or as a str array (n,) is.

    >>> few = Texts.of(["pets/a.png", "pets/b.png", "pets/c.png"])
    >>> few[1], few[-1], few[np.array([2, 0])].tolist()
    ('pets/b.png', 'pets/c.png', ['pets/c.png', 'pets/a.png'])
    >>> few == ("pets/a.png", "pets/b.png", "pets/c.png")
    True

    A million paths of 60 letters take 240 MB as a str array and 117 MB as a tuple. Here each takes 8 bytes beside the
    letters that not all begin with, and none of the process's own memory where these are a mapped file.
    """

    dtype = np.dtype(str)
    """What an element is, as of an array: who asks whether pictures are files asks this."""

    def __init__(self, start: str, rest: Any) -> None:
        """start: what all begin with; rest: how they go on, a pyarrow array of large_binary."""
        self._start = start
        self._rest = rest

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Return a column of some texts, file names that are no UTF-8 among them."""
        # What the first and the last have in common all of them have, and letters count here, not folders.
        start = os.path.commonprefix([min(texts), max(texts)]) if texts else ""  # noqa: RUF071
        return cls(start, encoded(each[len(start) :] for each in texts))

    @property
    def shape(self) -> tuple[int]:
        """As of an array."""
        return (len(self),)

    def like(self, other: Texts) -> Texts:
        """Return the same texts, in the memory of `other` where they go on as its texts do: keys are ends of paths."""
        return Texts(self._start, other._rest) if self._rest.equals(other._rest) else self

    def column(self) -> Any:
        """Return the texts as a pyarrow array of large_binary, to be written."""
        return encoded(self)

    def tolist(self) -> list[str]:
        """As of an array."""
        return list(self)

    def __len__(self) -> int:
        return len(self._rest)

    @overload
    def __getitem__(self, rows: int) -> str: ...

    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> Texts: ...

    def __getitem__(self, rows: Any) -> Any:
        """Return a text, or those at some positions: a slice, int (n,) or bool (n,)."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        if isinstance(rows, np.ndarray) and rows.ndim:
            chosen = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + len(self), rows)
            return Texts(self._start, self._rest.take(chosen))
        return self._start + self._rest[int(rows)].as_py().decode(*CODE)

    def __iter__(self) -> Iterator[str]:
        for each in self._rest:
            yield self._start + each.as_py().decode(*CODE)

    def __add__(self, other: Iterable[str]) -> tuple[str, ...]:
        """As of a tuple."""
        return (*self, *other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as lists and arrays have none

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(list(self), dtype=dtype or str)

    def __repr__(self) -> str:
        return f"<{len(self)} texts, {self[0]!r} …>" if len(self) else "<no texts>"
