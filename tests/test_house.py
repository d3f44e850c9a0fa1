"""The rules of the house: who may import whom, and what stays light."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_transfer
from keras_transfer import cli

PACKAGE = Path(keras_transfer.__file__).parent
SIBLINGS = ("data", "backbones", "tasks", "training", "selection", "evaluation", "export", "bundles", "studio")
LOWER = (
    "plan",
    "devices",
    "calling",
    "drawing",
    "files",
    "following",
    "journal",
    "keras_files",
    "masks",
    "order",
    "placing",
    "specs",
    "errors",
    "vouching",
)
CARGO = PACKAGE / "bundles" / "templates"
"""Sources that bundles carry away: packages of their own, which import nothing of this one."""
MODULES = sorted(each for each in PACKAGE.rglob("*.py") if not each.is_relative_to(CARGO))


def imported(path: Path) -> set[str]:
    """The parts of this package that a module names in any import, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "keras_transfer":
            parts = (node.module or "").split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "keras_transfer" and len(name) > 1}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_siblings_do_not_import_each_other(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = {
        "errors": set(),
        "specs": {"errors", "order"},
        "files": {"errors"},
        "keras_files": {"errors", "files"},
        "following": {"specs"},
        "journal": {"files", "specs"},
        "vouching": set(),
        "order": set(),
        "calling": set(),
        "masks": {"placing"},
        "placing": set(),
        "drawing": {"masks"},
        "plan": {"errors", "specs", "files"},
        "runs": {"errors", "specs", "plan", "files"},
        "devices": {"errors", "specs"},
        "workflow": {"workflow", *SIBLINGS, *LOWER, "runs"},
        "cli": {"cli", "workflow", "plan", "runs", "files", "following", "journal", "specs", "errors", "__version__"},
        "__main__": {"cli", "errors"},
        "__init__": {"workflow", "errors", "specs"},
        **{sibling: {sibling, *LOWER} for sibling in SIBLINGS},
        "studio": {"studio", *LOWER, "runs"},
    }
    assert imported(path) <= allowed[part]


def test_what_bundles_carry_away_imports_nothing_of_this_package():
    assert [path for path in CARGO.rglob("*.py") if "keras_transfer" in path.read_text()] == []


def test_keras_files_are_opened_in_one_place_which_refuses_what_could_run_code():
    loading = [path.relative_to(PACKAGE).as_posix() for path in MODULES if ".load_model(" in path.read_text()]
    assert loading == ["keras_files.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_in_one_line_what_belongs_in_it(path):
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    assert first.endswith("."), f"{path} has no docstring that is one sentence"


@pytest.mark.parametrize(
    "statement", ["import keras_transfer", "import keras_transfer.cli", "import keras_transfer.plan"]
)
def test_import_stays_free_of_tensorflow(statement):
    code = f"{statement}, sys; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_looks_for_no_plugins_among_all_packages():
    code = "import importlib.metadata as all, sys; all.entry_points = all.distributions = None; "
    code += "sys.argv[1:] = ['--version']; from keras_transfer.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_exactly_those_of_all():
    assert sorted(keras_transfer.__all__) == keras_transfer.__all__
    for name in keras_transfer.__all__:
        assert getattr(keras_transfer, name) is not None


def test_a_verb_keeps_its_name_when_the_folder_of_that_name_is_imported():
    code = "import keras_transfer.export, keras_transfer as kt, sys; sys.exit(not callable(kt.export))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("verb", ["listed", "backbones()", "licences()"])
def test_a_verb_that_needs_no_network_waits_for_no_tensorflow(verb):
    modules = "any(name in sys.modules for name in ('tensorflow', 'keras'))"
    code = f"import keras_transfer.workflow as w, sys; w.{verb}; sys.exit({modules})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_of_workflow_is_where_its_table_says():
    from keras_transfer import workflow

    assert sorted(workflow._MODULE_OF) == workflow.__all__
    for name, module in workflow._MODULE_OF.items():
        if importlib.util.find_spec(module):
            assert getattr(workflow, name) is not None


PARTS = (*SIBLINGS, *LOWER, "workflow", "cli", "runs")
TOLD = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)")
VERBS_TOLD = re.compile(r"keras-transfer ((?:bench )?[a-z][a-z-]+)")


def defined(path: Path) -> set[str]:
    """The names at the top of a module, and those of its classes' fields and methods as `Class.name`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        inside = {each.name for each in getattr(node, "body", ()) if isinstance(each, ast.FunctionDef)}
        if isinstance(node, ast.ImportFrom):
            found |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.ClassDef):
            found |= {node.name, *(f"{node.name}.{each}" for each in names | inside)}
        else:
            found |= names | ({node.name} if hasattr(node, "name") else set())
    return found


def is_there(told: str) -> bool:
    """Whether `part.module.name` or `module.name` names a module of this package, or something in one."""
    names = told.split(".")
    for count in range(len(names), 0, -1):
        place = PACKAGE.joinpath(*names[:count])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.exists():
                rest = ".".join(names[count:])
                return not rest or rest in defined(path)
    return False


def told_in(path: Path) -> set[str]:
    """Dotted names of this package that the words of a module put in backticks, names of files left out."""
    text = path.read_text()
    return {
        each
        for each in TOLD.findall(text)
        if each.split(".")[0] in PARTS and each.rsplit(".", 1)[1] not in ("py", "json", "toml", "csv", "yaml")
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_module_names_is_there(path):
    assert [each for each in told_in(path) if not is_there(each)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_verb_that_a_module_names_is_one(path):
    verbs = set(cli.VERBS) | {f"bench {each}" for each in cli.BENCHES}
    told = set(VERBS_TOLD.findall(path.read_text()))
    assert {each for each in told if each not in verbs and each.split()[0] not in verbs} == set()


def test_a_name_that_is_not_there_is_found_out():
    assert is_there("data.annotations.ANNOTATIONS")
    assert is_there("workflow.tasks")
    assert is_there("specs.Split.take")
    assert not is_there("workflow.joints")
    assert not is_there("specs.Split.took")
