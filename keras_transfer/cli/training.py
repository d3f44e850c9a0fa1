"""The verb that trains, and what it says of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keras_transfer import plan as plans
from keras_transfer import runs
from keras_transfer.cli.figures import known
from keras_transfer.cli.live import live
from keras_transfer.cli.options import (
    BackboneOfPlan,
    BatchSize,
    CacheFolder,
    CacheLimit,
    Engine,
    Folder,
    ImageSize,
    Json,
    Ray,
    Seed,
    Strict,
    TaskOfPlan,
    Workers,
    check_source,
    check_workers,
    given,
    limit_bytes,
)
from keras_transfer.cli.progress import progress
from keras_transfer.cli.showing import err, out, plain, print_json, show, suggest
from keras_transfer.errors import UsageError
from keras_transfer.specs import Plan, Run

if TYPE_CHECKING:
    from keras_transfer.workflow import Advice, Cluster


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE] [KEY=VALUE]...", help="Pictures, and keys of the plan: seed=3 batch_size=16"),
    ] = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="A plan as a TOML file.")] = None,
    backbone: BackboneOfPlan = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, a weights file, or none.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A named list of stages: head, head_then_top, …")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of every stage, in place of the recipe's.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="All it may take, the test included; what fits best is chosen.")
    ] = None,
    image_size: ImageSize = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    task: TaskOfPlan = None,
    teacher: Annotated[str | None, typer.Option(help="A finished run of the same classes to learn from, too.")] = None,
    compare: Annotated[str | None, typer.Option(help="scratch: also train from random weights, as long.")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Measure first and train what is advised.")] = False,
    run: Annotated[str | None, typer.Option("--run", help="Name of the run folder.")] = None,
    output: Annotated[Path | None, typer.Option(help="The run folder itself, in place of --folder and --run.")] = None,
    engine: Engine = "auto",
    devices: Annotated[str, typer.Option(help="one, or all of this machine: they share every batch.")] = "one",
    ray: Ray = None,
    workers: Workers = None,
    strict: Strict = False,
    data_service: Annotated[
        str | None, typer.Option(help="Address of a tf.data service that decodes: grpc://host:port")
    ] = None,
    watch: Annotated[
        list[str] | None, typer.Option(help="tensorboard, mlflow or wandb is told every epoch; repeat for several.")
    ] = None,
    cache_folder: CacheFolder = None,
    cache_limit: CacheLimit = None,
    folder: Folder = runs.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Train on a folder of class folders (or another SOURCE), stage by stage; goes on where a run was stopped."""
    source, overrides = _told_apart(arguments or (), plan_file, auto)
    check_workers(ray, workers)
    folder, run = _placed(folder, run, output)
    numbers = {"image_size": image_size, "batch_size": batch_size, "seed": seed, "minutes": minutes}
    words = {"backbone": backbone, "weights": weights, "recipe": recipe, "task": task, "teacher": teacher}
    values = given(data=source, **words, **numbers)
    plan, advice = _plan(values, overrides, epochs, plan_file, auto)
    done = _trained(
        plan,
        ray,
        workers or 1,
        folder=folder,
        name=run,
        compare=compare,
        engine=engine,
        devices=devices,
        advice=advice,
        strict=strict,
        data_service=data_service,
        watch=watch or (),
        cache_folder=cache_folder,
        cache_limit_bytes=limit_bytes(cache_limit),
    )
    cluster = _taking_part()
    if cluster and cluster.index:
        _tell_done(cluster.name, done, as_json)
    elif as_json:
        print_json({"folder": str(done.folder), **done.record.model_dump(mode="json")})
    else:
        _show_run(done)
        suggest("export", done.folder)


def _trained(plan: Plan, ray: str | None, workers: int, **asked: Any) -> Run:
    """Train while a person watches."""
    from keras_transfer import workflow

    with live(workflow.task_of(plan.task).merit_name) as listener:
        if ray:
            return workflow.train_on_ray(plan, address=ray, workers=workers, listener=listener, **asked)
        return workflow.train(plan, listener=listener, spent_seconds=time.time() - _began(), **asked)


def _taking_part() -> Cluster | None:
    from keras_transfer import workflow

    return workflow.taking_part()


def _began() -> float:
    """When this process did, in seconds of `time.time`: loading TensorFlow is a part of a budget of minutes."""
    import psutil  # here, because --help does without

    return float(psutil.Process().create_time())


def _told_apart(arguments: Sequence[str], plan_file: Path | None, auto: bool) -> tuple[str | None, list[str]]:
    """Return the one SOURCE among the arguments, none where a plan names it, and the keys of the plan."""
    sources = [each for each in arguments if "=" not in each or Path(each).exists()]
    if len(sources) > 1:
        raise UsageError(f"One SOURCE at a time. Received: {', '.join(sources)}")
    if not sources and plan_file is None:
        raise UsageError(
            "Which pictures? Name a folder, or a plan with --plan. To try it: keras-transfer train sample:fashion"
        )
    if auto and plan_file:
        raise UsageError("--auto makes the plan itself: leave --plan out, or leave --auto out.")
    keys = [each for each in arguments if each not in sources]
    return (check_source(sources[0]) if sources else None), keys


