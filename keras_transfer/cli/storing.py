"""The verb that computes features of frozen parts ahead of training."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from keras_transfer import plan as plans
from keras_transfer.cli.options import (
    BackboneOfPlan,
    BatchSize,
    CacheFolder,
    CacheLimit,
    Engine,
    ImageSize,
    Json,
    Ray,
    Seed,
    SourceArgument,
    Strict,
    TaskOfPlan,
    Workers,
    check_source,
    check_workers,
    given,
    limit_bytes,
)
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import err, plain, print_json, show, suggest


def features(
    source: SourceArgument,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the plan: aspect=crop balance=weights")
    ] = None,
    backbone: BackboneOfPlan = None,
    recipe: Annotated[str | None, typer.Option(help="A named list of stages.")] = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    task: TaskOfPlan = None,
    engine: Engine = "auto",
    strict: Strict = False,
    ray: Ray = None,
    workers: Workers = None,
    cache_folder: CacheFolder = None,
    cache_limit: CacheLimit = None,
    as_json: Json = False,
) -> None:
    """Compute what training takes from the store before it begins: here, or with --ray on many machines at once."""
    check_source(source)
    check_workers(ray, workers)
    numbers = {"image_size": image_size, "batch_size": batch_size, "seed": seed}
    values = given(data=source, backbone=backbone, recipe=recipe, task=task, **numbers)
    plan = plans.make(plans.override(values, keys or ()))
    from keras_transfer import workflow

    with progress() as listener:
        stored = workflow.features(
            plan,
            engine=engine,
            strict=strict,
            ray=ray,
            workers=workers,
            cache_folder=cache_folder,
            cache_limit_bytes=limit_bytes(cache_limit),
            listener=listener,
        )
    if as_json:
        print_json([each.model_dump(mode="json") for each in stored])
        return
    if not stored:
        err.print("Nothing is stored: training streams the pictures of all stages.", highlight=False)
    table = Table("stage", "split", "view", "pictures", "MB", "engine")
    for each in stored:
        size = f"{each.size_bytes / 1e6:.1f}"
        table.add_row(plain(each.stage), each.split, str(each.view), str(each.pictures), size, each.engine)
    show(table)
    suggest("train", source, *(f"{name}={value}" for name, value in values.items() if name != "data"), *(keys or ()))
