"""Bundles of a small run: which file is in them, what else, and what is refused."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import stock_clients
from colours import NAMES, shipped
from typer.testing import CliRunner

from keras_transfer import cli, runs, workflow
from keras_transfer.bundles import content, data, filling, golden, targets, vendored
from keras_transfer.errors import ArtifactError, UsageError
from keras_transfer.export import manifest
from keras_transfer.specs import Artifact, Contract
from keras_transfer.workflow.tasks import TASKS

MODULES = stock_clients.MODULES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run with a file of each format, proven."""
    return shipped(tmp_path_factory.mktemp("runs"), ("saved_model", "tflite", "onnx"))


@pytest.fixture
def run(made, tmp_path):
    return runs.open_run(Path(shutil.copytree(made.folder, tmp_path / "colours")))


def files_of(folder):
    return sorted(str(each.relative_to(folder.parent)) for each in folder.rglob("*") if each.is_file())


def set_aside(run, name, reason):
    """Reject a file of a run, as an export that misses its bounds does."""
    artifact = next(each for each in manifest.read(run.exports).artifacts if each.path.name == name)
    (run.exports / name).rename(run.exports / f"{name}.rejected")
    aside = artifact.model_copy(update={"path": run.exports / f"{name}.rejected"})
    manifest.write(run.exports, rejected=[manifest.Rejected(artifact=aside, reason=reason)])


def test_the_smallest_proven_file_is_taken(run):
    made = workflow.bundle(run, "python")
    sizes = {each.path.name: each.size_bytes for each in manifest.read(run.exports).artifacts}
    assert made.artifact.path.name == min(sizes, key=sizes.__getitem__)


def test_a_bundle_is_a_folder_and_the_same_as_a_zip(run):
    made = workflow.bundle(run, "python", name="Three Colours")
    assert made.folder == run.folder / "bundles" / "three-colours-python"
    with zipfile.ZipFile(made.packed) as packed:
        assert sorted(packed.namelist()) == files_of(made.folder)
        assert packed.testzip() is None


def test_a_bundle_is_made_again_over_the_one_before_and_equal_to_it(run):
    first = workflow.bundle(run, "python").packed.read_bytes()
    assert workflow.bundle(run, "python").packed.read_bytes() == first
    assert sorted(each.name for each in (run.folder / "bundles").iterdir()) == ["colours-python", "colours-python.zip"]


