"""What the two commands install: each package at one version, each of its files by its hash, and nothing else."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("building", "commands", "clients")
ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M
)
AGAIN = "run scripts/lock"


def locked(name: str) -> dict[str, str]:
    """The versions of a lock, each of which has hashes."""
    text = (ROOT / "scripts" / "locks" / f"{name}.txt").read_text()
    found = {canonicalize_name(each["name"]): each["version"] for each in ENTRY.finditer(text)}
    assert len(found) == len(re.findall(r"^\S", text, re.M)), "a line of another kind"
    return found


def pinned() -> dict[str, str]:
    lines = (ROOT / "scripts" / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def asked(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    own = project["project"]
    lines = own["dependencies"] + [each for extra in extras for each in own["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_of_a_lock_has_the_version_of_the_constraints_and_hashes(name):
    versions = pinned()
    assert {each: versions.get(each) for each in locked(name)} == locked(name), AGAIN


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name):
    assert "://" not in (ROOT / "scripts" / "locks" / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("names", "extras"), [(("commands",), ("lite-weights", "dev")), (("commands", "clients"), ("clients", "ray"))]
)
def test_whatever_the_project_asks_for_is_in_the_lock(names, extras):
    there = {package: version for name in names for package, version in locked(name).items()}
    wrong = [each for each in asked(*extras) if there.get(canonicalize_name(each.name), "0") not in each.specifier]
    assert wrong == [], AGAIN


def test_setup_builds_with_what_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {canonicalize_name(each) for each in project["build-system"]["requires"]} <= set(locked("building"))
    assert "--require-hashes" in (ROOT / "scripts" / "setup").read_text()
