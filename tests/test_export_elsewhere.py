"""A model made elsewhere, exported from the command line."""

import json

import pytest
from export_model import CLASS_NAMES, model

from keras_transfer import cli
from keras_transfer.errors import UsageError


@pytest.fixture
def foreign(tmp_path):
    model().save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(CLASS_NAMES), encoding="utf-8")
    return tmp_path


def run(*arguments):
    return cli.app([str(each) for each in arguments], standalone_mode=False)


def test_it_is_exported_with_its_labels_and_compared(foreign, capsys):
    arguments = (foreign / "model.keras", "--labels", foreign / "labels.txt", "--output", foreign / "out", "--json")
    run("export", *arguments, "-f", "onnx", "-f", "tflite")
    found = json.loads(capsys.readouterr().out)
    assert [each["parity"]["agreement"] for each in found] == [1.0, 1.0]
    assert found[0]["artifact"]["contract"]["class_names"] == list(CLASS_NAMES)


def test_it_asks_for_labels_and_a_place(foreign):
    with pytest.raises(UsageError, match="say its class names with --labels FILE and where to go with --output"):
        run("export", foreign / "model.keras")


def test_a_folder_that_holds_something_is_not_written_into_without_force(foreign):
    arguments = ("export", foreign / "model.keras", "--labels", foreign / "labels.txt", "--output", foreign)
    with pytest.raises(UsageError, match=r"is there already and not empty.*--force"):
        run(*arguments, "-f", "onnx")
    run(*arguments, "-f", "onnx", "--force", "--json")
    assert (foreign / "model.onnx").exists()


def test_labels_that_cannot_be_read_are_one_sentence(foreign):
    with pytest.raises(UsageError, match="--labels takes a text file with a class name on each line"):
        run("export", foreign / "model.keras", "--labels", foreign / "none.txt", "--output", foreign / "out")
