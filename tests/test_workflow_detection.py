"""A detector from pictures to a report: a run and its files say one thing, in boxes, files and pages."""

import functools
import json
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from keras_transfer import cli, workflow
from keras_transfer.data import box_labels
from keras_transfer.data.sources import load
from keras_transfer.specs import Plan, Stage

EACH = {"train": 32, "validation": 8, "test": 8}


def table(folder):
    """Some pictures of the sample as files, and a row for each of their boxes."""
    splits, lines = load("sample:fashion-boxes", annotation="boxes"), ["path,label,x1,y1,x2,y2,split"]
    for name, count in EACH.items():
        for row in range(count):
            path = f"{name}-{row}.png"
            Image.fromarray(splits[name].pictures[row]).save(folder / path)
            height, width, boxes = box_labels.unpacked(splits[name].labels[row])
            for y1, x1, y2, x2, kind in boxes.tolist():
                shoe = int(kind) in (5, 7, 9)
                lines.append(
                    f"{path},{'shoe' if shoe else 'other'},{x1 * width},{y1 * height},{x2 * width},{y2 * height},{name}"
                )
    (folder / "boxes.csv").write_text("\n".join(lines))
    return folder / "boxes.csv"


@functools.cache
def trained():
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-test-"))
    stage = Stage(name="head", epochs=3, learning_rate=0.01)
    plan = Plan(data=str(table(folder)), task="detection", stages=(stage,), image_size=96, batch_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(folder / "cache"))
        run = workflow.train(plan, folder=folder, name="garments")
        workflow.export(run, ["tflite"])
    return run


def picture(number=0):
    return Path(trained().record.plan.data).parent / f"test-{number}.png"


def test_a_run_settles_scores_and_is_judged_by_boxes():
    record = trained().record
    assert len(record.settled["thresholds"]) == 2
    assert {"best_F1_of_a_picture", "AP50", "AP", "AP75", "F1"} <= set(record.test)
    assert record.merit_name == "best F1 of a picture"


def test_a_run_and_its_file_find_the_same_boxes(tmp_path):
    run = trained()
    pictures = [picture(number) for number in range(4)]
    of_run, of_file = (workflow.predict(model, pictures) for model in (run.folder, run.exports / "model.tflite"))
    assert [each.found for each in of_run] == [each.found for each in of_file]
    for one, other in zip(of_run, of_file, strict=True):
        for box, twin in zip(one.boxes, other.boxes, strict=True):
            assert box["bbox"] == pytest.approx(twin["bbox"], abs=0.1)


def test_predicting_as_json_prints_cocos_results_in_pixels_of_the_picture(tmp_path, capsys):
    with Image.open(picture()) as opened:
        opened.resize((200, 100)).save(tmp_path / "0007.png")
    cli.app(["predict", str(trained().folder), str(tmp_path / "0007.png"), "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    (said,) = workflow.predict(trained().folder, [tmp_path / "0007.png"])
    assert [row["bbox"] for row in rows] == [box["bbox"] for box in said.boxes]
    assert {row["image_id"] for row in rows} <= {7}
    assert all(row["bbox"][0] >= 0 and row["bbox"][0] + row["bbox"][2] <= 200.1 for row in rows)


def test_predicting_to_a_folder_draws_the_boxes(tmp_path):
    (said,) = workflow.predict(trained().folder, [picture()], output=tmp_path)
    assert said.files == (str(tmp_path / "test-0-boxes.png"),)
    with Image.open(said.files[0]) as drawn, Image.open(picture()) as whole:
        assert drawn.size == whole.size


def test_the_report_shows_classes_and_worst_pictures():
    text = workflow.report_of([trained()]).read_text()
    assert "Precision against recall" in text
    assert "Worst pictures" in text
