"""What is measured of input: figures for every stage, and the stage that holds it up."""

import pytest

from keras_transfer.data.sources import load
from keras_transfer.data.throughput import _limit, measure
from tests.test_data_sources import write_picture


def test_every_stage_has_a_figure_and_a_step_its_share_of_waiting(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        for number in range(20):
            write_picture(tmp_path / "pets" / name / f"{number}.png", 1000 * label + number)
    steps = []
    found = measure(
        load(str(tmp_path / "pets")),
        image_size=16,
        batch_size=4,
        augment="light",
        step=lambda images, targets, weights: steps.append(len(images)),
    )
    assert min(found.reading, found.first_epoch, found.later_epochs, found.unaugmented) > 0
    assert 0 <= found.waiting_share <= 1
    assert sum(steps) == found.pictures


def test_pictures_in_memory_are_not_read():
    assert measure(load("sample:fashion"), image_size=28).reading is None


@pytest.mark.parametrize(
    ("figures", "limit"),
    [
        ({"first": 100, "later": 5000, "plain": 5000, "reading": 9000, "waiting": 0.02}, "training"),
        ({"first": 100, "later": 5000, "plain": 5000, "reading": 9000, "waiting": 0.5}, "decoding"),
        ({"first": 100, "later": 5000, "plain": 5000, "reading": 110, "waiting": None}, "reading"),
        ({"first": 90, "later": 100, "plain": 5000, "reading": 9000, "waiting": None}, "augmentation"),
    ],
)
def test_what_costs_most_time_per_picture_is_the_limit(figures, limit):
    assert _limit(**figures) == limit
