"""The verbs that ask a model of any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keras_transfer import runs
from keras_transfer.cli.figures import OF_CLASSES, known, meanings_of
from keras_transfer.cli.options import Folder, Json, Labels, Trust, check_paths, check_source, labels_of, run_of
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import explain, out, plain, print_json, score, show, suggest
from keras_transfer.errors import UsageError
from keras_transfer.specs import Listener, Scored

if TYPE_CHECKING:
    from keras_transfer.workflow import Mistake, Prediction

COLUMNS = {
    "prevalence": "prevalence",
    "average_precision": "AP",
    "ap50": "AP50",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "iou": "IoU",
    "boundary_f1": "edges (F1)",
}
"""Figures of a class, as far as its task knows them, and what stands over them."""

OF_VIDEOS = ("seconds", "segments", "windows")


Crop = Annotated[
    str | None,
    typer.Option(help="face: the largest face of each picture; none: all of it; as the run learned where left out."),
]


def evaluate(
    model: Annotated[Path | None, typer.Argument(help="A run folder or a model file of any format.")] = None,
    source: Annotated[
        str | None, typer.Argument(help="Pictures, or a list of pairs; those of the run where left out.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    mistakes: Annotated[
        int, typer.Option(min=0, help="List so many pictures that a run is wrong about, the surest first.")
    ] = 0,
    labels: Labels = None,
    trust: Trust = False,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Say what a model is worth on a split: accuracy, calibration, the classes it confuses."""
    if split not in ("train", "validation", "test"):
        raise UsageError(f"--split takes train, validation or test. Received: '{split}'")
    model = model or run_of(None, folder).folder
    check_paths(model)
    if source is not None:
        check_source(source)
    from keras_transfer import workflow

    if trust:
        workflow.trust(model)
    with progress() as listener:
        metrics = workflow.evaluate(model, source, split=split, labels=labels_of(labels), listener=listener)
        wrong = _mistakes(model, source, split, mistakes, listener) if mistakes else ()
    if as_json:
        listed = {"mistakes": [each.model_dump(mode="json") for each in wrong]} if mistakes else {}
        print_json({**metrics.model_dump(mode="json"), **listed})
        return
    _show_metrics(metrics, f"{model} on the {split} split")
    if wrong:
        table = Table("picture", "is called", "the model says", title=f"{len(wrong)} mistakes, the surest first")
        for each in wrong:
            table.add_row(plain(each.picture), plain(each.truth), plain(_listed_says(each.says)))
        show(table)
    suggest("predict", model, "PICTURE.jpg")


def _show_metrics(metrics: Scored, title: str) -> None:
    rows = [row for row in getattr(metrics, "per_class", ()) if hasattr(row, "recall")]
    meanings: dict[str, str] = {}
    if rows:
        shown = [name for name in COLUMNS if hasattr(rows[0], name)]
        headings = [COLUMNS[name] for name in shown]
        meanings = {heading: OF_CLASSES[heading] for heading in headings}
        table = Table("class", "pictures", *headings, title=title)
        for row in rows:
            table.add_row(row.name, str(row.count), *(score(getattr(row, name)) for name in shown))
        show(table)
    figures = {name: value for name, value in metrics.figures.items() if value is not None}
    said = {name: f"{value:.3f}" if "loss" in name else f"{value:.1%}" for name, value in figures.items()}
    said[metrics.merit_name] = known(figures, metrics.count)
    out.print(", ".join(f"{name} {value}" for name, value in said.items()))
    explain(meanings | meanings_of(figures))


def _mistakes(model: Path, source: str | None, split: str, most: int, listener: Listener) -> Sequence[Mistake]:
    if source is not None or not (model / runs.RECORD).exists():
        raise UsageError("Mistakes are listed of a run and its own pictures: name a run folder, and no SOURCE.")
    from keras_transfer import workflow

    return workflow.mistakes(runs.open_run(model), split, most=most, listener=listener)


def _listed_says(says: Mapping[str, Any]) -> str:
    return ", ".join(_cell(name, each) for name, each in says.items())


def predict(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file of any format.")],
    pictures: Annotated[list[Path], typer.Argument(help="Picture files; videos, of a model of clips.")],
    labels: Labels = None,
    gallery: Annotated[Path | None, typer.Option(help="A gallery: says who it is, or unknown.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A folder for masks, boxes, strips of videos, and where a run looked.")
    ] = None,
    crop: Crop = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds of a video that an answer is of; a training clip's where left out.")
    ] = None,
    views: Annotated[int, typer.Option(help="Looks at each picture, mirrored and nearer; their mean answers.")] = 1,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Say what a model sees in picture files, and when what happens in videos."""
    check_paths(model, *pictures)
    from keras_transfer import workflow

    if trust:
        workflow.trust(model)
    options: dict[str, Any] = {"output": output, "gallery": gallery, "window": window, "crop": crop, "views": views}
    with progress() as listener:
        predictions = workflow.predict(model, pictures, labels=labels_of(labels), listener=listener, **options)
    if as_json:
        print_json([row for said in predictions for row in ([said.flat] if said.results is None else said.results)])
        return
    timed = [said for said in predictions if len(said.says.get("windows", ())) > 1]
    shown = _segments(predictions) if timed else [{"picture": said.picture, **_told(said.says)} for said in predictions]
    table = Table(*(name.removesuffix("_name").replace("_", " ") for name in shown[0]))
    for row in shown:
        table.add_row(*(_cell(name, each) for name, each in row.items()))
    show(table)
    if output:
        out.print(f"{sum(len(said.files) for said in predictions)} files in {output}")


def _told(says: Mapping[str, Any]) -> dict[str, Any]:
    """What a person is told of a picture, or of a video that is one clip: its times and parts say no more of it."""
    left_out = OF_VIDEOS if "windows" in says else ()
    return {name: each for name, each in says.items() if not isinstance(each, dict) and name not in left_out}


def _segments(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """A row for each segment of each video."""
    return [
        {
            "video": said.picture,
            **{edge: f"{each[edge]:.1f} s" for edge in ("start", "end")},
            **{name: each[name] for name in ("class_name", "probability")},
        }
        for said in predictions
        for each in said.segments
    ]


def _cell(name: str, said: object) -> str:
    """What is said as a cell of a table: a share in percent, several labels with commas between them."""
    if isinstance(said, float):
        return f"{said:.3f}" if name in ("cosine", "threshold") else f"{said:.1%}"
    return _listed(said) if isinstance(said, list) else str(said)


def _listed(said: list[Any]) -> str:
    return f"{len(said)} numbers" if said and isinstance(said[0], float) else ", ".join(map(str, said)) or "-"


def gallery(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file that gives embeddings.")],
    folder: Annotated[Path, typer.Argument(help="Pictures: a folder for each name.")],
    file: Annotated[
        Path | None, typer.Option(help="Where the gallery is kept; gallery.npz of the run otherwise.")
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add to whom the gallery knows already.")] = False,
    crop: Crop = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Note who is who, so that predict --gallery can say it; nothing is trained."""
    check_paths(model, folder)
    from keras_transfer import workflow

    if trust:
        workflow.trust(model)
    with progress() as listener:
        path = workflow.gallery(model, folder, file=file, add=add, crop=crop, listener=listener)
    if as_json:
        print_json({"gallery": str(path)})
        return
    out.print(f"Gallery: {path}")
    suggest("predict", model, "PICTURE.jpg", "--gallery", path)
