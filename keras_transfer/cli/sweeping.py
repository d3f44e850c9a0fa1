"""The verb that trains a grid of plans and compares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.cli.live import live
from keras_transfer.cli.options import (
    Folder,
    Json,
    Ray,
    SourceArgument,
    TaskOfPlan,
    Workers,
    check_source,
    check_workers,
    given,
)
from keras_transfer.cli.showing import explain, plain, print_json, show, suggest
from keras_transfer.errors import UsageError

if TYPE_CHECKING:
    from keras_transfer.workflow import Swept

Each = TypeVar("Each")

COLUMNS = {
    "run": "",
    "stages": "those that were trained; with …, others were ahead and the rest was left out",
    "validation": "share by which trials are compared, on pictures that are not trained on",
    "test": "what it is worth on pictures that had no say",
    "MB": "size of its float TFLite file",
    "ms/picture": "time of that file for a picture, on this machine",
    "seconds": "of training",
    "best": "*: no other trial is at least as good in validation, MB, ms/picture and seconds, and better in one",
}
"""What stands over the columns, and what it means."""


def sweep(
    source: SourceArgument,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of every plan: batch_size=16")
    ] = None,
    backbones: Annotated[str, typer.Option(help="Rows of: keras-transfer backbones, with commas.")] = (
        "EfficientNetLite0"
    ),
    recipes: Annotated[str, typer.Option(help="Named lists of stages, with commas: head,head_then_top")] = (
        "head_then_top"
    ),
    sizes: Annotated[str | None, typer.Option(help="Sides of a picture in pixels, with commas.")] = None,
    seeds: Annotated[str, typer.Option(help="Numbers, with commas.")] = "0",
    keep: Annotated[float, typer.Option(help="Share of the trials that goes on after each stage.")] = 0.5,
    task: TaskOfPlan = None,
    ray: Ray = None,
    workers: Workers = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Train every combination as a run of its own, leave behind what is behind after a stage, and compare."""
    check_source(source)
    check_workers(ray, workers)
    asked: dict[str, Any] = {
        "backbones": _listed(backbones, str, "--backbones"),
        "recipes": _listed(recipes, str, "--recipes"),
        "sizes": _listed(sizes, int, "--sizes") if sizes else (None,),
        "seeds": _listed(seeds, int, "--seeds"),
        "options": plans.override(given(task=task), keys or ()),
        "ray": ray,
        "workers": workers,
    }
    from keras_transfer import workflow

    with live() as listener:
        swept = workflow.sweep(source, **asked, keep=keep, folder=folder, listener=listener)
    if as_json:
        print_json(swept.model_dump(mode="json"))
        return
    _show(swept)
    best = max(swept.trials, key=lambda row: row.validation_merit)
    suggest("report", folder / best.run)


def _listed(text: str, kind: Callable[[str], Each], option: str) -> tuple[Each, ...]:
    """Return what stands between commas."""
    try:
        return tuple(kind(each.strip()) for each in text.split(",") if each.strip())
    except ValueError:
        raise UsageError(f"{option} takes numbers with commas between them. Received: '{text}'") from None


def _show(swept: Swept) -> None:
    table = Table(*COLUMNS, title=f"{swept.merit_name} of {len(swept.trials)} trials")
    for row in swept.trials:
        worth: tuple[Any, ...] = (f"{row.validation_merit:.1%}", f"{row.test_merit:.1%}")
        cost = (f"{row.size_bytes / 1e6:.1f}", f"{row.latency_ms:.2f}", f"{row.seconds:.0f}")
        stages = ", ".join(row.stages) + (", …" if row.stopped else "")
        table.add_row(plain(row.run), plain(stages), *worth, *cost, "*" if row.pareto else "")
    show(table)
    explain({name: meaning for name, meaning in COLUMNS.items() if meaning})
