"""Verbs as people type them: what they say on a terminal of 80 columns, in a pipe, as JSON, and what comes next."""

import io
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from colours import NAMES, shipped, trained
from export_model import CLASS_NAMES, exported, model
from PIL import Image
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from keras_transfer import cli, runs, workflow
from keras_transfer.cli import figures, showing
from keras_transfer.errors import ArtifactError, DataError, KerasTransferError, RunError, UsageError
from keras_transfer.selection.findings import Advice, Alternative, Ranked, Reason
from keras_transfer.specs import Plan, Scored
from keras_transfer.workflow import Limits, tasks

PAGES = ("advising", "catalogue", "exporting", "listing", "pictures", "rates", "reporting", "training", "using")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run with two exported files, in a folder of runs of its own."""
    return shipped(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(made, tmp_path):
    """The same for one test alone, under a name that a shell takes apart where it is not quoted."""
    return runs.open_run(Path(shutil.copytree(made.folder, tmp_path / "my runs" / "colours")))


def typed(*arguments):
    """Call the command line; return its exit code, what stands on standard output, and what on standard error."""
    found = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    if isinstance(found.exception, KerasTransferError):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture
def screen(monkeypatch):
    """A terminal of 80 columns: call it with a command, and what a person reads comes back."""

    def ask(*arguments):
        terminal = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
        for page in PAGES:
            monkeypatch.setattr(f"keras_transfer.cli.{page}.out", terminal, raising=False)
        monkeypatch.setattr(showing, "out", terminal)
        typed(*arguments)
        lines = terminal.file.getvalue().splitlines()
        assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []  # paths are never broken
        return "\n".join(lines)

    return ask


@pytest.fixture
def piped(capsys, monkeypatch):
    """Call it with a command: the lines on standard output, where that is a file or another program."""

    def ask(*arguments):
        plainly = Console(file=sys.stdout, width=showing.PIPE_WIDTH)
        for page in PAGES:
            monkeypatch.setattr(f"keras_transfer.cli.{page}.out", plainly, raising=False)
        monkeypatch.setattr(showing, "out", plainly)
        cli.app([str(each) for each in arguments], standalone_mode=False)
        return capsys.readouterr().out.splitlines()

    return ask


@pytest.fixture
def followed(monkeypatch):
    """The words of the commands that verbs name as the next."""
    printed = io.StringIO()
    for place in ("showing", "training"):
        monkeypatch.setattr(f"keras_transfer.cli.{place}.err", Console(file=printed, width=80))

    def words():
        (line,) = (line for line in printed.getvalue().splitlines() if line.startswith("next: "))
        return shlex.split(line.removeprefix("next: "))

    return words


def picture(name="red"):
    return Path(trained().record.plan.data) / name / "0.png"


ADVICE = Advice(
    plan=Plan(data="pets", recipe="head"),
    reasons=(Reason(topic="pictures", sentence="Three classes [of pets], " + "told in a sentence that is long " * 5),),
    ranking=(
        Ranked(
            backbone="EfficientNetLite0",
            image_size=96,
            probe_accuracy=0.5,
            standard_error=0.1,
            balanced_accuracy=0.5,
            tells=True,
            logme=-0.6,
            h_score=2.0,
            leep=None,
            intrinsic_dimension=9,
            size_mb=13.7,
            picture_ms=1.2,
            obstacle="13.7 MB, where 2 are allowed",
            blocks=(),
        ),
    ),
    label_noise=None,
    suspects=(),
    unknown=("Label noise: it is not known.",),
    seconds=4.0,
    training_seconds=9.0,
    alternatives=(
        Alternative(recipe="full", seconds=9.0, sentence="full takes about 9 s"),
        Alternative(recipe="head", seconds=1.0, sentence="head about 1 s"),
    ),
)


@pytest.fixture
def advised(monkeypatch):
    """What advice was asked for; it always says the same."""
    asked = {}

    def advise(source, **options):
        asked.update(source=source, **options)
        return ADVICE

    monkeypatch.setitem(vars(workflow), "advise", advise)
    return asked


# What a table tells.


def test_advice_in_a_pipe_is_a_line_for_each_backbone_and_each_decision(advised, piped):
    lines = piped("advise", "sample:fashion")
    assert lines[0].split() == ["backbone", "probe", "LogME", "H-score", "MB", "ms/picture", "obstacle"]
    assert lines[1].split("  ")[0] == "EfficientNetLite0"
    assert lines[1].endswith("13.7 MB, where 2 are allowed")
    assert lines[3].startswith("pictures  Three classes [of pets], told in a sentence")
    assert lines[4:] == [
        "unknown   Label noise: it is not known.",
        "measured in 4 s",
        "full takes about 9 s",
        "head about 1 s",
    ]


def test_advice_on_a_terminal_says_what_its_scores_mean(advised, screen):
    said = screen("advise", "sample:fashion")
    for name in ("probe", "LogME", "H-score", "MB", "ms/picture"):
        assert f"  {name}: " in said
    assert "EfficientNetLite0" in said


def test_advice_as_json_is_one_document_that_can_be_read_back(advised):
    _, stdout, stderr = typed("advise", "sample:fashion", "--json")
    assert Advice.model_validate_json(stdout) == ADVICE
    assert "next:" not in stderr


def test_advice_hands_on_what_the_device_allows(advised):
    typed("advise", "sample:fashion", "--max-mb", 2, "--int8", "--backbone", "MobileNet", "--backbone", "MobileNetV2")
    assert advised["limits"] == Limits(max_mb=2, max_ms=None, int8=True)
    assert advised["names"] == ["MobileNet", "MobileNetV2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ()),
        (("--task", "multilabel", "--image-size", "64"), ("--task", "multilabel", "--image-size", "64")),
        (("--backbone", "MobileNetV2"), ("--backbone", "MobileNetV2")),
        (("--backbone", "MobileNetV2", "--backbone", "MobileNet"), ()),
    ],
)
def test_after_advice_the_training_of_what_was_advised_is_the_next_command(advised, followed, options, words):
    typed("advise", "sample:fashion", *options)
    assert followed() == ["keras-transfer", "train", "sample:fashion", "--auto", *words]


def test_after_advice_that_was_written_the_next_command_takes_the_plan(advised, followed, tmp_path):
    typed("advise", "sample:fashion", "--write", tmp_path / "my plan.toml")
    assert followed() == ["keras-transfer", "train", "--plan", str(tmp_path / "my plan.toml")]
    assert advised["write"] == tmp_path / "my plan.toml"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["task=multilabel", "image_size=64", "seed=3"], {"task": "multilabel", "image_size": 64, "seed": 3}),
        (["--task", "multilabel", "--image-size", "64", "--seed", "3"], {"task": "multilabel", "image_size": 64}),
        (["backbone=MobileNetV2"], {"names": ["MobileNetV2"]}),
        (["--backbone", "MobileNetV2"], {"names": ["MobileNetV2"]}),
        ([], {"names": [], "task": "classification", "image_size": None}),
    ],
)
def test_auto_measures_by_what_was_said_however_it_was_said(advised, monkeypatch, words, wanted):
    trains, done = {}, trained()
    monkeypatch.setitem(vars(workflow), "train", lambda plan, **others: trains.update(plan=plan) or done)
    typed("train", "sample:fashion", "--auto", *words)
    assert {name: advised[name] for name in wanted} == wanted
    assert trains["plan"].recipe == "head"


def test_auto_says_what_training_takes_before_it_begins(advised, monkeypatch):
    done = trained()
    monkeypatch.setitem(vars(workflow), "train", lambda plan, **others: done)
    printed = io.StringIO()
    monkeypatch.setattr("keras_transfer.cli.training.err", Console(file=printed, width=80))
    typed("train", "sample:fashion", "--auto", "--json")
    lines = printed.getvalue().splitlines()
    assert lines == ["advised: head on EfficientNetLite0", "  full takes about 9 s", "  head about 1 s"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "advised: dense. BCCD at 448 pixels ends at AP50 0.874 on validation by recipe 'dense' (scripts/bench"),
        (("--recipe", "head"), ""),
    ],
)
def test_auto_trains_boxes_by_the_recipe_of_their_task_and_says_what_it_reached(monkeypatch, words, said):
    trains, done, printed = {}, trained(), io.StringIO()
    monkeypatch.setitem(vars(workflow), "train", lambda plan, **others: trains.update(plan=plan) or done)
    monkeypatch.setattr("keras_transfer.cli.training.err", Console(file=printed, width=80))
    typed("train", "sample:fashion-boxes", "--task", "detection", "--auto", "--json", *words)
    assert printed.getvalue().startswith(said)
    assert bool(printed.getvalue()) == bool(said)
    assert ("recipe" in trains["plan"].model_fields_set) == bool(words)  # else the task's own is filled in


def test_a_run_on_a_terminal_is_told_stage_by_stage_and_by_what_it_is_worth(monkeypatch, screen):
    done = trained()
    monkeypatch.setitem(vars(workflow), "train", lambda plan, **others: done)
    said = screen("train", "sample:fashion")
    assert "│ head  │ head    │ 10     │" in said
    assert f"test accuracy with transfer: {trained().record.test['accuracy']:.1%} ± " in said


def test_files_are_shown_whole_at_80_columns(run, screen):
    said = screen("verify", run.folder)
    for name in ("model.tflite", "model.onnx", "float32", "100.0%"):
        assert name in said
    assert "│ model.onnx   │ float32   │" in said
    assert "agrees: share of the pictures to which the file gives the answer" in " ".join(said.split())
    assert "accuracy: on so many pictures known to ± " in " ".join(said.split())


def test_files_in_a_pipe_are_a_line_each(made, piped):
    heading, *rows, worth = piped("verify", made.folder)
    assert heading.split("  ")[0] == "file"
    assert [row.split()[0] for row in rows] == ["model.onnx", "model.tflite"]
    assert worth.startswith("test accuracy with transfer: ")


def test_backbones_are_shown_whole_at_80_columns_and_top_1_is_explained(screen):
    said = screen("backbones", "EfficientNetV2")
    for name in (row.name for row in workflow.backbones(having=["EfficientNetV2"])):
        assert name in said
    assert "ImageNet top-1: share of 50,000 photographs whose first guess" in " ".join(said.split())


def test_backbones_in_a_pipe_are_a_line_each_and_nothing_is_explained(piped):
    lines = piped("backbones", "EfficientNetLite")
    assert [line.split()[0] for line in lines] == ["name", *(f"EfficientNetLite{number}" for number in range(5))]


def test_the_blocks_of_a_backbone_fit_80_columns_with_a_row_each(screen):
    said = screen("backbones", "MobileNetV2", "--blocks", "--image-size", 96)
    assert "│ 4     │ 3x3x1280 │" in said
    assert "features storable: whether what is frozen can end there" in said


def test_times_of_files_are_told_with_what_p90_means(made, screen):
    said = screen("bench", "latency", made.exports / "model.tflite", "--repeats", 3)
    assert "model.tflite" in said
    assert "p90, p99: 90 and 99 of 100 calls take no longer" in said


def test_a_run_stands_for_all_its_files_where_they_are_timed(made, piped):
    lines = piped("bench", "latency", made.folder, "--repeats", 2, "--batch", 1, "--batch", 2)
    assert [line.split()[:2] for line in lines[1:]] == [
        ["model.onnx", "1"],
        ["model.onnx", "2"],
        ["model.tflite", "1"],
        ["model.tflite", "2"],
    ]


def test_the_operators_of_a_file_are_summed_by_kind(made, piped):
    heading, first, *_ = piped("bench", "latency", made.exports / "model.tflite", "--profile", "--repeats", 2)
    assert heading.split("  ")[0] == "operator"
    assert first.startswith(("Fully Connected", "Convolution"))
    _, stdout, _ = typed("bench", "latency", made.exports / "model.tflite", "--profile", "--repeats", 2, "--json")
    ((file, found),) = json.loads(stdout).items()
    assert file.endswith("model.tflite")
    assert sum(each["share"] for each in found) == pytest.approx(1)


def test_the_operators_of_a_file_that_has_none_to_show_are_refused(made):
    with pytest.raises(KerasTransferError, match=r"model\.onnx"):
        typed("bench", "latency", made.exports / "model.onnx", "--profile")


def test_what_a_run_is_worth_is_told_with_the_meaning_of_every_figure(made, screen):
    said = screen("evaluate", made.folder)
    assert all(name in said for name in NAMES)
    for name in ("precision", "recall", "F1", "balanced accuracy", "log loss", "calibration error"):
        assert f"  {name}: " in said
    assert "top-5" not in said  # three classes have no fifth


def test_what_a_run_is_worth_in_a_pipe_is_a_line_a_class_and_one_of_figures(made, piped):
    heading, *classes, worth = piped("evaluate", made.folder, "--split", "validation")
    assert heading.split() == ["class", "pictures", "precision", "recall", "F1"]
    assert [line.split()[0] for line in classes] == sorted(NAMES)
    assert worth.startswith("accuracy ")
    assert "log loss 0." in worth or "log loss 1." in worth


def test_evaluate_without_a_model_takes_the_newest_run(made, piped):
    assert piped("evaluate", "--folder", made.folder.parent) == piped("evaluate", made.folder)


@pytest.mark.parametrize("scored", Scored.__subclasses__(), ids=lambda each: each.__name__)
def test_every_figure_of_every_task_is_explained_where_it_stands(scored):
    names = list(scored.figures.fget(MagicMock()))
    unexplained = [name for name in names if not figures.meanings_of([name])]
    assert unexplained in ([], ["accuracy"])


def test_predictions_on_a_terminal_and_in_a_pipe_say_the_same(made, screen, piped):
    pictures = [picture(name) for name in NAMES]
    lines = piped("predict", made.folder, *pictures)
    assert [line.split()[0] for line in lines] == ["picture", *map(str, pictures)]
    shown = screen("predict", made.folder, *pictures)
    for line in lines[1:]:
        assert all(word in shown for word in line.split())


def test_predict_reads_a_file_as_it_reads_its_run_and_json_has_every_class(made):
    of_run, of_file = (
        json.loads(typed("predict", model, picture(), "--json")[1])[0]
        for model in (made.folder, made.exports / "model.tflite")
    )
    assert of_run["class_name"] == of_file["class_name"]
    assert set(of_file["probabilities"]) == set(NAMES)
    assert sum(of_file["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_predict_draws_nothing_of_a_file_that_does_not_know_where_it_looked(made, tmp_path):
    told = r"Nothing is drawn of classification but where a run looked: name a run folder, or leave --output out\."
    with pytest.raises(UsageError, match=told):
        typed("predict", made.exports / "model.tflite", picture(), "--output", tmp_path / "drawn")
    assert not (tmp_path / "drawn").exists()


def test_predict_draws_where_a_run_looked(made, tmp_path):
    (said,) = json.loads(typed("predict", made.folder, picture(), "--output", tmp_path / "drawn", "--json")[1])
    (file,) = said["files"]
    assert Path(file).name == f"{picture().stem}-gradcam.png"
    with Image.open(file) as drawn:
        assert drawn.size == (320, 320)


def test_evaluate_lists_the_pictures_that_a_run_is_wrong_about(made):
    said = json.loads(typed("evaluate", made.folder, "--mistakes", 5, "--json")[1])
    wrong = round((1 - said["accuracy"]) * said["count"])
    assert len(said["mistakes"]) == min(wrong, 5)
    assert all(each["says"]["class_name"] != each["truth"] for each in said["mistakes"])
    with pytest.raises(UsageError, match="Mistakes are listed of a run and its own pictures"):
        typed("evaluate", made.exports / "model.tflite", made.record.plan.data, "--mistakes", 5)


@pytest.mark.parametrize("words", [("predict", "--gallery", "gallery.npz"), ("gallery", "--file", "gallery.npz")])
def test_galleries_are_refused_by_a_model_that_gives_no_embeddings(made, words):
    verb, *options = words
    shown = picture() if verb == "predict" else picture().parents[1]
    with pytest.raises(UsageError, match="embedding"):
        typed(verb, made.folder, shown, *options)


def test_a_picture_that_is_none_is_named(made, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"note\.jpg.* is not a picture that can be read"):
        typed("predict", made.folder, picture(), tmp_path / "note.jpg")


def test_the_report_is_named_with_its_card(run, piped):
    assert piped("report", run.folder) == [str(run.folder / "report.html"), str(run.folder / "MODEL_CARD.md")]
    _, stdout, _ = typed("report", "--folder", run.folder.parent, "--json")
    assert json.loads(stdout)["report"] == str(run.folder / "report.html")


def test_runs_in_a_pipe_are_a_line_each(made, piped):
    heading, row = piped("runs", "--folder", made.folder.parent)
    assert heading.split() == ["run", "task", "backbone", "px", "test", "training", "exported", "state"]
    assert row.startswith(f"{made.folder}  classification  EfficientNetLite0  64  accuracy ")
    assert row.endswith("model.onnx, model.tflite  finished")


def test_runs_at_80_columns_cut_nothing_that_is_copied(made, screen):
    said = screen("runs", "--folder", made.folder.parent)
    assert str(made.folder) in said
    assert "model.onnx, model.tflite" in " ".join(said.split())


def test_a_folder_without_runs_says_so_and_how_to_begin(tmp_path, piped, followed):
    assert piped("runs", "--folder", tmp_path) == [f"There are no runs in '{tmp_path}'."]
    assert followed() == ["keras-transfer", "train", "FOLDER"]
    assert json.loads("\n".join(piped("runs", "--folder", tmp_path, "--json"))) == []


def test_a_rate_is_looked_for_by_the_task_that_was_named(monkeypatch, piped):
    asked = {}
    curve = MagicMock(rates=(1e-4, 1e-3), losses=(0.9, 0.5), suggestion=1e-3)
    monkeypatch.setitem(vars(workflow), "lr_find", lambda plan, **others: asked.update(plan=plan) or curve)
    said = piped("lr-find", "sample:fashion-tags", "--task", "multilabel", "--batch-size", 8, "--seed", 3)
    assert asked["plan"] == Plan(data="sample:fashion-tags", task="multilabel", batch_size=8, seed=3)
    assert said == ["The loss falls fastest at a learning rate of 1.0e-03 (2 rates tried)."]


def test_labels_may_be_given_for_a_model_that_does_not_carry_them(tmp_path):
    place, names = tmp_path / "elsewhere.keras", tmp_path / "names.txt"
    model().save(place)
    folders = tmp_path / "pictures"
    for number, name in enumerate(CLASS_NAMES):
        shutil.copytree(picture(NAMES[number]).parent, folders / name)
    with pytest.raises(ArtifactError, match=r"does not carry its class names\. Give them with --labels\."):
        typed("evaluate", place, folders)
    names.write_text("\n".join(CLASS_NAMES), encoding="utf-8")
    _, stdout, _ = typed("evaluate", place, folders, "--labels", names, "--json")
    assert [row["name"] for row in json.loads(stdout)["per_class"]] == list(CLASS_NAMES)


# What comes next, and what is refused.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "RUN"), ("predict", "RUN/exports/model.onnx", "PICTURE.jpg")),
        (("evaluate", "RUN"), ("predict", "RUN", "PICTURE.jpg")),
        (("runs", "--folder", "RUN/.."), ("report", "RUN/../colours")),
        (("doctor", "DATA", "--no-labels"), ("train", "DATA")),
        (("backbones", "MobileNetV2"), ("train", "FOLDER", "--backbone", "NAME")),
    ],
    ids=lambda words: words[0],
)
def test_the_next_command_works_when_it_is_pasted(run, followed, arguments, words):
    names = {"RUN": str(run.folder), "DATA": trained().record.plan.data}

    def put(word):
        for name, value in names.items():
            word = word.replace(name, value)
        return word

    typed(*map(put, arguments))
    assert followed() == ["keras-transfer", *map(put, words)]


def test_after_the_doctor_of_another_task_training_is_of_that_task(followed, tmp_path):
    typed("doctor", "sample:fashion-tags", "--task", "multilabel", "--no-labels")
    assert followed() == ["keras-transfer", "train", "sample:fashion-tags", "--task", "multilabel"]


@pytest.mark.parametrize("verb", ["train", "advise", "doctor", "lr-find"])
def test_every_task_is_named_where_a_task_is_asked_for(verb):
    command = get_command(cli.app).commands[verb]
    (option,) = (each for each in command.params if "--task" in each.opts)
    assert [name for name in tasks.TASKS if name not in option.help] == []


@pytest.mark.parametrize("verb", [each for each in cli.VERBS if each != "train"])
def test_every_verb_says_what_it_does_in_a_sentence_and_takes_json(verb):
    command = get_command(cli.app).commands[verb]
    assert command.help.split("\n")[0].endswith(".")
    assert any("--json" in each.opts for each in command.params)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("bench", "transfer", "nowhere"), DataError, "There is no folder or file 'nowhere'"),
        (("lr-find", "nowhere"), DataError, "There is no folder or file 'nowhere'"),
        (("train", "sample:fashion", "pets"), UsageError, "One SOURCE at a time. Received: sample:fashion, pets"),
        (("train", "sample:fashion", "--compare", "scratsh"), UsageError, "--compare takes 'scratch'"),
        (("train", "sample:fashion", "--watch", "tensorbord"), UsageError, "Did you mean 'tensorboard'?"),
        (("export", "--folder", "nowhere"), RunError, "There is no finished run in 'nowhere'. Train one: keras-"),
        (("verify", "nowhere"), RunError, "There is no run in 'nowhere'. Train one: keras-transfer train SOURCE"),
        (("report", "nowhere"), RunError, "There is no run in 'nowhere'."),
        (("gallery", "nowhere", "people"), DataError, "There is no file or folder at 'nowhere'."),
        (("backbones", "MobileNetV5"), UsageError, "No backbone is 'MobileNetV5'"),
        (("backbones", "--fetch"), UsageError, "--fetch and --blocks are about one backbone."),
        (("bench", "transfer", "sample:fashion", "--run", "gone"), RunError, "There is no run in 'gone'."),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_what_cannot_work_is_one_sentence_before_anything_is_done(arguments, error, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        typed(*arguments)
    assert sentence in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("export", "MODEL"), "is no run: say its class names with --labels FILE and where to go with --output."),
        (("export", "MODEL", "--supersample", "3"), "--supersample is for runs, and"),
        (("export", "MODEL", "--precision", "auto"), "is a model made elsewhere. Leave it out."),
        (("export", "RUN", "--output", "files"), "--output is for a model made elsewhere (MODEL.keras); a run has its"),
        (("export", "RUN", "-f", "tflit"), "Unknown export format 'tflit'. Did you mean 'tflite'?"),
        (("export", "RUN", "--precision", "int8"), "--precision takes 'auto'; name a format with --format."),
        (("evaluate", "RUN", "--split", "tests"), "--split takes train, validation or test. Received: 'tests'"),
        (("predict", "RUN", "PICTURE", "--labels", "gone.txt"), "--labels takes a text file with a class name on each"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_a_wrong_request_about_a_model_is_one_sentence(made, arguments, sentence):
    names = {"RUN": made.folder, "MODEL": made.folder / "model.keras", "PICTURE": picture()}
    with pytest.raises(UsageError) as caught:
        typed(*(names.get(word, word) for word in arguments))
    assert sentence in str(caught.value)


def test_a_model_made_elsewhere_goes_where_it_is_told_and_is_compared(tmp_path, piped):
    place, names = tmp_path / "elsewhere.keras", tmp_path / "names.txt"
    model().save(place)
    names.write_text("\n".join(CLASS_NAMES), encoding="utf-8")
    arguments = ("export", place, "--labels", names, "--output", tmp_path / "files", "-f", "onnx")
    assert piped(*arguments) == [f"{tmp_path / 'files' / 'model.onnx'}  agrees"]
    with pytest.raises(UsageError, match=r"is there already and not empty\. Choose another folder, or add --force\."):
        typed(*arguments)
    assert json.loads(typed(*arguments, "--force", "--json")[1])[0]["parity"]["passed"]


def test_a_file_that_says_something_else_is_told_of_and_the_command_exits_1(run, monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr("keras_transfer.cli.exporting.err", Console(file=printed, width=80))
    monkeypatch.setattr("keras_transfer.workflow.proving.parity.TOLERANCES", impossible())
    code, stdout, _ = typed("verify", run.folder, "--file", run.exports / "model.onnx", "--json")
    (row,) = json.loads(stdout)
    assert code == 1
    assert not row["parity"]["passed"]
    assert row["artifact"]["path"] == str(run.exports / "model.onnx.rejected")
    (line,) = printed.getvalue().splitlines()
    assert line.startswith(f"{run.exports / 'model.onnx.rejected'}: ")
    assert "Differ most: " in line


def impossible():
    """Bounds that no file keeps."""
    from keras_transfer.export import parity

    none = {"max_difference": -1.0}
    return {name: bounds.model_copy(update=none) for name, bounds in parity.TOLERANCES.items()}


def test_files_that_are_not_checked_are_listed_by_their_paths(run, piped):
    assert piped("export", run.folder, "-f", "tflite", "--no-check") == [str(run.exports / "model.tflite")]


def test_a_finished_command_that_is_repeated_says_so_and_how_to_train_anew(run, monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr("keras_transfer.cli.progress.err", Console(file=printed, width=200))
    typed("train", "--plan", run.folder / "plan.toml", "--run", run.folder.name, "--folder", run.folder.parent)
    assert "is finished already; train anew with --run NAME, or another seed=NUMBER" in printed.getvalue()


def test_an_error_is_one_sentence_without_markup_or_traceback():
    arguments = [sys.executable, "-m", "keras_transfer", "train", "pets [old]"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: There is no folder or file 'pets [old]'.")


def test_the_examples_of_exported_files_stay_apart_from_this_run(made):
    with pytest.raises(ArtifactError, match="names other classes than the run"):
        typed("verify", made.folder, "--file", exported()["tflite"])


def test_what_a_phone_says_is_passed_on_as_it_is_or_as_json(made, monkeypatch, tmp_path):
    file = made.exports / "model.tflite"
    monkeypatch.setitem(vars(workflow), "bench_on_phone", lambda path, binary, **options: f"{path.name}: 3 ms")
    assert typed("bench", "latency", file, "--adb", tmp_path / "benchmark_model")[1] == "model.tflite: 3 ms\n"
    _, stdout, _ = typed("bench", "latency", file, "--adb", tmp_path / "benchmark_model", "--json")
    assert json.loads(stdout) == {str(file): "model.tflite: 3 ms"}
