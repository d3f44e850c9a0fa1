"""Exports runs, proves each file against the model, measures it, and writes the model card that goes with it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_transfer import runs
from keras_transfer.data import graph_decoding
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.evaluation import agreement, metrics, model_card
from keras_transfer.evaluation.metrics import Metrics
from keras_transfer.export import (
    contact_sheet,
    exporters,
    latency,
    memory,
    parity,
    phone,
    precisions,
    profiler,
    runtime,
    temperature,
)
from keras_transfer.export.latency import Latency
from keras_transfer.export.parity import Parity, Tolerance
from keras_transfer.export.precisions import Candidate
from keras_transfer.export.profiler import Operator
from keras_transfer.files import write_bytes
from keras_transfer.specs import (
    PROBABILITIES_OUTPUT,
    Answers,
    Artifact,
    Contract,
    Event,
    Feed,
    Listener,
    Run,
    RunRecord,
    Split,
    Value,
    silent,
)
from keras_transfer.workflow.joints import (
    CALIBRATION_PICTURES,
    EVALUATION_BATCH,
    contract_of,
    data_of,
    predict_split,
    probabilities_of,
    some_pictures,
)


class Verified(Value):
    """One artifact, run in its own runtime and compared with the Keras model."""

    artifact: Artifact
    parity: Parity
    latency: Latency


class Benched(Value):
    """One artifact, timed on this host at one batch size and thread count."""

    artifact: Artifact
    latency: Latency
    peak_memory_bytes: int


def export(
    run: Run,
    formats: Sequence[str] | None = None,
    *,
    check: bool = True,
    calibrate: bool = True,
    max_drop: float | None = None,
    listener: Listener = silent,
) -> tuple[Verified | Artifact, ...]:
    """Export `run` to `formats` (the plan's where left out) and prove each file against the Keras model.

    calibrate: fold a temperature, fitted on the validation split, into every file. max_drop: percentage points of
    accuracy that whole-number files may lose, their precision's own bound where it is left out. A file that is out of
    tolerance is set aside under a `.rejected` name. Returns the artifacts as they are where `check` is False.
    """
    names = tuple(formats or run.record.plan.exports)
    with runs.locked(run.folder):
        artifacts = _exported(run, run.exports, names, calibrate, listener)
    if not check:
        return artifacts
    checked, scored = _judged(run, [artifact.path for artifact in artifacts], max_drop, listener)
    write_card(run.exports, run.folder.name, run.record, scored, [shipped(each) for each in checked])
    return checked


def export_model(
    path: Path,
    folder: Path,
    labels: Sequence[str],
    formats: Sequence[str] = ("saved_model", "tflite", "onnx"),
    *,
    force: bool = False,
    listener: Listener = silent,
) -> tuple[Verified, ...]:
    """Export a `.keras` model made elsewhere to a folder, and compare each file with it on pictures of noise.

    labels: its class names, in order. force: write into a folder that holds something already.
    """
    if folder.exists() and any(folder.iterdir()) and not force:
        raise UsageError(f"'{folder}' is there already and not empty. Choose another folder, or add --force.")
    if path.suffix != ".keras":
        raise UsageError(f"A model to export is a run folder or a .keras file. Received: '{path}'")
    reference_model = runtime.load(path, labels=labels)
    contract = reference_model.artifact.contract
    noise = np.random.default_rng(0).integers(0, 256, (64, contract.image_size, contract.image_size, 3), np.uint8)
    reference = reference_model.predict(noise)
    model = keras.models.load_model(path, compile=False)
    checked = []
    for artifact in exporters.export(
        model, folder, formats, contract, decode=graph_decoding.square_rgb, listener=listener
    ):
        opened = runtime.load(artifact.path)
        answers, keys = opened.predict(noise), [f"noise {number}" for number in range(len(noise))]
        decided = reference[PROBABILITIES_OUTPUT].argmax(axis=1)
        compared = _parity(reference, answers, decided, keys, parity.tolerance(artifact.precision), artifact.precision)
        checked.append(Verified(artifact=artifact, parity=compared, latency=latency.measure(opened, noise)))
    return tuple(map(_set_aside, checked))


def choose_precision(
    run: Run, *, max_drop: float, calibrate: bool = True, listener: Listener = silent
) -> tuple[Candidate, ...]:
    """Measure every TFLite precision that runs fast, and mark the smallest that loses little.

    max_drop: percentage points of accuracy on the validation split; the test split has no say in what is chosen, so
    that it can tell what the choice is worth. The table and its plot are kept in the exports as `precisions.json` and
    `precisions.png`.
    """
    names = precisions.CANDIDATES
    with tempfile.TemporaryDirectory() as folder:
        artifacts = _exported(run, Path(folder), names, calibrate, listener)
        paths = [artifact.path for artifact in artifacts]
        checked = _compared(run, paths, "validation", max_drop, listener).checked
    measured = precisions.choose(
        [
            Candidate(
                name=name,
                size_bytes=each.artifact.size_bytes,
                accuracy=each.parity.accuracy,
                drop_points=each.parity.accuracy_drop_points,
                median_ms=each.latency.median_ms,
            )
            for name, each in zip(names, checked, strict=True)
        ],
        max_drop=max_drop,
    )
    rows = json.dumps([each.model_dump() for each in measured], indent=2)
    write_bytes(run.exports / "precisions.json", rows.encode())
    write_bytes(run.exports / "precisions.png", precisions.plot(measured))
    return measured


def verify(
    run: Run, paths: Sequence[Path | str] | None = None, *, max_drop: float | None = None, listener: Listener = silent
) -> tuple[Verified, ...]:
    """Run each exported file of `run` in its own runtime on the test split and compare it with the Keras model."""
    return _judged(run, [Path(path) for path in paths or exporters.exported(run.exports)], max_drop, listener)[0]


def bench_latency(
    paths: Sequence[Path],
    *,
    batch_sizes: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    repeats: int = 100,
    contract: Contract | None = None,
) -> tuple[Benched, ...]:
    """Time each file at every batch size and thread count on this host, and how much memory it takes.

    A TFLite file takes one picture a call: a larger batch is as many calls.
    """
    found = []
    for path in paths:
        for count in threads:
            opened = runtime.load(path, threads=count, contract=contract)
            side = opened.artifact.contract.image_size
            noise = np.random.default_rng(0).integers(0, 256, (max(batch_sizes), side, side, 3), np.uint8)
            timed = [latency.measure(opened, noise, repeats=repeats, batch_size=size) for size in batch_sizes]
            peak = memory.peak_bytes(path, opened.artifact.contract)
            found += [Benched(artifact=opened.artifact, latency=each, peak_memory_bytes=peak) for each in timed]
    return tuple(found)


def profile(path: Path, *, threads: int = 1, repeats: int = 100) -> tuple[Operator, ...]:
    """Return the operators of a `.tflite` file in the order in which they run on this host, each with its time."""
    runtime.load(path, threads=threads)  # says what is wrong with a file, which the profiler's own library does not
    return profiler.profile(path, threads=threads, repeats=repeats)


def bench_on_phone(path: Path, binary: Path, *, threads: int = 1, repeats: int = 100) -> str:
    """Return what TensorFlow's `benchmark_model` says of a `.tflite` file on the phone that is plugged in."""
    return phone.benchmark(path, binary, threads=threads, repeats=repeats)


def _exported(
    run: Run, folder: Path, names: Sequence[str], calibrate: bool, listener: Listener
) -> tuple[Artifact, ...]:
    splits, feed = data_of(None, run, listener)
    contract = contract_of(run)
    pictures = some_pictures(feed, "train", contract.image_size, CALIBRATION_PICTURES)
    model = keras.models.load_model(run.model_path, compile=False)
    if calibrate:
        total = len(splits.validation)
        answers = predict_split(model.predict_on_batch, feed, "validation", contract.image_size, total, listener)
        found = temperature.fit(answers, splits.validation.labels)
        before, after = (
            metrics.score(each, splits.validation.labels, contract.class_names).expected_calibration_error
            for each in (answers, temperature.apply(answers, found))
        )
        listener(Event("note", f"temperature {found:.2f}: calibration error {before:.1%} -> {after:.1%}"))
        contract = contract.model_copy(update={"temperature": found})
        model = temperature.fold(model, found)
    return exporters.export(
        model, folder, names, contract, calibration=pictures, decode=graph_decoding.square_rgb, listener=listener
    )


class _Compared(NamedTuple):
    """Files, and the model they were compared with, on one split."""

    split: Split
    feed: Feed
    reference: np.ndarray
    """What the Keras model says, before any temperature: float (n, classes)."""
    checked: list[Verified]
    answers: list[tuple[np.ndarray, np.ndarray]]
    """What was wanted of each file and what it gave."""


def _judged(
    run: Run, paths: Sequence[Path], max_drop: float | None, listener: Listener
) -> tuple[tuple[Verified, ...], Metrics]:
    """Return what became of each file on the test split, and what the Keras model is worth there."""
    found = _compared(run, paths, "test", max_drop, listener)
    _draw_differences(run, found)
    scored = metrics.score(found.reference, found.split.labels, run.record.class_names)
    return tuple(map(_set_aside, found.checked)), scored


def _compared(run: Run, paths: Sequence[Path], name: str, max_drop: float | None, listener: Listener) -> _Compared:
    splits, feed = data_of(None, run, listener)
    split = splits[name]
    contract = contract_of(run)
    reference_model = runtime.load(run.model_path, contract=contract)
    reference = predict_split(probabilities_of(reference_model), feed, name, contract.image_size, len(split), listener)
    images = some_pictures(feed, name, contract.image_size, 32)
    checked, answers = [], []
    for path in paths:
        listener(Event("note", f"running {path.name} on the {name} split"))
        loaded = runtime.load(path)
        if loaded.artifact.contract.class_names != contract.class_names:
            raise ArtifactError(f"'{path}' names other classes than the run in '{run.folder}'. Export it again.")
        candidate = predict_split(probabilities_of(loaded), feed, name, contract.image_size, len(split), listener)
        wanted = temperature.apply(reference, loaded.artifact.contract.temperature)
        bound = max_drop if parity.TOLERANCES[loaded.artifact.precision].drop_points is not None else None
        precision = loaded.artifact.precision
        bounds = parity.tolerance(precision, drop_points=bound)
        said = {PROBABILITIES_OUTPUT: wanted}, {PROBABILITIES_OUTPUT: candidate}
        compared = _parity(said[0], said[1], split.labels, split.keys, bounds, precision)
        checked.append(Verified(artifact=loaded.artifact, parity=compared, latency=latency.measure(loaded, images)))
        answers.append((wanted, candidate))
    return _Compared(split, feed, reference, checked, answers)


def _parity(
    reference: Answers,
    candidate: Answers,
    labels: np.ndarray,
    keys: Sequence[str],
    tolerance: Tolerance,
    precision: str,
) -> Parity:
    return parity.compare(
        *agreement.differ_probabilities(reference, candidate),
        agreement.right_class(reference, labels),
        agreement.right_class(candidate, labels),
        keys,
        precision=precision,
        tolerance=tolerance,
        kl=agreement.divergence(reference, candidate),
    )


def _set_aside(verified: Verified) -> Verified:
    path = verified.artifact.path
    if verified.parity.passed or path.name.endswith(exporters.REJECTED):
        return verified
    aside = exporters.reject(verified.artifact, path.parent, verified.parity.reason)
    return verified.model_copy(update={"artifact": aside})


def _draw_differences(run: Run, found: _Compared) -> None:
    """Keep, for each file, a contact sheet of the pictures it differs on most from the Keras model."""
    keys = found.split.keys
    positions = {key: position for position, key in enumerate(keys)}
    worst = [[positions[key] for key, _ in each.parity.worst] for each in found.checked]
    wanted = set().union(*worst)
    seen: dict[int, np.ndarray] = {}
    start = 0
    for images, *_ in found.feed(found.split.name, image_size=run.record.image_size, batch_size=EVALUATION_BATCH):
        here = [position for position in wanted if start <= position < start + len(images)]
        seen |= {position: np.asarray(images[position - start]) for position in here}
        start += len(images)
    names = run.record.class_names
    for each, rows, pair in zip(found.checked, worst, found.answers, strict=True):
        captions = [
            "\n".join([keys[row][-28:], *(f"{names[p[row].argmax()]} {p[row].max():.3f}" for p in pair)])
            for row in rows
        ]
        sheet = contact_sheet.draw(np.stack([seen[row] for row in rows]), captions)
        write_bytes(run.exports / "differences" / f"{each.artifact.path.name}.png", sheet)


def shipped(verified: Verified) -> dict[str, Any]:
    """An exported file as reports and model cards tell of it."""
    return {
        "name": verified.artifact.path.name,
        "size_bytes": verified.artifact.size_bytes,
        "accuracy": verified.parity.accuracy,
        "agreement": verified.parity.agreement,
        "latency_ms": verified.latency.median_ms,
        "accepted": verified.parity.passed,
    }


def write_card(
    folder: Path, name: str, record: RunRecord, scored: Metrics, exports: Sequence[Mapping[str, Any]]
) -> None:
    """Write `MODEL_CARD.md` and `model_card.json` of a run and its exports to `folder`."""
    card = model_card.card(name, record, scored, exports)
    write_bytes(folder / "model_card.json", card.model_dump_json(indent=2).encode())
    write_bytes(folder / "MODEL_CARD.md", model_card.markdown(card).encode())
