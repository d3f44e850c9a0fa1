"""Talks to people: arguments in, tables, progress and JSON out; the work is done by `workflow`."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_transfer import __version__
from keras_transfer.cli.loading import Verb, Verbs

__all__ = ["app"]

VERBS: dict[str, Verb] = {
    "train": Verb(
        "training:train",
        "Train on a folder of class folders (or another SOURCE), stage by stage; goes on where a run was stopped.",
    ),
    "sweep": Verb(
        "sweeping:sweep",
        "Train every combination as a run of its own, leave behind what is behind after a stage, and compare.",
    ),
    "features": Verb(
        "storing:features",
        "Compute what training takes from the store before it begins: here, or with --ray on many machines at once.",
    ),
    "advise": Verb(
        "advising:advise",
        "Look at the pictures before anything is trained: which backbone, which blocks, how fast, and why.",
    ),
    "report": Verb(
        "reporting:report", "Write one HTML file that tells a person what a run is worth, with its model card."
    ),
    "doctor": Verb(
        "pictures:doctor", "Look at every picture once: what is broken, doubled, leaked, odd or mislabelled."
    ),
    "evaluate": Verb(
        "using:evaluate", "Say what a model is worth on a split: accuracy, calibration, the classes it confuses."
    ),
    "predict": Verb("using:predict", "Say what a model sees in picture files, and when what happens in videos."),
    "gallery": Verb("using:gallery", "Note who is who, so that predict --gallery can say it; nothing is trained."),
    "suggest": Verb(
        "suggesting:suggest",
        "Name the pictures whose labels would teach a model most: typical ones at first, then those it is torn over.",
    ),
    "export": Verb(
        "exporting:export",
        "Write SavedModel, TFLite and ONNX files of a run and prove that they say what the Keras model says.",
    ),
    "verify": Verb(
        "exporting:verify",
        "Compare exported files with the Keras model again, each in its own runtime; exit 1 where one differs.",
    ),
    "bundle": Verb(
        "bundling:bundle",
        "Pack a proven file with labels, golden pictures and a self-test: a folder and a zip that need no network.",
    ),
    "studio": Verb(
        "serving:studio",
        "Open a page here where people collect pictures, mend labels, train, try and ship; Ctrl-C closes it.",
    ),
    "lr-find": Verb(
        "rates:lr_find",
        "Raise the learning rate step by step, watch the loss, and say which rate learns fastest without harm.",
    ),
    "runs": Verb(
        "listing:runs",
        "List the runs of a folder, the newest first: what each reached, and how to go on with an unfinished one.",
    ),
    "backbones": Verb("catalogue:backbones", "List the networks to start from, with what matters at the edge."),
    "licences": Verb(
        "supply:licences", "List the licence of every installed dependency, and of the weights of every backbone."
    ),
}
"""In the order of `--help`."""

BENCHES: dict[str, Verb] = {
    "transfer": Verb(
        "advising:bench_transfer",
        "Accuracy against the number of labels: transfer, a linear probe, and from scratch for as long.",
    ),
    "input": Verb(
        "pictures:bench_input",
        "Pictures per second, the share of a training step spent waiting for them, and what limits it.",
    ),
    "latency": Verb(
        "exporting:bench_latency",
        "Time exported files on this host: median, tails, pictures a second, load time, peak memory.",
    ),
}


class _Verbs(Verbs):
    table = VERBS


class _Benches(Verbs):
    table = BENCHES


app = typer.Typer(
    name="keras-transfer",
    cls=_Verbs,
    help="A few hundred pictures in, proven SavedModel, TFLite and ONNX files out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Add --debug to any command to see where an error comes from.",
)
bench = typer.Typer(
    cls=_Benches, help="Measure on this machine, each figure beside a named peer.", no_args_is_help=True
)
app.add_typer(bench, name="bench")


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
