"""Pictures without a label are learned from where validation gains by them, and named where there are none."""

import numpy as np
import pytest
from colours import draw, trained
from PIL import Image

from keras_transfer import keras_files, workflow
from keras_transfer.data import sources
from keras_transfer.errors import UsageError
from keras_transfer.selection import pseudo_labels
from keras_transfer.specs import Plan, Stage
from keras_transfer.workflow import teaching, unlabelled

HEAD = Stage(name="head", epochs=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty pictures of three colours, and thirty of which nobody said what they are."""
    folder = tmp_path_factory.mktemp("some") / "pictures"
    draw(folder)
    (folder / "unlabelled").mkdir()
    random = np.random.default_rng(5)
    for number in range(30):
        pixels = random.integers(0, 200, (40, 60, 3)).astype(np.uint8)
        pixels[..., number % 3] += 40
        Image.fromarray(pixels).save(folder / "unlabelled" / f"{number}.png")
    return folder


def plan(pictures, **changes):
    return Plan(data=str(pictures), stages=(HEAD,), image_size=64, **changes)


def test_labels_that_were_given_are_learned_from_and_told(pictures, tmp_path, monkeypatch):
    def first_half(known):
        labels = np.arange(len(known.unlabelled)) % 3
        return labels, (np.arange(len(labels)) < 15).astype("float32")

    def always(known, name):
        without = pseudo_labels.Given("none", np.zeros(30, int), np.zeros(30, "float32"), 0.5)
        return pseudo_labels.Given("curriculum", *first_half(known), 0.75), without

    monkeypatch.setattr(pseudo_labels, "gated", always)
    said = []
    run = workflow.train(plan(pictures), folder=tmp_path, listener=lambda event: said.append(event))
    notes = [event.message for event in said]
    assert any(note.startswith("15 of 30 pictures without a label are given one (curriculum)") for note in notes)
    steps = {event.total for event in said if event.kind == "progress" and event.message.startswith("head, epoch")}
    assert steps == {-(-(run.record.counts["train"] + 15) // 32)}
    assert run.record.counts["train"] < 60  # the record counts what somebody labelled


def test_a_teacher_has_a_label_for_each_and_its_answers_are_learnt_from(pictures, tmp_path):
    said = []
    asked = plan(pictures, teacher=str(trained().folder), backbone="MobileNetV3Small", weights="none")
    run = workflow.train(asked, folder=tmp_path, listener=lambda event: said.append(event))
    notes = [event.message for event in said]
    assert "30 pictures without a label take part: the teacher has one for each" in notes
    steps = {event.total for event in said if event.kind == "progress" and event.message.startswith("head, epoch")}
    assert steps == {-(-(run.record.counts["train"] + 30) // 32)}


def test_the_likeliest_class_by_the_teacher_is_the_label(pictures):
    asked = plan(pictures)
    splits = sources.load(asked.data)
    teacher = teaching.Teacher(trained(), teaching.asking(trained(), splits), 0.9)
    found = unlabelled._taught(asked, splits, teacher)
    said = workflow.predict(trained().folder, splits.unlabelled.pictures.tolist())
    assert [splits.class_names[label] for label in found.labels] == [each.class_name for each in said]
    assert len({each.class_name for each in said}) > 1
    assert found.weights.tolist() == [1.0] * 30


def test_copies_are_looked_at_where_answers_are_learnt_from_them(pictures, tmp_path, monkeypatch):
    asked = []

    def refused(known, name):
        asked.append((known, name))
        return None, pseudo_labels.Given("none", np.zeros(30, int), np.zeros(30, "float32"), 0.5)

    monkeypatch.setattr(pseudo_labels, "gated", refused)
    workflow.train(plan(pictures, unlabelled="consistency"), folder=tmp_path)
    (known, name), width = asked[0], 1280 + 112
    assert name == "consistency"
    assert known.features.shape[1] == known.validation.shape[1] == len(known.scales) == width
    assert known.unlabelled.shape == (30, width)
    assert known.strong.shape == (2, 30, width)
    assert (known.strong[0] != known.strong[1]).any()
    assert (known.strong != known.unlabelled).any()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["curriculum", "consistency"])
def test_a_run_that_goes_on_learns_from_the_same_labels_bit_by_bit(pictures, tmp_path, way):
    def killed(event):
        if event.kind == "epoch" and event.done == 1:
            raise KeyboardInterrupt

    asked = plan(pictures, unlabelled=way)
    whole = workflow.train(asked, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        workflow.train(asked, folder=tmp_path / "parts", listener=killed)
    parts = workflow.train(asked, folder=tmp_path / "parts")
    for given, wanted in zip(weights_of(parts), weights_of(whole), strict=True):
        np.testing.assert_array_equal(given, wanted)


def weights_of(run):
    return keras_files.load(run.model_path).get_weights()


def test_a_way_that_there_is_not_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="'curriculum', 'consistency', 'believe', 'propagate' or 'none'"):
        Plan(data="sample:fashion", unlabelled="consistent")


def test_a_way_to_give_labels_where_there_is_nothing_to_give_them_to_is_one_sentence(tmp_path):
    draw(tmp_path / "pictures")
    with pytest.raises(
        UsageError, match="unlabelled=consistency needs pictures without a label: a folder 'unlabelled'"
    ):
        workflow.train(plan(tmp_path / "pictures", unlabelled="consistency"), folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
