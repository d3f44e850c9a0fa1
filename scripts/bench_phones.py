"""Every precision of a backbone of each family: size, time, and what a phone's delegates take: scripts/bench phones.

Networks have random weights and batch norms that know what passes, on which neither time nor operators depend: what
precisions do to accuracy is told of trained runs (`keras-transfer export RUN --precision auto`). Times are those of
`keras-transfer bench latency`, one picture a call on one thread of this host, not of a phone; ratios are to the float32
TFLite file of the same backbone. Delegates are told by their published lists, as
`keras-transfer bench latency FILES --delegates` does.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
from untrained import settled

from keras_transfer import devices
from keras_transfer.backbones import registry
from keras_transfer.errors import ExportError
from keras_transfer.export import delegates, exporters, formats
from keras_transfer.specs import Contract
from keras_transfer.tasks import pooled
from keras_transfer.workflow import benching

CLASSES = 10
FORMATS = [name for name, row in formats.FORMATS.items() if row.format != "saved_model" and not row.halved]


def smallest_of_families():
    """The smallest row of each family, by the order of the catalogue."""
    found = {}
    for spec in registry.select(sort="parameters"):
        found.setdefault(spec.family, spec.name)
    return list(found.values())


def measured(name, side, formats, repeats):
    """A row of the table for each file of a backbone."""
    base, pictures = settled(name, side)
    model = pooled.attach(base, classes=CLASSES, dropout=0.0, seed=0, activation="softmax")
    size = base.input.shape[1]
    contract = Contract(class_names=tuple(map(str, range(CLASSES))), image_size=size, backbone=name)
    rows, given = [], {"calibration": pictures}
    with tempfile.TemporaryDirectory() as folder:
        for each in formats:
            try:
                (artifact,) = exporters.export(model, Path(folder), [each], contract, **given)
            except ExportError as error:
                rows.append({"backbone": name, "format": each, "problem": str(error)})
                continue
            (timed,) = benching.bench_latency([artifact.path], repeats=repeats)
            taken = {
                found.delegate: {"operators": found.operators, "left": dict(found.left)}
                for found in delegates.told(artifact.path)
            }
            row = {"backbone": name, "format": each, "side": size, "size_bytes": artifact.size_bytes}
            rows.append({**row, "median_ms": timed.latency.median_ms, "delegates": taken})
    floats = next((row["median_ms"] for row in rows if row["format"] == "tflite" and "median_ms" in row), None)
    for row in rows:
        if floats and "median_ms" in row:
            row["speed_ratio"] = floats / row["median_ms"]
    return rows


def cells(row):
    if "problem" in row:
        return [row["problem"][:60]]
    told = [
        "all" if not found["left"] else f"{found['operators'] - sum(found['left'].values())}/{found['operators']}"
        for found in row["delegates"].values()
    ]
    ratio = f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else ""
    return [f"{row['size_bytes'] / 1e6:.1f}", f"{row['median_ms']:.2f}", ratio, *told]


def speeds(rows, formats):
    """A line for each backbone: how many times as fast as its float32 TFLite file each precision is."""
    found = {}
    for row in rows:
        ratio = f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else "-"
        found.setdefault(row["backbone"], {})[row["format"]] = ratio
    yield "| times as fast as `tflite` | " + " | ".join(f"`{each}`" for each in formats) + " |"
    yield "| --- |" + " ---: |" * len(formats)
    for name, ratios in found.items():
        yield f"| {name} | " + " | ".join(ratios[each] for each in formats) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="backbones; the smallest of each family where left out")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--format", action="append", choices=FORMATS, help="all that have a delegate where left out")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows, formats = [], given.format or FORMATS
    if not given.json:
        print("| backbone | format | MB | ms | speed | GPU | NNAPI | Core ML |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in given.names or smallest_of_families():
        found = measured(name, given.image_size, formats, given.repeats)
        keras.backend.clear_session()
        for row in [] if given.json else found:  # As they come: all of them take half an hour.
            print("| " + " | ".join([row["backbone"], row["format"], *cells(row)]) + " |", flush=True)
        rows += found
    if given.json:
        print(json.dumps({"instructions": devices.instruction_set(), "rows": rows}, indent=2))
        return
    print("", *speeds(rows, [each for each in formats if each != "tflite"]), sep="\n")
    print(f"\nms a picture on one thread of this host ({devices.instruction_set()}), not of a phone")


if __name__ == "__main__":
    main()