def _placed(folder: Path, run: str | None, output: Path | None) -> tuple[Path, str | None]:
    """Return the folder of runs and the name of this one, however they were said."""
    if output is None:
        return folder, run
    if run or folder != runs.DEFAULT_FOLDER:
        raise UsageError("--output is the run folder itself: leave --run and --folder out, or leave --output out.")
    return output.parent, output.name


def _plan(
    given: Mapping[str, Any], overrides: Sequence[str], epochs: int | None, plan_file: Path | None, auto: bool
) -> tuple[Plan, Advice | None]:
    """Return the plan that options, keys and a file make together, and the advice where it came from that."""
    if plan_file:
        read = plans.read(plan_file, overrides).model_dump(exclude_unset=True)
        if "minutes" in given and read.get("stages"):
            raise UsageError(
                f"--minutes chooses the stages, and '{plan_file}' spells them out: leave --minutes out, or the stages."
            )
        return plans.make(plans.with_epochs({**read, **given}, epochs)), None
    early = plans.make(plans.with_epochs(plans.override(given, overrides), epochs))  # is refused before it is advised
    if auto and _taking_part():
        raise UsageError(
            "--auto measures on one machine, and TF_CONFIG names several: ask keras-transfer advise on one of them, "
            "and give all of them what it says."
        )
    if auto and early.minutes:
        raise UsageError("--minutes measures and chooses by itself: leave --auto out, or leave --minutes out.")
    if not auto or _measured_before(early):
        return early, None
    advice = _advice(early)
    advised = advice.plan.model_dump() | ({"stages": ()} if "recipe" in given else {})
    values = plans.override({**advised, **given}, overrides)
    return plans.make(plans.with_epochs(values, epochs)), advice


def _measured_before(asked: Plan) -> bool:
    """Whether a plan is of a task whose own recipe stands for advice; say what it reached, where the plan takes it."""
    from keras_transfer import workflow

    task = workflow.task_of(asked.task)
    if task.evidence and "recipe" not in asked.model_fields_set and not asked.stages:
        err.print(plain(f"advised: {task.defaults['recipe']}. {task.evidence}"), soft_wrap=True, highlight=False)
    return bool(task.evidence)


def _advice(asked: Plan) -> Advice:
    """Measure what a plan leaves open; what it says is kept to."""
    from keras_transfer import workflow

    names = [asked.backbone] if "backbone" in asked.model_fields_set else []
    size, seed = asked.image_size, asked.seed
    with progress() as listener:
        advice = workflow.advise(
            asked.data, task=asked.task, names=names, image_size=size, seed=seed, listener=listener
        )
    # Before training begins, and not on standard output, which may be JSON.
    err.print(f"advised: {plain(advice.plan.recipe)} on {plain(advice.plan.backbone)}", highlight=False)
    for each in advice.alternatives:
        err.print(f"  {plain(each.sentence)}", soft_wrap=True, highlight=False)
    return advice


def _tell_done(worker: str, run: Run, as_json: bool) -> None:
    """Say that a worker is done whose chief keeps and shows the run."""
    if as_json:
        print_json({"folder": str(run.folder), "worker": worker})
    else:
        out.print(
            f"{plain(worker)} is done; the first one keeps the run in '{plain(str(run.folder))}'", highlight=False
        )


def _show_run(run: Run) -> None:
    table = Table("stage", "learned", "epochs", "seconds", "validation", "kept", title=str(run.folder))
    for stage in run.record.stages:
        learned = "head" + (f" + blocks {', '.join(map(str, stage.learned_blocks))}" if stage.learned_blocks else "")
        kept = "yes" if stage.kept else "rolled back"
        merit = known({"merit": stage.validation_merit}, run.record.counts.get("validation", 0))
        seconds = f"{stage.seconds:.1f}"
        table.add_row(stage.name, learned, str(stage.epochs), seconds, merit, kept)
    show(table)
    show_worth(run)


def show_worth(run: Run) -> None:
    """Print what a run reached on its test split, with transfer and from scratch, and how well that is known."""
    record = run.record
    name, count = record.merit_name, record.counts.get("test", 0)
    out.print(f"test {name} with transfer: [bold]{known(record.test, count)}[/] in {record.seconds:.0f} s")
    if record.scratch:
        merit, seconds = known(record.scratch, count), record.scratch["seconds"]
        out.print(f"test {name} from scratch:  {merit} in {seconds:.0f} s, the same network and budget")
