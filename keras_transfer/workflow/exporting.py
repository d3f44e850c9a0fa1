"""Exports runs: writes files, proves them, gives those that hold their names, and writes the card beside them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import keras_files, runs
from keras_transfer.data import graph_decoding
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.export import delegates, exporters, latency, parity, precisions, runtime
from keras_transfer.export.exporters import LEARNED
from keras_transfer.export.formats import format_of
from keras_transfer.export.precisions import Candidate
from keras_transfer.export.supersampling import supersampled
from keras_transfer.files import write_bytes
from keras_transfer.specs import Artifact, Contract, Event, Listener, Run, silent
from keras_transfer.workflow import proving, whole_numbers
from keras_transfer.workflow.opened import Opened, some_pictures
from keras_transfer.workflow.proving import Verified
from keras_transfer.workflow.tasks import task_of

CALIBRATION_PICTURES = 200


def export(
    run: Run,
    formats: Sequence[str] | None = None,
    *,
    check: bool = True,
    calibrate: bool = True,
    max_drop: float | None = None,
    supersampling: int = 1,
    listener: Listener = silent,
) -> tuple[Verified | Artifact, ...]:
    """Export `run` to `formats` (the plan's where left out) and prove each file against the Keras model.

    calibrate: fold what was settled on the validation split (a temperature) into every file. max_drop: percentage
    points of merit that whole-number files may lose, their precision's own bound where it is left out. supersampling:
    by how much larger a side the pictures are that files take and average themselves, for clients that make photographs
    smaller without antialiasing; what they are compared with does the same. A file that is out of tolerance is set
    aside under a `.rejected` name. Returns the artifacts as they are where `check` is False. Raises UsageError where
    `supersampling` is not 1 and the task speaks of places in a picture, or of clips.
    """
    names = tuple(formats or run.record.plan.exports)
    with runs.locked(run.folder):
        opened = _opened(_settled_for_good(run, listener) if calibrate else run, supersampling, listener)
        contract = opened.contract if calibrate else opened.plain
        given = _given(opened, names, contract)
        if not check:
            return exporters.export(folder=run.exports, **given)
        with exporters.drafted(folder=run.exports, **given) as drafts:
            proven = proving.prove(opened, [each.path for each in drafts], "test", max_drop)
            proven = tuple(_held_to_training(opened, each, given["learned"]) for each in proven)
            checked = tuple(_kept(each, run.exports) for each in proven)
        proving.keep(opened, checked)
        rows = proving.rows_of_exports(opened)
        proving.write_card(run.exports, opened, opened.scored("test", contract), rows)
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
    original = runtime.load(path, labels=labels)
    contract = original.artifact.contract
    task = task_of(contract.task)
    noise = np.random.default_rng(0).integers(0, 256, (64, *contract.shape), np.uint8)
    keys = [f"noise {number}" for number in range(len(noise))]
    reference = original.predict(noise)
    decided = np.concatenate([each.argmax(axis=-1) for each in reference.values()])  # nobody labelled the noise
    model = keras_files.load(path)
    decode = graph_decoding.square_rgb
    with exporters.drafted(model, folder, formats, contract, decode=decode, listener=listener) as drafts:
        checked = []
        for draft in drafts:
            loaded = runtime.load(draft.path)
            compared = proving.compare(task, reference, loaded.predict(noise), decided, keys, draft)
            timed, takers = latency.measure(loaded, noise), delegates.told(draft.path)
            verified = Verified(artifact=draft, parity=compared, latency=timed, delegates=takers)
            checked.append(_kept(verified, folder))
    return tuple(checked)


def choose_precision(
    run: Run, *, max_drop: float, calibrate: bool = True, supersampling: int = 1, listener: Listener = silent
) -> tuple[Candidate, ...]:
    """Measure every TFLite precision that runs fast, and mark the smallest that loses little.

    max_drop: percentage points of merit on the validation split; the test split has no say in what is chosen, so that
    it can tell what the choice is worth. Where whole numbers throughout lose more, the network of the run is trained to
    be right in them, as recipes ending in `+int8` do, and measured again. The table and its plot are kept in the
    exports as `precisions.json` and `precisions.png`.
    """
    opened = _opened(run, supersampling, listener)
    contract = opened.contract if calibrate else opened.plain
    found = _candidates(opened, precisions.CANDIDATES, contract, max_drop)
    if _lost(found, max_drop) and opened.task.teach and supersampling == 1:
        with runs.locked(run.folder):
            listener(
                Event("note", f"{LEARNED} loses more than {max_drop:g} points: the network learns to be right in it")
            )
            learnt = whole_numbers.learn(opened).kept
        found += _candidates(opened, [LEARNED], contract, max_drop) if learnt else []
    measured = precisions.choose(found, max_drop=max_drop)
    rows = json.dumps([each.model_dump() for each in measured], indent=2)
    write_bytes(run.exports / "precisions.json", rows.encode())
    write_bytes(run.exports / "precisions.png", precisions.plot(measured))
    return measured


def _candidates(opened: Opened, names: Sequence[str], contract: Contract, max_drop: float) -> list[Candidate]:
    """What files of these formats are worth on the validation split."""
    given = _given(opened, names, contract)
    with tempfile.TemporaryDirectory() as folder, exporters.drafted(folder=Path(folder), **given) as drafts:
        checked = proving.prove(opened, [draft.path for draft in drafts], "validation", max_drop)
    return [
        Candidate(
            name=name,
            learnt=name == LEARNED and given["learned"] is not None,
            size_bytes=each.artifact.size_bytes,
            accuracy=each.parity.accuracy,
            drop_points=each.parity.accuracy_drop_points,
            median_ms=each.latency.median_ms,
        )
        for name, each in zip(names, checked, strict=True)
    ]


def _lost(found: Sequence[Candidate], max_drop: float) -> bool:
    """Whether whole numbers throughout lose too much, and were not learnt yet."""
    return any(each.name == LEARNED and not each.learnt and each.drop_points > max_drop for each in found)


def verify(
    run: Run,
    paths: Sequence[Path | str] | None = None,
    *,
    clients: Sequence[str] = (),
    max_drop: float | None = None,
    listener: Listener = silent,
) -> tuple[Verified, ...]:
    """Run each exported file of `run` in its own runtime on the test split and compare it with the Keras model.

    paths: only these files. clients: rows of `export.clients.CLIENTS`: each then reads and resizes the original
    pictures itself, and what it leaves of the merit stands beside parity. A file that differs too much is set aside;
    those that were before are told of. Raises ArtifactError where every export was rejected, UsageError where a client
    is unknown, not installed or opens none of the files, DataError where the pictures are no files.
    """
    opened = Opened(run, listener)
    with runs.locked(run.folder):
        files = [Path(path) for path in paths] if paths else _accepted(run, listener)
        found = proving.prove(opened, files, "test", max_drop, clients)
        checked = tuple(_set_aside(each) for each in found)
        proving.keep(opened, checked)
    return checked


def _opened(run: Run, supersampling: int, listener: Listener) -> Opened:
    """The run as its files are to take pictures; UsageError where they cannot be averaged."""
    opened = Opened(run, listener, supersampling=supersampling)
    if supersampling > 1 and not opened.plain.of_whole_pictures:
        raise UsageError(
            f"--supersample is for files that say what a picture shows as a whole, and this run is of "
            f"{opened.plain.task}. Leave it out."
        )
    return opened


def _accepted(run: Run, listener: Listener) -> tuple[Path, ...]:
    """The files of a run that are in use; a warning for each that was set aside."""
    files, aside = exporters.exported(run.exports), exporters.rejected(run.exports)
    said = [f"{each.artifact.path.name}: {each.reason}" for each in aside]
    if not files:
        raise ArtifactError(
            f"Every file exported from '{run.folder}' was set aside ({'; '.join(said)}). "
            f"Export again, to other formats or with a larger --max-drop."
        )
    for each in said:
        listener(Event("warning", f"set aside when it was exported: {each}"))
    return files


def _settled_for_good(run: Run, listener: Listener) -> Run:
    """Return the run with what validation settles in its record, also where it was trained before that was kept."""
    found = Opened(run, listener).fitted if run.record.settled is None else None
    if found is None:
        return run
    settled = Run(run.folder, run.record.model_copy(update={"settled": dict(found.contract)}))
    runs.write(settled)
    return settled


def _given(opened: Opened, names: Sequence[str], contract: Contract) -> dict[str, Any]:
    """What the files of a run are written from, by the names that `exporters.export` and `drafted` have for it."""
    fold, size = opened.task.fold, contract.image_size
    learned = whole_numbers.learnt(opened, contract) if LEARNED in names else None
    measured = exporters.measured(names, learned=learned is not None)
    return {
        "model": supersampled(fold(opened.network, contract) if fold else opened.network, opened.supersampling),
        "names": names,
        "contract": contract,
        "calibration": some_pictures(opened.feed, "train", size, CALIBRATION_PICTURES) if measured else None,
        "decode": None if contract.frames else graph_decoding.square_rgb,
        "halve": opened.task.halve,
        "learned": learned,
        "listener": opened.listener,
    }


def _held_to_training(opened: Opened, verified: Verified, learned: Any) -> Verified:
    """Hold the file of whole numbers to the network that learnt to be right in them, where there is one."""
    if learned is None or verified.artifact.precision != format_of(LEARNED).precision:
        return verified
    share = whole_numbers.within_a_step(opened, learned, verified.artifact)
    return verified.model_copy(update={"parity": parity.held_to_training(verified.parity, share)})


def _kept(verified: Verified, folder: Path) -> Verified:
    """Give a draft its name in `folder`: its own where it holds, one that says so where it does not."""
    if verified.parity.passed:
        (artifact,) = exporters.promote([verified.artifact], folder)
    else:
        artifact = exporters.reject(verified.artifact, folder, verified.parity.reason)
    return verified.model_copy(update={"artifact": artifact})


def _set_aside(verified: Verified) -> Verified:
    path = verified.artifact.path
    if verified.parity.passed or path.name.endswith(exporters.REJECTED):
        return verified
    aside = exporters.reject(verified.artifact, path.parent, verified.parity.reason)
    return verified.model_copy(update={"artifact": aside})
