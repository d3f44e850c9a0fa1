"""The verb that opens a page on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_transfer import runs
from keras_transfer.cli.options import Folder, Json, Task, check_paths
from keras_transfer.cli.showing import err, out, plain, print_json

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Variables of which one is set where a window can be opened, on systems that may have no screen."""


def studio(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE|RUN]", help="Pictures, or a run; collected there where left out.")
    ] = None,
    task: Task = "classification",
    host: Annotated[
        str, typer.Option(help="Address to listen on; whoever reaches one other than loopback reaches the page.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any that is free.")] = 7878,
    modules: Annotated[
        Path | None, typer.Option("--modules", metavar="FOLDER", help="A node_modules folder for bundles.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Open a page here where people collect pictures, mend labels, train, try and ship; Ctrl-C closes it."""
    if modules:
        check_paths(modules)
    from keras_transfer import workflow

    def opened(address: str) -> None:
        if as_json:
            print_json({"address": address})
            sys.stdout.flush()  # whoever reads it does not wait until the studio ends
        else:
            out.print(plain(address), soft_wrap=True, highlight=False)
        err.print("[dim]Ctrl-C closes the studio; a training that it began goes on.[/]")
        if browser and _has_screen():
            import webbrowser

            webbrowser.open(address)

    if warning := workflow.said_of_host(host):
        err.print(f"[yellow]{plain(warning)}[/]", soft_wrap=True, highlight=False)
    workflow.studio(source, task=task, folder=folder, modules=modules, host=host, port=port, opened=opened)


def _has_screen() -> bool:
    """Whether a browser would be a window: elsewhere it takes over the terminal, or the output that another reads."""
    return sys.stdout.isatty() and (sys.platform != "linux" or any(map(os.environ.get, SCREENS)))
