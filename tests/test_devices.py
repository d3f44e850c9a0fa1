"""What a machine computes with is said by the widest of its instruction sets."""

import pytest

from keras_transfer import devices


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("flags\t\t: fpu sse4_2 avx avx2 avx512f avx512dq", "AVX-512"),
        ("flags\t\t: fpu sse4_2 avx avx2", "AVX2"),
        ("Features\t: fp asimd crc32", "NEON"),
        ("nothing of the kind", ""),
    ],
)
def test_the_widest_instruction_set_is_named(told, name, tmp_path):
    (tmp_path / "cpuinfo").write_text(told)
    assert devices.instruction_set(tmp_path / "cpuinfo") == name


def test_a_machine_that_says_nothing_is_no_error(tmp_path):
    assert devices.instruction_set(tmp_path / "none") == ""
