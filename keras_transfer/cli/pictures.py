"""The verbs about pictures alone: what is wrong with them, and how fast they come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_transfer.cli.options import Backbone, ImageSize, Json, SourceArgument, Task, check_source, of_task
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import out, plain, print_json, show, suggest


def doctor(
    source: SourceArgument,
    task: Task = "classification",
    labels: Annotated[bool, typer.Option(help="Judge labels by a linear probe on ImageNet features.")] = True,
    write: Annotated[
        Path | None, typer.Option(help="Write what is clean: a .csv or .parquet manifest, else TFRecord shards.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails.")] = None,
    augmented: Annotated[
        Path | None, typer.Option("--show-augment", help="Write a PNG of what augmentation does.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at every picture once: what is broken, doubled, leaked, odd or mislabelled."""
    check_source(source)
    from keras_transfer import workflow

    with progress() as listener:
        found = workflow.doctor(
            source, task=task, labels=labels, write=write, page=page, augmented=augmented, listener=listener
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    counts = ", ".join(f"{name} {count}" for name, count in found.counts.items())
    out.print(f"{counts}; {len(found.classes)} classes; shorter side {found.sizes['median']} pixels in the middle")
    kinds = dict.fromkeys(finding.kind for finding in found.findings)
    table = Table("finding", "times", "for example")
    for kind in kinds:
        findings = found.of(kind)
        table.add_row(kind, str(len(findings)), plain(findings[0].message))
    show(table) if kinds else out.print("Nothing is wrong.")
    suggest("train", write or source, *of_task(task))


def bench_input(
    source: SourceArgument,
    task: Task = "classification",
    image_size: ImageSize = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 32,
    augment: Annotated[
        str, typer.Option(help="none, light, light_no_flip, scenes, standard or strong, each also with +clients.")
    ] = "none",
    backbone: Backbone = "EfficientNetLite0",
    as_json: Json = False,
) -> None:
    """Pictures per second, the share of a training step spent waiting for them, and what limits it."""
    check_source(source)
    from keras_transfer import workflow

    with progress() as listener:
        found = workflow.bench_input(
            source,
            task=task,
            image_size=image_size,
            batch_size=batch_size,
            augment=augment,
            backbone=backbone,
            listener=listener,
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    table = Table("at", "pictures/s")
    for name, rate in (
        ("reading files", found.reading),
        ("first epoch: read, decoded, augmented", found.first_epoch),
        ("later epochs: from memory, augmented", found.later_epochs),
        ("from memory as they are", found.unaugmented),
    ):
        table.add_row(name, "-" if rate is None else f"{rate:,.0f}")
    show(table)
    waiting = "" if found.waiting_share is None else f"; a training step waits {found.waiting_share:.0%} of its time"
    out.print(f"First batch after {found.first_batch_ms:,.0f} ms{waiting}. Limited by {found.limited_by}.")
