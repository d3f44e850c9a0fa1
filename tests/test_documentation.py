"""What the README and the pages beside the code show is run: plans are read, Python and commands do what they say."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from keras_transfer import cli
from keras_transfer import plan as plans

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("keras_transfer/*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"FOLDER": "pictures/", "SOURCE": "pictures/", "RUN": "pictures-EfficientNetLite0"}
RUN = (
    "keras-transfer doctor",
    "keras-transfer train",
    "keras-transfer export",
    "keras-transfer predict",
    "keras-transfer report",
)
"""Commands of the README that are run as they stand, in one process; of all others the words are checked."""


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
    """A working folder with `pictures/` of two classes and a picture to ask about."""
    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee")):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(12):
            picture = rng.integers(0, 90, (32, 32, 3)).astype("uint8")
            picture[..., number] += 150
            Image.fromarray(picture).save(folder / "pictures" / name / f"{index}.png")
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


def test_the_commands_of_the_readme_run_one_after_another(place):
    text = "\n".join(blocks(ROOT / "README.md", "bash"))
    told = [re.split(r"\s+#", line)[0].strip() for line in text.splitlines() if line.startswith(RUN)]
    commands = [line.replace("saved_models/RUN", f"saved_models/{PLACEHOLDERS['RUN']}").split()[1:] for line in told]
    code = textwrap.dedent("""
        from keras_transfer import cli
        for arguments in COMMANDS:
            try:
                cli.app(args=arguments)
            except SystemExit as ended:
                # An export of pictures as few as these may be refused, which is told by exit code 1.
                assert ended.code in ((0, 1) if arguments[0] == "export" else (0,)), arguments
    """)
    run_there(place, code.replace("COMMANDS", repr(commands)))
    assert (place / "saved_models" / PLACEHOLDERS["RUN"] / "report.html").exists()
