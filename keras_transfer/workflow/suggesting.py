"""Says which pictures of a folder are worth labelling next, by what a trained run makes of them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from keras_transfer import runs
from keras_transfer.data.files import picture_paths
from keras_transfer.errors import DataError, UsageError
from keras_transfer.evaluation import suggestion_page
from keras_transfer.files import write_bytes
from keras_transfer.selection import suggesting
from keras_transfer.specs import (
    POOL_LAYER,
    PROBABILITIES_OUTPUT,
    SPLIT_NAMES,
    Event,
    Feed,
    Listener,
    Run,
    Split,
    Splits,
    Value,
    silent,
)
from keras_transfer.training import prefix
from keras_transfer.workflow.opened import Opened, feed_of, finished, pictures_at
from keras_transfer.workflow.tasks import BATCH

TASK = "classification"
"""What is asked of a picture where one label is what it lacks."""

POOL = "pool"
"""The pictures without a label, where splits of the run have their names."""

COPY = 1e-3
"""Distance of features, as a share of their length, up to which a picture is a copy of a labelled one."""


class Suggestion(Value):
    """A picture that is worth a label, and what the model makes of it so far."""

    picture: str
    """Its path."""
    why: str
    class_name: str
    """What the model takes it for."""
    probability: float


class Suggested(Value):
    """The pictures to label next, the first the most worth, and how they were chosen."""

    method: str
    sentence: str
    """Why this method, for a person."""
    unlabelled: int
    """Pictures there were to choose from."""
    copies: int
    """Those that show what is labelled already, and are left out."""
    suggestions: tuple[Suggestion, ...]
    whole: bool = False
    """Whether the table that was written holds the pictures of the run, too: then a model can be trained on it."""


def suggest(
    run: Run | Path | str,
    unlabelled: Path | str,
    *,
    count: int = 50,
    write: Path | None = None,
    page: Path | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> Suggested:
    """Return the pictures of the folder `unlabelled` that are most worth a label for the model of `run`.

    >>> suggest("saved_models/pets-EfficientNetLite0", "new/", count=50).suggestions[0].picture  # doctest: +SKIP
    'new/0231.jpg'

    While labels are few, typical pictures of what nobody labelled (`selection.suggesting.typical`); later those that
    the model is torn over, all different (`margin`). Copies of labelled pictures and files that cannot be read are left
    out. write: a CSV table of the columns path, label and split, in the folder or above it: the pictures of the run
    with their labels and splits, where all of them stand below it too, then those that are to be labelled, whose labels
    are to be filled in. page: an HTML file with thumbnails. Raises UsageError for a run of another task or a table
    elsewhere, DataError where there is nothing to label.
    """
    opened = Opened(finished(run if isinstance(run, Run) else runs.open_run(run)), listener)
    folder = Path(unlabelled)
    _check(opened, folder, write)
    paths = _paths(folder)
    pool, kept, copies = _pool(opened, paths, listener)
    if not kept:
        raise DataError(f"All {len(paths)} pictures in '{folder}' are copies of those of the run, or cannot be read.")
    method, sentence = suggesting.method_for(len(pool.labelled), len(opened.record.class_names))
    picks = suggesting.suggest(pool, count, method, seed)
    found = Suggested(
        method=method,
        sentence=sentence,
        unlabelled=len(kept),
        copies=copies,
        suggestions=tuple(_suggestion(opened, pool, kept, pick) for pick in picks),
    )
    if write:
        known = _known_rows(opened, write.parent)
        found = found.model_copy(update={"whole": bool(known)})
        write_bytes(write, _table(known, found, write.parent).encode())
    if page:
        write_bytes(page, _page(opened, found, folder).encode())
    return found


def _check(opened: Opened, folder: Path, write: Path | None) -> None:
    if opened.record.plan.task != TASK:
        raise UsageError(
            f"suggest names pictures for runs that give each picture one class. Received: "
            f"'{opened.run.folder}', a run of {opened.record.plan.task}"
        )
    if not folder.is_dir():
        raise DataError(f"There is no folder of pictures at '{folder}'.")
    if write and (write.suffix.lower() != ".csv" or not folder.resolve().is_relative_to(write.resolve().parent)):
        raise UsageError(
            f"The table to fill in is a .csv in the folder of the pictures or above it, as training reads it: "
            f"--write {folder / 'to-label.csv'}. Received: '{write}'"
        )


def _paths(folder: Path) -> list[str]:
    paths, _ = picture_paths(folder)
    if not paths:
        raise DataError(f"There is nothing to label: '{folder}' holds no pictures.")
    return paths


def _pool(opened: Opened, paths: Sequence[str], listener: Listener) -> tuple[suggesting.Pool, list[str], int]:
    """Return features and answers of what has no label and what has one, the paths that stay, and how many copies."""
    compute = _compute(opened)
    known = [_seen(compute, opened.feed, opened, split, listener)[0] for split in SPLIT_NAMES]
    feed = feed_of(_as_splits(opened, paths), opened.record.plan.aspect, listener=listener)
    features, said, readable = _seen(compute, feed, opened, POOL, listener)
    new = readable & ~_copies(features, np.concatenate(known))
    kept = [path for path, wanted in zip(paths, new, strict=True) if wanted]
    apply, contract = opened.task.apply, opened.contract
    answers = {PROBABILITIES_OUTPUT: said[new]}
    probabilities = (apply(answers, contract) if apply and kept else answers)[PROBABILITIES_OUTPUT]
    return suggesting.Pool(features[new], probabilities, known[0]), kept, int((readable & ~new).sum())


def _compute(opened: Opened) -> prefix.Compute:
    """The pooled features and the probabilities of the trained model, on the fastest engine that agrees with Keras."""
    model = opened.model
    both = keras.Model(model.input, [model.get_layer(POOL_LAYER).output, model.output])
    batches = opened.feed("train", image_size=opened.record.image_size, batch_size=16)
    return prefix.build(both, check=np.asarray(next(iter(batches))[0])).compute


def _seen(
    compute: prefix.Compute, feed: Feed, opened: Opened, split: str, listener: Listener
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, width), probabilities (n, classes), and which pictures could be read, bool (n,)."""
    rows: list[tuple[np.ndarray, ...]] = []
    what = "pictures without a label" if split == POOL else f"{split} pictures"
    for images, _, weights in feed(
        "train" if split == POOL else split, image_size=opened.record.image_size, batch_size=BATCH
    ):
        rows.append((*compute(np.asarray(images)), np.asarray(weights) > 0))
        listener(Event("progress", f"Looking at {what}", done=len(rows)))
    features, said, readable = map(np.concatenate, zip(*rows, strict=True))
    return features, said, readable


