"""Clips from folders of videos to files and a report: trained on a few made ones, exported, judged and asked."""

import json

import cv2
import numpy as np
import pytest
from alone import OF_VIDEOS, REQUIRED, command, gathered

import keras_transfer as kt
from keras_transfer import cli, workflow
from keras_transfer.backbones import registry
from keras_transfer.errors import UsageError
from keras_transfer.export import runtime
from keras_transfer.workflow import building

SIDE, FRAMES = 64, 4


def video(path, way, number):
    """A light square that crosses the picture one way or the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (SIDE, SIDE))
    for step in range(12)[::way]:
        frame = np.full((SIDE, SIDE, 3), 5 * number, np.uint8)
        frame[20:40, 4 * step : 4 * step + 16] = 220
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on two classes of eight videos each, trained once for all tests of this file."""
    place = tmp_path_factory.mktemp("clips")
    for label, way in (("left", -1), ("right", 1)):
        for number in range(8):
            video(place / "videos" / label / f"{number}.mp4", way, number)
    plan = kt.Plan(
        data=str(place / "videos"),
        task="clips",
        backbone="MobileNetV2",
        weights="none",
        recipe="clips",
        epochs=1,
        image_size=SIDE,
        frames=FRAMES,
        exports=("tflite",),
    )
    return kt.train(plan, folder=place / "runs", name="ways", cache_folder=place / "cache")


@pytest.fixture(scope="module")
def files(run):
    """The paths of its file and of its pair for streaming, whose proofs are kept in the run."""
    checked = kt.export(run, formats=["tflite", "tflite-stream"])
    assert all(each.parity.passed for each in checked)
    return [each.artifact.path for each in checked]


@pytest.fixture(scope="module")
def file(files):
    return files[0]


@pytest.fixture
def long(tmp_path):
    """Four videos one after another: 4.8 seconds, where a training clip lasts 1.2."""
    frames = 4 * [220 * (np.arange(SIDE)[None, :, None] // 4 == step) for step in range(12)]
    writer = cv2.VideoWriter(str(tmp_path / "long.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (SIDE, SIDE))
    for frame in frames:
        writer.write(np.broadcast_to(frame, (SIDE, SIDE, 3)).astype(np.uint8))
    writer.release()
    return tmp_path / "long.mp4"


@pytest.mark.parametrize(("verb", "what"), [(kt.doctor, "doctor"), (workflow.bench_input, "bench input")])
def test_what_looks_at_pictures_alone_says_so_of_videos(run, verb, what):
    with pytest.raises(
        UsageError, match=rf"holds videos, and {what} looks at pictures\. .* told by: keras-transfer train"
    ):
        verb(run.record.plan.data, task="clips")


def test_the_stages_are_those_of_the_recipe_and_the_first_ones_stored_frames(run):
    assert [stage.name for stage in run.record.stages] == ["moves", "head", "top"]
    assert all(stage.engine != "none" for stage in run.record.stages[:2])


def test_the_file_says_of_a_video_what_the_run_says(run, file):
    path = run.folder.parent.parent / "videos" / "left" / "0.mp4"
    (by_run,), (by_file,) = (kt.predict(model, [path]) for model in (run.folder, file))
    assert by_file.class_name == by_run.class_name
    assert by_file.probability == pytest.approx(by_run.probability, abs=1e-3)


def test_the_file_is_worth_on_videos_what_the_run_is_worth(run, file):
    videos = str(run.folder.parent.parent / "videos")
    assert kt.evaluate(file, videos).figures["accuracy"] == kt.evaluate(run.folder).figures["accuracy"]


def test_the_command_line_answers_for_videos_in_json(run, capsys):
    path = run.folder.parent.parent / "videos" / "right" / "1.mp4"
    cli.app(["predict", str(run.folder), str(path), "--json"], standalone_mode=False)
    (said,) = json.loads(capsys.readouterr().out)
    assert said["class_name"] in ("left", "right")


def test_the_record_and_its_files_know_how_long_training_clips_are(run, files):
    assert run.record.clip_seconds == pytest.approx(1.2)
    assert runtime.load(files[1]).artifact.contract.spacing == pytest.approx(1.2 / FRAMES)


def test_the_run_and_its_pair_say_when_what_happens(run, files, long):
    (by_run,), (by_pair,) = (kt.predict(model, [long]) for model in (run.folder, files[1]))
    assert len(by_run.windows) == len(by_pair.windows) == 4 * FRAMES - FRAMES + 1
    assert [each["probability"] for each in by_pair.windows] == pytest.approx(
        [each["probability"] for each in by_run.windows], abs=1e-3
    )


def test_a_plan_that_names_no_files_gets_the_pairs_too():
    plan = kt.Plan(data="anywhere", task="clips")
    resolved = building.resolved(plan, registry.backbone("MobileNetV2"), None, lambda event: None)
    assert {"tflite", "onnx", "tflite-stream", "onnx-stream"} <= set(resolved.exports)


def test_the_report_shows_clips_as_strips_of_their_frames(run, file):
    text = kt.report([run]).read_text()
    assert text.count('alt="Frame ') == FRAMES * text.count('class="frames"') > 0


@pytest.fixture(scope="module")
def bundle(run, files, tmp_path_factory):
    return workflow.bundle(run, "python", output=tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def asked(bundle, tmp_path_factory):
    """Run the command of the bundle with its requirements alone."""
    packages = [bundle.folder, gathered(tmp_path_factory.mktemp("alone"), (*REQUIRED, *OF_VIDEOS))]
    return lambda *arguments: command("ways", packages, *arguments)


def test_a_python_bundle_of_clips_passes_its_self_test_with_its_requirements_alone(bundle, asked):
    code, said, errors = asked("selftest")
    assert code == 0, errors
    assert said.splitlines()[-1] == f"self-test passed: {bundle.golden} of {bundle.golden} pictures"
    assert bundle.artifact.path.name == "model.tflite"
    assert json.loads((bundle.folder / "bundle.json").read_text())["frames"] == FRAMES
    assert "opencv-python-headless" in (bundle.folder / "pyproject.toml").read_text()
    assert "`wide`" not in (bundle.folder / "README.md").read_text()


def test_a_python_bundle_says_of_a_video_what_predict_says(run, asked, file, tmp_path):
    path = run.folder.parent.parent / "videos" / "left" / "0.mp4"
    (tmp_path / "notes.mp4").write_text("no video")
    code, said, errors = asked("classify", path, tmp_path / "notes.mp4", tmp_path / "gone.mp4", "--json")
    (wanted,), (row,) = kt.predict(file, [path]), json.loads(said)
    assert row["class_name"] == wanted.class_name
    assert row["probability"] == pytest.approx(wanted.probability, abs=1e-5)
    assert code == 1
    assert f"'{tmp_path / 'notes.mp4'}' is no video that can be read." in errors
    assert f"'{tmp_path / 'gone.mp4'}' is no file that is there." in errors


def test_bundles_that_answer_single_pictures_refuse_clips(run, files):
    for target in ("web", "node", "server", "android", "ios"):
        with pytest.raises(UsageError, match=rf"A bundle for {target} answers single .* clips\. Make one for: python"):
            workflow.bundle(run, target)
    with pytest.raises(UsageError, match=r"A bundle for python holds .* Received: '.*stream-tflite'"):
        workflow.bundle(run, "python", file="stream-tflite")
