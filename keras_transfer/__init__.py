"""Transfer learning on Keras 3, from pictures to exported files that are proven to say what the model says.

>>> import keras_transfer
>>> run = keras_transfer.train(keras_transfer.Plan(data="sample:fashion"))  # doctest: +SKIP

The verbs of the command line are the functions of this package; TensorFlow is imported by the first verb, not before.
What checks values is imported with the first of them.
"""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any

from keras_transfer.errors import KerasTransferError

if TYPE_CHECKING:
    from keras_transfer.specs import Artifact, BackboneSpec, Contract, Plan, Run, Splits, Stage
    from keras_transfer.workflow import (
        advise,
        bundle,
        doctor,
        evaluate,
        export,
        features,
        gallery,
        predict,
        stream,
        suggest,
        sweep,
        train,
        train_on_ray,
        trust,
        verify,
    )
    from keras_transfer.workflow import report_of as report

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is loaded

_VERBS = {
    "advise": "advise",
    "bundle": "bundle",
    "doctor": "doctor",
    "evaluate": "evaluate",
    "export": "export",
    "features": "features",
    "gallery": "gallery",
    "predict": "predict",
    "report": "report_of",
    "stream": "stream",
    "suggest": "suggest",
    "sweep": "sweep",
    "train": "train",
    "train_on_ray": "train_on_ray",
    "trust": "trust",
    "verify": "verify",
}
"""Each verb, and the function of `workflow` that it is."""

_VALUES = ("Artifact", "BackboneSpec", "Contract", "Plan", "Run", "Splits", "Stage")
"""What flows between the verbs, all of it in `specs`."""

__all__ = [
    "Artifact",
    "BackboneSpec",
    "Contract",
    "KerasTransferError",
    "Plan",
    "Run",
    "Splits",
    "Stage",
    "advise",
    "bundle",
    "doctor",
    "evaluate",
    "export",
    "features",
    "gallery",
    "predict",
    "report",
    "stream",
    "suggest",
    "sweep",
    "train",
    "train_on_ray",
    "trust",
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        from keras_transfer import workflow

        return getattr(workflow, _VERBS[name])
    if name in _VALUES:
        from keras_transfer import specs

        return getattr(specs, name)
    raise AttributeError(f"module 'keras_transfer' has no attribute {name!r}")


class _Package(types.ModuleType):
    """This package, whose verbs keep their names.

    Python sets a subpackage as an attribute of its package when it is first imported. The folder `export` would take
    the place of the verb `export` in the middle of a program; it is reached as `from keras_transfer.export import ...`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _VERBS and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
