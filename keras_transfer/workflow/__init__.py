"""The verbs: the one place where data, backbones, tasks, training, selection, evaluation and export meet."""

from keras_transfer.export.precisions import Candidate
from keras_transfer.export.profiler import Operator
from keras_transfer.selection.findings import Advice, Limits
from keras_transfer.workflow.advising import TransferCurve, advise, bench_transfer
from keras_transfer.workflow.benching import Benched, bench_latency, bench_on_phone, profile
from keras_transfer.workflow.catalogue import BlockShape, backbone_blocks, backbones, fetch
from keras_transfer.workflow.exporting import choose_precision, export, export_model, verify
from keras_transfer.workflow.pictures import bench_input, doctor
from keras_transfer.workflow.proving import Verified
from keras_transfer.workflow.rates import RateCurve, lr_find
from keras_transfer.workflow.reporting import report_of
from keras_transfer.workflow.training import train
from keras_transfer.workflow.using import Prediction, evaluate, predict

__all__ = [
    "Advice",
    "Benched",
    "BlockShape",
    "Candidate",
    "Limits",
    "Operator",
    "Prediction",
    "RateCurve",
    "TransferCurve",
    "Verified",
    "advise",
    "backbone_blocks",
    "backbones",
    "bench_input",
    "bench_latency",
    "bench_on_phone",
    "bench_transfer",
    "choose_precision",
    "doctor",
    "evaluate",
    "export",
    "export_model",
    "fetch",
    "lr_find",
    "predict",
    "profile",
    "report_of",
    "train",
    "verify",
]
