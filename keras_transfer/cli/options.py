"""Options and arguments that several verbs take, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_transfer import runs
from keras_transfer.errors import UsageError
from keras_transfer.specs import Run

Source = Annotated[str, typer.Argument(help="A folder of class folders, a table, 'sample:fashion', or another source.")]
BACKBONE = "A row of: keras-transfer backbones"
Backbone = Annotated[str, typer.Option(help=BACKBONE)]
BackboneOfPlan = Annotated[str | None, typer.Option("--backbone", help=BACKBONE)]
ImageSize = Annotated[int | None, typer.Option(help="Side of a picture in pixels.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else there.")
]
Folder = Annotated[Path, typer.Option("--folder", help="Where runs are kept.", show_default=True)]
MaxDrop = Annotated[
    float | None, typer.Option("--max-drop", min=0, help="Points of accuracy that whole-number files may lose.")
]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="Class names, one a line, of a model that does not carry them.")
]
RunArgument = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder; the newest where left out.")]


def run_of(run: Path | None, folder: Path) -> Run:
    """Return the run that was named, else the newest of `folder`."""
    return runs.open_run(run) if run else runs.latest(folder)


def labels_of(path: Path | None) -> tuple[str, ...] | None:
    """Return the class names of a text file, one a line; None where no file was named."""
    if path is None:
        return None
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels takes a text file with a class name on each line. '{path}': {error}") from None
