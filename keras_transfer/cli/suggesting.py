"""The verb that says which pictures are worth labelling next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_transfer.cli import showing
from keras_transfer.cli.options import Json, check_paths
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import out, plain, print_json, show


def suggest(
    run: Annotated[Path, typer.Argument(help="A run folder, trained on what is labelled so far.")],
    unlabelled: Annotated[Path, typer.Argument(help="A folder of pictures without labels.")],
    count: Annotated[int, typer.Option(min=1, help="How many to name.")] = 50,
    write: Annotated[
        Path | None, typer.Option(help="Write a .csv of path and label to fill in, in that folder or above it.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn by chance.")] = 0,
    as_json: Json = False,
) -> None:
    """Name the pictures whose labels would teach a model most: typical ones at first, then those it is torn over."""
    check_paths(run, unlabelled)
    from keras_transfer import workflow

    with progress() as listener:
        found = workflow.suggest(run, unlabelled, count=count, write=write, page=page, seed=seed, listener=listener)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    table = Table("picture", "taken for", "probability", "why")
    for each in found.suggestions:
        table.add_row(plain(each.picture), plain(each.class_name), f"{each.probability:.0%}", plain(each.why))
    show(table)
    left_out = f"; {found.copies} show what the run has already" if found.copies else ""
    told = f"{len(found.suggestions)} of {found.unlabelled} pictures{left_out}. {found.sentence}."
    out.print(plain(told), soft_wrap=not out.is_terminal, highlight=False)
    if write:
        showing.suggest("train", write)
    else:
        words = ("--count", count, "--write", unlabelled / "to-label.csv")
        showing.suggest("suggest", run, unlabelled, *words)
