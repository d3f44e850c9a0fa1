"""Runs TensorFlow's own `benchmark_model` on a phone over adb, operator by operator.

The binary is built for each platform by the TensorFlow project:
https://ai.google.dev/edge/litert/models/measurement#native_benchmark_binary
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from keras_transfer.errors import UsageError

FOLDER = "/data/local/tmp"


def commands(path: Path, binary: Path, *, threads: int, repeats: int) -> tuple[tuple[str, ...], ...]:
    """Return the adb commands that copy a `.tflite` file and the binary to the phone and run them.

    >>> commands(Path("model.tflite"), Path("benchmark_model"), threads=4, repeats=50)[0][:2]
    ('adb', 'push')
    """
    there, model = f"{FOLDER}/{binary.name}", f"{FOLDER}/{path.name}"
    run = (
        f"--graph={model}",
        f"--num_threads={threads}",
        f"--num_runs={repeats}",
        "--warmup_runs=10",
        "--use_xnnpack=true",
        "--enable_op_profiling=true",
    )
    return (
        ("adb", "push", str(binary), there),
        ("adb", "push", str(path), model),
        ("adb", "shell", "chmod", "+x", there),
        ("adb", "shell", there, *run),
    )


def benchmark(path: Path, binary: Path, *, threads: int, repeats: int) -> str:
    """Return what `benchmark_model` says of a `.tflite` file on the phone that is plugged in.

    Raises UsageError where the file is of another format, adb or the binary is missing, or no phone answers.
    """
    if path.suffix != ".tflite":
        raise UsageError(f"benchmark_model takes .tflite files. Received: '{path}'")
    if shutil.which("adb") is None:
        raise UsageError("adb is not installed. Install Android's platform tools (Debian: apt-get install adb).")
    if not binary.is_file():
        raise UsageError(f"There is no benchmark_model at '{binary}'. Download the one for your phone from TensorFlow.")
    said = ""
    for command in commands(path, binary, threads=threads, repeats=repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(f"'{' '.join(command[:3])}' failed; is a phone plugged in? {done.stderr.strip()}")
        said = done.stdout + done.stderr
    return said
