"""Transfer learning on Keras 3, from pictures to exported files that are proven to say what the model says.

>>> import keras_transfer
>>> run = keras_transfer.train(keras_transfer.Plan(data="sample:fashion"))  # doctest: +SKIP

The verbs of the command line are the functions of this package; TensorFlow is imported by the first verb, not before.
"""

from __future__ import annotations

import os
from typing import Any

from keras_transfer.errors import KerasTransferError
from keras_transfer.specs import Artifact, BackboneSpec, Contract, Plan, Run, Splits, Stage

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

_VERBS = ("evaluate", "export", "predict", "train", "verify")

__all__ = [
    "Artifact",
    "BackboneSpec",
    "Contract",
    "KerasTransferError",
    "Plan",
    "Run",
    "Splits",
    "Stage",
    "evaluate",
    "export",
    "predict",
    "train",
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        from keras_transfer import workflow

        return getattr(workflow, name)
    raise AttributeError(f"module 'keras_transfer' has no attribute {name!r}")
