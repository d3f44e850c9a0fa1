"""The verb that writes the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_transfer import runs
from keras_transfer.cli.options import Folder, Json, run_of
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import out, print_json


def report(
    run: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Several are set side by side.")] = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write one HTML file that tells a person what a run is worth, with its model card."""
    opened = [runs.open_run(each) for each in run] if run else [run_of(None, folder)]
    from keras_transfer import workflow

    with progress() as listener:
        path = workflow.report_of(opened, listener=listener)
    if as_json:
        print_json({"report": str(path), "model_card": str(path.parent / "MODEL_CARD.md")})
    else:
        out.print(f"{path}\n{path.parent / 'MODEL_CARD.md'}")
