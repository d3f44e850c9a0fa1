"""Runs verbs, and functions of scripts, in processes that are forked from one in which TensorFlow is loaded.

That is a third of what most verbs compute. Nothing but loading is done before the fork: TensorFlow has no thread yet,
OpenBLAS ends its own, and no verb has begun.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import verbs


def run(words: Sequence[str], folder: Path, **strike: Any) -> tuple[int, str]:
    """Run a command line in a folder, struck as `striking.struck` takes it; its exit code and what it said."""
    return call("striking", "struck", folder, folder=str(folder), words=words, **strike)


def call(module: str, function: str, folder: Path, /, **given: Any) -> tuple[int, str]:
    """Call a function of a script in a folder with what JSON can say; the exit code of its process and what it said."""
    with tempfile.NamedTemporaryFile("r", errors="replace", prefix="campaign-said-") as said:
        asked = {"module": module, "function": function, "given": given, "said": said.name}
        server = _server()
        assert server.stdin
        assert server.stdout
        around = {"folder": str(folder), "environment": verbs.environment(folder)}
        print(json.dumps(asked | around), file=server.stdin, flush=True)
        return int(server.stdout.readline()), said.read().strip()


@cache
def _server() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "import warmed; warmed.serve()"]
    environment = verbs.environment(Path(tempfile.gettempdir())) | {"KERAS_BACKEND": "tensorflow"}
    server = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # what was registered last is done first
    return server


def serve() -> None:
    """Load TensorFlow, then run what each line of standard input asks for, and print the exit code of each."""
    from keras_transfer.__main__ import _NotForKeras

    sys.meta_path.insert(0, _NotForKeras)
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            return _become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(
    module: str, function: str, given: dict[str, Any], folder: str, said: str, environment: dict[str, str]
) -> None:
    """Be the process of a verb, as it is when it is started; it ends with what `main` raises."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate((os.devnull, said, said)):
        os.dup2(os.open(name, os.O_RDWR | os.O_APPEND), number)
    getattr(importlib.import_module(module), function)(**given)
