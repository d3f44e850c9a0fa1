"""The command that a phone would get; no phone is needed to know it."""

from pathlib import Path

import pytest

from keras_transfer.errors import UsageError
from keras_transfer.export import phone


def test_model_and_binary_are_pushed_made_runnable_and_run_with_a_profile():
    *prepared, run = phone.commands(Path("exports/model.tflite"), Path("benchmark_model"), threads=4, repeats=50)
    assert prepared == [
        ("adb", "push", "benchmark_model", "/data/local/tmp/benchmark_model"),
        ("adb", "push", "exports/model.tflite", "/data/local/tmp/model.tflite"),
        ("adb", "shell", "chmod", "+x", "/data/local/tmp/benchmark_model"),
    ]
    assert run[:3] == ("adb", "shell", "/data/local/tmp/benchmark_model")
    assert {"--graph=/data/local/tmp/model.tflite", "--num_threads=4", "--num_runs=50"} <= set(run)
    assert "--enable_op_profiling=true" in run


def test_other_formats_are_refused():
    with pytest.raises(UsageError, match=r"takes \.tflite files"):
        phone.benchmark(Path("model.onnx"), Path("benchmark_model"), threads=1, repeats=1)


def test_a_machine_without_adb_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="adb is not installed"):
        phone.benchmark(Path("model.tflite"), Path("benchmark_model"), threads=1, repeats=1)
