"""What the README and the pages beside the code show is run: plans are read, Python and commands do what they say."""

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from keras_transfer import cli
from keras_transfer import plan as plans
from keras_transfer.data.samples import SAMPLES
from keras_transfer.training.recipes import RECIPES

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("keras_transfer/*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"FOLDER": "pictures/", "SOURCE": "pictures/", "RUN": "pictures-EfficientNetLite0"}
NOT_RUN = {
    "pip install": "what it installs is what the tests run on",
    "scripts/": "commands of their own, and measurements take minutes: their words are checked",
    "keras-transfer backbones --fetch": "weights come from elsewhere",
    "keras-transfer bundle": "what it packs is run where it goes: tests/test_bundles.py and those beside it",
    "keras-transfer bench transfer": "trains a dozen times",
    "keras-transfer evaluate RUN FOLDER/pairs.txt": "pictures with its names: tests/test_embedding_end_to_end.py",
    "keras-transfer train faces:FOLDER": "OpenCV brings the cascade where Debian's opencv-data does",
    "keras-transfer studio": "stays open until it is closed: tests/test_studio_page.py",
    "keras-transfer sweep": "weights that come from elsewhere: tests/test_workflow_sweeping.py",
    "keras-transfer train all.csv": "labels that a person fills in: tests/test_workflow_suggesting.py",
    "keras-transfer train FOLDER --devices all": "several devices: tests/test_training_many.py",
    "keras-transfer train FOLDER --ray": "starts a Ray: tests/test_workflow_on_ray.py",
    "keras-transfer features": "the same, and tests/test_workflow_storing.py",
    "keras-transfer suggest": "pictures without a label: tests/test_workflow_suggesting.py",
    "keras-transfer train FOLDER --minutes": "counts from the start of a process, which many commands share here",
    "keras-transfer train FOLDER --task clips": "videos: tests/test_clips_end_to_end.py",
    "keras-transfer train clips.csv": "the same",
    "keras-transfer predict RUN walk.mp4": "the same",
    "keras-transfer gallery RUN photos/": "a run on faces: tests/test_workflow_galleries.py",
    "keras-transfer predict RUN photo.jpg": "the same",
    "keras-transfer predict model.tflite photo.jpg": "the same",
}
"""How the commands begin that no test runs as they stand, and why; of all commands the words are checked."""


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def lines():
    """Every command of every page that names this program or one of its scripts, its comment left out."""
    found = []
    for page in PAGES:
        text = "\n".join(text for _, text in BLOCK.findall(page.read_text()))
        inline = re.findall(r"`((?:keras-transfer|scripts/)[^`\n]*)`", BLOCK.sub("", page.read_text()))
        told = [line for line in text.splitlines() if re.match(r"(keras-transfer|scripts/|pip) ?", line)]
        found += [pytest.param(re.split(r"\s+#", line)[0].strip(), id=line[:60]) for line in [*told, *inline]]
    return found


def filled(line):
    return [PLACEHOLDERS.get(word, word) for word in line.split()]


@pytest.mark.parametrize("line", lines())
def test_every_command_names_what_there_is(line):
    program, *arguments = filled(line)
    if program == "pip":
        extras = re.findall(r"\[(.*?)\]", line)[0].split(",")
        assert set(extras) <= set(
            tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        )
    elif program.startswith("scripts/"):
        assert (ROOT / program).exists()
        if program == "scripts/bench" and arguments:
            assert (ROOT / "scripts" / f"bench_{arguments[0]}.py").exists()
    elif arguments and "…" not in line:
        words = [word for word in arguments if not word.startswith("[")]
        group = typer.main.get_command(cli.app)
        name, command, rest = group.resolve_command(
            group.make_context("keras-transfer", [*words], resilient_parsing=True), words
        )
        if rest and hasattr(command, "commands"):
            name, command, rest = command.resolve_command(typer.Context(command), rest)
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= known, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_plan_that_is_shown_can_be_read(page, tmp_path):
    for text in blocks(page, "toml"):
        (tmp_path / "plan.toml").write_text(text)
        assert plans.read(tmp_path / "plan.toml")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with `pictures/` of two classes, `people/` of twelve, and a picture to ask about."""
    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee")):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(12):
            picture = rng.integers(0, 90, (32, 32, 3)).astype("uint8")
            picture[..., number] += 150
            Image.fromarray(picture).save(folder / "pictures" / name / f"{index}.png")
    for number in range(12):
        blotch = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1)))
        (folder / "people" / f"someone-{number}").mkdir(parents=True)
        for index in range(4):
            seen = np.clip(blotch + rng.normal(0, 20, blotch.shape), 0, 255).astype("uint8")
            Image.fromarray(seen).save(folder / "people" / f"someone-{number}" / f"{index}.png")
    shutil.copy(folder / "pictures" / "ant" / "0.png", folder / "picture.jpg")
    return folder


def run_there(place, code):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_python_example_runs_in_a_fresh_process(page, place):
    for text in blocks(page, "python"):
        done = run_there(place, text)
        assert done.stdout
        assert "I0000" not in done.stderr, "TensorFlow's log reaches people"


def commands(page):
    """The commands in the blocks of a page that are run as they stand, one after another."""
    text = "\n".join(text for kind, text in BLOCK.findall(page.read_text()) if kind in ("bash", ""))
    told = [re.split(r"\s+#", line)[0].strip() for line in text.splitlines()]
    return [line for line in told if line.startswith("keras-transfer ") and not line.startswith(tuple(NOT_RUN))]


SAID_IN_ONE_PROCESS = """
from pathlib import Path
from keras_transfer import cli
for line in COMMANDS:
    newest = max(Path("saved_models").glob("*"), key=lambda run: run.stat().st_mtime, default="")
    words = [word.replace("saved_models/RUN", str(newest)).replace("RUN", str(newest)) for word in line.split()]
    try:
        cli.app(args=words[1:])
    except SystemExit as ended:
        # An export of pictures as few as these may be refused, which is told by exit code 1.
        assert ended.code in ((0, 1) if words[1] == "export" else (0,)), words
"""


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.parent.name)
def test_the_commands_of_a_page_run_one_after_another(page, place, tmp_path):
    here = place  # what the README's Python trained, the same plan, its commands find finished
    if page.parent != ROOT:
        here = Path(shutil.copytree(place, tmp_path / "here", ignore=shutil.ignore_patterns("saved_models")))
    folder = "people/" if page.parent.name == "tasks" else "pictures/"
    lines = [line.replace("FOLDER/1.jpg", "picture.jpg").replace("FOLDER", folder) for line in commands(page)]
    done = run_there(here, SAID_IN_ONE_PROCESS.replace("COMMANDS", repr(lines)))
    assert done.stdout
    if any(line.startswith("keras-transfer report") for line in lines):
        assert list(here.glob("saved_models/*/report.html"))


def measurements():
    return [line for line in lines() if line.values[0].startswith("scripts/bench ")]


class ParsedError(Exception):
    """The arguments of a script are what it takes."""


@pytest.mark.parametrize("line", measurements())
def test_every_measurement_is_told_with_arguments_that_it_takes(line, monkeypatch):
    _, name, *words = shlex.split(line)
    if name == "transfer":
        pytest.skip("is the verb `bench transfer`")
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, *arguments, **options):
        parse(parser, *arguments, **options)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", [f"bench_{name}.py", *(word for word in words if word not in ("…", "..."))])
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    with pytest.raises(ParsedError):
        runpy.run_path(str(ROOT / "scripts" / f"bench_{name}.py"), run_name="__main__")


def test_a_command_that_is_not_run_is_one_that_is_told_why():
    told = [line.values[0] for line in lines() if "keras-transfer" not in line.values[0]]
    assert [line for line in told if not line.startswith(tuple(NOT_RUN))] == []


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_stands_in_the_table_of_sources(name):
    table = (ROOT / "keras_transfer" / "data" / "README.md").read_text().split("\n\n")[2]
    assert f"`sample:{name}`" in table


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stands_in_the_table_of_recipes(name):
    assert f"| `{name}` |" in (ROOT / "keras_transfer" / "training" / "README.md").read_text()
