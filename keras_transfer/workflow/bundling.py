"""Makes bundles of a run: chooses the file, asks it about the golden pictures, and has a target written."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_transfer.bundles import golden, targets
from keras_transfer.bundles.content import Content, Golden, Known, named
from keras_transfer.data.decoding import square_rgb, upright_rgb
from keras_transfer.data.squaring import NEAR
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.evaluation import model_card
from keras_transfer.evaluation.intervals import margin
from keras_transfer.export import exporters, manifest, runtime
from keras_transfer.export.runtime import Runtime
from keras_transfer.specs import Artifact, Contract, Event, Listener, Run, Value, silent
from keras_transfer.workflow import galleries, proving
from keras_transfer.workflow.opened import Opened, finished

GOLDEN_PICTURES = 8
"""Of the test split, evenly spaced: enough to tell a wrong model, few enough to look at."""
BUNDLES = "bundles"
"""The folder of a run that they go to."""
WIDE = NEAR + 1
"""Pictures side by side in the golden one that has to be made square, so that bilinear alone will not do."""


class Bundle(Value):
    """A bundle that was written."""

    target: str
    folder: Path
    packed: Path
    """The same as a zip."""
    artifact: Artifact
    """The file in it, where it was exported to."""
    golden: int
    """Pictures that it tests itself with."""
    size_bytes: int
    """Of the folder."""


def bundle(
    run: Run,
    target: str,
    *,
    file: Path | str | None = None,
    name: str | None = None,
    output: Path | str | None = None,
    modules: Path | str | None = None,
    gallery: Path | str | None = None,
    force: bool = False,
    listener: Listener = silent,
) -> Bundle:
    """Write a bundle of a run for a target, a row of `bundles.targets.TARGETS`: a folder and the same as a zip.

    >>> bundle(run, "python").folder  # doctest: +SKIP
    PosixPath('saved_models/fashion/bundles/fashion-python')

    file: one of the run's exports; the smallest proven one that the target runs where it is left out. name: of the
    bundle and its packages, the run's where it is left out. output: a folder to write to, `RUN/bundles` where it is
    left out; a bundle that is there under that name is replaced. modules: a `node_modules` folder that has the packages
    of npm that the target brings along; where it is left out they come from the cache, or once from npm. gallery: a
    file of `galleries.gallery`, made by this run, that a bundle for embeddings compares with. force: take a file that
    was set aside or never proven.
    Raises UsageError and ArtifactError where there is no such file, or where the target does not run it.
    """
    targets.target_of(target)
    opened = Opened(finished(run), listener)
    targets.check(target, opened.plain)
    content = replace(
        _content(opened, target, Path(file) if file else None, force),
        name=named(name or run.folder.name),
        gallery=_known(Path(gallery), opened) if gallery else None,
        modules=Path(modules) if modules else None,
    )
    listener(Event("note", f"writing {content.artifact.path.name} as a bundle for {target}"))
    folder, packed = targets.write(target, content, Path(output) if output else run.folder / BUNDLES)
    return Bundle(
        target=target,
        folder=folder,
        packed=packed,
        artifact=content.artifact,
        golden=len(content.golden),
        size_bytes=sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()),
    )


def _content(opened: Opened, target: str, file: Path | None, force: bool) -> Content:
    """What a run and one of its files give to a bundle, under the run's name."""
    rows = proving.rows_of_exports(opened)
    artifact, refused = _named_file(opened, rows, file, force) if file else (_smallest(opened, rows, target), "")
    loaded = runtime.load(artifact.path, threads=1)
    return Content(
        name=opened.run.folder.name,
        artifact=loaded.artifact,
        golden=_golden(opened, loaded),
        summary=_summary(opened, rows, artifact),
        papers=_papers(opened, rows),
        refused=refused,
        saved_model=_saved_model(opened, rows, target) if targets.target_of(target).served else None,
    )


def _known(gallery: Path, opened: Opened) -> Known:
    galleries.check(opened.contract)
    found = galleries.read(gallery, opened.contract)
    return Known(found.names, found.embeddings)


def _smallest(opened: Opened, rows: Sequence[Mapping[str, Any]], target: str) -> Artifact:
    """The smallest file in use that is proven and that the target runs."""
    formats, listed = targets.target_of(target).runs, exporters.exported(opened.run.exports)
    proven = {row["name"] for row in rows if _holds(row)}
    artifacts = [_at(opened, each) for each in manifest.read(opened.run.exports).artifacts]
    fitting = [each for each in artifacts if each.format in formats and not each.path.is_dir()]
    if not fitting:
        names = ", ".join(path.name for path in listed) or "none that is in use"
        raise ArtifactError(
            f"A bundle for {target} holds {targets.runs_on(target)}, and the files of '{opened.run.folder}' are: "
            f"{names}. Export one: keras-transfer export {opened.run.folder} --format {formats[0]}"
        )
    standing = [each for each in fitting if each.path.name in proven]
    if not standing:
        raise ArtifactError(
            f"No file of '{opened.run.folder}' for {target} has a proof that holds. "
            f"Prove them: keras-transfer verify {opened.run.folder}"
        )
    return min(standing, key=lambda each: each.size_bytes)


