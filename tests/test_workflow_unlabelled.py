"""Pictures without a label are learned from where validation gains by them, and named where there are none."""

import numpy as np
import pytest
from colours import draw
from PIL import Image

from keras_transfer import workflow
from keras_transfer.errors import UsageError
from keras_transfer.selection import pseudo_labels
from keras_transfer.specs import Plan, Stage

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


def test_a_way_to_give_labels_where_there_is_nothing_to_give_them_to_is_one_sentence(tmp_path):
    draw(tmp_path / "pictures")
    with pytest.raises(UsageError, match="unlabelled=propagate needs pictures without a label: a folder 'unlabelled'"):
        workflow.train(plan(tmp_path / "pictures", unlabelled="propagate"), folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
