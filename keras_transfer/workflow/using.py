"""Uses a model of any format: evaluates it on a split, predicts from picture files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer import keras_files, runs
from keras_transfer.data import clips, faces
from keras_transfer.data import pairs as listed_pairs
from keras_transfer.data import pictures as picture_files
from keras_transfer.data.annotations import ANNOTATIONS, Annotation
from keras_transfer.data.decoding import square_rgb, upright_rgb, upright_size
from keras_transfer.errors import DataError, UsageError, unknown
from keras_transfer.export import manifest, runtime
from keras_transfer.files import write_bytes
from keras_transfer.specs import (
    EMBEDDING_OUTPUT,
    FEATURES,
    Answers,
    Contract,
    Event,
    Listener,
    Run,
    Scored,
    Splits,
    Task,
    Value,
    silent,
)
from keras_transfer.workflow import views as several_views
from keras_transfer.workflow.tasks import batch_of, check_annotation, task_of

CROPS = ("face", "none")
"""What may be cut out of a picture before a model sees it."""


class Prediction(Value):
    """What a model says of one picture."""

    picture: str
    says: dict[str, Any]
    """By what its task reads from an answer: of classification `class_name`, `probability` and `probabilities`."""
    files: tuple[str, ...] = ()
    """Paths of what was drawn of it."""
    results: tuple[dict[str, Any], ...] | None = None
    """The same as rows that other programs read, where its task has such a format: of detection COCO's results."""

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
        return {"picture": self.picture, **self.says, **({"files": list(self.files)} if self.files else {})}


def evaluate(
    model: Path | str,
    source: str | None = None,
    *,
    split: str = "test",
    labels: Sequence[str] | None = None,
    listener: Listener = silent,
) -> Scored:
    """Return what `model` (a run folder or a file of any format) is worth on a split of `source`.

    source: the data of its run where it is left out; its classes must have the names of the model's, in any order. A
    list of pairs, `FOLDER/pairs.txt`, judges a model that gives embeddings, by the protocol of `data.pairs`.
    labels: the class names of a model that does not carry them, in its order.
    """
    from keras_transfer.data import sources  # brings TensorFlow, which predicting by a file does without
    from keras_transfer.workflow.building import with_frames
    from keras_transfer.workflow.opened import Opened, feed_of, predicted, seen

    path, run = located(model)
    if source is not None and listed_pairs.are_listed_in(str(source)):
        return _of_pairs(asked(path, run, labels), str(source), split, listener)
    if run and source is None and path == run.model_path:
        opened = Opened(run, listener)
        return opened.scored(split, opened.contract)
    if source is None and run is None:
        raise UsageError("Which pictures? Name a SOURCE: a file outside of a run does not know its data.")
    ask = asked(path, run, labels)
    contract, seed = ask.contract, run.record.plan.seed if run else 0
    if source is None and run is not None:
        splits = Opened(run, listener).splits
    else:
        annotation = task_of(contract.task).annotation
        splits = sources.load(str(source), annotation=annotation, seed=seed, listener=listener)
        splits = with_frames(splits, contract.frames)
    truth = _labels(contract, splits, split)
    feed = feed_of(splits, contract.aspect, seed=seed, listener=listener)
    answers = predicted(ask.answers, contract.outputs, feed, split, contract, len(truth), listener)
    return task_of(contract.task).score(answers, seen(splits, truth, contract), contract)


def _of_pairs(ask: Asked, source: str, split: str, listener: Listener) -> Scored:
    from keras_transfer.evaluation import pairs

    contract = ask.contract
    if EMBEDDING_OUTPUT not in {output.name for output in contract.outputs}:
        raise UsageError(
            f"Pairs judge a model that gives embeddings, and this one is of {contract.task}. "
            f"Train one: keras-transfer train SOURCE --task embedding"
        )
    if split != "test":
        raise UsageError(f"'{source}' is a list of pairs, which has no splits. Leave --split out. Received: {split!r}")
    listed, step, points = listed_pairs.read(source), batch_of(contract), []
    for start in range(0, len(listed.paths), step):
        some = listed.paths[start : start + step]
        points.append(ask.answers(read_as(contract, some))[EMBEDDING_OUTPUT])
        listener(Event("progress", "Pictures of pairs", done=start + len(some), total=len(listed.paths)))
    answers = {EMBEDDING_OUTPUT: np.concatenate(points)}
    return pairs.score(answers, listed.rows, listed.same, listed.folds, contract)


