"""Joins the studio with what its page shows: which pictures or run are meant, how they are listed and decoded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_transfer import runs
from keras_transfer.backbones import registry
from keras_transfer.bundles import targets
from keras_transfer.data import mending, sources
from keras_transfer.data.decoding import upright_rgb
from keras_transfer.errors import KerasTransferError, UsageError
from keras_transfer.evaluation.intervals import spread_of
from keras_transfer.export.formats import FORMATS
from keras_transfer.files import expanded
from keras_transfer.specs import Plan
from keras_transfer.studio.given import Given, Offered
from keras_transfer.training import recipes
from keras_transfer.workflow.tasks import TASKS, task_of

COLLECTED = "pictures"
"""What a data set is called that people begin by collecting."""
OWN = "-studio"
"""Ends the name of the table and the folder that a studio writes beside the pictures."""
MENDED = "classification"
"""The task whose labels are mended on the page."""


def studio(
    source: str | None = None,
    *,
    task: str = MENDED,
    folder: Path = runs.DEFAULT_FOLDER,
    modules: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    opened: Callable[[str], None] = print,
) -> None:
    """Open a page on this machine where people collect, mend, train, try and ship; returns when it is stopped.

    source: pictures, or the folder of a run; where it is left out they are collected into `pictures-studio/` here.
    task: of the pictures; labels are mended of one class a picture. folder: of the runs. modules: a `node_modules`
    folder that bundles take packages from. host, port: of the page, loopback where left out. opened: is given the
    address with its token once the page is there.
    Raises UsageError where the packages of the extra `studio` are not there or the port is taken.
    """
    _check_packages()
    from keras_transfer.studio import server

    given = given_for(source, task=task, folder=folder, modules=modules)
    server.serve(
        given,
        host=server.HOST if host is None else host,
        port=server.PORT if port is None else port,
        opened=opened,
    )


def given_for(source: str | None, *, task: str = MENDED, folder: Path, modules: Path | None = None) -> Given:
    """Return what a studio for these pictures, or this run, is given."""
    run, folder, task = _run_in(source, folder, task)
    if run is not None:
        source = sources.of_run(runs.open_run(run))
    merit_name, beside = task_of(task).merit_name, _beside(source)
    common: dict[str, Any] = {
        "decode": upright_rgb,
        "task": task,
        "merit_name": merit_name,
        "spread": spread_of,
        "runs_folder": folder,
        "run": run,
        "command": (sys.executable, "-m", "keras_transfer"),
        "modules": modules,
        "backbones": tuple(row.name for row in registry.select((), (), None)),
        "recipes": tuple(recipes.RECIPES),
        "settled": _settled(task),
        "formats": _formats(),
        "targets": _targets(),
        "beside": beside,
        "name": beside.name.removesuffix(OWN),
    }
    if source is None:
        return Given(source=str(beside.with_name(f"{beside.name}.csv")), **common)
    named = source
    return Given(source=named, listed=lambda: mending.listed(named), why_not=_why_not(named, task, run), **common)


def _run_in(source: str | None, folder: Path, task: str) -> tuple[Path | None, Path, str]:
    """The run that was named in place of pictures, the folder it stands in, and its task."""
    if source is None or not (Path(source) / runs.RECORD).is_file():
        return None, folder, task
    place = Path(source)
    return folder / place.name if place.parent == folder else place, place.parent, runs.open_run(place).record.plan.task


def _beside(source: str | None) -> Path:
    """Where a studio keeps what people decide: beside the folder or the table, above all its pictures."""
    if source is None:
        return Path(COLLECTED + OWN)
    path = expanded(source)
    if not path.exists():  # sample:NAME, tfds:NAME
        return Path("".join(each if each.isalnum() else "-" for each in source)[:60] + OWN)
    path = path if path.name not in ("", "..") else path.absolute()
    return path.with_name((path.stem if path.is_file() else path.name) + OWN)


def _settled(task: str) -> dict[str, str]:
    """What a training of a task takes where a person leaves it open."""
    own = task_of(task).defaults
    return {name: own.get(name, Plan.model_fields[name].default) for name in ("backbone", "recipe")}


def _formats() -> tuple[Offered, ...]:
    """What the table of formats has, those that are a pair of files for the tasks whose models can be made two."""
    whole = tuple(TASKS)
    in_two = tuple(name for name, row in TASKS.items() if row.halve)
    return tuple(Offered(name, row.title, in_two if row.halved else whole) for name, row in FORMATS.items())


def _targets() -> tuple[Offered, ...]:
    return tuple(Offered(name, row.title, row.tasks) for name, row in targets.TARGETS.items())


def _why_not(source: str, task: str, run: Path | None) -> str:
    """Why the labels of these pictures are not mended on the page; empty where they are."""
    if task != MENDED:
        return f"Pictures of {task} are trained on as they are: here labels are mended where a picture has one class."
    try:
        mending.check(source)
    except KerasTransferError as error:
        if run is None and not isinstance(error, UsageError):
            raise
        return str(error)
    return ""


def said_of_host(host: str) -> str:
    """Return what a person must know of a page that is opened at a host; empty of loopback."""
    from keras_transfer.studio import server

    return server.said_of(host)


def _check_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UsageError("The studio needs two packages: pip install 'keras-transfer[studio]'") from None
