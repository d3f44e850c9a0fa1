"""Talks to people: arguments in, tables, progress and JSON out; the work is done by `workflow`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.errors import StoppedError, UsageError
from keras_transfer.specs import BackboneSpec, Event, Listener, Run

if TYPE_CHECKING:
    from keras_transfer.workflow import Candidate, Verified

app = typer.Typer(
    name="keras-transfer",
    help="A few hundred pictures in, proven SavedModel, TFLite and ONNX files out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Add --debug to any command to see where an error comes from.",
)

PIPE_WIDTH = 120
"""Columns of a table where the output is no terminal that has a width of its own."""


def _console(stream: IO[str]) -> Console:
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


out = _console(sys.stdout)
err = _console(sys.stderr)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else there.")
]
Folder = Annotated[Path, typer.Option("--folder", help="Where runs are kept.", show_default=True)]
MaxDrop = Annotated[
    float | None, typer.Option("--max-drop", min=0, help="Points of accuracy that whole-number files may lose.")
]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="Class names, one a line, of a model that does not carry them.")
]
RunArgument = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder; the newest where left out.")]


@app.command()
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE] [KEY=VALUE]...", help="Pictures, and keys of the plan: seed=3 batch_size=16"),
    ] = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="A plan as a TOML file.")] = None,
    backbone: Annotated[str | None, typer.Option(help="A row of: keras-transfer backbones")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, a weights file, or none.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A named list of stages: head, head_then_top, …")] = None,
    compare: Annotated[str | None, typer.Option(help="scratch: also train from random weights, as long.")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Measure first and train what is advised.")] = False,
    run: Annotated[str | None, typer.Option("--run", help="Name of the run folder.")] = None,
    engine: Annotated[
        str, typer.Option(help="Who computes frozen parts: auto, litert, onnxruntime, keras, stream.")
    ] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="A picture that cannot be read ends the run.")] = False,
    data_service: Annotated[
        str | None, typer.Option(help="Address of a tf.data service that decodes: grpc://host:port")
    ] = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Train on a folder of class folders (or another SOURCE), stage by stage; goes on where a run was stopped."""
    sources = [each for each in arguments or () if "=" not in each or Path(each).exists()]
    if len(sources) > 1:
        raise UsageError(f"One SOURCE at a time. Received: {', '.join(sources)}")
    if not sources and plan_file is None:
        raise UsageError("Which pictures? Name a folder, 'sample:fashion', or a plan with --plan.")
    named = {"data": sources[0] if sources else None, "backbone": backbone, "weights": weights, "recipe": recipe}
    given = {key: value for key, value in named.items() if value is not None}
    overrides = [each for each in arguments or () if each not in sources]
    advice = None
    if auto and plan_file:
        raise UsageError("--auto makes the plan itself: leave --plan out, or leave --auto out.")
    if auto:
        from keras_transfer import workflow

        with _progress() as listener:
            names = [backbone] if backbone else []
            advice = workflow.advise(sources[0], names=names, listener=listener)
        advised = advice.plan.model_dump()
        if recipe:
            advised["stages"] = ()
        plan = plans.make(plans.override({**advised, **given}, overrides))
    elif plan_file is None:
        plan = plans.make(plans.override(given, overrides))
    else:
        plan = plans.make({**plans.read(plan_file, overrides).model_dump(), **given})
    from keras_transfer import workflow

    with _progress() as listener:
        done = workflow.train(
            plan,
            folder=folder,
            name=run,
            compare=compare,
            engine=engine,
            advice=advice,
            strict=strict,
            data_service=data_service,
            listener=listener,
        )
    if as_json:
        _print_json({"folder": str(done.folder), **done.record.model_dump(mode="json")})
    else:
        _show_run(done)
        _next(f"keras-transfer export {done.folder}")