def _named_file(opened: Opened, rows: Sequence[Mapping[str, Any]], file: Path, force: bool) -> tuple[Artifact, str]:
    """A file that was asked for, and why it should not be used; UsageError where it should not and nobody insists."""
    listed = manifest.read(opened.run.exports)
    known = {each.path.name: each for each in listed.all}
    elsewhere = file.parent != Path() and file.resolve().parent != opened.run.exports.resolve()
    if file.name not in known or elsewhere:
        raise UsageError(
            f"'{file}' is none of the files of '{opened.run.folder}': {', '.join(known) or 'it has none'}."
        )
    artifact = _at(opened, known[file.name])
    reasons = {each.artifact.path.name: each.reason for each in listed.rejected}
    row = next(row for row in rows if row["name"] == file.name)
    unproven = "" if "merit" in row else "it has no proof that holds."
    reason = reasons.get(file.name, unproven)
    if reason and not force:
        raise UsageError(f"'{artifact.path}' is not to be relied on: {reason} Choose another, or add --force.")
    return artifact, reason


def _holds(row: Mapping[str, Any]) -> bool:
    """Whether a file is in use and has a proof."""
    return row["accepted"] and "merit" in row


def _at(opened: Opened, artifact: Artifact) -> Artifact:
    return artifact.model_copy(update={"path": opened.run.exports / artifact.path})


def _golden(opened: Opened, loaded: Runtime) -> tuple[Golden, ...]:
    """Pictures or clips of the test split and what the file says of them, and a picture to be made square first."""
    contract = loaded.artifact.contract
    count = len(opened.splits.test)
    rows = np.unique(np.linspace(0, count - 1, min(count, GOLDEN_PICTURES)).astype(int)).tolist()
    seen = opened.pictures("test", rows)
    pictures = {f"{number}": seen[row] for number, row in enumerate(rows, start=1)}
    if not contract.frames:
        pictures["wide"] = _wide([seen[row] for row in (rows * WIDE)[:WIDE]])
    encoded = [_png(each) for each in pictures.values()]
    answers = loaded.predict(np.stack([_as_taken(each, contract) for each in encoded]))
    return tuple(
        Golden(name, png, golden.kept({key: each[place : place + 1] for key, each in answers.items()}, contract))
        for place, (name, png) in enumerate(zip(pictures, encoded, strict=True))
    )


def _as_taken(encoded: bytes, contract: Contract) -> np.ndarray:
    """A golden picture as the model takes it; the frames of a clip stand side by side in it."""
    if contract.frames:
        return np.stack(np.split(upright_rgb(encoded), contract.frames, axis=1))
    return square_rgb(encoded, contract.image_size, contract.aspect)


def _wide(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Squares side by side, of twice the size: they are decoded smaller, averaged and mixed until they are square."""
    return np.concatenate(pictures, axis=1).repeat(2, axis=0).repeat(2, axis=1)


def _png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _papers(opened: Opened, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    scored = opened.scored("test", opened.contract)
    card = model_card.card(opened.run.folder.name, opened.record, scored, rows, opened.plain.outputs)
    return {
        "MODEL_CARD.md": model_card.markdown(card).encode(),
        "model_card.json": card.model_dump_json(indent=2).encode(),
    }


def _summary(opened: Opened, rows: Sequence[Mapping[str, Any]], artifact: Artifact) -> str:
    merit = next((row.get("merit") for row in rows if row["name"] == artifact.path.name), None)
    record = opened.record
    known = margin(merit or 0.0, record.counts["test"])
    told = f"{record.merit_name} {merit:.1%} (give or take {known:.1%}) on" if merit is not None else "not proven on"
    contract = artifact.contract
    size = f"{artifact.size_bytes / 1e6:.1f} MB"
    things = "clips" if contract.frames else "pictures"
    does = "Classification" if contract.frames else contract.task.capitalize()
    return (
        f"{does} of {things} by {contract.backbone} at {contract.image_size} px ({size}, "
        f"{artifact.precision}): {told} {record.counts['test']:,} test {things}."
    )


def _saved_model(opened: Opened, rows: Sequence[Mapping[str, Any]], target: str) -> Path:
    """The proven SavedModel of the run."""
    for row in rows:
        path = opened.run.exports / row["name"]
        if _holds(row) and path.is_dir():
            return path
    raise ArtifactError(
        f"A bundle for {target} also holds a SavedModel that is proven. "
        f"Export one: keras-transfer export {opened.run.folder} --format saved_model"
    )
