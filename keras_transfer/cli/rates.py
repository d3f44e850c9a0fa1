"""The verb that looks for a learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_transfer import plan as plans
from keras_transfer.cli.options import (
    BackboneOfPlan,
    BatchSize,
    ImageSize,
    Json,
    Seed,
    SourceArgument,
    TaskOfPlan,
    check_source,
    given,
)
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import out, print_json


def lr_find(
    source: SourceArgument,
    stage: Annotated[str | None, typer.Option(help="Of the recipe; the first where left out.")] = None,
    backbone: BackboneOfPlan = None,
    recipe: Annotated[str | None, typer.Option(help="A named list of stages.")] = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    task: TaskOfPlan = None,
    plot: Annotated[Path | None, typer.Option(help="Write the curve of losses to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Raise the learning rate step by step, watch the loss, and say which rate learns fastest without harm."""
    check_source(source)
    drawn = {"batch_size": batch_size, "seed": seed, "task": task}
    plan = plans.make(given(data=source, backbone=backbone, recipe=recipe, image_size=image_size, **drawn))
    from keras_transfer import workflow

    with progress() as listener:
        curve = workflow.lr_find(plan, stage=stage, plot=plot, listener=listener)
    if as_json:
        print_json({"rates": list(curve.rates), "losses": list(curve.losses), "suggestion": curve.suggestion})
        return
    seen = f"; the curve is in {plot}" if plot else ""
    out.print(
        f"The loss falls fastest at a learning rate of {curve.suggestion:.1e} ({len(curve.rates)} rates tried){seen}."
    )
