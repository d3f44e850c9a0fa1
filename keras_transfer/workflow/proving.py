"""Proves that files say what the model says, and keeps each proof beside the file it is of.

`exports/proofs.json`, format 3: `{"version": 3, "proofs": [{"split", "data_digest", "model_sha256", "artifact",
"parity", "latency", "clients", "delegates"}, ...]}`. The artifact's path is relative to the folder; a proof is of the
file with its SHA-256, and worth something as long as model and pictures are those it names. Formats 1, without
`clients`, and 2, without `delegates`, are still read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from keras_transfer.errors import ArtifactError
from keras_transfer.evaluation import model_card
from keras_transfer.export import clients, contact_sheet, delegates, latency, manifest, parity, runtime
from keras_transfer.export.clients import InClient
from keras_transfer.export.delegates import Readiness
from keras_transfer.export.latency import Latency
from keras_transfer.export.parity import Parity
from keras_transfer.export.runtime import Runtime
from keras_transfer.files import MOST_TEXT_BYTES, read_bytes, write_bytes
from keras_transfer.specs import Answers, Artifact, Event, RunRecord, Scored, Task, Value
from keras_transfer.workflow.opened import Opened
from keras_transfer.workflow.tasks import batch_of

PROOFS = "proofs.json"
TIMED_PICTURES = 32


class Verified(Value):
    """One artifact, run in its own runtime and compared with the Keras model."""

    artifact: Artifact
    parity: Parity
    latency: Latency
    clients: tuple[InClient, ...] = ()
    """What is left of it where clients read and resize the original pictures themselves."""
    delegates: tuple[Readiness, ...] = ()
    """What the delegates of phones take of it; none for a format that they do not open."""


class Proof(Verified):
    """What was verified, and by what it stands."""

    split: str
    data_digest: str
    model_sha256: str


class Proofs(Value):
    """The proofs of an export folder."""

    version: int = Field(default=3, ge=1, le=3)
    proofs: tuple[Proof, ...] = ()


def prove(
    opened: Opened, paths: Sequence[Path], split: str, max_drop: float | None, in_clients: Sequence[str] = ()
) -> tuple[Verified, ...]:
    """Run each file in its own runtime on a split and compare it with what the Keras model says of it.

    The pictures are gone through once, for all files that take them as large. Of the test split, a contact sheet of
    those on which a file differs most is kept under `exports/differences`. in_clients: rows of
    `export.clients.CLIENTS`, which then read the original files themselves. Raises ArtifactError for a file whose
    classes are not the run's, UsageError or DataError where a client cannot be asked.
    """
    loaded = [_loaded(opened, path) for path in paths]
    found: dict[Path, Verified] = {}
    for times in sorted({_times(opened, each) for each in loaded}):
        some = [each for each in loaded if _times(opened, each) == times]
        given = {"splits": opened.splits, "feed": opened.feed}
        alike = opened if times == opened.supersampling else Opened(opened.run, opened.listener, given, times)
        proven = _proven(alike, some, split, max_drop, in_clients)
        found |= {each.artifact.path: verified for each, verified in zip(some, proven, strict=True)}
    return tuple(found[each.artifact.path] for each in loaded)


def _times(opened: Opened, loaded: Runtime) -> int:
    """By how much larger a side the pictures are that a file takes than those that its run was trained on."""
    return max(1, loaded.artifact.contract.image_size // opened.run.record.image_size)


def _proven(
    opened: Opened, loaded: Sequence[Runtime], split: str, max_drop: float | None, in_clients: Sequence[str]
) -> Sequence[Verified]:
    """What `prove` does for files that take pictures as large as each other's."""
    originals = _originals(opened, loaded, split, in_clients)
    answers, images = _answers(opened, loaded, split)
    found = []
    for each, candidate in zip(loaded, answers, strict=True):
        compared = _compared(opened, each.artifact, candidate, split, max_drop)
        measured = latency.measure(_on_all_cores(each), images)
        takers = delegates.told(each.artifact.path)
        found.append(Verified(artifact=each.artifact, parity=compared, latency=measured, delegates=takers))
    for name in in_clients:
        found = _asked_in(name, opened, loaded, answers, found, originals, split)
    if split == "test":
        _draw_differences(opened, found, answers)
    return tuple(found)


def compare(
    task: Task,
    reference: Answers,
    candidate: Answers,
    labels: Any,
    keys: Sequence[str],
    artifact: Artifact,
    max_drop: float | None = None,
) -> Parity:
    """Return how an artifact's answers stand beside the model's, in the measure of the task.

    max_drop: percentage points of merit that files of whole numbers may lose; floats must decide alike whatever it is.
    """
    same, difference = task.differ(reference, candidate, artifact.contract)
    drop = max_drop if parity.TOLERANCES[artifact.precision].drop_points is not None else None
    bounds = {**task.bounds.get(artifact.precision, {}), **({} if drop is None else {"drop_points": drop})}
    return parity.compare(
        same,
        difference,
        task.right(reference, labels),
        task.right(candidate, labels),
        keys,
        precision=artifact.precision,
        tolerance=parity.tolerance(artifact.precision, **bounds),
        kl=task.diverge(reference, candidate) if task.diverge else None,
        merit_name=task.merit_name,
    )


