"""Names what the page may ask for: a browser says an id, never a path."""

from __future__ import annotations

import hashlib

LENGTH = 16
"""Hex digits: 64 bits, so that among a million pictures two share one with a chance of one in 37 million."""

PATTERN = rf"^[0-9a-f]{{{LENGTH}}}$"


def id_of(kind: str, name: str) -> str:
    """Return the id of a thing: the same in every process, and nothing that leads anywhere.

    >>> id_of("class", "cat")
    '27390f26b78abd4e'
    """
    return hashlib.sha256(f"{kind}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[:LENGTH]
