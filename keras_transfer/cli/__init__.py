"""Talks to people: arguments in, tables, progress and JSON out; the work is done by `workflow`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from keras_transfer import __version__
from keras_transfer.cli import (
    advising,
    bundling,
    catalogue,
    exporting,
    listing,
    pictures,
    rates,
    reporting,
    serving,
    storing,
    suggesting,
    supply,
    sweeping,
    training,
    using,
)
from keras_transfer.cli.showing import fail

__all__ = ["app", "fail"]

VERBS: tuple[Callable[..., None], ...] = (
    training.train,
    sweeping.sweep,
    storing.features,
    advising.advise,
    reporting.report,
    pictures.doctor,
    using.evaluate,
    using.predict,
    using.gallery,
    suggesting.suggest,
    exporting.export,
    exporting.verify,
    bundling.bundle,
    serving.studio,
    rates.lr_find,
    listing.runs,
    catalogue.backbones,
    supply.licences,
)
"""In the order of `--help`: the name of a function is the name of its verb."""

BENCHES: dict[str, Callable[..., None]] = {
    "transfer": advising.bench_transfer,
    "input": pictures.bench_input,
    "latency": exporting.bench_latency,
}

app = typer.Typer(
    name="keras-transfer",
    help="A few hundred pictures in, proven SavedModel, TFLite and ONNX files out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Add --debug to any command to see where an error comes from.",
)
bench = typer.Typer(help="Measure on this machine, each figure beside a named peer.", no_args_is_help=True)
app.add_typer(bench, name="bench")
for _verb in VERBS:
    app.command()(_verb)


def _say_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A few hundred pictures in, proven SavedModel, TFLite and ONNX files out."""


for _name, _measure in BENCHES.items():
    bench.command(_name)(_measure)
