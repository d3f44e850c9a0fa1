"""The verb that packs a proven file for where it will be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_transfer import runs
from keras_transfer.cli.options import Folder, Json, RunArgument, run_of
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import err, out, plain, print_json


def bundle(
    run: RunArgument = None,
    target: Annotated[
        str,
        typer.Option("--for", metavar="TARGET", help="python, web, node, server, android or ios.", show_default=False),
    ] = ...,  # type: ignore[assignment]
    file: Annotated[
        Path | None, typer.Option("--file", help="An exported file; the smallest proven one where left out.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the bundle and its packages; the run's.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="A folder to write to; RUN/bundles.")] = None,
    modules: Annotated[
        Path | None, typer.Option("--modules", metavar="FOLDER", help="A node_modules folder to take packages from.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option("--gallery", help="A gallery that a web page for embeddings compares with.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Take a file that was set aside or not proven.")] = False,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Pack a proven file with labels, golden pictures and a self-test: a folder and a zip that need no network."""
    opened = run_of(run, folder)
    from keras_transfer import workflow

    with progress() as listener:
        made = workflow.bundle(
            opened,
            target,
            file=file,
            name=name,
            output=output,
            modules=modules,
            gallery=gallery,
            force=force,
            listener=listener,
        )
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    size = f"{made.size_bytes / 1e6:.1f} MB, {made.artifact.path.name}, {made.golden} golden pictures"
    out.print(f"{plain(str(made.folder))}  ({size})", soft_wrap=True, highlight=False)
    out.print(plain(str(made.packed)), soft_wrap=True, highlight=False)
    err.print(f"[dim]next:[/] {plain(str(made.folder / 'README.md'))}", soft_wrap=True, highlight=False)
