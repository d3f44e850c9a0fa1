"""What a measurement of latency says; how fast a file is stands in the benchmark, not here."""

import pytest
from export_model import exported, pictures

from keras_transfer.errors import UsageError
from keras_transfer.export import latency, memory, runtime


def test_a_measurement_says_what_it_measured():
    opened = runtime.load(exported()["tflite"], threads=1)
    found = latency.measure(opened, pictures(), repeats=20, warm_up=2, batch_size=3)
    assert (found.repeats, found.batch_size, found.threads) == (20, 3, 1)
    assert 0 < found.median_ms <= found.p90_ms <= found.p99_ms
    assert found.pictures_per_second == pytest.approx(3000 / found.median_ms)
    assert found.load_ms > 0


def test_a_measurement_of_nothing_is_refused():
    opened = runtime.load(exported()["tflite"])
    with pytest.raises(UsageError, match="at least one picture, one repeat and a batch of one"):
        latency.measure(opened, pictures()[:0])


def test_a_file_takes_memory():
    path = exported()["tflite"]
    assert memory.peak_bytes(path, runtime.load(path).artifact.contract) > path.stat().st_size
