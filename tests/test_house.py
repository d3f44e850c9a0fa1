"""The rules of the house: who may import whom, and what stays light."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import keras_transfer

PACKAGE = Path(keras_transfer.__file__).parent
SIBLINGS = ("data", "backbones", "tasks", "training", "selection", "evaluation", "export")
LOWER = ("plan", "devices", "drawing", "files", "masks", "order", "specs", "errors")
MODULES = sorted(PACKAGE.rglob("*.py"))


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
        "specs": {"errors"},
        "files": {"errors"},
        "order": set(),
        "masks": set(),
        "drawing": {"masks"},
        "plan": {"errors", "specs"},
        "runs": {"errors", "specs", "plan", "files"},
        "devices": {"errors", "specs"},
        "workflow": {"workflow", *SIBLINGS, *LOWER, "runs"},
        "cli": {"cli", "workflow", "plan", "runs", "specs", "errors", "__version__"},
        "__main__": {"cli", "errors"},
        "__init__": {"workflow", "errors", "specs"},
        **{sibling: {sibling, *LOWER} for sibling in SIBLINGS},
    }
    assert imported(path) <= allowed[part]


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


def test_public_names_are_exactly_those_of_all():
    assert sorted(keras_transfer.__all__) == keras_transfer.__all__
    for name in keras_transfer.__all__:
        assert getattr(keras_transfer, name) is not None


def test_a_verb_keeps_its_name_when_the_folder_of_that_name_is_imported():
    code = "import keras_transfer.export, keras_transfer as kt, sys; sys.exit(not callable(kt.export))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_verbs_are_imported_when_they_are_asked_for():
    code = "import keras_transfer.workflow as w, sys; w.listed; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_of_workflow_is_where_its_table_says():
    from keras_transfer import workflow

    assert sorted(workflow._MODULE_OF) == workflow.__all__
    for name, module in workflow._MODULE_OF.items():
        if importlib.util.find_spec(module):
            assert getattr(workflow, name) is not None