def predict(
    model: Path | str,
    pictures: Sequence[Path | str],
    *,
    labels: Sequence[str] | None = None,
    gallery: Path | str | None = None,
    output: Path | str | None = None,
    crop: str | None = None,
    window: float | None = None,
    views: int = 1,
    listener: Listener = silent,
) -> tuple[Prediction, ...]:
    """Return what `model` (a run folder or a file of any format) says of each picture file.

    A run answers by what was settled when its training ended, as its files do. labels: the class names of a model that
    does not carry them. gallery: a file of `workflow.galleries`, of a model that gives embeddings: it says then who the
    picture shows, or that they are unknown. output: a folder for what its task draws of an answer, `NAME-mask.png` and
    `NAME-overlay.png` of a segmenter, `NAME-timeline.png` of a video, `NAME-gradcam.png` of a run that says what a
    picture shows as a whole, over files of these names. crop: a row of
    `CROPS`, as the run learned where it is left out: of one whose data was `faces:FOLDER` the largest face is cut out
    of each picture. window: of videos, the seconds that one answer is of, those of a training clip where it is left
    out; see `workflow.timelines.of_videos`. views: looks at each picture whose mean answers; see `workflow.views`.
    Raises UsageError where the task draws nothing, has no such mean or nothing can be cut out, DataError for a picture
    without a face.
    """
    path, run = located(model)
    ask = asked(path, run, labels)
    contract, task = ask.contract, task_of(ask.contract.task)
    mirrored = several_views.mirrored_by(run)
    several_views.check(views, task, mirrored=mirrored)
    if contract.frames and gallery is None:
        return _of_videos(ask, pictures, window, output, listener)
    if window is not None:
        raise UsageError(f"A window is a part of a video, and {task.name} looks at pictures. Leave --window out.")
    drawing = _drawing(path, run, task, contract) if output is not None else None
    read = _gallery(gallery, contract) if gallery is not None else task.read
    look = read_faces_as if cuts_faces(contract, run, crop) else read_as
    said, step = [], batch_of(contract)
    for start in range(0, len(pictures), step):
        some = pictures[start : start + step]
        answers = several_views.averaged(ask.answers, look(contract, some), views, mirrored=mirrored)
        said += [{name: each[row : row + 1] for name, each in answers.items()} for row in range(len(some))]
        if task.keep:
            said[start:] = [dict(task.keep(each)) for each in said[start:]]
    names = _names(pictures)
    predictions = []
    for picture, each, name in zip(pictures, said, names, strict=True):
        says = dict(read(each, contract))
        size = upright_size(str(picture)) if task.placed else None
        if task.placed and size:
            says = dict(task.placed(says, size[1], size[0], contract))
        results = tuple(dict(row) for row in task.results(str(picture), says)) if task.results else None
        files = _kept(drawing(picture, each), Path(output), name) if drawing and output is not None else ()
        predictions.append(Prediction(picture=str(picture), says=says, files=files, results=results))
    return tuple(predictions)


def _of_videos(
    ask: Asked, videos: Sequence[Path | str], window: float | None, output: Path | str | None, listener: Listener
) -> tuple[Prediction, ...]:
    from keras_transfer.workflow import timelines  # it asks models by this module

    predictions = []
    said = timelines.of_videos(ask, videos, window, listener)
    for video, name, says in zip(videos, _names(videos), said, strict=True):
        file = None if output is None else Path(output) / f"{name}-timeline.png"
        files = (timelines.draw(video, says, ask.contract, file),) if file else ()
        predictions.append(Prediction(picture=str(video), says=says, files=files))
    return tuple(predictions)


def trust(model: Path | str) -> None:
    """Take the SavedModels of a run folder, or one of them, for the work of somebody who means well.

    >>> trust("saved_models/pets-EfficientNetLite0")  # doctest: +SKIP

    Those that were exported on this machine need no such word. Others can read and write files when they are run, and
    are refused without it; it holds as long as they are not changed. Files of other formats are left as they are.
    Raises ArtifactError for one that cannot be opened.
    """
    path, run = located(model)
    inside = run is not None and path == run.model_path
    for each in [run.exports / of.path for of in manifest.read(run.exports).artifacts] if run and inside else [path]:
        runtime.trust(each)


def read_as(contract: Contract, paths: Sequence[Path | str]) -> np.ndarray:
    """Return files as a model of that contract takes them: uint8 (n, *contract.shape), of pictures or of videos.

    Raises DataError that names the first file which cannot be read.
    """
    square: dict[str, Any] = {"image_size": contract.image_size, "aspect": contract.aspect}
    if contract.frames:
        return clips.read_clips(paths, frames=contract.frames, **square)
    return picture_files.read_pictures(paths, **square)


def read_faces_as(contract: Contract, paths: Sequence[Path | str]) -> np.ndarray:
    """Return the largest face in each picture file as a model of that contract takes it.

    Raises DataError that names the first file which cannot be read or shows no face.
    """
    return faces.read_faces(paths, image_size=contract.image_size, aspect=contract.aspect)


def cuts_faces(contract: Contract, run: Run | None, crop: str | None) -> bool:
    """Return whether faces are cut out of pictures first: as `crop` says, else as the run learned.

    Raises UsageError for another `crop` than those of `CROPS`, and for faces of a model that takes videos.
    """
    if crop is None:
        return run is not None and run.record.plan.data.startswith(faces.PREFIX)
    if crop not in CROPS:
        raise UsageError(unknown("crop", crop, CROPS))
    if crop == "face" and contract.frames:
        raise UsageError("Faces are cut out of pictures, and this model takes videos: leave --crop out.")
    return crop == "face"


