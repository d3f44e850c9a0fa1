"""The verbs: the one place where data, backbones, tasks, training, selection, evaluation and export meet.

A name is imported when it is first asked for, so that a verb loads what it needs and no more.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_transfer.data.sources import recognised
    from keras_transfer.evaluation.intervals import spread_of
    from keras_transfer.export.delegates import Readiness
    from keras_transfer.export.precisions import Candidate
    from keras_transfer.export.profiler import Operator
    from keras_transfer.selection.findings import Advice, Limits
    from keras_transfer.training.cluster import Cluster
    from keras_transfer.workflow.advising import advise
    from keras_transfer.workflow.benching import Benched, bench_latency, bench_on_phone, delegated, profile
    from keras_transfer.workflow.bundling import Bundle, bundle
    from keras_transfer.workflow.catalogue import BlockShape, backbone_blocks, backbones, fetch
    from keras_transfer.workflow.exporting import choose_precision, export, export_model, verify
    from keras_transfer.workflow.gained import Brought, brought
    from keras_transfer.workflow.galleries import gallery
    from keras_transfer.workflow.labels import TransferCurve, bench_transfer
    from keras_transfer.workflow.listing import Listed, exported_files, listed
    from keras_transfer.workflow.mistaking import Mistake, mistakes
    from keras_transfer.workflow.pictures import bench_input, doctor
    from keras_transfer.workflow.proving import Verified
    from keras_transfer.workflow.rates import RateCurve, lr_find
    from keras_transfer.workflow.reporting import report_of
    from keras_transfer.workflow.serving import said_of_host, studio
    from keras_transfer.workflow.storing import Stored, features
    from keras_transfer.workflow.streaming import stream
    from keras_transfer.workflow.suggesting import Suggested, suggest
    from keras_transfer.workflow.supply import Licence, licences
    from keras_transfer.workflow.sweeping import Swept, sweep
    from keras_transfer.workflow.tasks import task_of
    from keras_transfer.workflow.together import taking_part
    from keras_transfer.workflow.training import train
    from keras_transfer.workflow.training_on_ray import train_on_ray
    from keras_transfer.workflow.using import Prediction, evaluate, predict, trust

_PLACES = {
    "data.sources": ("recognised",),
    "evaluation.intervals": ("spread_of",),
    "export.delegates": ("Readiness",),
    "export.precisions": ("Candidate",),
    "export.profiler": ("Operator",),
    "selection.findings": ("Advice", "Limits"),
    "training.cluster": ("Cluster",),
    "workflow.advising": ("advise",),
    "workflow.benching": ("Benched", "bench_latency", "bench_on_phone", "delegated", "profile"),
    "workflow.gained": ("Brought", "brought"),
    "workflow.bundling": ("Bundle", "bundle"),
    "workflow.catalogue": ("BlockShape", "backbone_blocks", "backbones", "fetch"),
    "workflow.exporting": ("choose_precision", "export", "export_model", "verify"),
    "workflow.galleries": ("gallery",),
    "workflow.labels": ("TransferCurve", "bench_transfer"),
    "workflow.listing": ("Listed", "exported_files", "listed"),
    "workflow.mistaking": ("Mistake", "mistakes"),
    "workflow.pictures": ("bench_input", "doctor"),
    "workflow.proving": ("Verified",),
    "workflow.rates": ("RateCurve", "lr_find"),
    "workflow.reporting": ("report_of",),
    "workflow.serving": ("said_of_host", "studio"),
    "workflow.storing": ("Stored", "features"),
    "workflow.streaming": ("stream",),
    "workflow.suggesting": ("Suggested", "suggest"),
    "workflow.supply": ("Licence", "licences"),
    "workflow.sweeping": ("Swept", "sweep"),
    "workflow.tasks": ("task_of",),
    "workflow.together": ("taking_part",),
    "workflow.training": ("train",),
    "workflow.training_on_ray": ("train_on_ray",),
    "workflow.using": ("Prediction", "evaluate", "predict", "trust"),
}
"""Where each name is: modules of this package, and what they give."""

_MODULE_OF = {name: f"keras_transfer.{module}" for module, names in _PLACES.items() for name in names}

__all__ = [
    "Advice",
    "Benched",
    "BlockShape",
    "Brought",
    "Bundle",
    "Candidate",
    "Cluster",
    "Licence",
    "Limits",
    "Listed",
    "Mistake",
    "Operator",
    "Prediction",
    "RateCurve",
    "Readiness",
    "Stored",
    "Suggested",
    "Swept",
    "TransferCurve",
    "Verified",
    "advise",
    "backbone_blocks",
    "backbones",
    "bench_input",
    "bench_latency",
    "bench_on_phone",
    "bench_transfer",
    "brought",
    "bundle",
    "choose_precision",
    "delegated",
    "doctor",
    "evaluate",
    "export",
    "export_model",
    "exported_files",
    "features",
    "fetch",
    "gallery",
    "licences",
    "listed",
    "lr_find",
    "mistakes",
    "predict",
    "profile",
    "recognised",
    "report_of",
    "said_of_host",
    "spread_of",
    "stream",
    "studio",
    "suggest",
    "sweep",
    "taking_part",
    "task_of",
    "train",
    "train_on_ray",
    "trust",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'keras_transfer.workflow' has no attribute {name!r}")
    with nullcontext() if "tensorflow" in sys.modules else _hushed():
        return getattr(importlib.import_module(_MODULE_OF[name]), name)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep what libraries write to file descriptor 2 while they are loaded from people.

    TensorFlow 2.21 tells of oneDNN and CUDA there before it reads TF_CPP_MIN_LOG_LEVEL. Errors are exceptions.
    """
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