@app.command()
def advise(
    source: Annotated[str, typer.Argument(help="A folder of class folders, 'sample:fashion', or another source.")],
    backbone: Annotated[list[str] | None, typer.Option(help="Choose among these; repeat for several.")] = None,
    max_mb: Annotated[float | None, typer.Option(min=0.01, help="Largest file that the device allows.")] = None,
    max_ms: Annotated[float | None, typer.Option(min=0.001, help="Longest time for a picture, in LiteRT here.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="The model will be quantized to full int8.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Side of a picture in pixels.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write the plan to this TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Look at the pictures before anything is trained: which backbone, which blocks, how fast, and why."""
    from keras_transfer import workflow
    from keras_transfer.workflow import Limits

    limits = Limits(max_mb=max_mb, max_ms=max_ms, int8=int8)
    with _progress() as listener:
        advice = workflow.advise(source, names=backbone or (), limits=limits, image_size=image_size, listener=listener)
    if as_json:
        _print_json(advice.model_dump(mode="json"))
        return
    ranking = Table("backbone", "probe", "LogME", "H-score", "MB", "ms/picture", "", title="features as they are")
    for row in advice.ranking:
        scores = (f"{row.probe_accuracy:.1%}" if row.probe_accuracy is not None else "-", _score(row.logme))
        cost = (f"{row.size_mb:.1f}", f"{row.picture_ms:.1f}", row.obstacle)
        ranking.add_row(row.backbone, *scores, _score(row.h_score), *cost)
    out.print(ranking)
    reasons = Table("decision", "why", show_lines=True)
    for reason in advice.reasons:
        reasons.add_row(reason.topic, _plain(reason.sentence))
    for sentence in advice.unknown:
        reasons.add_row("unknown", _plain(sentence))
    out.print(reasons)
    training = "" if advice.training_seconds is None else f"; training takes about {advice.training_seconds:.0f} s"
    out.print(f"measured in {advice.seconds:.0f} s{training}")
    _next(f"keras-transfer train --plan {write}" if write else f"keras-transfer train {source} --auto")


@app.command()
def report(
    run: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Several are set side by side.")] = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write one HTML file that tells a person what a run is worth, with its model card."""
    opened = [runs.open_run(each) for each in run] if run else [runs.latest(folder)]
    from keras_transfer import workflow

    with _progress() as listener:
        path = workflow.report_of(opened, listener=listener)
    if as_json:
        _print_json({"report": str(path), "model_card": str(path.parent / "MODEL_CARD.md")})
    else:
        out.print(f"{path}\n{path.parent / 'MODEL_CARD.md'}")


bench = typer.Typer(help="Measure on this machine, each figure beside a named peer.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("transfer")
def bench_transfer(
    source: Annotated[str, typer.Argument(help="A folder of class folders, or 'sample:fashion'.")],
    per_class: Annotated[str, typer.Option(help="Labelled pictures of each class.")] = "5,10,25,50,100,all",
    seeds: Annotated[int, typer.Option(min=1, help="How many different draws of those pictures.")] = 3,
    backbone: Annotated[str, typer.Option(help="A row of: keras-transfer backbones")] = "EfficientNetLite0",
    plot: Annotated[Path | None, typer.Option(help="Write the curve to this SVG file.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run folder whose report is to show it.")] = None,
    as_json: Json = False,
) -> None:
    """Accuracy against the number of labels: transfer, a linear probe, and from scratch for as long."""
    try:
        counts = [None if each == "all" else int(each) for each in per_class.split(",")]
    except ValueError:
        raise UsageError(f"--per-class takes numbers and 'all', such as 5,25,all. Received: '{per_class}'") from None
    keep = runs.open_run(run) if run else None
    from keras_transfer import workflow

    with _progress() as listener:
        compared = workflow.bench_transfer(
            source, per_class=counts, seeds=range(seeds), backbone=backbone, plot=plot, keep=keep, listener=listener
        )
    if as_json:
        _print_json({"rows": compared.rows, "sentence": compared.sentence})
        return
    table = Table("pictures/class", "method", "seed", "accuracy", "seconds", "CPU-seconds")
    for row in compared.rows:
        figures = (f"{row['accuracy']:.1%}", f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}")
        table.add_row(str(row["per_class"]), row["method"], str(row["seed"]), *figures)
    out.print(table)
    out.print(compared.sentence)


@bench.command("input")
def bench_input(
    source: Annotated[str, typer.Argument(help="A folder of class folders, or another source.")],
    image_size: Annotated[int | None, typer.Option(help="Side of a picture in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 32,
    augment: Annotated[str, typer.Option(help="none, light, standard or strong.")] = "none",
    backbone: Annotated[str, typer.Option(help="What the training step trains.")] = "EfficientNetLite0",
    as_json: Json = False,
) -> None:
    """Pictures per second, the share of a training step spent waiting for them, and what limits it."""
    from keras_transfer import workflow

    with _progress() as listener:
        found = workflow.bench_input(
            source,
            image_size=image_size,
            batch_size=batch_size,
            augment=augment,
            backbone=backbone,
            listener=listener,
        )
    if as_json:
        _print_json(found.model_dump(mode="json"))
        return
    table = Table("at", "pictures/s")
    for name, rate in (
        ("reading files", found.reading),
        ("first epoch: read, decoded, augmented", found.first_epoch),
        ("later epochs: from memory, augmented", found.later_epochs),
        ("from memory as they are", found.unaugmented),
    ):
        table.add_row(name, "-" if rate is None else f"{rate:,.0f}")
    out.print(table)
    waiting = "" if found.waiting_share is None else f"; a training step waits {found.waiting_share:.0%} of its time"
    out.print(f"First batch after {found.first_batch_ms:,.0f} ms{waiting}. Limited by {found.limited_by}.")


@app.command()
def doctor(
    source: Annotated[str, typer.Argument(help="A folder of class folders, a manifest, or another source.")],
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
    from keras_transfer import workflow

    with _progress() as listener:
        found = workflow.doctor(source, labels=labels, write=write, page=page, augmented=augmented, listener=listener)
    if as_json:
        _print_json(found.model_dump(mode="json"))
        return
    counts = ", ".join(f"{name} {count}" for name, count in found.counts.items())
    out.print(f"{counts}; {len(found.classes)} classes; shorter side {found.sizes['median']} pixels in the middle")
    kinds = dict.fromkeys(finding.kind for finding in found.findings)
    table = Table("finding", "times", "for example")
    for kind in kinds:
        findings = found.of(kind)
        table.add_row(kind, str(len(findings)), _plain(findings[0].message))
    out.print(table if kinds else "Nothing is wrong.")
    _next(f"keras-transfer train {write or source}")


@app.command()
def evaluate(
    model: Annotated[Path | None, typer.Argument(help="A run folder or a model file of any format.")] = None,
    source: Annotated[str | None, typer.Argument(help="Pictures; those of the run where left out.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Say what a model is worth on a split: accuracy, calibration, the classes it confuses."""
    if split not in ("train", "validation", "test"):
        raise UsageError(f"--split takes train, validation or test. Received: '{split}'")
    model = model or runs.latest(folder).folder
    from keras_transfer import workflow

    with _progress() as listener:
        metrics = workflow.evaluate(model, source, split=split, listener=listener)
    if as_json:
        _print_json(metrics.model_dump(mode="json"))
        return
    table = Table("class", "pictures", "precision", "recall", "F1", title=f"{model} on the {split} split")
    for row in metrics.per_class:
        table.add_row(row.name, str(row.count), *(_score(value) for value in (row.precision, row.recall, row.f1)))
    out.print(table)
    out.print(f"accuracy {metrics.accuracy:.1%}, log loss {metrics.log_loss:.3f}")
    _next(f"keras-transfer predict {model} PICTURE.jpg")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file of any format.")],
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Say what a model sees in picture files."""
    from keras_transfer import workflow

    predictions = workflow.predict(model, pictures, labels=_labels(labels))
    if as_json:
        _print_json([prediction.model_dump(mode="json") for prediction in predictions])
        return
    table = Table("picture", "class", "probability")
    for prediction in predictions:
        table.add_row(prediction.picture, prediction.class_name, f"{prediction.probability:.1%}")
    out.print(table)


@app.command()
def export(
    run: RunArgument = None,
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help="Repeat for several formats.")] = None,
    check: Annotated[bool, typer.Option(help="Run each file and compare it with the Keras model.")] = True,
    calibrate: Annotated[bool, typer.Option(help="Fold a temperature in, so that probabilities are honest.")] = True,
    precision: Annotated[str | None, typer.Option(help="auto: the smallest TFLite file within --max-drop.")] = None,
    max_drop: MaxDrop = None,
    labels: Labels = None,
    output: Annotated[Path | None, typer.Option("--output", help="Where a .keras file made elsewhere goes.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into an --output that exists.")] = False,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write SavedModel, TFLite and ONNX files of a run and prove that they say what the Keras model says."""
    if run is not None and run.is_file():
        _export_model(run, labels, output, formats, force, as_json)
        return
    if precision not in (None, "auto"):
        raise UsageError(f"--precision takes 'auto'; name a format with --format. Received: '{precision}'")
    opened = _run(run, folder)
    from keras_transfer import workflow

    with _progress() as listener:
        if precision == "auto":
            drop = 0.5 if max_drop is None else max_drop
            measured = workflow.choose_precision(opened, max_drop=drop, calibrate=calibrate, listener=listener)
            formats = [each.name for each in measured if each.chosen]
        results = workflow.export(
            opened, formats, check=check, calibrate=calibrate, max_drop=max_drop, listener=listener
        )
    if precision == "auto" and not as_json:
        _show_precisions(measured)
    if not check:
        rows = [result.model_dump(mode="json") for result in results]
        _print_json(rows) if as_json else out.print("\n".join(str(row["path"]) for row in rows))
        return
    _report(opened, results, as_json)  # type: ignore[arg-type]


@app.command()
def verify(
    run: RunArgument = None,
    files: Annotated[list[Path] | None, typer.Option("--file", help="Only these exported files.")] = None,
    max_drop: MaxDrop = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Compare exported files with the Keras model again, each in its own runtime; exit 1 where one differs."""
    opened = _run(run, folder)
    from keras_transfer import workflow

    with _progress() as listener:
        results = workflow.verify(opened, files, max_drop=max_drop, listener=listener)
    _report(opened, results, as_json)


@bench.command("latency")
def bench_latency(
    files: Annotated[list[Path], typer.Argument(help="Exported files of any format.")],
    batch: Annotated[list[int] | None, typer.Option(help="Pictures a call; repeat for several.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Repeat for several.")] = None,
    repeats: Annotated[int, typer.Option(help="Calls that count.", min=1)] = 100,
    adb: Annotated[
        Path | None, typer.Option("--adb", metavar="BINARY", help="On a plugged-in phone, by this benchmark_model.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time exported files on this host: median, tails, pictures a second, load time, peak memory."""
    from keras_transfer import workflow

    if adb:
        for file in files:
            print(workflow.bench_on_phone(file, adb, threads=(threads or [1])[0], repeats=repeats))
        return
    results = workflow.bench_latency(files, batch_sizes=batch or [1], threads=threads or [1], repeats=repeats)
    if as_json:
        _print_json([result.model_dump(mode="json") for result in results])
        return
    table = Table(title="on this host, not on a phone")
    for column in ("file", "batch", "threads", "median ms", "p90", "p99", "pictures/s", "load ms", "peak MB"):
        table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
    for result in results:
        timed = result.latency
        times = (timed.median_ms, timed.p90_ms, timed.p99_ms)
        rest = (f"{timed.pictures_per_second:.0f}", f"{timed.load_ms:.0f}", f"{result.peak_memory_bytes / 1e6:.0f}")
        name, counts = result.artifact.path.name, (str(timed.batch_size), str(timed.threads))
        table.add_row(name, *counts, *(f"{value:.2f}" for value in times), *rest)
    out.print(table)


@app.command()
def backbones(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One backbone; all where left out.")] = None,
    having: Annotated[list[str] | None, typer.Option("--with", help="Trait, licence, or part of a name.")] = None,
    lacking: Annotated[list[str] | None, typer.Option("--without", help="The same, to leave out.")] = None,
    sort: Annotated[str | None, typer.Option(help="name, input, parameters or top1.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the ImageNet weights of NAME now.")] = False,
    blocks: Annotated[bool, typer.Option("--blocks", help="Show how NAME is cut into blocks.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels for --blocks.")] = None,
    as_json: Json = False,
) -> None:
    """List the networks to start from, with what matters at the edge."""
    if (fetch or blocks) and name is None:
        raise UsageError("--fetch and --blocks are about one backbone. Name it: keras-transfer backbones NAME --blocks")
    if fetch:
        _fetch(str(name), as_json)
    elif blocks:
        _show_blocks(str(name), image_size, as_json)
    else:
        _show_backbones([*(having or ()), *([name] if name else ())], lacking or (), sort, as_json)


def _fetch(name: str, as_json: bool) -> None:
    from keras_transfer import workflow

    source = workflow.fetch(name)
    if as_json:
        _print_json({"name": name, "weights": source})
        return
    out.print(f"The weights of {name} are here: {source}.")
    _next(f"keras-transfer train FOLDER --backbone {name}")


def _show_blocks(name: str, image_size: int | None, as_json: bool) -> None:
    from keras_transfer import workflow

    shapes = workflow.backbone_blocks(name, image_size)
    if as_json:
        _print_json([shape.model_dump() for shape in shapes])
        return
    table = Table("block", "output", "parameters", "multiply-adds", "share of the compute", "features storable")
    for shape in shapes:
        output = f"{shape.resolution} x {shape.resolution} x {shape.channels}"
        bar = f"{shape.share:5.1%} " + "█" * round(20 * shape.share)
        parameters, work = f"{shape.parameters / 1e6:.2f} M", f"{shape.multiply_adds / 1e6:.0f} M"
        table.add_row(str(shape.index), output, parameters, work, bar, "yes" if shape.storable else "no")
    out.print(table)
    _next(f"keras-transfer train FOLDER --backbone {name}")


def _show_backbones(having: Sequence[str], lacking: Sequence[str], sort: str | None, as_json: bool) -> None:
    from keras_transfer import workflow

    rows = workflow.backbones(having=having, lacking=lacking, sort=sort)
    if as_json:
        _print_json([_backbone_row(row) for row in rows])
        return
    table = Table("name", "family", "input", "parameters", "ImageNet top-1", "traits", "weights")
    for row in rows:
        shown = _backbone_row(row)
        top1 = f"{row.top1:.1%}" if row.top1 else "-"
        millions = f"{row.parameters / 1e6:.1f} M"
        traits, weights = ", ".join(shown["traits"]), ", ".join(shown["weights"])
        table.add_row(row.name, row.family, str(row.input_size), millions, top1, traits, weights)
    out.print(table)
    _next("keras-transfer train FOLDER --backbone NAME")


def fail(sentence: str, code: int) -> None:
    """Print one sentence on standard error and exit."""
    err.print(f"[bold red]Error:[/] {_plain(sentence)}", soft_wrap=True, highlight=False)
    sys.exit(code)


def _export_model(
    path: Path, labels: Path | None, output: Path | None, formats: list[str] | None, force: bool, as_json: bool
) -> None:
    """Export a model made elsewhere; exit 1 where a file says something else."""
    if labels is None or output is None:
        raise UsageError(f"'{path}' is no run: say its class names with --labels FILE and where to go with --output.")
    from keras_transfer import workflow

    chosen = {"formats": formats} if formats else {}
    with _progress() as listener:
        results = workflow.export_model(path, output, _labels(labels) or (), **chosen, force=force, listener=listener)
    if as_json:
        _print_json([result.model_dump(mode="json") for result in results])
    else:
        out.print("\n".join(f"{result.artifact.path}  {result.parity.reason or 'agrees'}" for result in results))
    if not all(result.parity.passed for result in results):
        raise typer.Exit(1)


def _labels(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels takes a text file with a class name on each line. '{path}': {error}") from None


def _run(run: Path | None, folder: Path) -> Run:
    return runs.open_run(run) if run else runs.latest(folder)


def _report(run: Run, results: Sequence[Verified], as_json: bool) -> None:
    """Show what became of each exported file; exit 1 where one is out of tolerance."""
    failed = [result for result in results if not result.parity.passed]
    if as_json:
        _print_json([result.model_dump(mode="json") for result in results])
    else:
        _show_exports(run, results)
    for result in failed:
        worst = ", ".join(f"{key} ({difference:.4f})" for key, difference in result.parity.worst)
        err.print(f"[bold red]{result.artifact.path}[/]: {result.parity.reason} Differ most: {worst}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)
    if not as_json:
        _next(f"keras-transfer predict {results[0].artifact.path} PICTURE.jpg")


def _show_run(run: Run) -> None:
    table = Table("stage", "learned", "epochs", "seconds", "validation", "kept", title=str(run.folder))
    for stage in run.record.stages:
        learned = "head" + (f" + blocks {', '.join(map(str, stage.learned_blocks))}" if stage.learned_blocks else "")
        kept = "yes" if stage.kept else "rolled back"
        seconds, accuracy = f"{stage.seconds:.1f}", f"{stage.validation_accuracy:.1%}"
        table.add_row(stage.name, learned, str(stage.epochs), seconds, accuracy, kept)
    out.print(table)
    _show_worth(run)


def _show_worth(run: Run) -> None:
    record = run.record
    out.print(f"test accuracy with transfer: [bold]{record.test['accuracy']:.1%}[/] in {record.seconds:.0f} s")
    if record.scratch:
        accuracy, seconds = record.scratch["accuracy"], record.scratch["seconds"]
        out.print(f"test accuracy from scratch:  {accuracy:.1%} in {seconds:.0f} s, the same network and budget")


def _show_exports(run: Run, results: Sequence[Verified]) -> None:
    table = Table(title=f"{run.folder / 'exports'}: each file in its own runtime, {run.record.counts['test']} pictures")
    for column in ("file", "precision", "size", "accuracy", "agrees with Keras", "largest diff.", "ms/picture"):
        table.add_column(column, justify="left" if column in ("file", "precision") else "right")
    for result in results:
        parity, artifact = result.parity, result.artifact
        table.add_row(
            artifact.path.name,
            artifact.precision,
            f"{artifact.size_bytes / 1e6:.1f} MB",
            f"{parity.accuracy:.1%}",
            f"{parity.agreement:.1%}",
            f"{parity.max_difference:.1e}",
            f"{result.latency.median_ms:.2f}",
        )
    out.print(table)
    _show_worth(run)


def _show_precisions(measured: Sequence[Candidate]) -> None:
    table = Table(title="precisions, on this host")
    for column in ("format", "size", "accuracy", "drop in points", "ms/picture", "Pareto", ""):
        table.add_column(column, justify="left" if column == "format" else "right")
    for each in measured:
        size, accuracy = f"{each.size_bytes / 1e6:.1f} MB", f"{each.accuracy:.1%}"
        marks = ("yes" if each.pareto else "-", "chosen" if each.chosen else "")
        table.add_row(each.name, size, accuracy, f"{each.drop_points:.2f}", f"{each.median_ms:.2f}", *marks)
    out.print(table)


def _backbone_row(row: BackboneSpec) -> dict[str, Any]:
    return {
        "name": row.name,
        "family": row.family,
        "input_size": row.input_size,
        "min_size": row.min_size,
        "scaling": row.scaling,
        "parameters": row.parameters,
        "top1": row.top1,
        "traits": sorted(row.traits),
        "weights": [source.name for source in row.weights],
    }


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _next(command: str) -> None:
    err.print(f"[dim]next:[/] {_plain(command)}", soft_wrap=True, highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


@contextmanager
def _progress() -> Iterator[Listener]:
    """Show notes as lines on standard error, and a bar where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def bar(event: Event) -> None:
            if event.message not in tasks:
                for old in tasks.values():
                    progress.remove_task(old)
                tasks.clear()
                tasks[event.message] = progress.add_task(event.message, total=event.total)
            progress.update(tasks[event.message], completed=event.done)

        def epoch(event: Event) -> None:
            values = event.values
            of = f"/{event.total}" if event.total else ""
            progress.console.print(
                f"  {event.message} {event.done}{of}: loss {values['loss']:.3f}, validation "
                f"{values['validation_accuracy']:.1%}, {values['pictures_per_second']:.0f} pictures/s, "
                f"waiting {values['waiting_share']:.0%}",
                highlight=False,
            )

        shown: dict[str, Callable[[Event], None]] = {
            "progress": bar,
            "epoch": epoch,
            "stage": lambda event: progress.console.print(f"[bold]{_plain(event.message)}[/]", highlight=False),
            "note": lambda event: progress.console.print(f"[dim]{_plain(event.message)}[/]", highlight=False),
            "warning": lambda event: progress.console.print(f"[yellow]{_plain(event.message)}[/]", highlight=False),
        }
        try:
            yield lambda event: shown[event.kind](event)
        except KeyboardInterrupt:
            raise StoppedError("Stopped. What was finished is saved; the same command goes on from there.") from None
