"""Several labels a picture, whole: trained, settled, exported, opened by strangers, told, and refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_transfer import cli, runs, workflow
from keras_transfer.data import sources
from keras_transfer.errors import DataError, UsageError
from keras_transfer.export import runtime
from keras_transfer.specs import Plan, Stage

STAGE = Stage(name="head", epochs=6, learning_rate=3e-3)
FORMATS = ("saved_model", "tflite", "tflite-int8", "onnx")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the embedded sample, trained and exported once for all tests of this file."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(folder / "cache"))
        plan = Plan(data="sample:fashion-tags", task="multilabel", image_size=64, stages=(STAGE,), exports=FORMATS)
        done = workflow.train(plan, folder=folder, name="tags")
        workflow.export(done)
    return runs.open_run(done.folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six test pictures as files, and which labels they have."""
    folder, splits = tmp_path_factory.mktemp("pictures"), sources.load("sample:fashion-tags", annotation="classes")
    paths = [folder / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.fromarray(splits.test.pictures[number]).save(path)
    return paths, splits.test.labels[:6]


def test_the_run_is_judged_by_ranking_and_tells_map_beside_chance(run):
    record = run.record
    assert record.merit_name == "label ranking"
    assert record.test["mAP"] > record.test["mAP_by_chance"] + 0.3
    assert len(record.settled["thresholds"]) == len(record.class_names)


@pytest.mark.parametrize("file", ["saved_model", "model.tflite", "model.onnx"])
def test_every_file_says_what_the_run_says(run, pictures, file):
    of_run, of_file = (workflow.predict(path, pictures[0]) for path in (run.folder, run.exports / file))
    for one, other in zip(of_run, of_file, strict=True):
        assert one.labels == other.labels
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)


def test_thresholds_travel_in_every_file(run):
    for file in ("saved_model", "model.tflite", "model-int8.tflite", "model.onnx"):
        contract = runtime.load(run.exports / file).artifact.contract
        assert contract.thresholds == pytest.approx(run.record.settled["thresholds"])
        assert contract.task == "multilabel"


def test_whole_numbers_rank_labels_about_as_well(run):
    proofs = {row.artifact.path.name: row.parity for row in workflow.verify(run)}
    assert proofs["model-int8.tflite"].accuracy_drop_points <= 1.0
    assert proofs["model.tflite"].agreement == 1.0


def test_mediapipe_opens_the_file_and_gives_each_label_its_probability(run, pictures):
    tasks = pytest.importorskip("mediapipe.tasks.python")
    mediapipe = pytest.importorskip("mediapipe")
    path, (first, *_) = run.exports / "model.tflite", pictures[0]
    with tasks.vision.ImageClassifier.create_from_model_path(os.fspath(path)) as classifier:
        image = Image.open(first).resize((64, 64), Image.Resampling.BILINEAR)
        found = classifier.classify(
            mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.asarray(image).copy())
        )
    given = {each.category_name: each.score for each in found.classifications[0].categories}
    wanted = runtime.load(path).predict(np.asarray(image)[None])["probabilities"][0]
    assert given == pytest.approx(dict(zip(run.record.class_names, wanted.tolist(), strict=True)), abs=1e-3)


def test_evaluate_tells_the_figures_of_the_record(run):
    shown = CliRunner().invoke(cli.app, ["evaluate", str(run.folder), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["mean_average_precision"] == pytest.approx(run.record.test["mAP"])


def test_predict_lists_labels_with_commas(run, pictures):
    shown = CliRunner().invoke(cli.app, ["predict", str(run.exports / "model.onnx"), str(pictures[0][0])])
    said = workflow.predict(run.exports / "model.onnx", pictures[0][:1])[0].labels
    assert (", ".join(said) or "-") in shown.stdout


def test_the_report_names_what_was_missed_and_what_was_added(run):
    text = workflow.report_of([run]).read_text()
    assert "By label, the weakest first" in text
    assert "misses" in text
    assert "adds" in text


def test_asymmetric_loss_trains_too(tmp_path):
    plan = Plan(data="sample:fashion-tags", task="multilabel", loss="asymmetric", image_size=64, stages=(STAGE,))
    record = workflow.train(plan, folder=tmp_path).record
    assert record.test["mAP"] > record.test["mAP_by_chance"] + 0.3


def test_a_task_that_the_pictures_cannot_feed_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"holds one label a picture .*--task classification"):
        workflow.train(Plan(data="sample:fashion", task="multilabel"), folder=tmp_path)
    with pytest.raises(UsageError, match=r"holds any number of labels a picture .*--task multilabel"):
        workflow.train(Plan(data="sample:fashion-tags"), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_of_one_task_is_not_scored_on_pictures_of_another(run):
    with pytest.raises((UsageError, DataError), match="one label a picture"):
        workflow.evaluate(run.folder, "sample:fashion")


def test_a_loss_that_the_task_has_not_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'asymmetric'"):
        workflow.train(Plan(data="sample:fashion-tags", task="multilabel", loss="asymetric"), folder=tmp_path)


def test_unknown_labels_in_another_source_are_named(run, tmp_path):
    rows = ["path,labels,split"]
    for number in range(9):
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'bag|hat' if number % 2 else 'bag'},{('train', 'validation', 'test')[number % 3]}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="the model does not know hat"):
        workflow.evaluate(run.folder, str(tmp_path / "table.csv"))


def test_a_record_of_the_first_version_still_opens():
    from pathlib import Path

    record = runs.open_run(Path(__file__).parent / "reference" / "run_1").record
    assert record.version == 2
    assert record.merit_name == "accuracy"
    assert record.stages[-1].validation_merit == record.validation_merit > 0.8
    assert {"merit", "validation_merit"} <= set(record.stages[0].history[0])
