"""A file gets its name when it is proven, and what was rejected stays on record."""

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from export_model import CONTRACT, exported, model, pictures

from keras_transfer.errors import ArtifactError, ExportError
from keras_transfer.export import exporters, manifest, runtime
from keras_transfer.files import DRAFTS
from keras_transfer.specs import Artifact

OLD = Path(__file__).parent / "reference" / "contract_1"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def written(folder: Path, *formats: str) -> tuple[Artifact, ...]:
    return exporters.export(model(), folder, formats or ("onnx",), CONTRACT)


def test_a_draft_has_no_name_of_its_own_until_it_is_promoted(tmp_path):
    with exporters.drafted(model(), tmp_path, ["onnx"], CONTRACT) as drafts:
        assert "model.onnx" not in names(tmp_path)
        assert runtime.load(drafts[0].path).artifact.contract == CONTRACT
        (artifact,) = exporters.promote(drafts, tmp_path)
    assert names(tmp_path) == {"model.onnx", "manifest.json"}
    assert runtime.load(artifact.path).artifact.sha256 == drafts[0].sha256


def test_a_draft_that_is_neither_promoted_nor_rejected_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), exporters.drafted(model(), tmp_path, ["onnx"], CONTRACT):
        raise KeyboardInterrupt
    assert names(tmp_path) == set()


def test_what_an_export_kept_from_the_garbage_collector_is_given_back(tmp_path):
    with exporters.drafted(model(), tmp_path, ["onnx"], CONTRACT):
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_what_a_program_kept_from_the_garbage_collector_stays_kept(tmp_path):
    gc.freeze()
    try:
        written(tmp_path)
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_an_export_that_fails_leaves_what_was_there_before(tmp_path):
    (before,) = written(tmp_path)
    with pytest.raises(ExportError), exporters.drafted(model(), tmp_path, ["onnx", "tflite-int8"], CONTRACT):
        pass
    assert exporters.exported(tmp_path) == (before.path,)


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    written(tmp_path, "saved_model")
    (artifact,) = written(tmp_path, "saved_model")
    assert names(tmp_path) == {"saved_model", "manifest.json"}
    assert runtime.load(artifact.path).artifact.sha256 == artifact.sha256


def test_a_killed_export_leaves_no_file_of_its_name_and_the_next_one_sweeps_up(tmp_path):
    code = f"""
import os, signal
from export_model import CONTRACT, model
from keras_transfer.export import exporters
import pathlib
with exporters.drafted(model(), pathlib.Path({str(tmp_path)!r}), ["onnx"], CONTRACT):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-500:]
    (left,) = names(tmp_path)
    assert left.startswith(DRAFTS)
    written(tmp_path)
    assert names(tmp_path) == {"model.onnx", "manifest.json"}


def test_drafts_that_are_being_written_are_not_swept_up(tmp_path):
    with exporters.drafted(model(), tmp_path, ["onnx"], CONTRACT) as drafts:
        written(tmp_path, "tflite")
        assert drafts[0].path.exists()


def test_a_rejected_draft_is_kept_under_a_name_that_says_so(tmp_path):
    with exporters.drafted(model(), tmp_path, ["tflite"], CONTRACT) as (draft,):
        aside = exporters.reject(draft, tmp_path, "accuracy drops by 3.00 points (at most 1)")
    assert aside.path == tmp_path / "model.tflite.rejected"
    assert exporters.exported(tmp_path) == ()
    (found,) = exporters.rejected(tmp_path)
    assert (found.artifact, found.reason) == (aside, "accuracy drops by 3.00 points (at most 1)")
    assert runtime.load(aside.path).artifact == aside


def test_a_file_that_proves_wrong_later_leaves_those_that_were_accepted(tmp_path):
    first, second = written(tmp_path, "tflite", "onnx")
    exporters.reject(first, tmp_path, "it changed")
    assert exporters.exported(tmp_path) == (second.path,)
    assert [each.artifact.path.name for each in exporters.rejected(tmp_path)] == ["model.tflite.rejected"]


def test_what_was_rejected_already_gets_the_new_reason(tmp_path):
    (artifact,) = written(tmp_path)
    once = exporters.reject(artifact, tmp_path, "first")
    assert exporters.reject(once, tmp_path, "second").path == once.path
    assert [each.reason for each in exporters.rejected(tmp_path)] == ["second"]


def test_a_promoted_file_takes_the_place_of_a_rejected_one(tmp_path):
    (artifact,) = written(tmp_path)
    exporters.reject(artifact, tmp_path, "it changed")
    written(tmp_path)
    assert names(tmp_path) == {"model.onnx", "manifest.json"}
    assert exporters.rejected(tmp_path) == ()


def test_a_rejected_draft_leaves_the_accepted_file_of_its_name(tmp_path):
    (accepted,) = written(tmp_path)
    with exporters.drafted(model(), tmp_path, ["onnx"], CONTRACT) as (draft,):
        exporters.reject(draft, tmp_path, "it differs")
    assert exporters.exported(tmp_path) == (accepted.path,)
    assert runtime.load(accepted.path).artifact.sha256 == accepted.sha256


def test_a_rejected_file_that_was_changed_is_not_opened(tmp_path):
    (artifact,) = written(tmp_path, "tflite")
    aside = exporters.reject(artifact, tmp_path, "it differs")
    aside.path.write_bytes(exported()["tflite-float16"].read_bytes())
    with pytest.raises(ArtifactError, match=r"its SHA-256 differs from the one in manifest\.json"):
        runtime.load(aside.path)


def test_a_manifest_of_version_1_is_read_and_becomes_version_2_when_written(tmp_path):
    listed = manifest.read(OLD)
    assert (listed.version, [artifact.path.name for artifact in listed.artifacts]) == (
        1,
        ["model.onnx", "model.tflite"],
    )
    for path in OLD.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    exporters.export(model(), tmp_path, ["tflite-int8"], CONTRACT, calibration=pictures())
    kept = json.loads((tmp_path / "manifest.json").read_text())
    assert kept["version"] == 2
    assert [each["path"] for each in kept["artifacts"]] == ["model-int8.tflite", "model.onnx", "model.tflite"]


def test_a_manifest_of_another_version_is_one_sentence(tmp_path):
    (tmp_path / "manifest.json").write_text('{"version": 3}')
    with pytest.raises(ArtifactError, match=r"is not a manifest of version 1 or 2: version: "):
        exporters.exported(tmp_path)
