"""The verbs that make files of a run and prove them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keras_transfer import runs
from keras_transfer.cli.figures import known
from keras_transfer.cli.options import Folder, Json, Labels, MaxDrop, RunArgument, Trust, check_paths, labels_of, run_of
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import err, out, plain, print_json, show, suggest
from keras_transfer.cli.training import show_worth
from keras_transfer.errors import UsageError
from keras_transfer.specs import Run

if TYPE_CHECKING:
    from keras_transfer.workflow import Candidate, Operator, Readiness, Verified


MUCH_LOST = 0.5
"""Points of merit that a client may lose before it is worth to hand over larger pictures."""


def export(
    run: RunArgument = None,
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help="Repeat for several formats.")] = None,
    check: Annotated[bool, typer.Option(help="Run each file and compare it with the Keras model.")] = True,
    calibrate: Annotated[bool, typer.Option(help="Fold a temperature in, so that probabilities are honest.")] = True,
    precision: Annotated[str | None, typer.Option(help="auto: the smallest TFLite file within --max-drop.")] = None,
    max_drop: MaxDrop = None,
    supersample: Annotated[
        int,
        typer.Option(min=1, max=8, help="Files take pictures so many times as large a side, and average them."),
    ] = 1,
    labels: Labels = None,
    output: Annotated[Path | None, typer.Option("--output", help="Where a .keras file made elsewhere goes.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into an --output that exists.")] = False,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write SavedModel, TFLite and ONNX files of a run and prove that they say what the Keras model says."""
    if run is not None and run.is_file():
        runs_alone = {"--precision": precision, "--max-drop": max_drop is not None, "--supersample": supersample > 1}
        runs_alone |= {"--no-check": not check, "--no-calibrate": not calibrate}
        _refuse(runs_alone, f"for runs, and '{run}' is a model made elsewhere")
        _export_model(run, labels, output, formats, force, as_json)
        return
    elsewhere = {"--labels": labels, "--output": output, "--force": force}
    _refuse(elsewhere, "for a model made elsewhere (MODEL.keras); a run has its class names and keeps its files itself")
    if precision not in (None, "auto"):
        raise UsageError(f"--precision takes 'auto'; name a format with --format. Received: '{precision}'")
    opened = run_of(run, folder)
    from keras_transfer import workflow

    with progress() as listener:
        given: dict[str, Any] = {"calibrate": calibrate, "supersampling": supersample, "listener": listener}
        if precision == "auto":
            drop = 0.5 if max_drop is None else max_drop
            measured = workflow.choose_precision(opened, max_drop=drop, **given)
            formats = [each.name for each in measured if each.chosen]
        results = workflow.export(opened, formats, check=check, max_drop=max_drop, **given)
    if precision == "auto" and not as_json:
        _show_precisions(opened, measured)
    if not check:
        rows = [result.model_dump(mode="json") for result in results]
        print_json(rows) if as_json else out.print("\n".join(str(row["path"]) for row in rows))
        return
    _report(opened, results, as_json)  # type: ignore[arg-type]


