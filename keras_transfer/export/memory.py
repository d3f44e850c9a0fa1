"""Measures how much memory an artifact takes, in a process of its own.

`python -m keras_transfer.export.memory FILE CONTRACT` prints the growth of the largest resident size, in bytes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from keras_transfer.errors import ArtifactError
from keras_transfer.export import runtime
from keras_transfer.specs import DTYPES, Contract


def peak_bytes(path: Path, contract: Contract) -> int:
    """Return by how much loading a file and one prediction raise the peak of a fresh process, its imports included.

    >>> peak_bytes(Path("exports/model.tflite"), contract)  # doctest: +SKIP
    21561344
    """
    command = [sys.executable, "-m", "keras_transfer.export.memory", str(path), contract.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArtifactError(f"'{path}' could not be run in a process of its own: {done.stderr.strip()[-200:]}")
    return int(done.stdout)


def peak() -> int:
    """Largest resident size so far, in bytes; getrusage would tell that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _main(path: str, contract: str) -> None:
    before = peak()
    opened = runtime.load(Path(path), threads=1, contract=Contract.model_validate_json(contract))
    given = opened.artifact.contract
    opened.predict(np.zeros((1, *given.shape), DTYPES[given.takes]))
    print(peak() - before)


if __name__ == "__main__":
    _main(*sys.argv[1:])
