"""Several views of a picture, and the mean of the answers to them."""

import numpy as np
import pytest

from keras_transfer.errors import UsageError
from keras_transfer.specs import Plan
from keras_transfer.workflow import views
from keras_transfer.workflow.tasks import TASKS


def looks_of(images, number, **options):
    """What a model was shown, and the mean of what it said: the mean pixel of each half."""
    shown = []

    def answers(images):
        shown.append(images)
        halves = images[:, :, : images.shape[2] // 2], images[:, :, images.shape[2] // 2 :]
        return {"probabilities": np.stack([half.mean(axis=(1, 2, 3)) for half in halves], axis=1)}

    return shown, views.averaged(answers, images, number, **options)["probabilities"]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def test_one_view_is_the_picture(images):
    shown, said = looks_of(images, 1)
    assert len(shown) == 1
    np.testing.assert_array_equal(shown[0], images)
    assert said.dtype == np.float32


def test_two_views_are_the_picture_and_its_mirror_image(images):
    shown, said = looks_of(images, 2)
    np.testing.assert_array_equal(shown[1], images[:, :, ::-1])
    np.testing.assert_allclose(said[:, 0], said[:, 1], rtol=1e-6)  # left and right are as likely


def test_more_are_from_nearer(images):
    shown, _ = looks_of(images, 4)
    assert [each.shape for each in shown] == [images.shape] * 4
    np.testing.assert_array_equal(shown[3], shown[2][:, :, ::-1])
    assert np.abs(shown[2][:, 16, 16].astype(int) - images[:, 16, 16]).max() < 128  # the middle stays where it is


def test_without_mirroring_the_second_is_from_nearer(images):
    shown, _ = looks_of(images, 2, mirrored=False)
    assert len(shown) == 2
    assert (shown[1] != images[:, :, ::-1]).any()


@pytest.mark.parametrize(
    ("number", "task", "mirrored", "sentence"),
    [
        (5, "classification", True, "There are 1 to 4 views of a picture. Received: --views 5"),
        (0, "multilabel", True, "There are 1 to 4 views of a picture. Received: --views 0"),
        (3, "classification", False, "1 to 2 views of a picture, as this model never learned mirrored ones"),
        (2, "segmentation", True, "Of segmentation the answers to several views have no mean: leave --views out."),
        (2, "clips", True, "Of clips the answers to several views have no mean"),
    ],
)
def test_what_there_is_not_is_refused(number, task, mirrored, sentence):
    with pytest.raises(UsageError, match=sentence.replace(".", r"\.")):
        views.check(number, TASKS[task], mirrored=mirrored)


def test_a_run_says_whether_it_learned_mirrored_pictures():
    class Run:
        def __init__(self, *augments):
            stages = [{"name": f"s{number}", "augment": each} for number, each in enumerate(augments)]
            self.record = type("Record", (), {"plan": Plan(data="x", stages=stages)})

    assert views.mirrored_by(None)
    assert views.mirrored_by(Run("none", "light+clients"))
    assert not views.mirrored_by(Run("light_no_flip", "none"))
    assert not views.mirrored_by(Run("light_no_flip+clients"))
