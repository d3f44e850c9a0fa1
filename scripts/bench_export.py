"""The same trained model exported by Keras' own `model.export` and by this package: scripts/bench export RUN.

Both are asked about the test split of the run. Times are medians of calls with one picture on one thread, taken in
turns so that a disturbance of the machine falls on all; the ratios are what to read.

With --clients it tells instead what is left of the run's exported files where each client reads and resizes the
original pictures itself, on validation and on test.

With --cost it tells instead what the run's formats cost, in CPU seconds of processes of their own, taken in turns: our
export with its proof, against `model.export` to the same formats and one pass of each file over the test split.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from keras_transfer import runs
from keras_transfer.errors import UsageError
from keras_transfer.evaluation import agreement
from keras_transfer.export import clients, exporters, formats, manifest, parity, runtime
from keras_transfer.workflow import exporting, proving
from keras_transfer.workflow.exporting import CALIBRATION_PICTURES
from keras_transfer.workflow.opened import Opened, some_pictures

PLAIN = {"saved_model": ("tf_saved_model", "plain_saved_model"), "onnx": ("onnx", "plain.onnx")}
PLAIN |= {"tflite": ("litert", "plain.tflite"), "tflite-int8": ("litert", "plain-int8.tflite")}
ROUNDS, CALLS = 7, 30


def export_and_prove(run) -> None:
    """What `keras-transfer export RUN` does, of a copy of the run; the answers that training kept are used."""
    with tempfile.TemporaryDirectory() as place:
        aside = shutil.ignore_patterns("exports")
        exporting.export(runs.open_run(Path(shutil.copytree(run.folder, Path(place) / "run", ignore=aside))))


def export_and_run(run) -> None:
    """What Keras has for the same formats, and one pass of each file over the test split."""
    trained = Opened(run)
    contract, model = trained.plain, keras.models.load_model(run.model_path, compile=False)
    with tempfile.TemporaryDirectory() as place:
        rows = [plain(model, Path(place), name, contract, trained.feed) for name in run.record.plan.exports]
        for row in rows:
            opened(row, contract)
        for images, *_ in trained.feed("test", image_size=contract.image_size, batch_size=32):
            for row in rows:
                row["ask"](np.asarray(images))


COSTS = {"keras_transfer": export_and_prove, "model.export": export_and_run}


def tell_costs(run, pairs, *, as_json):
    """CPU seconds of each side, by pairs, and the median ratio."""
    seconds = {name: [] for name in COSTS}
    for _ in range(pairs):
        for name, taken in seconds.items():
            child = subprocess.Popen([sys.executable, __file__, str(run.folder), "--once", name])
            _, status, used = os.wait4(child.pid, 0)
            if status:
                raise SystemExit(f"{name} failed")
            taken.append(used.ru_utime + used.ru_stime)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(*seconds.values(), strict=True))
    if as_json:
        print(json.dumps({"cpu_seconds": seconds, "ratio": ratio}, indent=2))
        return
    for name, taken in seconds.items():
        print(f"{name}: {', '.join(f'{each:.1f}' for each in taken)} CPU s")
    print(f"ratio {ratio:.2f} for {', '.join(run.record.plan.exports)}")


def tell_clients(run, *, as_json):
    """The merit of each exported file by our own reading and in each client that is installed, by split."""
    trained, files = Opened(run), exporters.exported(run.exports)
    formats = [runtime.load(path, threads=1).artifact.format for path in files]
    names, table, rows = [], Table("split", "file"), []
    for name in clients.CLIENTS:
        try:
            clients.check([name], trained.plain, formats)
            names.append(name)
        except UsageError as error:
            print(f"left out: {error}")
    for column in ("own reading", *names, "worst loss in points"):
        table.add_column(column, justify="right")
    for split in ("validation", "test"):
        for each in proving.prove(trained, files, split, None, names):
            left = {found.client: found for found in each.clients}
            row = {"split": split, "file": each.artifact.path.name, "own": each.parity.accuracy}
            row |= {name: left[name].merit if name in left else None for name in names}
            row["worst_lost_points"] = max((found.lost_points for found in each.clients), default=0.0)
            rows.append(row)
            told = ["-" if row[name] is None else f"{row[name]:.1%}" for name in ("own", *names)]
            table.add_row(split, row["file"], *told, f"{row['worst_lost_points']:.2f}")
    print(json.dumps(rows, indent=2)) if as_json else Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--format", action="append", help="of the table of formats; all but int16x8 where left out")
    parser.add_argument("--clients", action="store_true", help="tell what clients leave of the run's exported files")
    parser.add_argument("--cost", action="store_true", help="tell what export and proof cost beside model.export")
    parser.add_argument("--pairs", type=int, default=3, help="of --cost")
    parser.add_argument("--once", choices=COSTS, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    run = runs.open_run(given.run)
    if given.once:
        return COSTS[given.once](run)
    if given.clients:
        return tell_clients(run, as_json=given.json)
    if given.cost:
        return tell_costs(run, given.pairs, as_json=given.json)
    trained = Opened(run)
    contract, splits, feed = trained.plain, trained.splits, trained.feed
    pictures = np.concatenate(
        [np.asarray(images) for images, *_ in feed("test", image_size=contract.image_size, batch_size=100)]
    )
    calibration = some_pictures(feed, "train", contract.image_size, CALIBRATION_PICTURES)
    model = keras.models.load_model(run.model_path, compile=False)
    wanted = model.predict(pictures, verbose=0)
    names = given.format or [
        name for name, row in formats.FORMATS.items() if name != "tflite-int16x8" and not row.halved
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = [plain(model, folder, name, contract, feed) for name in PLAIN]
        began = time.perf_counter()
        artifacts = exporters.export(model, folder, names, contract, calibration=calibration)
        written_s = time.perf_counter() - began
        rows += [{"by": "keras_transfer", "file": each.path.name, "path": each.path} for each in artifacts]
        for row in rows:
            opened(row, contract)
        began = time.perf_counter()
        for row in rows:
            judge(row, wanted, pictures, splits)
        verified_s = time.perf_counter() - began
        timed([row for row in rows if "ask" in row], pictures)
    tell(rows, written_s, verified_s, as_json=given.json)


def plain(model, folder, name, contract, feed):
    """What `model.export` makes of a format, or the error it raises."""
    keras_format, file = PLAIN[name]
    row = {"by": "model.export", "file": file, "path": folder / file}
    settings = {}
    if name == "tflite-int8":
        pictures = some_pictures(feed, "train", contract.image_size, CALIBRATION_PICTURES)
        settings = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([each[None]] for each in pictures),
        }
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(str(row["path"]), format=keras_format, verbose=False, **settings)
    except Exception as error:
        row["problem"] = f"not written: {type(error).__name__}"
    return row


def opened(row, contract):
    """Open a file with nothing but what its runtime offers."""
    if "problem" in row:
        return
    row["tells"] = tells(row["path"])
    try:
        if row["file"] == "plain_saved_model":
            loaded = tf.saved_model.load(str(row["path"]))
            row["ask"] = lambda images: loaded.serve(tf.constant(images)).numpy()
        else:
            loaded = runtime.load(row["path"], threads=1, contract=contract)
            row["ask"] = lambda images: loaded.predict(images)["probabilities"]
    except Exception as error:
        row["problem"] = f"not opened: {str(error)[:90]}"


def tells(path):
    """What a reader of the file alone learns: the class names, or nothing."""
    if path.is_dir():
        return "labels, contract" if (path / "assets" / "contract.json").exists() else "nothing"
    if path.suffix == ".onnx":
        return "labels, contract" if onnx.load(path).metadata_props else "nothing"
    return "labels, contract" if zipfile.is_zipfile(path) else "nothing"


def judge(row, wanted, pictures, splits):
    if "ask" not in row:
        return
    answers = np.concatenate([row["ask"](pictures[start : start + 50]) for start in range(0, len(pictures), 50)])
    reference, candidate = {"probabilities": wanted}, {"probabilities": answers}
    found = parity.compare(
        *agreement.differ_probabilities(reference, candidate),
        agreement.right_class(reference, splits.test.labels),
        agreement.right_class(candidate, splits.test.labels),
        splits.test.keys,
        precision="float32",
    )
    row |= {"accuracy": found.accuracy, "drop_points": found.accuracy_drop_points, "agreement": found.agreement}
    row |= {"max_difference": found.max_difference, "size_bytes": manifest.digest(row["path"])[0]}


def timed(rows, pictures):
    for row in rows:
        row["rounds_ms"] = []
    for _ in range(ROUNDS):
        for row in rows:
            calls = []
            for at in range(CALLS):
                began = time.perf_counter()
                row["ask"](pictures[at : at + 1])
                calls.append((time.perf_counter() - began) * 1000)
            row["rounds_ms"].append(statistics.median(calls))
    for row in rows:
        row["median_ms"] = statistics.median(row["rounds_ms"])


def tell(rows, written_s, verified_s, *, as_json):
    floats = next(row for row in rows if row["file"] == "model.tflite")
    for row in rows:
        if "median_ms" in row:
            row["size_ratio"] = row["size_bytes"] / floats["size_bytes"]
            pairs = zip(floats["rounds_ms"], row["rounds_ms"], strict=True)
            row["speed_ratio"] = statistics.median(slow / fast for slow, fast in pairs)
    if as_json:
        kept = [
            {key: str(value) if key == "path" else value for key, value in row.items() if key != "ask"} for row in rows
        ]
        print(json.dumps({"rows": kept, "written_s": written_s, "verified_s": verified_s}, indent=2))
        return
    table = Table("by", "file", "size", "accuracy", "agrees", "largest diff.", "size ratio", "speed ratio", "tells")
    for row in rows:
        if "problem" in row:
            table.add_row(row["by"], row["file"], row["problem"], *[""] * 6)
            continue
        figures = (f"{row['size_bytes'] / 1e6:.1f} MB", f"{row['accuracy']:.1%}", f"{row['agreement']:.1%}")
        ratios = (f"{row['max_difference']:.1e}", f"{row['size_ratio']:.2f}", f"{row['speed_ratio']:.2f}")
        table.add_row(row["by"], row["file"], *figures, *ratios, row["tells"])
    console = Console(width=140)
    console.print(table)
    console.print("ratios are to model.tflite")
    console.print(f"written in {written_s:.0f} s; all files run on the test split in {verified_s:.0f} s")


if __name__ == "__main__":
    main()
