"""What other people wrote and a bundle brings along: which files of which version, under which licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vendored:
    """A package of npm, and what of it a bundle holds."""

    name: str
    version: str
    license: str
    folder: str
    """Where its files are in the bundle."""
