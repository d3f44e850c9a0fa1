"""What the studio is given by whoever starts it: how pictures are listed and decoded, and where things lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Listed(Protocol):
    """A picture as its source lists it: `data.gathering.Listing` is one."""

    @property
    def path(self) -> str:
        """Of the file."""

    @property
    def key(self) -> str:
        """As the source writes it."""

    @property
    def label(self) -> Any:
        """A class name; None where none is known."""

    @property
    def split(self) -> str | None:
        """None: decided by the picture's content."""

    @property
    def weight(self) -> float:
        """At least 0; 1 of most pictures."""

    @property
    def group(self) -> str:
        """What it belongs to, such as a session; empty of most pictures."""


@dataclass(frozen=True)
class Offered:
    """What a verb may be asked for, from one of the program's tables."""

    name: str
    """As the verb takes it."""
    title: str
    """As the page calls it."""
    tasks: tuple[str, ...]
    """Of runs that can be asked for it."""


@dataclass(frozen=True)
class Given:
    """What the studio knows of the rest of the program."""

    name: str
    """What the data set is called."""
    source: str
    """What is trained on where nothing was mended."""
    beside: Path
    """Where what people collect and decide goes: `beside.csv`, the table to train on, and the folder `beside`."""
    decode: Callable[..., np.ndarray]
    """`decode(encoded, size=)`: a picture as a person sees it, uint8 (height, width, 3); DataError for what is none."""
    listed: Callable[[], Sequence[Listed]] = tuple
    """The pictures of the source; none where people collect them first."""
    why_not: str = ""
    """Why labels cannot be mended here, in a sentence; empty where they can."""
    task: str = "classification"
    merit_name: str = "accuracy"
    """What pictures of that task are judged by."""
    spread: Callable[[Mapping[str, float | None], int], float] = lambda figures, count: 0.0
    """Half the width of the 95 % interval of the first of some figures, 0-1, that so many pictures gave."""
    runs_folder: Path = Path("saved_models")
    run: Path | None = None
    """The run that was asked for: the page opens with it."""
    command: tuple[str, ...] = ()
    """How a verb is started: the words before its name."""
    modules: Path | None = None
    """A `node_modules` folder that bundles take packages from."""
    backbones: tuple[str, ...] = ()
    """Names that training may be asked for."""
    recipes: tuple[str, ...] = ()
    settled: Mapping[str, str] = field(default_factory=dict)
    """What a training takes where a person leaves it open: its backbone and its recipe."""
    formats: tuple[Offered, ...] = ()
    """That files can be exported to."""
    targets: tuple[Offered, ...] = ()
    """That bundles can be made for."""
