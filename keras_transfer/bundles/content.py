"""What a bundle is made of: the chosen file, what it is asked and answers, and the papers that travel with it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.specs import Artifact


@dataclass(frozen=True)
class Golden:
    """A picture and the answer that every copy of the file must give to it."""

    name: str
    """Of its file, without the suffix."""
    png: bytes
    answer: Mapping[str, Any]
    """As `golden.kept` gives it: numbers and lists alone."""


@dataclass(frozen=True)
class Known:
    """A gallery: who or what an embedding is compared with, a row for each picture."""

    names: tuple[str, ...]
    embeddings: np.ndarray
    """float32 (n, width), of unit length."""


@dataclass(frozen=True)
class Content:
    """All that a target writes; where it puts what is its own affair."""

    name: str
    """Of the bundle, for people and package registries: small letters, digits and hyphens, a letter first."""
    artifact: Artifact
    golden: tuple[Golden, ...]
    summary: str
    """A sentence of what the file is worth."""
    papers: Mapping[str, bytes]
    """Files that every bundle holds, by name: the model card, for people and for programs."""
    refused: str = ""
    """Why the file was set aside when it was exported; empty where it is in use."""
    saved_model: Path | None = None
    """The proven SavedModel of the same run, for targets that serve one."""

    gallery: Known | None = None
    """Who is known, for files of embeddings."""
    modules: Path | None = None
    """A `node_modules` folder that has what targets bring along of npm; the cache, then npm, where it is None."""

    @property
    def file(self) -> str:
        """What the model is called in the bundle."""
        return self.artifact.path.name.removesuffix(".rejected")

    @property
    def package(self) -> str:
        """The name as Python imports it."""
        return self.name.replace("-", "_")

    @property
    def version(self) -> str:
        """Of the packages: two runs of one name must not pass for one another."""
        digest = self.artifact.contract.run_digest or self.artifact.sha256
        return f"1.0.0+{digest[:8]}"


def named(text: str) -> str:
    """Return a text as the name of a bundle.

    >>> named("Shirts & Shoes_3"), named("2026-11 trial"), named("class")
    ('shirts-shoes-3', 'model-2026-11-trial', 'model-class')
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
    return name if name[:1].isalpha() and not keyword.iskeyword(name) else f"model-{name}".rstrip("-")
