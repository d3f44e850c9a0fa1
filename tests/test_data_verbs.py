"""The verbs `doctor` and `bench input`, as a person and as another program call them."""

import json

import pytest
from typer.testing import CliRunner

from keras_transfer import cli, workflow
from keras_transfer.data.sources import load
from keras_transfer.errors import DataError
from keras_transfer.specs import Plan
from tests.test_data_doctor import save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pets")
    for label, name in enumerate(("cat", "dog")):
        for number in range(40):
            save(root / name / f"{number}.png", 1000 * label + number)
    save(root / "cat" / "copy.png", 0)
    (root / "dog" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9")
    return root


def called(*arguments):
    shown = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_doctor_prints_one_json_document(folder):
    found = json.loads(called("doctor", folder, "--no-labels", "--json"))
    assert {finding["kind"] for finding in found["findings"]} == {"duplicate", "unreadable"}


def test_doctor_writes_a_clean_manifest_a_page_and_a_sheet(folder, tmp_path):
    manifest = folder / "clean.csv"
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.png"
    called("doctor", folder, "--no-labels", "--write", manifest, "--html", page, "--show-augment", sheet)
    assert sum(load(str(manifest)).counts.values()) == 80
    assert "data:image/png" in page.read_text()
    assert sheet.read_bytes().startswith(b"\x89PNG")
    manifest.unlink()


@pytest.mark.slow
def test_bench_input_names_what_limits(folder):
    found = json.loads(called("bench", "input", folder, "--image-size", 64, "--augment", "light", "--json"))
    assert found["limited_by"] in ("training", "reading", "decoding", "augmentation", "batching")
    assert found["first_epoch"] > 0
    assert 0 <= found["waiting_share"] <= 1


def test_strict_training_is_refused_before_it_begins(folder, tmp_path):
    with pytest.raises(DataError, match=r"1 of \d+ \w+ pictures cannot be used: dog/damaged.jpg is not a picture"):
        workflow.train(Plan(data=str(folder), weights="none", image_size=64), folder=tmp_path, strict=True)
