"""Files of strangers: what could run code, crash the process or leave its folder is refused in one sentence."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import crashing
import keras
import numpy as np
import pytest
from export_model import CONTRACT, exported, model, pictures

import keras_transfer
from keras_transfer import keras_files, runs, vouching
from keras_transfer.backbones import torch_pickle
from keras_transfer.errors import ArtifactError, KerasTransferError, UsageError, WeightsError
from keras_transfer.export import manifest, runtime
from keras_transfer.specs import Plan


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another machine, which knows none of the files."""
    monkeypatch.setenv("KERAS_TRANSFER_STATE", str(tmp_path / "state"))


def test_what_is_exported_here_is_known_here():
    for path in exported().values():
        assert vouching.is_vouched(manifest.digest(path)[1])


def test_a_file_that_crashes_its_runtime_is_one_sentence(tmp_path):
    with pytest.raises(ArtifactError, match=r"crash\.onnx' crashes the runtime of onnx files \(SIGFPE\)") as caught:
        runtime.load(crashing.write(tmp_path / "crash.onnx"), contract=CONTRACT)
    assert "\n" not in str(caught.value)


def test_what_a_runtime_prints_while_it_fails_is_no_part_of_the_sentence(tmp_path):
    whole = (Path(__file__).parent / "reference" / "contract_1" / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole.replace(b"image", b"im\x86ge", 1))  # ONNX Runtime prints of it
    with pytest.raises(ArtifactError) as caught:
        runtime.load(tmp_path / "model.onnx", contract=CONTRACT)
    assert str(caught.value).startswith(f"'{tmp_path}/model.onnx' is not a onnx model that can be opened")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_file_from_elsewhere_is_tried_once(name, elsewhere, monkeypatch):
    tried = []
    monkeypatch.setattr(runtime.apart, "check", lambda path, format: tried.append(format))
    for _ in range(2):
        assert runtime.load(exported()[name]).predict(pictures()[:1])["probabilities"].shape == (1, 3)
    assert tried == [name]


@pytest.mark.parametrize("name", ["tflite", "onnx", "onnx-nchw", "tflite-int8"])
def test_a_file_from_elsewhere_that_is_whole_is_opened(name, elsewhere):
    assert runtime.load(exported()[name]).predict(pictures()[:1])["probabilities"].shape == (1, 3)


