"""Times every operator of a TFLite file on this host with LiteRT's own profiler, in a process of its own.

`python -m keras_transfer.export.profiler FILE THREADS REPEATS` prints the operators as JSON. LiteRT's Python package
has no profiler; its C interface has, and these are the few calls of it that are needed
(https://github.com/google-ai-edge/LiteRT, `g3doc/apis/litert_profiler_api.md`).
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from ctypes import byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.specs import Value


class Operator(Value):
    """One operator as the runtime carries it out."""

    name: str
    """Of its kernel: `Convolution (NHWC, F32) DWConv` is XNNPACK's, `SOFTMAX` is LiteRT's own."""
    mean_us: float
    share: float
    """Of the time of all operators, 0 to 1."""


def profile(path: Path, *, threads: int = 1, repeats: int = 100) -> tuple[Operator, ...]:
    """Return the operators of a `.tflite` file in the order in which LiteRT runs them, each with its time.

    >>> profile(Path("exports/model-int8.tflite"))[1].name  # doctest: +SKIP
    'Convolution (NHWC, QC8) IGEMM'

    Times are whole microseconds, averaged over `repeats` calls with one picture of noise. Raises UsageError for a file
    of another format, ArtifactError where LiteRT refuses it or tells its times in another form than this one knows.
    """
    if path.suffix != ".tflite":
        raise UsageError(f"A profile by operator is made of .tflite files. Received: '{path}'")
    command = [sys.executable, "-m", "keras_transfer.export.profiler", str(path), str(threads), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        raise ArtifactError(f"LiteRT's profiler cannot read '{path}': {said[-200:]}")
    return tuple(Operator.model_validate(each) for each in json.loads(done.stdout))


_CPU, _HOST_MEMORY, _WARM_UP = 1, 1, 10
_BY_LITERT, _BY_DELEGATE = 1 << 1, 1 << 3
"""Kinds of events: an operator that LiteRT runs, and one that XNNPACK runs."""
_ELEMENTS = {"float32": 1, "uint8": 3, "int8": 9}


class _TensorType(ctypes.Structure):
    """`LiteRtRankedTensorType`, an interface that LiteRT promises to keep."""

    _fields_ = [("element", c_int), ("rank", c_uint32), ("sides", c_int32 * 8), ("strides", c_uint32 * 8)]


class _Event(ctypes.Structure):
    """`ProfiledEventData`, which LiteRT does not promise to keep: its size is checked before it is read."""

    _fields_ = [
        ("tag", c_char_p),
        ("kind", c_int),
        ("started_us", c_uint64),
        ("took_us", c_uint64),
        ("memory_before", c_uint64 * 3),
        ("memory_after", c_uint64 * 3),
        ("node", c_uint64),
        ("subgraph", c_uint64),
        ("source", c_int),
    ]


class _LiteRt:
    """LiteRT's C library: calls that say which one failed, and everything made with it given back at the end."""

    def __init__(self, stack: ExitStack) -> None:
        import ai_edge_litert

        folder = Path(str(ai_edge_litert.__file__)).parent
        path = next(folder.glob("libLiteRt.*"), None)  # .so, .dylib or .dll
        if path is None:
            raise SystemExit(f"there is no LiteRT library in {folder}. Install ai-edge-litert==2.3.0")
        self._library = ctypes.CDLL(str(path))
        self._stack = stack

    def __call__(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"LiteRt{name}")(*arguments)
        if status:
            raise SystemExit(f"{name} gave status {status}")

    def get(self, name: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self(name, *arguments, byref(handle))
        return handle

    def make(self, kind: str, name: str, *arguments: Any) -> c_void_p:
        handle = self.get(name, *arguments)
        self._stack.callback(getattr(self._library, f"LiteRtDestroy{kind}"), handle)
        return handle


def _calls(path: Path, threads: int, repeats: int) -> Iterator[list[Any]]:
    """Yield the events of each call that counts."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    with ExitStack() as stack:
        litert = _LiteRt(stack)
        environment = litert.make("Environment", "CreateEnvironment", 0, None)
        model = litert.make("Model", "CreateModelFromFile", environment, str(path).encode())
        options = litert.get("CreateOptions")
        litert("SetOptionsHardwareAccelerators", options, _CPU)
        wanted = {b"runtime_options_string": b"enable_profiling = true", b"xnnpack": b"num_threads = %d" % threads}
        for name, text in wanted.items():
            litert("AddOpaqueOptions", options, litert.get("CreateOpaqueOptions", name, text, _KEEP))
        compiled = litert.make("CompiledModel", "CreateCompiledModel", environment, model, options)
        profiler = litert.get("CompiledModelGetProfiler", compiled)
        (image,) = (_tensor(litert, environment, each) for each in interpreter.get_input_details())
        (answer,) = (_tensor(litert, environment, each) for each in interpreter.get_output_details())
        one = c_size_t(1)
        for number in range(_WARM_UP + repeats):
            litert("ResetProfiler", profiler)
            litert("StartProfiler", profiler)
            litert("RunCompiledModel", compiled, c_size_t(0), one, byref(image), one, byref(answer))
            if number >= _WARM_UP:
                yield _events(litert, profiler)


@ctypes.CFUNCTYPE(None, c_void_p)
def _KEEP(payload: int) -> None:  # noqa: N802
    """The text of an option is Python's, and Python frees it."""


def _tensor(litert: _LiteRt, environment: c_void_p, details: dict[str, Any]) -> c_void_p:
    """A buffer for an input or output, full of noise."""
    dtype, shape = np.dtype(details["dtype"]), [int(side) for side in details["shape"]]
    size = int(np.prod(shape)) * dtype.itemsize
    kind = _TensorType(_ELEMENTS[dtype.name], len(shape), (c_int32 * 8)(*shape))
    buffer = litert.make(
        "TensorBuffer", "CreateManagedTensorBuffer", environment, _HOST_MEMORY, byref(kind), c_size_t(size)
    )
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    ctypes.memmove(litert.get("GetTensorBufferHostMemory", buffer), noise.tobytes(), size)
    return buffer


def _events(litert: _LiteRt, profiler: c_void_p) -> list[Any]:
    count, size, untouched = c_int(), ctypes.sizeof(_Event), 0xA5
    litert("GetNumProfilerEvents", profiler, byref(count))
    place = ctypes.create_string_buffer(bytes([untouched]) * (2 * size * count.value))
    litert("GetProfilerEvents", profiler, count, place)
    written = np.flatnonzero(np.frombuffer(place.raw, np.uint8)[:-1] != untouched).max(initial=-1) + 1
    if -(-int(written) // 8) * 8 != size * count.value:
        raise SystemExit("its events have another size than those of LiteRT 2.3. Install ai-edge-litert==2.3.0")
    return list((_Event * count.value).from_buffer(place))


def _main(path: str, threads: str, repeats: str) -> None:
    names: dict[tuple[int, int], str] = {}
    total_us: dict[tuple[int, int], int] = defaultdict(int)
    for events in _calls(Path(path), int(threads), int(repeats)):
        for event in events:
            if event.kind in (_BY_LITERT, _BY_DELEGATE):
                at = (event.kind, event.node)
                names[at] = event.tag.decode()
                total_us[at] += event.took_us
    whole = sum(total_us.values()) or 1
    operators = (
        Operator(name=names[at], mean_us=total / int(repeats), share=total / whole) for at, total in total_us.items()
    )
    print(json.dumps([operator.model_dump() for operator in operators]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
