"""What converting to ONNX takes, with weights apart from the graph and in it: scripts/bench conversion [BACKBONE ...].

Each row is built with random weights and converted in a process of its own, twice: as files are exported, with large
weights kept apart from the graph, and with all weights in it as constants, as tf2onnx is commonly given a graph.
`memory` is by how much the process grows at most, the model itself included, as a multiple of the model's weights;
`CPU s` is processor time from tracing to the file. Both files are then given the same pictures.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import onnxsim  # noqa: F401 - what is imported before the measurement is not measured
import tf2onnx  # noqa: F401
from rich.console import Console
from rich.table import Table

from keras_transfer import devices
from keras_transfer.backbones import features, registry
from keras_transfer.export import graph, memory
from keras_transfer.export import onnx as exporter
from keras_transfer.export.metadata import Card
from keras_transfer.specs import Contract
from keras_transfer.tasks import pooled

CLASSES = 4
WAYS = {"apart": graph.LARGE, "in the graph": sys.maxsize}
"""From how many numbers a weight is kept apart."""


def once(name, way, path):
    """Convert a row, and print what that took."""
    before = memory.peak()
    keras.utils.set_random_seed(0)
    spec = registry.backbone(name)
    side = max(96, 2 * spec.min_size)
    base = features.build(spec, image_size=side, weights="none").model
    model = pooled.attach(base, classes=CLASSES, dropout=0.0, seed=0, activation="softmax")
    contract = Contract(class_names=tuple("abcd"), image_size=side, backbone=name)
    graph.LARGE = WAYS[way]
    began = time.process_time()
    exporter.write(graph.trace(model, contract.outputs), path, Card(contract=contract))
    cpu_s, grown = time.process_time() - began, memory.peak() - before
    weights = sum(variable.value.dtype.size * int(np.prod(variable.shape)) for variable in model.variables)
    print(json.dumps({"weights_bytes": weights, "memory": grown / weights, "grown_bytes": grown, "cpu_s": cpu_s}))


def measured(name, ways, folder):
    """A row of the table: what each way took, and how far the files' answers are from each other."""
    row, answers = {"backbone": name}, []
    for way in ways:
        path = folder / f"{way}.onnx"
        done = subprocess.run(
            [sys.executable, __file__, name, "--once", way, "--path", str(path)], capture_output=True, text=True
        )
        if done.returncode:
            row[way] = {"error": f"ended with {done.returncode}"}  # negative: by that signal, 9 where memory ran out
            continue
        row[way] = json.loads(done.stdout.splitlines()[-1])
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (image,) = session.get_inputs()
        pictures = np.random.default_rng(0).integers(0, 256, (2, *image.shape[1:]), np.uint8)
        answers.append(session.run(None, {image.name: pictures})[0])
        row[way]["operators"] = len(onnx.load(path, load_external_data=False).graph.node)
        path.unlink()
    if len(answers) == 2:
        row["difference"] = float(np.abs(answers[0] - answers[1]).max())
    return row


def largest_of_families():
    """The largest row of each family, the smallest of them first."""
    found = {}
    for spec in registry.select(sort="parameters"):
        found[spec.family] = spec
    return [spec.name for spec in sorted(found.values(), key=lambda spec: spec.parameters)]


def cells(found):
    if found is None:
        return ["", ""]
    return [found["error"], ""] if "error" in found else [f"{found['memory']:.1f} x", f"{found['cpu_s']:.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the largest of each family where left out")
    parser.add_argument("--apart", action="store_true", help="only that way: the other takes very much memory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--once", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        return once(given.names[0], given.once, given.path)
    ways = list(WAYS)[: 1 if given.apart else 2]
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(name, ways, Path(folder)) for name in given.names or largest_of_families()]
    if given.json:
        print(json.dumps({"instructions": devices.instruction_set(), "rows": rows}, indent=2))
        return
    table = Table(
        "backbone", "weights", *(f"{what}, {way}" for way in ways for what in ("memory", "CPU s")), "difference"
    )
    for row in rows:
        size = next((f"{row[way]['weights_bytes'] / 1e6:.0f} MB" for way in ways if "weights_bytes" in row[way]), "")
        apart = f"{row['difference']:.1e}" if "difference" in row else ""
        table.add_row(row["backbone"], size, *(cell for way in ways for cell in cells(row[way])), apart)
    console = Console(width=140)
    console.print(table)
    console.print(f"instruction set: {devices.instruction_set()}")


if __name__ == "__main__":
    main()