def _gallery(path: Path | str, contract: Contract) -> Callable[[Answers, Contract], Mapping[str, Any]]:
    from keras_transfer.workflow import galleries  # it asks models by this module

    galleries.check(contract)
    known = galleries.read(path, contract)
    return lambda answers, contract: galleries.recognized(known, answers[EMBEDDING_OUTPUT])[0]


def _names(pictures: Sequence[Path | str]) -> list[str]:
    """A name for what is drawn of each picture: its own, with its number where two have the same."""
    stems = [Path(picture).stem for picture in pictures]
    return [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems, start=1)]


Drawing = Callable[[Path | str, Answers], Mapping[str, bytes]]
"""Takes a picture file and the answers to it; gives what is drawn of them by how a file of it ends."""


def _drawing(path: Path, run: Run | None, task: Task, contract: Contract) -> Drawing:
    """Return what draws an answer: the task, else where a run looked; UsageError where neither is known."""
    if task.draw is not None:
        draw = task.draw
        return lambda picture, answers: draw(upright_rgb(picture_files.content_of(str(picture))), answers, contract)
    if task.explain is None or run is None or path != run.model_path:
        where = "" if task.explain is None else " but where a run looked: name a run folder, or"
        raise UsageError(f"Nothing is drawn of {task.name}{where or ':'} leave --output out.")
    return partial(_looked, task.explain, keras_files.load(path), contract)


def _looked(
    explain: Callable[..., np.ndarray], model: Any, contract: Contract, picture: Path | str, answers: Answers
) -> Mapping[str, bytes]:
    """The square that the model saw, warm where it looked."""
    from keras_transfer.evaluation import warming

    encoded, small = picture_files.content_of(str(picture)), read_as(contract, [picture])
    large = square_rgb(encoded, max(contract.image_size, warming.LEAST), contract.aspect)
    return {"gradcam.png": warming.png(large, explain(model, small)[0])}


def _kept(drawn: Mapping[str, bytes], folder: Path, name: str) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for end, content in drawn.items():
        write_bytes(folder / f"{name}-{end}", content)
    return tuple(str(folder / f"{name}-{end}") for end in drawn)


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
class Halves:
    """A model of clips in two, so that what is known of a frame is kept for every window that it stands in."""

    describe: Callable[[np.ndarray], np.ndarray]
    """uint8 (n, side, side, 3) to what is kept of each frame, (n, …)."""
    judge: Callable[[np.ndarray], Answers]
    """What is kept of the frames of windows, (n, frames, …), to the answers to them."""


@dataclass(frozen=True)
class Asked:
    """An open model, as its contract says that it answers."""

    contract: Contract
    answers: Callable[[np.ndarray], Answers]
    opened_halves: Callable[[], Halves] | None = None
    """Opens it in two, where it is a model of clips that comes, or can be had, as two."""

    def halves(self) -> Halves:
        """Return it in two: of a file of whole clips, frames are kept as they are and all of it answers."""
        return self.opened_halves() if self.opened_halves else Halves(lambda frames: frames, self.answers)


def asked(path: Path, run: Run | None, labels: Sequence[str] | None) -> Asked:
    """Return a located model, open; labels: the class names of one that does not carry them."""
    if run is None or path.suffix != ".keras":
        loaded = runtime.load(path, labels=labels)
        contract = loaded.artifact.contract
        if contract.features or FEATURES in {output.name for output in contract.outputs}:
            raise UsageError(f"'{path}' is one of two files that answer together. Name their folder: {path.parent}")
        return Asked(contract, loaded.predict, partial(_of_pair, loaded) if loaded.halves else None)
    from keras_transfer.workflow.opened import Opened

    opened = Opened(run)
    loaded = runtime.load(path, contract=opened.plain.model_copy(update={"outputs": opened.trained}))
    # The trained model knows nothing of what was settled after it: exported files have it inside.
    contract, apply = opened.contract if path == run.model_path else opened.plain, opened.task.apply
    halves = partial(_of_model, path, contract, opened.task) if opened.task.halve else None
    if not apply:
        return Asked(contract, loaded.predict, halves)
    return Asked(contract, lambda images: apply(loaded.predict(images), contract), halves)


def _of_pair(loaded: runtime.Runtime) -> Halves:
    frame, window = loaded.halves
    return Halves(lambda frames: frame.predict(frames)[FEATURES], window.predict)


def _of_model(path: Path, contract: Contract, task: Task) -> Halves:
    from keras_transfer.workflow.opened import named

    model = keras_files.load(path)
    assert task.halve
    frame, window = task.halve(task.fold(model, contract) if task.fold else model)
    return Halves(
        lambda frames: np.asarray(frame.predict_on_batch(frames)),
        lambda windows: named(window.predict_on_batch(windows), contract.outputs),
    )


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
    return reordered(splits[split].labels, ANNOTATIONS[splits.annotation], given, wanted)


def reordered(labels: np.ndarray, kind: Annotation, given: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return stored labels over the class names `given` as they are stored over the same names in another order."""
    if tuple(given) == tuple(wanted):
        return labels
    return kind.stored([kind.listed(each, given) for each in labels], {name: i for i, name in enumerate(wanted)})
