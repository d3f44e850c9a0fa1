"""What the command line loads, and what it keeps from being loaded."""

import subprocess
import sys

import pytest
from typer.main import get_command

from keras_transfer import cli


def test_keras_is_loaded_without_what_no_verb_uses_and_the_rest_still_finds_it():
    code = (
        "import sys; from keras_transfer.__main__ import _NotForKeras; sys.meta_path.insert(0, _NotForKeras)\n"
        "import keras\n"
        "print([name for name in ('sklearn', 'matplotlib') if name in sys.modules])\n"
        "import sklearn, matplotlib\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


GROUPS = {"": cli.VERBS, "bench": cli.BENCHES}


@pytest.mark.parametrize("group", GROUPS)
def test_what_help_tells_of_a_verb_is_the_first_line_that_the_verb_tells_of_itself(group):
    commands = get_command(cli.app).commands
    commands = commands[group].commands if group else commands
    told = {name: commands[name].help.split("\n")[0] for name in GROUPS[group]}
    assert told == {name: verb.help for name, verb in GROUPS[group].items()}


def loaded(*words):
    """What the program says to some words, and the modules that it has loaded by then."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from keras_transfer.__main__ import main; sys.argv[1:] = sys.argv[1:]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


def pages(modules):
    """The modules of verbs among what was loaded."""
    known = {row.place.split(":")[0] for table in GROUPS.values() for row in table.values()}
    return {name for name in known if f"keras_transfer.cli.{name}" in modules}


@pytest.mark.parametrize("group", GROUPS)
def test_help_names_every_verb_and_loads_none(group):
    said, modules = loaded(*group.split(), "--help")
    assert [name for name in GROUPS[group] if f" {name} " not in said] == []
    assert pages(modules) == set()
    heavy = {"keras_transfer.specs", "numpy", "rich.progress", "rich.live"}
    if not group:  # with a verb, typer itself has pydantic read the options that stand before it
        heavy.add("pydantic")
    assert modules & heavy == set()


def test_a_verb_loads_its_own_module_alone():
    said, modules = loaded("backbones", "--help")
    assert "--blocks" in said
    assert pages(modules) == {"catalogue"}
