"""Tells which operators of a file the delegates of a phone take, by what their makers publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from keras_transfer.errors import ArtifactError
from keras_transfer.export import delegate_lists as lists
from keras_transfer.export import halves, tflite_tree
from keras_transfer.specs import Value


class Step(NamedTuple):
    """One operator of a file."""

    name: str
    version: int = 1
    reads: str = "f"
    """What it computes on: `f` floats, `q` numbers of 8 bits, `i` int32, `b` bool, `-` anything else."""


Leaves = Callable[[Sequence[Step]], list[Step]]
"""`leaves(steps)`: those operators of a file that a delegate does not take."""


class Readiness(Value):
    """What a delegate takes of a file; the CPU computes the rest, and numbers go from one to the other and back."""

    delegate: str
    operators: int
    """How many the file has."""
    left: Mapping[str, int]
    """Those that fall back to the CPU: how many by name. Empty where the delegate takes the whole file."""
    source: str
    """Where it is published which operators it takes."""


@dataclass(frozen=True)
class Delegate:
    """One row: who takes operators from the CPU, in files of which format, and which it leaves there."""

    name: str
    format: str
    source: str
    leaves: Leaves


def told(path: Path) -> tuple[Readiness, ...]:
    """Return what each delegate for a file's format takes of it; none where its format has no delegates.

    >>> told(Path("exports/model-int8.tflite"))[2].left  # doctest: +SKIP
    {'QUANTIZE': 2, 'CONV_2D': 35, …}

    The file is read and not run, so this is what the lists promise: a device can still refuse a shape, or compute in
    16 bits. What only prepares weights (from 16 bits to 32) is not counted, as delegates do that when they load a file.
    A folder with a pair of files counts as both.
    """
    files = [path] if path.is_file() else [path / f"{name}.{halves.suffix_of(path)}" for name in halves.NAMES]
    format = files[0].name.removesuffix(".rejected").rpartition(".")[2]
    if format not in _READERS:
        return ()
    steps = [step for file in files for step in _READERS[format](file)]
    found = []
    for row in (row for row in DELEGATES if row.format == format):
        left = dict(Counter(step.name for step in row.leaves(steps)).most_common())
        found.append(Readiness(delegate=row.name, operators=len(steps), left=left, source=row.source))
    return tuple(found)


def check(path: Path, found: Sequence[Readiness]) -> None:
    """Raise ArtifactError where there are delegates for a file's format and none of them takes any of its operators.

    >>> check(Path("model.tflite"), [Readiness(delegate="gpu", operators=9, left={"CAST": 1}, source="…")])
    """
    if found and all(sum(each.left.values()) == each.operators for each in found):
        names = ", ".join(found[0].left)
        raise ArtifactError(
            f"No delegate takes any operator of '{path}' ({names}): on a phone all of it runs on the CPU. "
            "Export to another format or precision, as tflite."
        )


_KINDS = {"FLOAT32": "f", "FLOAT16": "f", "INT8": "q", "UINT8": "q", "INT32": "i", "BOOL": "b"}
_READ = {"TRANSPOSE_CONV": 2, "SPLIT": 1, "SELECT": 1}
"""Which input an operator computes on, where it is not the first."""


def _steps_of_tflite(path: Path) -> Iterator[Step]:
    from ai_edge_litert import schema_py_generated as schema

    tree = tflite_tree.read(path.read_bytes())
    operators, types = (
        {value: name for name, value in vars(kind).items() if isinstance(value, int)}
        for kind in (schema.BuiltinOperator, schema.TensorType)
    )
    for graph in tree.subgraphs:
        for operator in graph.operators:
            code = tree.operatorCodes[operator.opcodeIndex]
            name = code.customCode.decode() if code.customCode else operators[code.builtinCode]
            given = [graph.tensors[index] for index in operator.inputs if index >= 0]
            kinds = [types[tensor.type] for tensor in given]
            constant = all(tree.buffers[tensor.buffer].data is not None for tensor in given)
            if name == "DEQUANTIZE" and constant and kinds == ["FLOAT16"]:
                continue
            read = kinds[min(_READ.get(name, 0), len(kinds) - 1)] if kinds else ""
            yield Step(name, code.version, _KINDS.get(read, "-"))


def _steps_of_onnx(path: Path) -> Iterator[Step]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {each.name for each in graph.initializer}
    for node in graph.node:
        if not all(name in constants for name in node.input):
            domain = f"{node.domain}:" if node.domain not in ("", "ai.onnx") else ""
            yield Step(f"{domain}{node.op_type}")


_READERS: Mapping[str, Callable[[Path], Iterator[Step]]] = {"tflite": _steps_of_tflite, "onnx": _steps_of_onnx}


def _beyond(listed: Mapping[str, lists.Limit]) -> Leaves:
    """Those that a list has not, or in an earlier version, or for other numbers."""

    def is_beyond(step: Step) -> bool:
        latest, kinds = listed.get(step.name, (0, ""))
        return step.version > latest or step.reads not in kinds

    return lambda steps: [step for step in steps if is_beyond(step)]


def _not_in(listed: Collection[str]) -> Leaves:
    return lambda steps: [step for step in steps if step.name not in listed]


_LITERT = "github.com/google-ai-edge/LiteRT"
_ONNXRUNTIME = "github.com/microsoft/onnxruntime"
DELEGATES: tuple[Delegate, ...] = (
    Delegate("gpu", "tflite", f"{_LITERT}, gpu_compatibility.cc at 007226f", _beyond(lists.GPU)),
    Delegate("nnapi", "tflite", f"{_LITERT}, nnapi_delegate.cc at 5c8a6d4", _beyond(lists.NNAPI)),
    Delegate("coreml", "tflite", f"{_LITERT}, coreml/README.md at 7d88950", _beyond(lists.COREML)),
    Delegate("gpu", "onnx", "onnxruntime-web 1.30.0, webgpu-operators.md", _not_in(lists.ONNX_GPU)),
    Delegate("nnapi", "onnx", f"{_ONNXRUNTIME}, nnapi_supported_ops.md at 5308675", _not_in(lists.ONNX_NNAPI)),
    Delegate(
        "coreml", "onnx", f"{_ONNXRUNTIME}, coreml_supported_mlprogram_ops.md at 04f568d", _not_in(lists.ONNX_COREML)
    ),
)
"""`gpu` of TFLite: OpenCL and OpenGL on Android, Metal on iOS; of ONNX: WebGPU."""
