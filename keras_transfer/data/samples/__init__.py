"""The data sets that travel inside the package, so that a first run needs no download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from keras_transfer.data.splitting import digest_of
from keras_transfer.errors import UsageError, unknown
from keras_transfer.specs import SPLIT_NAMES, Listener, Split, Splits, silent

SAMPLES = {"fashion": "fashion.npz"}
"""Name of a sample: its file in this folder, with `class_names` and, for each split, pictures `_x` and labels `_y`."""


def load(source: str, *, seed: int = 0, listener: Listener = silent) -> Splits:
    """Return an embedded data set, in the splits that it was published with.

    >>> load("sample:fashion").counts
    {'train': 1000, 'validation': 300, 'test': 1000}

    Grey pictures come as RGB. Raises UsageError for a name that no sample has.
    """
    name = source.partition(":")[2]
    if name not in SAMPLES:
        raise UsageError(unknown("sample", name, SAMPLES))
    with resources.files(__package__).joinpath(SAMPLES[name]).open("rb") as file, np.load(file) as arrays:
        class_names = tuple(str(each) for each in arrays["class_names"])
        pictures = {split: arrays[f"{split}_x"] for split in SPLIT_NAMES}
        labels = {split: arrays[f"{split}_y"].astype(np.int64) for split in SPLIT_NAMES}
    splits = {
        split: Split(
            name=split,
            pictures=np.repeat(pictures[split][..., None], 3, axis=-1)
            if pictures[split].ndim == 3
            else pictures[split],
            labels=labels[split],
            keys=tuple(f"{split}/{class_names[label]}/{position:04d}" for position, label in enumerate(labels[split])),
        )
        for split in SPLIT_NAMES
    }
    return Splits(
        source=source,
        **splits,
        skipped=(),
        annotation="class",
        class_names=class_names,
        digest=digest_of(
            (split, class_names[label], picture.tobytes())
            for split in SPLIT_NAMES
            for picture, label in zip(pictures[split], labels[split], strict=True)
        ),
        typical_size=int(min(pictures["train"].shape[1:3])),
        given=SPLIT_NAMES,
    )
