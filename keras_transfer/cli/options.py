"""Options and arguments that several verbs take, said once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_transfer import runs
from keras_transfer.errors import DataError, RunError, UsageError
from keras_transfer.files import read_text
from keras_transfer.specs import Plan, Run

SourceArgument = Annotated[
    str, typer.Argument(help="A folder of class folders, a table, 'sample:fashion', or another source.")
]
BACKBONE = "A row of: keras-transfer backbones"
Backbone = Annotated[str, typer.Option(help=BACKBONE)]
BackboneOfPlan = Annotated[str | None, typer.Option("--backbone", help=BACKBONE)]
TASK = "What is learned: classification, multilabel, segmentation, detection, embedding or clips."
Task = Annotated[str, typer.Option("--task", help=TASK)]
TaskOfPlan = Annotated[str | None, typer.Option("--task", help=TASK)]
ImageSize = Annotated[int | None, typer.Option(help="Side of a picture in pixels.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Pictures per step.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of everything that is drawn by chance.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else there.")
]
Folder = Annotated[Path, typer.Option("--folder", help="Where runs are kept.", show_default=True)]
MaxDrop = Annotated[
    float | None, typer.Option("--max-drop", min=0, help="Points of accuracy that whole-number files may lose.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Open a SavedModel from elsewhere, which can read and write your files.")
]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="Class names, one a line, of a model that does not carry them.")
]
Engine = Annotated[str, typer.Option(help="Who computes frozen parts: auto, litert, onnxruntime, keras, stream.")]
Strict = Annotated[bool, typer.Option("--strict", help="A picture that cannot be read ends the run.")]
CacheFolder = Annotated[
    Path | None, typer.Option(help="Where features of frozen parts are kept, else $KERAS_TRANSFER_CACHE.")
]
CacheLimit = Annotated[float | None, typer.Option(min=0, metavar="GB", help="What they may take there; 0 keeps none.")]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Run it on a Ray: local, auto for the one here, or HOST:PORT."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes that --ray starts.")]
RunArgument = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder; the newest where left out.")]


def run_of(run: Path | None, folder: Path) -> Run:
    """Return the run that was named, else the newest of `folder`; UsageError where runs of several sources are there.

    What the newest is then depends on what was trained between two commands, and nobody should export the wrong one.
    """
    if run:
        return runs.open_run(run)
    finished = []
    for record in folder.glob(f"*/{runs.RECORD}"):
        with suppress(RunError):
            finished.append(runs.open_run(record.parent))
    finished = [each for each in finished if each.record.finished]
    if len({each.record.plan.data for each in finished}) > 1:
        names = ", ".join(sorted(str(each.folder) for each in finished)[:6])
        raise UsageError(
            f"'{folder}' holds runs of several sources. Which? Name one: {names}. See: keras-transfer runs"
        )
    return runs.latest(folder)


def check_source(source: str) -> str:
    """Return `source` where pictures can be there; refuse a typo of a path before anything heavy is imported."""
    from keras_transfer import workflow

    workflow.recognised(source)
    return source


def given(**keys: Any) -> dict[str, Any]:
    """Return the keys of a plan that were said, by name; those that are None were not.

    >>> given(data="pets", seed=None)
    {'data': 'pets'}
    """
    return {key: value for key, value in keys.items() if value is not None}


def check_workers(ray: str | None, workers: int | None) -> None:
    """Refuse a number of workers where nobody starts them."""
    if workers and ray is None:
        raise UsageError(
            "--workers is how many processes --ray starts: name one with --ray local, or --ray HOST:PORT. On machines "
            "without Ray, TF_CONFIG says who takes part."
        )


def limit_bytes(gigabytes: float | None) -> int | None:
    """Return what `--cache-limit` says, in bytes."""
    return None if gigabytes is None else int(gigabytes * 1e9)


def of_task(task: str) -> tuple[str, ...]:
    """Return the words that name a task in a command; none where it is what a command takes without them."""
    return () if task == Plan.model_fields["task"].default else ("--task", task)


def check_paths(*paths: Path) -> None:
    """Refuse paths that lead nowhere before anything heavy is imported."""
    for path in paths:
        if not path.exists():
            raise DataError(f"There is no file or folder at '{path}'.")


def labels_of(path: Path | None) -> tuple[str, ...] | None:
    """Return the class names of a text file, one a line; None where no file was named."""
    if path is None:
        return None
    try:
        return tuple(read_text(path).splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels takes a text file with a class name on each line. '{path}': {error}") from None