def test_a_file_from_elsewhere_is_opened_where_a_limit_of_memory_is_set(elsewhere):
    code = f"""
import pathlib, resource
from keras_transfer.export import runtime
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
print(runtime.load(pathlib.Path({str(exported()["tflite"])!r})).artifact.format)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tflite"


def test_a_saved_model_from_elsewhere_wants_to_be_trusted_even_where_a_manifest_lists_it(elsewhere, tmp_path):
    folder = shutil.copytree(exported()["saved_model"].parent, tmp_path / "exports")
    with pytest.raises(ArtifactError, match=r"can read and write files when it is run\. If you trust .* --trust"):
        keras_transfer.predict(folder / "saved_model", [])
    keras_transfer.trust(folder / "saved_model")
    assert runtime.load(folder / "saved_model").predict(pictures()[:1])["probabilities"].shape == (1, 3)
    (folder / "saved_model" / "assets" / "labels.txt").write_text("a\nb\nc\n")
    (folder / manifest.MANIFEST_FILE).unlink()
    with pytest.raises(ArtifactError, match="--trust"):
        runtime.load(folder / "saved_model")


def test_a_saved_model_that_cannot_be_opened_is_not_trusted(elsewhere, tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="is not a saved_model model that can be opened"):
        keras_transfer.trust(tmp_path / "saved_model")


def test_without_a_home_nothing_is_remembered_and_everything_works(monkeypatch):
    for name in ("HOME", "KERAS_TRANSFER_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    vouching.vouch("ab" * 32)
    assert not vouching.is_vouched("ab" * 32)


def with_config(path, change):
    """A `.keras` file whose description of layers was changed."""
    model().save(path)
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    described = json.loads(members["config.json"])
    change(described["config"]["layers"])
    members["config.json"] = json.dumps(described).encode()
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


@pytest.mark.parametrize("name", keras_files.REFUSED)
def test_a_layer_that_could_run_code_or_read_files_is_refused_wherever_it_stands(name, tmp_path):
    hidden = {"config": [{"deeper": {"class_name": name, "module": "keras.layers", "config": {}}}]}
    path = with_config(tmp_path / "model.keras", lambda layers: layers[1].update(hidden))
    for read in (keras_files.load, runtime.load):
        with pytest.raises(ArtifactError, match=rf"holds a layer '{name}', which .*; it is not opened"):
            read(path)


def test_a_lambda_layer_never_runs(tmp_path):
    image = keras.Input((8, 8, 3))
    there = tmp_path / "was run"
    touching = keras.layers.Lambda(lambda x, there=str(there): (open(there, "w").close(), x)[1])
    keras.Model(image, touching(image)).save(tmp_path / "model.keras")
    there.unlink(missing_ok=True)
    with pytest.raises(ArtifactError, match="holds a layer 'Lambda', which runs code that the file holds"):
        keras_files.load(tmp_path / "model.keras")
    assert not there.exists()


def test_an_object_of_another_module_is_refused(tmp_path):
    path = with_config(tmp_path / "model.keras", lambda layers: layers[1].update(module="os", class_name="system"))
    with pytest.raises(ArtifactError, match="holds 'system' of 'os', and only Keras' own layers are opened"):
        keras_files.load(path)


@pytest.mark.parametrize("name", ["../outside.h5", "/outside.h5", "assets/../../outside", "..\\outside.h5"])
def test_members_of_a_keras_file_stay_in_it(name, tmp_path):
    model().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as packed:
        packed.writestr(name, b"")
    with pytest.raises(ArtifactError, match="which would lie outside of it; it is not opened"):
        keras_files.load(tmp_path / "model.keras")


def test_a_keras_file_does_not_unpack_to_any_size(tmp_path, monkeypatch):
    model().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("assets/zeros", bytes(10**6))
    size = (tmp_path / "model.keras").stat().st_size
    monkeypatch.setattr(keras_files, "MOST_MODEL_BYTES", size + 10**5)
    with pytest.raises(ArtifactError, match="would unpack to"):
        keras_files.load(tmp_path / "model.keras")


def test_a_pickle_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'was run'}",)

    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match=r"was refused as a PyTorch state dict: it names posix\.system"):
        torch_pickle.read(tmp_path / "weights.pth")
    assert not (tmp_path / "was run").exists()


def test_a_pickle_takes_no_memory_by_its_own_word(tmp_path):
    (tmp_path / "memo.pth").write_bytes(b"\x80\x02N" + b"r\xff\xff\xff\xff" + b".")
    code = f"""
import resource
from pathlib import Path
from keras_transfer.backbones import torch_pickle
from keras_transfer.errors import WeightsError
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
try:
    torch_pickle.read(Path({str(tmp_path / "memo.pth")!r}))
except WeightsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "does not begin with the magic number" in done.stdout


def test_a_tensor_of_a_pickle_is_no_larger_than_its_storage():
    view = torch_pickle._View(torch_pickle._Storage(np.dtype("<f4"), "0"), 0, (10**6, 10**6), (0, 0))
    with pytest.raises(ValueError, match="a tensor reaches outside its storage"):
        torch_pickle._array(np.zeros(1, np.float32), view)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "a/../../b"])
def test_a_manifest_names_nothing_outside_of_its_folder(path, tmp_path):
    written = json.loads((exported()["tflite"].parent / manifest.MANIFEST_FILE).read_text())
    written["artifacts"][0]["path"] = path
    (tmp_path / manifest.MANIFEST_FILE).write_text(json.dumps(written))
    with pytest.raises(ArtifactError, match=f"names a file outside of its folder: '{path}'"):
        manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "..", ".", "", "a/b", "a\0b", "é" * 128])
def test_a_run_stays_in_the_folder_of_runs(name, tmp_path):
    with pytest.raises(UsageError, match="The name of a run is that of its folder, no path"):
        runs.place_for(Plan(data="pets"), tmp_path, name)
    assert runs.place_for(Plan(data="pets"), tmp_path, "é" * 127) == tmp_path / ("é" * 127)


def test_a_contract_in_a_file_has_a_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "behind.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("contract.json", bytes(2**24 + 1))
    content = exported()["tflite"].read_bytes()
    from keras_transfer.export import metadata

    with pytest.raises(KerasTransferError, match=r"The contract in 'x' has 16,777,217 bytes, which is none"):
        metadata.from_tflite(content[: content.index(b"PK\3\4")] + (tmp_path / "behind.zip").read_bytes(), where="x")
