"""What LiteRT's profiler tells of a file; how long it takes stands in the benchmark, not here."""

import json

import pytest
from export_model import exported

from keras_transfer import cli
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.export import profiler


@pytest.mark.parametrize("name", ["tflite", "tflite-int8"])
def test_every_operator_is_named_and_the_shares_are_of_the_whole(name):
    found = profiler.profile(exported()[name], repeats=20)
    kernels = [operator.name for operator in found]
    assert sum("DWConv" in kernel for kernel in kernels) >= 2
    assert any("GEMM" in kernel for kernel in kernels)
    assert all(operator.mean_us >= 0 for operator in found)
    assert sum(operator.share for operator in found) == pytest.approx(1)


def test_other_formats_are_refused():
    with pytest.raises(UsageError, match=r"is made of \.tflite files\. Received: '.*model\.onnx'"):
        profiler.profile(exported()["onnx"])


def test_a_file_that_litert_cannot_read_is_one_sentence(tmp_path):
    (tmp_path / "model.tflite").write_bytes(exported()["tflite"].read_bytes()[:2000])
    with pytest.raises(ArtifactError, match="LiteRT's profiler cannot read") as caught:
        profiler.profile(tmp_path / "model.tflite")
    assert "\n" not in str(caught.value)


def test_the_command_line_tells_of_each_file(capsys):
    path = str(exported()["tflite-int8"])
    cli.app(["bench", "latency", path, "--profile", "--repeats", "5", "--json"], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out).values()
    assert {"name", "mean_us", "share"} == set(found[0])
