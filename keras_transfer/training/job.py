"""What every stage of a run is given, as one value that is passed down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_transfer.files import cache_folder
from keras_transfer.specs import Feed, Listener, Network, StageResult, silent
from keras_transfer.training import feature_store
from keras_transfer.training.pace import Span
from keras_transfer.training.strategy import Strategy


@dataclass(frozen=True)
class Settings:
    """What all stages of a run share, in plain values."""

    image_size: int
    counts: Mapping[str, int]
    """Pictures per split."""
    batch_size: int = 32
    seed: int = 0
    data_digest: str = ""
    aspect: str = "stretch"
    balance: str = "none"
    """Of the training split: a row of `order.BALANCES`."""
    labels: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Of the training split, what `order.of_epoch` balances by: class positions, int64 (n,)."""
    engine: str = "auto"
    """Who computes frozen parts: a row of `prefix.ENGINES`, whose features are then stored; `stream` to store nothing;
    `auto` to take the fastest, and to store where that is cheaper (`costs.py`)."""
    store_dtype: str = "float16"
    cache_folder: Path = field(default_factory=cache_folder)
    cache_limit_bytes: int = feature_store.DEFAULT_LIMIT_BYTES
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    spans: Mapping[str, Span] = field(default_factory=dict)
    """The time of each stage by its name, where the run has only so many minutes."""


@dataclass(frozen=True)
class Job:
    """A network to train, the pictures to train it on, and where what comes of it is kept.

    >>> Job(network, feed, settings, Path("saved_models/pets"))  # doctest: +SKIP
    """

    network: Network
    feed: Feed
    settings: Settings
    folder: Path
    """Of the run: where `stages/` and the checkpoint are."""
    listener: Listener = silent
    goes_on: Callable[[tuple[StageResult, ...]], bool] = lambda results: True
    """Asked with what the stages so far reached, where there is another one; False leaves the rest out."""
    strategy: Strategy = field(default_factory=Strategy)
    """The devices that learn; the network was made in its `scope`."""

    @property
    def checkpoint(self) -> Path:
        """Where the stage that is under way stands, after each of its epochs."""
        return self.folder / "checkpoint.npz"
