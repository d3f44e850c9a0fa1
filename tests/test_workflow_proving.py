"""Proofs beside files: how answers are compared, what is kept of it, and for how long it is worth something."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_transfer.errors import ArtifactError
from keras_transfer.export import manifest, parity
from keras_transfer.export.latency import Latency
from keras_transfer.export.manifest import Manifest, Rejected
from keras_transfer.files import write_bytes
from keras_transfer.specs import Artifact, Contract
from keras_transfer.workflow import proving
from keras_transfer.workflow.tasks import TASKS

CONTRACT = Contract(class_names=("cat", "dog"), image_size=32)
LATENCY = Latency(
    median_ms=1.5, p90_ms=2, p99_ms=3, pictures_per_second=600, load_ms=5, threads=1, batch_size=1, repeats=10
)
KEYS = ("a.png", "b.png", "c.png")


def artifact(name="model.tflite", precision="float32", letter="a", **contract):
    return Artifact(
        path=Path(name),
        format="tflite",
        precision=precision,
        size_bytes=1000,
        sha256=letter * 64,
        contract=CONTRACT.model_copy(update=contract),
    )


def answers(*of_cat):
    return {"probabilities": np.array([[each, 1 - each] for each in of_cat], np.float32)}


def compared(candidate, *, precision="float32", max_drop=None):
    given = artifact(precision=precision)
    labels = np.array([0, 1, 0])
    return proving.compare(TASKS["classification"], answers(0.9, 0.2, 0.8), candidate, labels, KEYS, given, max_drop)


def opened(folder, digest="pictures", model="model"):
    """What of an opened run proofs ask for."""
    run = SimpleNamespace(exports=folder, folder=folder.parent)
    return SimpleNamespace(run=run, splits=SimpleNamespace(digest=digest), model_sha256=model, plain=CONTRACT)


def listed(folder, artifacts, rejected=()):
    found = Manifest(artifacts=tuple(artifacts), rejected=tuple(rejected))
    write_bytes(folder / manifest.MANIFEST_FILE, found.model_dump_json().encode())


def verified(folder, given, candidate=None):
    placed = given.model_copy(update={"path": folder / given.path})
    found = compared(candidate or answers(0.9, 0.2, 0.8))
    return proving.Verified(artifact=placed, parity=found, latency=LATENCY)


def test_equal_answers_pass_and_nothing_is_lost():
    found = compared(answers(0.9, 0.2, 0.8))
    assert found.passed
    assert (found.agreement, found.max_difference, found.accuracy_drop_points) == (1, 0, 0)
    assert found.kl_divergence == pytest.approx(0)


def test_a_float_file_that_decides_one_picture_otherwise_is_refused_and_names_it():
    found = compared(answers(0.9, 0.2, 0.4))
    assert not found.passed
    assert found.worst[0] == ("c.png", pytest.approx(0.4))
    assert found.agreement == pytest.approx(2 / 3)
    assert found.accuracy_drop_points == pytest.approx(100 / 3)


def test_points_that_may_be_lost_loosen_whole_numbers_and_never_floats():
    wrong = answers(0.9, 0.2, 0.4)
    assert not compared(wrong, precision="int8").passed
    assert compared(wrong, precision="int8", max_drop=40.0).passed
    assert not compared(wrong, precision="float32", max_drop=40.0).passed
    assert not compared(wrong, precision="float16", max_drop=100.0).passed


def test_a_file_that_answers_with_no_number_is_refused():
    found = compared(answers(np.nan, 0.2, 0.8))
    assert not found.passed
    assert found.reason


@pytest.mark.parametrize("name", TASKS)
def test_the_bounds_of_a_task_are_of_precisions_that_there_are(name):
    for precision, bounds in TASKS[name].bounds.items():
        assert set(bounds) <= set(parity.Tolerance.model_fields)
        assert parity.tolerance(precision, **bounds)


def test_a_proof_is_told_beside_its_file_and_a_file_without_one_has_name_and_size(tmp_path):
    of_run = opened(tmp_path / "exports")
    proven, other = artifact(), artifact("model.onnx", letter="b")
    listed(of_run.run.exports, [proven, other])
    proving.keep(of_run, [verified(of_run.run.exports, proven)])
    first, second = proving.rows_of_exports(of_run)
    assert first == {
        "name": "model.tflite",
        "size_bytes": 1000,
        "accepted": True,
        "merit": 1.0,
        "lost_points": 0.0,
        "agreement": 1.0,
        "latency_ms": 1.5,
    }
    assert second == {"name": "model.onnx", "size_bytes": 1000, "accepted": True}


@pytest.mark.parametrize(("digest", "model"), [("other pictures", "model"), ("pictures", "another model")])
def test_a_proof_by_other_pictures_or_another_model_is_worth_nothing(tmp_path, digest, model):
    folder = tmp_path / "exports"
    listed(folder, [artifact()])
    proving.keep(opened(folder), [verified(folder, artifact())])
    assert "merit" in proving.rows_of_exports(opened(folder))[0]
    assert "merit" not in proving.rows_of_exports(opened(folder, digest, model))[0]


def test_a_proof_on_validation_is_not_one_on_test(tmp_path):
    of_run = opened(tmp_path / "exports")
    listed(of_run.run.exports, [artifact()])
    proving.keep(of_run, [verified(of_run.run.exports, artifact())], split="validation")
    assert "merit" not in proving.rows_of_exports(of_run)[0]


def test_a_file_that_is_written_anew_loses_its_proof(tmp_path):
    of_run = opened(tmp_path / "exports")
    listed(of_run.run.exports, [artifact()])
    proving.keep(of_run, [verified(of_run.run.exports, artifact())])
    listed(of_run.run.exports, [artifact(letter="c")])
    assert "merit" not in proving.rows_of_exports(of_run)[0]


def test_proofs_of_files_that_are_gone_are_kept_no_longer_and_those_of_others_are(tmp_path):
    folder = tmp_path / "exports"
    of_run, one, other = opened(folder), artifact(), artifact("model.onnx", letter="b")
    listed(folder, [one, other])
    proving.keep(of_run, [verified(folder, one)])
    proving.keep(of_run, [verified(folder, other)])
    assert [proof.artifact.path.name for proof in proving._read(folder)] == ["model.tflite", "model.onnx"]
    listed(folder, [other])
    proving.keep(of_run, [])
    assert [proof.artifact.path.name for proof in proving._read(folder)] == ["model.onnx"]


def test_a_file_outside_of_the_exports_is_verified_and_not_kept(tmp_path):
    of_run = opened(tmp_path / "exports")
    listed(of_run.run.exports, [artifact()])
    proving.keep(of_run, [verified(tmp_path / "elsewhere", artifact())])
    assert proving._read(of_run.run.exports) == ()


def test_a_rejected_file_is_told_as_not_accepted(tmp_path):
    of_run = opened(tmp_path / "exports")
    aside = artifact("model.tflite.rejected")
    listed(of_run.run.exports, [], [Rejected(artifact=aside, reason="agreement 0.5")])
    assert proving.rows_of_exports(of_run) == [{"name": "model.tflite.rejected", "size_bytes": 1000, "accepted": False}]


@pytest.mark.parametrize("content", [b"", b"no json", b'{"version": 7, "proofs": []}', b"\xff"])
def test_proofs_that_cannot_be_read_are_none(tmp_path, content):
    write_bytes(tmp_path / proving.PROOFS, content)
    assert proving._read(tmp_path) == ()


def test_a_caption_says_the_first_two_things_that_are_read_short():
    said = proving._said(TASKS["classification"], answers(0.9, 0.25), 1, CONTRACT)
    assert said == "dog 0.750"
    long = CONTRACT.model_copy(update={"class_names": ("x" * 90, "dog")})
    assert proving._said(TASKS["classification"], answers(0.9), 0, long) == f"{'x' * 28} 0.900"


def test_a_file_of_other_classes_is_not_opened_for_a_run(tmp_path, monkeypatch):
    loaded = SimpleNamespace(artifact=artifact(class_names=("cat", "owl")))
    monkeypatch.setattr(proving.runtime, "load", lambda path, threads: loaded)
    with pytest.raises(
        ArtifactError, match=r"'model\.onnx' names other classes than the run in .*\. Export it again\."
    ):
        proving._loaded(opened(tmp_path / "exports"), Path("model.onnx"))
