"""Bundles for phones: nothing here can build them, so their sources are parsed and what they name is looked for."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift
from colours import shipped

from keras_transfer import runs, workflow
from keras_transfer.errors import UsageError

LANGUAGES = {
    ".kt": tree_sitter.Language(tree_sitter_kotlin.language()),
    ".kts": tree_sitter.Language(tree_sitter_kotlin.language()),
    ".swift": tree_sitter.Language(tree_sitter_swift.language()),
}
ASSETS = {"android": "app/src/main/assets", "ios": "Sources/PictureModel/Resources"}
TASKS = ("ImageClassifier", "ImageEmbedder", "ImageSegmenter", "ObjectDetector")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The bundles of a small run, by target."""
    run = shipped(tmp_path_factory.mktemp("runs"), ("tflite", "onnx"))
    return {target: workflow.bundle(runs.open_run(run.folder), target) for target in ASSETS}


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in LANGUAGES)


def wrong(path):
    """Where a source is none of its language."""
    tree = tree_sitter.Parser(LANGUAGES[path.suffix]).parse(path.read_bytes())
    waiting, found = [tree.root_node], []
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            found.append(f"{path.name}:{node.start_point[0] + 1}: {node.type}")
        waiting += node.children
    return found


@pytest.mark.parametrize("target", ASSETS)
def test_every_source_is_of_its_language(made, target):
    found = sources(made[target].folder)
    assert len(found) >= 6
    assert [each for path in found for each in wrong(path)] == []


@pytest.mark.parametrize("suffix", LANGUAGES)
def test_a_source_that_is_none_is_found_out(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text("fun f( { val = 3")
    assert wrong(path)


@pytest.mark.parametrize("target", ASSETS)
def test_every_asset_that_the_code_names_is_there(made, target):
    folder = made[target].folder
    place = folder / ASSETS[target]
    text = "\n".join(path.read_text() for path in sources(folder))
    named = set(re.findall(r'"([\w/-]+\.(?:json|png|tflite|txt))"', text))
    assert {"bundle.json", "golden.json", "golden/wide.png"} <= named
    assert [name for name in named if not (place / name).is_file()] == []
    about = json.loads((place / "bundle.json").read_text())
    rows = json.loads((place / "golden.json").read_text())["pictures"]
    assert [name for name in [about["file"], *(row["file"] for row in rows)] if not (place / name).is_file()] == []


@pytest.mark.parametrize("target", ASSETS)
def test_every_key_that_the_code_reads_is_written(made, target):
    place = made[target].folder / ASSETS[target]
    about = json.loads((place / "bundle.json").read_text())
    read = {
        "android": r'described\.get\w+\("(\w+)"\)',
        "ios": r"public let (\w+): (?:String|Int|Double|\[)",
    }[target]
    source = next(path for path in sources(made[target].folder) if path.stem == "About")
    keys = re.findall(read, source.read_text().partition("func place")[0].partition("struct Missing")[0])
    snake = {re.sub(r"([A-Z])", lambda found: f"_{found[0].lower()}", key) for key in keys}
    assert {"file", "task", "class_names", "thresholds", "image_size", "aspect", "tolerance"} == snake
    assert snake <= set(about)


@pytest.mark.parametrize("target", ASSETS)
def test_every_task_of_bundles_is_opened_by_one_of_mediapipes(made, target):
    text = next(path for path in sources(made[target].folder) if path.stem == "Model").read_text()
    assert [name for name in TASKS if name not in text] == []
    for task in ("detection", "segmentation", "embedding"):  # the others are the classifier's
        assert f'"{task}"' in text


@pytest.mark.parametrize("target", ASSETS)
def test_versions_are_fixed_ones(made, target):
    text = "\n".join(path.read_text() for path in sources(made[target].folder))
    asked = re.findall(r'(?:mplementation\("[\w.:-]+:|version "|exact: ")([^"]+)"', text)
    assert asked
    assert [each for each in asked if not re.fullmatch(r"\d+\.\d+(\.\d+)?", each)] == []


@pytest.mark.parametrize("target", ASSETS)
def test_a_readme_says_that_nothing_was_built(made, target):
    assert "was not built where it was made**" in (made[target].folder / "README.md").read_text()


def test_the_app_starts_an_activity_that_is_there(made):
    folder = made["android"].folder
    tree = ElementTree.parse(folder / "app/src/main/AndroidManifest.xml")
    name = "{http://schemas.android.com/apk/res/android}name"
    (activity,) = (each.get(name) for each in tree.iter("activity"))
    package, _, kind = activity.rpartition(".")
    source = folder / "app/src/main/kotlin" / package.replace(".", "/") / f"{kind}.kt"
    assert f"package {package}\n" in source.read_text()
    assert f"class {kind} " in source.read_text()
    assert f'namespace = "{package}"' in (folder / "app/build.gradle.kts").read_text()


def test_the_package_names_folders_that_are_there(made):
    folder = made["ios"].folder
    text = (folder / "Package.swift").read_text()
    for kind, name in re.findall(r'\.(target|testTarget)\(\s*name: "(\w+)"', text):
        assert (folder / ("Tests" if kind == "testTarget" else "Sources") / name).is_dir()
    assert 'resources: [.copy("Resources")]' in text


def test_onnx_files_are_for_other_targets(made, tmp_path):
    run = made["android"].artifact.path.parents[1]
    copied = runs.open_run(Path(shutil.copytree(run, tmp_path / "colours")))
    with pytest.raises(UsageError, match=r"A bundle for android holds \.tflite files\. Received: '.*model\.onnx'"):
        workflow.bundle(copied, "android", file="model.onnx")