def _as_splits(opened: Opened, paths: Sequence[str]) -> Splits:
    """The pictures as a data set, which are read as those of the run are."""
    pool = Split("train", np.array(paths), np.zeros(len(paths), np.int64), tuple(paths))
    return replace(opened.splits, train=pool, validation=pool, test=pool)


def _copies(features: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Which pictures have the features of a labelled one, bool (n,)."""
    features, labelled = features.astype(np.float64), labelled.astype(np.float64)  # what is told apart here is small
    lengths, others = (features**2).sum(axis=1), (labelled**2).sum(axis=1)
    found = np.zeros(len(features), bool)
    for start in range(0, len(features), 1024):
        part = slice(start, start + 1024)
        apart = lengths[part, None] + others - 2 * features[part] @ labelled.T
        found[part] = apart.min(axis=1) <= COPY**2 * lengths[part]
    return found


def _suggestion(opened: Opened, pool: suggesting.Pool, kept: Sequence[str], pick: suggesting.Pick) -> Suggestion:
    said = pool.probabilities[pick.row]
    likeliest = int(said.argmax())
    return Suggestion(
        picture=kept[pick.row],
        why=pick.why,
        class_name=opened.record.class_names[likeliest],
        probability=float(said[likeliest]),
    )


def _known_rows(opened: Opened, folder: Path) -> list[tuple[str, str, str]]:
    """Path, label and split of each picture of the run; none where one of them is no file below the folder."""
    rows, root = [], folder.resolve()
    for split in SPLIT_NAMES:
        for picture, label in zip(opened.splits[split].pictures, opened.splits[split].labels, strict=True):
            if not isinstance(picture, str) or not Path(picture).resolve().is_relative_to(root):
                return []
            rows.append((_below(folder, picture), opened.splits.known_names[label], split))
    return rows


def _table(known: Sequence[tuple[str, str, str]], found: Suggested, folder: Path) -> str:
    """A manifest whose last labels are to be filled in."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    writer.writerows(known)
    writer.writerows((_below(folder, each.picture), "", "") for each in found.suggestions)
    return text.getvalue()


def _below(folder: Path, picture: str) -> str:
    return Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(folder))).as_posix()


def _page(opened: Opened, found: Suggested, folder: Path) -> str:
    chosen = [each.picture for each in found.suggestions]
    pictures = pictures_at(_as_splits(opened, chosen), "train", range(len(chosen)), opened.plain)
    rows = [
        {**each.model_dump(exclude={"picture"}), "name": os.path.relpath(each.picture, folder)}
        for each in found.suggestions
    ]
    return suggestion_page.page(str(folder), found.sentence, rows, [pictures[row] for row in range(len(chosen))])
