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
from keras_transfer.errors import UsageError


def suggest(
    run: Annotated[Path, typer.Argument(help="A run folder, trained on what is labelled so far.")],
    unlabelled: Annotated[Path | None, typer.Argument(help="A folder of pictures without labels.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many to name.")] = 50,
    write: Annotated[
        Path | None,
        typer.Option(help="Write a .csv whose last labels are to be filled in: in that folder or above it."),
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails.")] = None,
    after: Annotated[Path | None, typer.Option(help="A run on more labels: say what they brought.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn by chance.")] = 0,
    as_json: Json = False,
) -> None:
    """Name the pictures whose labels would teach a model most: typical ones at first, then those it is torn over."""
    if (unlabelled is None) == (after is None):
        raise UsageError("Name UNLABELLED, a folder of pictures to choose from, or --after, a run on more labels.")
    check_paths(run, *filter(None, (unlabelled, after)))
    from keras_transfer import workflow

    if unlabelled is None or after is not None:
        _tell_what_they_brought(run, after, as_json)
        return
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
    if write and not found.whole:
        beside = "the pictures of the run are not all below its folder"
        out.print(plain(f"{write} holds the new pictures alone: {beside}."), soft_wrap=not out.is_terminal)
    if write:
        showing.suggest("train", write)
    else:
        words = ("--count", count, "--write", unlabelled / "to-label.csv")
        showing.suggest("suggest", run, unlabelled, *words)


def _tell_what_they_brought(before: Path, after: Path | None, as_json: bool) -> None:
    from keras_transfer import workflow

    assert after is not None
    with progress() as listener:
        found = workflow.brought(before, after, listener=listener)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        out.print(plain(found.sentence), soft_wrap=not out.is_terminal, highlight=False)
