"""The verbs that measure before or instead of training: advice, and what transfer saves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keras_transfer import runs
from keras_transfer.cli.options import Backbone, ImageSize, Json, SourceArgument, Task, check_source, of_task
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import explain, out, plain, print_json, score, show, suggest
from keras_transfer.errors import UsageError

if TYPE_CHECKING:
    from keras_transfer.workflow import Advice

RANKING = {
    "backbone": "",
    "probe": "share of the pictures that a linear classifier on the frozen features gets right",
    "LogME": "how well the features explain the labels; more is better, between backbones of one table",
    "H-score": "how far the features set classes apart; more is better, likewise",
    "MB": "size as it would be shipped",
    "ms/picture": "time of the frozen backbone on this machine",
    "obstacle": "",
}
"""What stands over the columns of the backbones that were measured, and what it means."""


def advise(
    source: SourceArgument,
    backbone: Annotated[list[str] | None, typer.Option(help="Choose among these; repeat for several.")] = None,
    max_mb: Annotated[float | None, typer.Option(min=0.01, help="Largest file that the device allows.")] = None,
    max_ms: Annotated[float | None, typer.Option(min=0.001, help="Longest time for a picture, in LiteRT here.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="The model will be quantized to full int8.")] = False,
    task: Task = "classification",
    image_size: ImageSize = None,
    write: Annotated[Path | None, typer.Option(help="Write the plan to this TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Look at the pictures before anything is trained: which backbone, which blocks, how fast, and why."""
    check_source(source)
    from keras_transfer import workflow
    from keras_transfer.workflow import Limits

    limits = Limits(max_mb=max_mb, max_ms=max_ms, int8=int8)
    with progress() as listener:
        advice = workflow.advise(
            source,
            task=task,
            names=backbone or (),
            limits=limits,
            image_size=image_size,
            write=write,
            listener=listener,
        )
    if as_json:
        print_json(advice.model_dump(mode="json"))
        return
    _show(advice)
    if write:
        suggest("train --plan", write)
        return
    chosen = ("--backbone", *backbone) if backbone and len(backbone) == 1 else ()
    size = () if image_size is None else ("--image-size", image_size)
    suggest("train", source, "--auto", *of_task(task), *chosen, *size)


def _show(advice: Advice) -> None:
    """Print what was measured, what was decided and why, and what training will cost."""
    ranking = Table(*RANKING, title="features as they are")
    for row in advice.ranking:
        scores = (f"{row.probe_accuracy:.1%}" if row.probe_accuracy is not None else "-", score(row.logme))
        cost = (f"{row.size_mb:.1f}", f"{row.picture_ms:.1f}", plain(row.obstacle))
        ranking.add_row(row.backbone, *scores, score(row.h_score), *cost)
    if advice.ranking:
        show(ranking)
        explain({name: meaning for name, meaning in RANKING.items() if meaning})
    reasons = Table("decision", "why", show_lines=True)
    for reason in advice.reasons:
        reasons.add_row(reason.topic, plain(reason.sentence))
    for sentence in advice.unknown:
        reasons.add_row("unknown", plain(sentence))
    show(reasons)
    out.print(f"measured in {advice.seconds:.0f} s")
    for each in advice.alternatives:
        out.print(plain(each.sentence), soft_wrap=not out.is_terminal, highlight=False)


def bench_transfer(
    source: SourceArgument,
    per_class: Annotated[str, typer.Option(help="Labelled pictures of each class.")] = "5,10,25,50,100,all",
    seeds: Annotated[int, typer.Option(min=1, help="How many different draws of those pictures.")] = 2,
    backbone: Backbone = "EfficientNetLite0",
    plot: Annotated[Path | None, typer.Option(help="Write the curve to this SVG file.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run folder whose report is to show it.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="JSON file of rows: those in it are kept, those measured are added.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy against the number of labels: transfer, a linear probe, and from scratch for as long."""
    try:
        counts = [None if each == "all" else int(each) for each in per_class.split(",")]
    except ValueError:
        raise UsageError(f"--per-class takes numbers and 'all', such as 5,25,all. Received: '{per_class}'") from None
    check_source(source)
    keep = runs.open_run(run) if run else None
    from keras_transfer import workflow

    with progress() as listener:
        compared = workflow.bench_transfer(
            source,
            per_class=counts,
            seeds=range(seeds),
            backbone=backbone,
            plot=plot,
            keep=keep,
            resume=resume,
            listener=listener,
        )
    if as_json:
        print_json({"rows": compared.rows, "sentence": compared.sentence})
        return
    table = Table("pictures/class", "method", "seed", "accuracy", "seconds", "CPU-seconds", title=f"{seeds} seeds")
    for row in compared.rows:
        figures = (f"{row['accuracy']:.1%}", f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}")
        table.add_row(str(row["per_class"]), row["method"], str(row["seed"]), *figures)
    show(table)
    out.print(plain(compared.sentence), soft_wrap=not out.is_terminal, highlight=False)
