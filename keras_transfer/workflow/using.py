"""Uses a model of any format: evaluates it on a split, predicts from picture files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import runs
from keras_transfer.data import pictures as picture_files
from keras_transfer.errors import DataError, UsageError
from keras_transfer.export import runtime
from keras_transfer.specs import EMBEDDING_OUTPUT, Answers, Contract, Listener, Run, Scored, Splits, Value, silent
from keras_transfer.workflow.tasks import check_annotation, task_of


class Prediction(Value):
    """What a model says of one picture."""

    picture: str
    says: dict[str, Any]
    """By what its task reads from an answer: of classification `class_name`, `probability` and `probabilities`."""

    def __getattr__(self, name: str) -> Any:
        """Give what it says by name.

        >>> Prediction(picture="a.jpg", says={"class_name": "cat"}).class_name
        'cat'
        """
        if not name.startswith("_") and name in self.says:
            return self.says[name]
        raise AttributeError(name)

    @property
    def flat(self) -> dict[str, Any]:
        """The picture and what is said of it, side by side."""
        return {"picture": self.picture, **self.says}


def evaluate(
    model: Path | str, source: str | None = None, *, split: str = "test", listener: Listener = silent
) -> Scored:
    """Return what `model` (a run folder or a file of any format) is worth on a split of `source`.

    source: the data of its run where it is left out; its classes must have the names of the model's, in any order.
    """
    from keras_transfer.data import sources  # brings TensorFlow, which predicting by a file does without
    from keras_transfer.workflow.opened import Opened, feed_of, predicted

    path, run = located(model)
    if run and source is None and path == run.model_path:
        opened = Opened(run, listener)
        return opened.scored(split, opened.contract)
    if source is None and run is None:
        raise UsageError("Which pictures? Name a SOURCE: a file outside of a run does not know its data.")
    ask = asked(path, run, None)
    contract, seed = ask.contract, run.record.plan.seed if run else 0
    if source is None and run is not None:
        splits = Opened(run, listener).splits
    else:
        annotation = task_of(contract.task).annotation
        splits = sources.load(str(source), annotation=annotation, seed=seed, listener=listener)
    labels = _labels(contract, splits, split)
    feed = feed_of(splits, contract.aspect, seed=seed, listener=listener)
    answers = predicted(ask.answers, contract.outputs, feed, split, contract, len(labels), listener)
    return task_of(contract.task).score(answers, labels, contract)


def predict(
    model: Path | str,
    pictures: Sequence[Path | str],
    *,
    labels: Sequence[str] | None = None,
    gallery: Path | str | None = None,
) -> tuple[Prediction, ...]:
    """Return what `model` (a run folder or a file of any format) says of each picture file.

    A run answers by what was settled when its training ended, as its files do. labels: the class names of a model that
    does not carry them. gallery: a file of `workflow.galleries`, of a model that gives embeddings: it says then who the
    picture shows, or that they are unknown.
    """
    ask = asked(*located(model), labels)
    contract = ask.contract
    known = _gallery(gallery, contract) if gallery is not None else None
    images = picture_files.read_pictures(pictures, image_size=contract.image_size, aspect=contract.aspect)
    answers = ask.answers(images)
    if known is not None:
        who = known(answers[EMBEDDING_OUTPUT])
        return tuple(
            Prediction(picture=str(picture), says=dict(said)) for picture, said in zip(pictures, who, strict=True)
        )
    read = task_of(contract.task).read
    return tuple(
        Prediction(
            picture=str(picture),
            says=dict(read({name: each[row : row + 1] for name, each in answers.items()}, contract)),
        )
        for row, picture in enumerate(pictures)
    )


def _gallery(path: Path | str, contract: Contract) -> Callable[[np.ndarray], list[Mapping[str, Any]]]:
    from keras_transfer.workflow import galleries  # it asks models by this module

    galleries.check(contract)
    known = galleries.read(path, contract)
    return lambda points: galleries.recognized(known, points)


def located(model: Path | str) -> tuple[Path, Run | None]:
    """Return the file to load and the run it belongs to, for a run folder or any file in one."""
    model = Path(model)
    if (model / runs.RECORD).exists():
        run = runs.open_run(model)
        return run.model_path, run
    for parent in list(model.parents)[:3]:
        if (parent / runs.RECORD).exists():
            return model, runs.open_run(parent)
    return model, None


@dataclass(frozen=True)
class Asked:
    """An open model, as its contract says that it answers."""

    contract: Contract
    answers: Callable[[np.ndarray], Answers]


def asked(path: Path, run: Run | None, labels: Sequence[str] | None) -> Asked:
    """Return a located model, open; labels: the class names of one that does not carry them."""
    if run is None or path.suffix != ".keras":
        loaded = runtime.load(path, labels=labels)
        return Asked(loaded.artifact.contract, loaded.predict)
    from keras_transfer.workflow.opened import Opened

    opened = Opened(run)
    loaded = runtime.load(path, contract=opened.plain.model_copy(update={"outputs": opened.trained}))
    # The trained model knows nothing of what was settled after it: exported files have it inside.
    contract, apply = opened.contract if path == run.model_path else opened.plain, opened.task.apply
    if not apply:
        return Asked(contract, loaded.predict)
    return Asked(contract, lambda images: apply(loaded.predict(images), contract))


def _labels(contract: Contract, splits: Splits, split: str) -> np.ndarray:
    """The labels of a split in the order of the model's classes; DataError where the two do not have the same."""
    check_annotation(task_of(contract.task), splits)
    if not contract.class_names:  # it tells apart whoever it is shown
        return splits[split].labels
    wanted, given = contract.class_names, splits.class_names
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    if missing or extra:
        said = [
            f"{kind} {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
            for kind, names in (("it lacks", missing), ("the model does not know", extra))
            if names
        ]
        raise DataError(
            f"'{splits.source}' must have the {len(wanted)} classes of the model, by name, in any order: "
            f"{'; '.join(said)}. Rename, add or leave out folders or labels."
        )
    return _REORDERED[splits.annotation](splits[split].labels, [wanted.index(name) for name in given])


def _positions(labels: np.ndarray, place: Sequence[int]) -> np.ndarray:
    return np.asarray(place)[labels]


def _columns(labels: np.ndarray, place: Sequence[int]) -> np.ndarray:
    return labels[:, np.argsort(place)]


_REORDERED: Mapping[str, Callable[[np.ndarray, Sequence[int]], np.ndarray]] = {"class": _positions, "classes": _columns}
"""Labels by what pictures are labelled with: to the order in which `place[i]` is where class i belongs."""