def keep(opened: Opened, verified: Sequence[Verified], split: str = "test") -> None:
    """Keep what was proven beside the files; proofs of files that are no longer there go.

    What clients said of a file before, and were not asked about again, stays with it.
    """
    folder = opened.run.exports
    known = {proof.artifact.sha256: proof.clients for proof in _read(folder) if _stands(opened, proof, split)}
    new = {
        each.artifact.sha256: Proof(
            artifact=each.artifact.model_copy(update={"path": each.artifact.path.relative_to(folder)}),
            parity=each.parity,
            latency=each.latency,
            clients=_together(known.get(each.artifact.sha256, ()), each.clients),
            delegates=each.delegates,
            split=split,
            data_digest=opened.splits.digest,
            model_sha256=opened.model_sha256,
        )
        for each in verified
        if each.artifact.path.is_relative_to(folder)
    }
    there = {artifact.sha256 for artifact in manifest.read(folder).all}
    proofs = {proof.artifact.sha256: proof for proof in _read(folder)} | new
    kept = Proofs(proofs=tuple(proof for sha256, proof in proofs.items() if sha256 in there))
    write_bytes(folder / PROOFS, kept.model_dump_json(indent=2).encode())


def rows_of_exports(opened: Opened) -> list[dict[str, Any]]:
    """Return each exported file, rejected ones too, as reports and model cards tell of it; nothing is run.

    A file without a proof, or with one of other pictures or another model, comes with its name and size alone.
    """
    folder = opened.run.exports
    proofs = {proof.artifact.sha256: proof for proof in _read(folder) if _stands(opened, proof)}
    listed = manifest.read(folder)
    aside = {each.artifact.path for each in listed.rejected}
    return [
        {
            "name": artifact.path.name,
            "size_bytes": artifact.size_bytes,
            "accepted": artifact.path not in aside,
            **_measured(proofs.get(artifact.sha256)),
        }
        for artifact in listed.all
    ]


def write_card(
    folder: Path, opened: Opened, scored: Scored, exports: Sequence[Mapping[str, Any]], record: RunRecord | None = None
) -> None:
    """Write `MODEL_CARD.md` and `model_card.json` of a run and its exports to `folder`."""
    name = opened.run.folder.name
    card = model_card.card(name, record or opened.record, scored, exports, opened.plain.outputs)
    write_bytes(folder / "model_card.json", card.model_dump_json(indent=2).encode())
    write_bytes(folder / "MODEL_CARD.md", model_card.markdown(card).encode())


def _loaded(opened: Opened, path: Path) -> Runtime:
    """Open a file on one thread: threads that wait for one another take up to twice the seconds for equal answers."""
    loaded = runtime.load(path, threads=1)
    if loaded.artifact.contract.class_names != opened.plain.class_names:
        raise ArtifactError(f"'{path}' names other classes than the run in '{opened.run.folder}'. Export it again.")
    return loaded


def _on_all_cores(loaded: Runtime) -> Runtime:
    """The file as a program opens it that is told nothing of threads, which is what latency is of."""
    return runtime.load(loaded.artifact.path) if loaded.artifact.format in runtime.THREADED else loaded


def _answers(opened: Opened, loaded: Sequence[Runtime], split: str) -> tuple[list[Answers], np.ndarray]:
    """What each file says of a split, and a few of its pictures to time the files with.

    The files are asked side by side, so that cores are busy though each takes one thread.
    """
    total, done, few = len(opened.splits[split]), 0, np.empty(0)
    names = ", ".join(each.artifact.path.name for each in loaded)
    opened.listener(Event("note", f"running {names} on the {split} split"))
    parts: list[list[Answers]] = [[] for _ in loaded]
    keep_of, size = opened.task.keep or (lambda answers: answers), opened.record.image_size
    with ThreadPoolExecutor(max(len(loaded), 1)) as beside:
        for images, *_ in opened.feed(split, image_size=size, batch_size=batch_of(opened.plain)):
            pictures = np.asarray(images)
            few = few if done else pictures[:TIMED_PICTURES]
            asked = [beside.submit(each.predict, pictures) for each in loaded]
            for answer, said in zip(asked, parts, strict=True):
                said.append(keep_of(answer.result()))
            done += len(pictures)
            opened.listener(Event("progress", f"{split} split", done=done, total=total))
    return [_joined(said) for said in parts], few


def _originals(opened: Opened, loaded: Sequence[Runtime], split: str, in_clients: Sequence[str]) -> list[str]:
    """The picture files of a split, where clients are asked and can be; none where no client is."""
    if not in_clients:
        return []
    clients.check(in_clients, opened.plain, [each.artifact.format for each in loaded])
    return clients.paths_of(opened.splits[split].pictures)


