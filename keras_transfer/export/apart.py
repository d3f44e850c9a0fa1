"""Opens a file in a process of its own first, which a crash of its runtime ends in place of this one.

`python -m keras_transfer.export.apart FORMAT FILE` opens and runs it once, and says in one line what went wrong.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from keras_transfer.errors import ArtifactError, first_line

CPU_SECONDS = 120
"""That a file may take to be opened and run once; the largest backbone takes ten."""

SECONDS = 1800
"""After which nothing is waited for any longer, however busy the machine is."""

MOST_MEMORY_BYTES = 2**35
"""Of addresses, most of which are never used: TensorFlow alone reserves several GB."""

LARGEST_SIDE = 4096
"""Of a picture that the file is tried with, in pixels."""

REFUSED = 3
"""Exit code of a file that a runtime refuses, as it should."""


def check(path: Path, format: str) -> None:
    """Raise ArtifactError, in one sentence, where a file cannot be opened and run, or where its runtime crashes."""
    command = [sys.executable, "-m", "keras_transfer.export.apart", format, str(path.absolute())]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(
            f"'{path}' was not open and run after {SECONDS} s, in a process of its own; it is not opened."
        ) from None
    if done.returncode == REFUSED:
        raise ArtifactError(done.stdout.strip().replace(str(path.absolute()), str(path)))
    if done.returncode == -signal.SIGXCPU:
        raise ArtifactError(f"'{path}' was not open and run after {CPU_SECONDS} s of computing; it is not opened.")
    if done.returncode < 0:
        raise ArtifactError(
            f"'{path}' crashes the runtime of {format} files ({signal.Signals(-done.returncode).name}), in a process "
            "of its own: it is damaged, or made to do so. It is not opened."
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][-200:]
        raise ArtifactError(f"'{path}' cannot be opened in a process of its own: {said}")


def _main(format: str, path: str) -> int:
    for limited, most in ((resource.RLIMIT_AS, MOST_MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS)):
        hard = resource.getrlimit(limited)[1]
        resource.setrlimit(limited, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    import numpy as np

    from keras_transfer.export import runtime

    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # runtimes print there what they try
    try:
        opened = runtime.opened(Path(path), format, threads=1)  # type: ignore[arg-type]
        shape = tuple(side or 1 for side in opened.image.shape)
        if opened.image.dtype == "uint8" and max(shape, default=0) <= LARGEST_SIDE:
            try:
                opened.run(np.zeros(shape if shape[-1] == 3 else (shape[0], *shape[2:], 3), np.uint8))
            except Exception as error:
                raise ArtifactError(f"'{path}' is open but cannot be run: {first_line(error, 200)}") from None
    except ArtifactError as error:
        os.write(answer, str(error).encode(errors="replace"))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