def verify(
    run: RunArgument = None,
    files: Annotated[list[Path] | None, typer.Option("--file", help="Only these exported files.")] = None,
    client: Annotated[
        list[str] | None,
        typer.Option("--client", help="mediapipe, opencv, browser, pillow: reads the original pictures. Repeat."),
    ] = None,
    max_drop: MaxDrop = None,
    trust: Trust = False,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Compare exported files with the Keras model again, each in its own runtime; exit 1 where one differs.

    With --client also: what is left of each where a client reads and resizes the original pictures.
    """
    opened, clients = run_of(run, folder), tuple(dict.fromkeys(client or ()))
    from keras_transfer import workflow

    if trust:
        for each in files or [opened.folder]:
            workflow.trust(each)
    with progress() as listener:
        results = workflow.verify(opened, files, clients=clients, max_drop=max_drop, listener=listener)
    _report(opened, results, as_json, clients)


def bench_latency(
    files: Annotated[list[Path], typer.Argument(help="A run, or exported files of any format.")],
    batch: Annotated[list[int] | None, typer.Option(help="Pictures a call; repeat for several.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Repeat for several.")] = None,
    repeats: Annotated[int, typer.Option(help="Calls that count.", min=1)] = 100,
    adb: Annotated[
        Path | None, typer.Option("--adb", metavar="BINARY", help="On a plugged-in phone, by this benchmark_model.")
    ] = None,
    by_operator: Annotated[bool, typer.Option("--profile", help="Instead: each operator of .tflite files.")] = False,
    delegates: Annotated[
        bool, typer.Option("--delegates", help="Instead: what a phone's GPU, NNAPI and Core ML take, by their lists.")
    ] = False,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Time exported files on this host: median, tails, pictures a second, load time, peak memory."""
    check_paths(*files)
    from keras_transfer import workflow

    files = [each for file in files for each in _files_of(file)]
    for each in files if trust else ():
        workflow.trust(each)
    if adb:
        told = {
            str(file): workflow.bench_on_phone(file, adb, threads=(threads or [1])[0], repeats=repeats)
            for file in files
        }
        print_json(told) if as_json else print("\n".join(told.values()))
        return
    if by_operator:
        profiles = {file: workflow.profile(file, threads=(threads or [1])[0], repeats=repeats) for file in files}
        _show_profiles(profiles, as_json)
        return
    if delegates:
        _show_delegates({file: workflow.delegated(file) for file in files}, as_json)
        return
    results = workflow.bench_latency(files, batch_sizes=batch or [1], threads=threads or [1], repeats=repeats)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
        return
    table = Table(
        title="on this host, not on a phone",
        caption="p90, p99: 90 and 99 of 100 calls take no longer, in ms; load ms: until a file can be asked; peak MB: "
        "memory that it takes at most, its runtime included",
    )
    for column in ("file", "batch", "threads", "median ms", "p90", "p99", "pictures/s", "load ms", "peak MB"):
        table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
    for result in results:
        timed = result.latency
        times = (timed.median_ms, timed.p90_ms, timed.p99_ms)
        rest = (f"{timed.pictures_per_second:.0f}", f"{timed.load_ms:.0f}", f"{result.peak_memory_bytes / 1e6:.0f}")
        name, counts = result.artifact.path.name, (str(timed.batch_size), str(timed.threads))
        table.add_row(name, *counts, *(f"{value:.2f}" for value in times), *rest)
    show(table)


def _files_of(path: Path) -> Sequence[Path]:
    """The exported files of a run folder; any other path as it is."""
    if not (path / runs.RECORD).exists():
        return [path]
    from keras_transfer import workflow

    return workflow.exported_files(runs.open_run(path))


def _refuse(options: Mapping[str, object], why: str) -> None:
    """UsageError where one of them was given, which would be taken no notice of."""
    if name := next((name for name, given in options.items() if given), None):
        raise UsageError(f"{name} is {why}. Leave it out.")


def _export_model(
    path: Path, labels: Path | None, output: Path | None, formats: list[str] | None, force: bool, as_json: bool
) -> None:
    """Export a model made elsewhere; exit 1 where a file says something else."""
    if labels is None or output is None:
        raise UsageError(f"'{path}' is no run: say its class names with --labels FILE and where to go with --output.")
    from keras_transfer import workflow

    chosen = {"formats": formats} if formats else {}
    with progress() as listener:
        results = workflow.export_model(path, output, labels_of(labels) or (), **chosen, force=force, listener=listener)
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        out.print("\n".join(f"{result.artifact.path}  {result.parity.reason or 'agrees'}" for result in results))
    if not all(result.parity.passed for result in results):
        raise typer.Exit(1)


def _report(run: Run, results: Sequence[Verified], as_json: bool, clients: Sequence[str] = ()) -> None:
    """Show what became of each exported file, and what clients leave of it; exit 1 where one is out of tolerance."""
    failed = [result for result in results if not result.parity.passed]
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    else:
        _show_exports(run, results, clients)
    for result in failed:
        worst = ", ".join(f"{key} ({difference:.4f})" for key, difference in result.parity.worst)
        err.print(f"[bold red]{result.artifact.path}[/]: {result.parity.reason} Differ most: {worst}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)
    if not as_json:
        _suggest_next(run, results)


def _suggest_next(run: Run, results: Sequence[Verified]) -> None:
    """Suggest files that average pictures where clients lose much, and to use a file where they do not."""
    lost = max((left.lost_points for each in results for left in each.clients), default=0.0)
    contract = results[0].artifact.contract
    if lost > MUCH_LOST and contract.image_size == run.record.image_size and contract.of_whole_pictures:
        suggest("export", run.folder, "--supersample", 3)
    else:
        suggest("predict", results[0].artifact.path, "PICTURE.jpg")


def _show_exports(run: Run, results: Sequence[Verified], clients: Sequence[str]) -> None:
    _, _, points = known(run.record.test, run.record.counts["test"]).partition(" ± ")
    in_clients = "; in …: what is left where that client reads and resizes the original pictures" if clients else ""
    table = Table(
        title=f"{run.folder / 'exports'}: each file in its own runtime, {run.record.counts['test']} pictures",
        caption="agrees: share of the pictures to which the file gives the answer that the trained model gives; "
        f"largest diff.: of any of the numbers it answers with; {run.record.merit_name}: on so many pictures known to "
        f"± {points} points{in_clients}",
    )
    for column in (
        "file",
        "precision",
        "MB",
        run.record.merit_name,
        "agrees with Keras",
        "largest diff.",
        "ms a picture",
        *(f"in {name}" for name in clients),
    ):
        table.add_column(column, justify="left" if column in ("file", "precision") else "right")
    for result in results:
        parity, artifact = result.parity, result.artifact
        table.add_row(
            artifact.path.name,
            artifact.precision,
            f"{artifact.size_bytes / 1e6:.1f}",
            f"{parity.accuracy:.1%}",
            f"{parity.agreement:.1%}",
            f"{parity.max_difference:.1e}",
            f"{result.latency.median_ms:.2f}",
            *(_left(result, name) for name in clients),
        )
    show(table)
    _show_taken_whole(run, results)
    show_worth(run)


def _show_taken_whole(run: Run, results: Sequence[Verified]) -> None:
    """Say which delegates of phones take every operator of a file."""
    whole = {
        result.artifact.path.name: [each.delegate for each in result.delegates if not each.left]
        for result in results
        if result.delegates
    }
    if whole and out.is_terminal:  # a pipe gets the table alone
        told = "; ".join(f"{name}: {', '.join(names) or 'none'}" for name, names in whole.items())
        more = f"what others leave: keras-transfer bench latency {run.folder} --delegates"
        out.print(plain(f"Taken whole by delegates of phones: {told}. ({more})"), style="dim", highlight=False)


def _left(result: Verified, client: str) -> str:
    """What a client leaves of a file's merit, and how many pictures it could not read; a dash where it opens it not."""
    found = next((each for each in result.clients if each.client == client), None)
    if found is None:
        return "-"
    return f"{found.merit:.1%}" + (f" ({found.unreadable} not read)" if found.unreadable else "")


def _show_profiles(profiles: Mapping[Path, Sequence[Operator]], as_json: bool) -> None:
    if as_json:
        print_json({str(file): [each.model_dump() for each in found] for file, found in profiles.items()})
        return
    for file, found in profiles.items():
        kinds: dict[str, list[Operator]] = {}
        for each in found:
            kinds.setdefault(each.name, []).append(each)
        table = Table(title=f"{file.name} on this host, not on a phone", caption="one by one with --json")
        for column in ("operator", "how many", "µs", "share"):
            table.add_column(column, justify="left" if column == "operator" else "right")
        for name, same in sorted(kinds.items(), key=lambda item: -sum(each.share for each in item[1])):
            spent, share = sum(each.mean_us for each in same), sum(each.share for each in same)
            table.add_row(name, str(len(same)), f"{spent:.0f}", f"{share:.1%}")
        show(table)


def _show_delegates(told: Mapping[Path, Sequence[Readiness]], as_json: bool) -> None:
    if as_json:
        print_json({str(file): [each.model_dump() for each in found] for file, found in told.items()})
        return
    sources = {each.delegate + file.suffix: each.source for file, found in told.items() for each in found}
    table = Table(
        title="by published lists: a device may still refuse a shape",
        caption="left to the CPU: numbers go there and back for each; " + "; ".join(sources.values()),
    )
    for column in ("file", "delegate", "takes", "left to the CPU"):
        table.add_column(column, justify="right" if column == "takes" else "left")
    for file, found in told.items():
        if not found:
            table.add_row(file.name, "-", "-", "everything: no delegate opens this format")
        for each in found:
            taken = each.operators - sum(each.left.values())
            left = ", ".join(f"{count} {name}" for name, count in each.left.items())
            table.add_row(file.name, each.delegate, f"{taken} of {each.operators}", left or "nothing")
    show(table)


def _show_precisions(run: Run, measured: Sequence[Candidate]) -> None:
    caption = "Pareto: no other is better in one of size, time and what it says without being worse in another"
    table = Table(title="precisions, on this host", caption=caption)
    for column in ("format", "MB", run.record.merit_name, "drop in points", "ms/picture", "Pareto", ""):
        table.add_column(column, justify="left" if column == "format" else "right")
    for each in measured:
        size, accuracy = f"{each.size_bytes / 1e6:.1f}", f"{each.accuracy:.1%}"
        marks = ("yes" if each.pareto else "-", "chosen" if each.chosen else "")
        name = f"{each.name}, learnt" if each.learnt else each.name
        table.add_row(name, size, accuracy, f"{each.drop_points:.2f}", f"{each.median_ms:.2f}", *marks)
    show(table)