def _asked_in(
    name: str,
    opened: Opened,
    loaded: Sequence[Runtime],
    answers: Sequence[Answers],
    found: Sequence[Verified],
    originals: Sequence[str],
    split: str,
) -> list[Verified]:
    """Return what was found with what a client says of the original pictures beside it, of the files that it opens."""
    client = clients.CLIENTS[name]
    places = [place for place, each in enumerate(loaded) if each.artifact.format in client.formats]
    said: list[list[Answers]] = [[] for _ in places]
    read: list[np.ndarray] = []
    keep_of = opened.task.keep or (lambda answers: answers)
    for some, readable in client.answers([loaded[place] for place in places], originals):
        read.append(readable)
        for part, answer in zip(said, some, strict=True):
            part.append(keep_of(answer))
        done = sum(map(len, read))
        opened.listener(Event("progress", f"{split} split in {name}", done=done, total=len(originals)))
    together = list(found)
    for place, part in zip(places, said, strict=True):
        seen = in_client(
            name, opened, loaded[place].artifact, answers[place], _joined(part), np.concatenate(read), split
        )
        together[place] = found[place].model_copy(update={"clients": (*found[place].clients, seen)})
    return together


def in_client(
    name: str,
    opened: Opened,
    artifact: Artifact,
    own: Answers,
    theirs: Answers,
    readable: np.ndarray,
    split: str,
) -> InClient:
    """Return how a file's answers in a client stand beside its own to the pictures as training reads them.

    readable: which pictures the client could read, bool (n,); the others are worth nothing in its hands.
    """
    task, labels = opened.task, opened.labels(split)
    same, _ = task.differ(own, theirs, artifact.contract)
    merit, own_merit = (np.asarray(task.right(each, labels), float) for each in (theirs, own))
    left = float(np.mean(merit * readable))
    return InClient(
        client=name,
        merit=left,
        lost_points=100 * (float(np.mean(own_merit)) - left),
        agreement=float(np.mean(same * readable)),
        unreadable=int(np.sum(~readable)),
    )


def _together(before: Sequence[InClient], now: Sequence[InClient]) -> tuple[InClient, ...]:
    found = {each.client: each for each in (*before, *now)}
    return tuple(found[name] for name in clients.CLIENTS if name in found)


def _joined(parts: Sequence[Answers]) -> Answers:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _compared(opened: Opened, artifact: Artifact, candidate: Answers, split: str, max_drop: float | None) -> Parity:
    part = opened.splits[split]
    wanted = opened.answers(split, artifact.contract)
    return compare(opened.task, wanted, candidate, opened.labels(split), part.keys, artifact, max_drop)


def _draw_differences(opened: Opened, verified: Sequence[Verified], answers: Sequence[Answers]) -> None:
    """Draw, for each file, the pictures on which it differs most; the pictures of all are read in one go."""
    keys = opened.splits.test.keys
    positions = {key: position for position, key in enumerate(keys)}
    worst = [[positions[key] for key, _ in each.parity.worst] for each in verified]
    seen = opened.pictures("test", sorted({row for rows in worst for row in rows}))
    for each, candidate, rows in zip(verified, answers, worst, strict=True):
        contract = each.artifact.contract
        pair = (opened.answers("test", contract), candidate)
        captions = [
            "\n".join([keys[row][-28:], *(_said(opened.task, said, row, contract) for said in pair)]) for row in rows
        ]
        sheet = contact_sheet.draw(np.stack([seen[row] for row in rows]), captions)
        write_bytes(opened.run.exports / "differences" / f"{each.artifact.path.name}.png", sheet)


def _said(task: Task, answers: Answers, row: int, contract: Any) -> str:
    """The first two things that a task reads from one picture's answer, short."""
    read = task.read({name: each[row : row + 1] for name, each in answers.items()}, contract)
    first = [each for each in read.values() if not isinstance(each, Mapping)][:2]
    return " ".join(f"{each:.3f}" if isinstance(each, float) else str(each)[:28] for each in first)


def _measured(proof: Proof | None) -> dict[str, Any]:
    if proof is None:
        return {}
    return {
        "merit": proof.parity.accuracy,
        "lost_points": proof.parity.accuracy_drop_points,
        "agreement": proof.parity.agreement,
        "latency_ms": proof.latency.median_ms,
        **({"clients": {each.client: each.merit for each in proof.clients}} if proof.clients else {}),
    }


def _stands(opened: Opened, proof: Proof, split: str = "test") -> bool:
    known = (proof.split, proof.data_digest, proof.model_sha256)
    return known == (split, opened.splits.digest, opened.model_sha256)


def _read(folder: Path) -> tuple[Proof, ...]:
    try:
        return Proofs.model_validate_json(read_bytes(folder / PROOFS, MOST_TEXT_BYTES)).proofs
    except (OSError, ValidationError):
        return ()  # they can be had again: keras-transfer verify