def test_a_bundle_says_what_it_holds(run):
    made = workflow.bundle(run, "python")
    told = json.loads((made.folder / "bundle.json").read_text())
    assert told["sha256"] == made.artifact.sha256
    assert sorted(told["class_names"]) == sorted(NAMES)
    assert made.folder.joinpath("colours", "data", "labels.txt").read_text().split() == told["class_names"]
    assert "Apache-2.0" in (made.folder / "LICENSES.md").read_text()
    assert "# colours" in (made.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_readme_is_one_screen_and_names_what_is_there(run, target):
    stock_clients.installed((MODULES / "pngjs").is_dir(), "pngjs")
    folder = workflow.bundle(run, target, modules=MODULES).folder
    text = (folder / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 160
    assert not re.search(r"\n\n\n|[ \t]\n", text)
    named = re.findall(r"`([\w/.-]+(?:/|\.md|\.json|\.txt|\.js|\.ts))`", text)
    assert [name for name in named if not (folder / name).exists()] == []


def test_golden_answers_are_those_of_the_file(run):
    made = workflow.bundle(run, "python", file="model.onnx")
    data = made.folder / "colours" / "data"
    rows = json.loads((data / "golden.json").read_text())["pictures"]
    assert len(rows) == made.golden
    for row, said in zip(
        rows, workflow.predict(made.artifact.path, [data / each["file"] for each in rows]), strict=True
    ):
        assert np.allclose(row["answer"]["probabilities"], list(said.probabilities.values()), atol=1e-6)


def test_a_file_that_was_set_aside_is_refused_and_taken_by_force(run):
    set_aside(run, "model.tflite", "it says something else.")
    assert workflow.bundle(run, "python").artifact.path.name == "model.onnx"
    with pytest.raises(UsageError, match=r"is not to be relied on: it says something else\. .* or add --force"):
        workflow.bundle(run, "python", file="model.tflite.rejected")
    made = workflow.bundle(run, "python", file="model.tflite.rejected", force=True)
    assert "**This file was set aside" in (made.folder / "README.md").read_text()
    assert json.loads((made.folder / "bundle.json").read_text())["refused"] == "it says something else."


def test_a_file_without_a_proof_is_refused(run):
    (run.exports / "proofs.json").unlink()
    with pytest.raises(ArtifactError, match=r"has a proof that holds\. Prove them: keras-transfer verify"):
        workflow.bundle(run, "python")
    with pytest.raises(UsageError, match="it has no proof that holds"):
        workflow.bundle(run, "python", file="model.onnx")


def test_a_run_without_exports_is_told_how_to_get_them(run):
    shutil.rmtree(run.exports)
    with pytest.raises(ArtifactError, match=r"Nothing has been exported to .* yet\. Run: keras-transfer export"):
        workflow.bundle(run, "python")


def test_a_file_that_is_none_of_the_runs_is_refused(run):
    with pytest.raises(UsageError, match=r"'other\.tflite' is none of the files of .*: model\.onnx, model\.tflite"):
        workflow.bundle(run, "python", file="other.tflite")


def test_a_target_that_nobody_knows_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"Unknown target 'pyton'\. Did you mean 'python'\?"):
        targets.target_of("pyton")


def test_the_verb_prints_where_the_bundle_is_and_its_help_names_every_target(run):
    typed = CliRunner().invoke(cli.app, ["bundle", str(run.folder), "--for", "python", "--json"])
    assert typed.exit_code == 0
    assert Path(json.loads(typed.stdout)["folder"]) == run.folder / "bundles" / "colours-python"
    said = CliRunner().invoke(cli.app, ["bundle", "--help"], env={"COLUMNS": "160"}).stdout
    assert [name for name in targets.TARGETS if name not in said] == []


def test_a_format_that_a_target_does_not_run_is_refused_or_asked_for(run):
    with pytest.raises(UsageError, match=r"A bundle for web holds \.onnx files\. Received: '.*model\.tflite'"):
        workflow.bundle(run, "web", file="model.tflite")
    (run.exports / "model.onnx").unlink()
    manifest.write(run.exports)
    with pytest.raises(ArtifactError, match=r"A bundle for web .* Export one: keras-transfer export .* --format onnx"):
        workflow.bundle(run, "web")


def test_a_folder_that_is_no_bundle_is_not_replaced(run, tmp_path):
    (tmp_path / "out" / "colours-python").mkdir(parents=True)
    (tmp_path / "out" / "colours-python" / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"is there already and is no bundle\. Choose another place with --output"):
        workflow.bundle(run, "python", output=tmp_path / "out")
    assert (tmp_path / "out" / "colours-python" / "thesis.tex").exists()


def test_a_task_that_a_target_does_not_know_is_refused_in_one_sentence():
    contract = Contract(class_names=("run", "walk"), image_size=32, frames=8, task="clips")
    with pytest.raises(UsageError, match=r"A bundle for web answers single pictures, of classification, .* of clips"):
        targets.check("web", contract)
    targets.check("python", contract)


def test_every_target_says_which_tasks_it_knows():
    for name, row in targets.TARGETS.items():
        assert set(golden.PICTURES) <= set(row.tasks) <= set(golden.TASKS) == set(TASKS), name


def test_a_gallery_is_for_embeddings_and_for_what_compares_with_it(run):
    known = content.Known(("ann",), np.eye(1, 4, dtype=np.float32))
    contract = Contract(class_names=("ann", "bob"), image_size=32, task="embedding")
    artifact = Artifact(path=Path("model.onnx"), format="onnx", size_bytes=1, sha256="ab" * 32, contract=contract)
    held = content.Content(name="people", artifact=artifact, golden=(), summary="", papers={}, gallery=known)
    with pytest.raises(
        UsageError, match=r"A bundle for node compares with no gallery: leave --gallery out\. One for web"
    ):
        targets.write("node", held, run.folder)
    with pytest.raises(UsageError, match="A gallery takes a model that gives embeddings, and this one is of class"):
        workflow.bundle(run, "web", gallery=run.folder / "gallery.npz")


def test_names_are_text_on_the_page_and_never_markup():
    contract = Contract(class_names=("<b>Coat & Co</b>", "bag"), image_size=32)
    artifact = Artifact(path=Path("model.onnx"), format="onnx", size_bytes=1, sha256="ab" * 32, contract=contract)
    held = content.Content(name="shirts", artifact=artifact, golden=(), summary="<script>", papers={})
    page = filling.render("web/index.html.j2", data.values(held, place=""))
    assert "&lt;b&gt;Coat &amp; Co&lt;/b&gt;" in page
    assert "<b>" not in page
    assert page.count("<script") == 1


def test_masks_are_kept_as_runs_of_classes():
    classes = np.array([[0, 0, 1], [1, 2, 2]])
    contract = Contract(class_names=("a", "b", "c"), image_size=16, task="segmentation")
    found = golden.kept({"probabilities": np.eye(3)[classes][None]}, contract)
    assert found == {"classes": [[0, 2], [1, 2], [2, 2]]}


def test_boxes_are_kept_where_they_count():
    contract = Contract(class_names=("a", "b"), image_size=16, task="detection", thresholds=(0.5, 0.8))
    answers = {
        "location": np.tile(np.float32([0, 0, 1, 0.5]), (1, 3, 1)),
        "category": np.float32([[1, 0, 0]]),
        "score": np.float32([[0.75, 0.625, 0.5]]),
        "number of detections": np.float32([2]),
    }
    assert golden.kept(answers, contract) == {"boxes": [{"category": 0, "score": 0.625, "box": [0, 0, 1, 0.5]}]}


def packaged(folder, name, version):
    """A `node_modules` folder with a package of that version and nothing in it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "package.json").write_text(json.dumps({"version": version}))
    return folder


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("other", "1.0.0", r"holds no package onnxruntime-web\. Put it there: npm install onnxruntime-web@1"),
        ("onnxruntime-web", "0.1.0", r"A bundle holds onnxruntime-web 1\..*\. Received: 0\.1\.0 in"),
        ("onnxruntime-web", vendored.PACKAGES["onnxruntime-web"].version, "are not those that npm gives: delete them"),
    ],
)
def test_packages_of_npm_that_are_not_those_that_are_known_are_refused(tmp_path, name, version, told):
    modules = packaged(tmp_path / "node_modules", name, version)
    with pytest.raises(UsageError, match=told):
        vendored.bring(("onnxruntime-web",), tmp_path / "out", modules)


def test_what_npm_gave_once_is_taken_from_the_cache(tmp_path, monkeypatch):
    stock_clients.installed((MODULES / "pngjs").is_dir(), "pngjs")
    place = tmp_path / "cache" / "npm" / f"pngjs-{vendored.PACKAGES['pngjs'].version}"
    shutil.copytree(MODULES / "pngjs", place)
    monkeypatch.setenv("PATH", "")  # no npm to ask
    (brought,) = vendored.bring(("pngjs",), tmp_path / "out")
    assert (tmp_path / "out" / brought.folder / "LICENSE").is_file()
    with pytest.raises(UsageError, match=r"jpeg-js@.* could not be had from npm.* there is no npm here.* --modules"):
        vendored.bring(("jpeg-js",), tmp_path / "out")


@pytest.mark.parametrize(("given", "wanted"), [("Ünder_5", "nder-5"), ("--", "model"), ("2024", "model-2024")])
def test_names_are_what_registries_take(given, wanted):
    assert content.named(given) == wanted
