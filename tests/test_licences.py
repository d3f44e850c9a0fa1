"""What comes along says under which licence, and the bill of materials lists it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_transfer import workflow
from keras_transfer.workflow.supply import licence_of

ROOT = Path(__file__).parents[1]


class Package:
    """A package that says so much of itself."""

    def __init__(self, **told):
        self.metadata = type("Told", (dict,), {"get_all": lambda self, name: self.get(name)})(told)


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ({"License-Expression": "MIT", "License": "other"}, "MIT"),
        ({"Classifier": ["License :: OSI Approved :: BSD License", "Topic :: x"]}, "BSD License"),
        ({"Classifier": ["License :: OSI Approved"], "License": "Apache 2.0\nwhole text"}, "Apache 2.0"),
        ({}, ""),
    ],
)
def test_a_licence_is_what_its_publisher_says(told, licence):
    assert licence_of(Package(**told)) == licence


def test_every_dependency_and_the_weights_of_every_backbone_are_listed():
    found = {(each.kind, each.name.lower().replace("_", "-")): each for each in workflow.licences()}
    for name in ("tensorflow", "keras", "numpy", "pydantic-core", "h5py"):
        assert found["package", name].version
        assert found["package", name].licence
    weights = [each for each in workflow.licences() if each.kind == "weights"]
    assert len(weights) >= 40
    assert all(each.licence for each in weights)


def test_the_bill_of_materials_lists_what_is_installed():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "sbom.py"], capture_output=True, text=True, check=True)
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert any(each["purl"].startswith("pkg:pypi/keras@") for each in bill["components"])
