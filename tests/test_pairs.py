"""Pairs by the protocol of Labeled Faces in the Wild: how a list is read, and what a model is worth on it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from keras_transfer.data import pairs as listed_pairs
from keras_transfer.data import sources
from keras_transfer.errors import DataError, UsageError
from keras_transfer.evaluation import pairs
from keras_transfer.specs import Contract, Output
from keras_transfer.workflow import using
from keras_transfer.workflow.using import Asked

CONTRACT = Contract(
    class_names=(),
    image_size=16,
    task="embedding",
    outputs=(Output(name="embedding", shape=(3,)),),
    thresholds=(0.9,),
)
COLOURS = {"ann": (220, 20, 20), "bob": (20, 220, 20), "cid": (20, 20, 220)}
PAIRS = ["ann\t1\t2", "ann\t1\tbob\t2", "bob\t1\t2", "bob\t1\tcid\t1", "cid\t1\t2", "cid\t2\tann\t2"]


def listed(folder, lines, header="3\t1"):
    """A folder of two pictures for each colour, and the list of pairs beside them."""
    for name, rgb in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in (1, 2):
            pixels = np.full((16, 16, 3), rgb, np.uint8)
            pixels[: number * 2] //= 2
            Image.fromarray(pixels).save(folder / name / f"{name}_{number:04d}.jpg", quality=95)
    place = folder / "pairs.txt"
    place.write_text("\n".join([header, *lines]) + "\n")
    return place


@pytest.fixture
def asked(monkeypatch):
    """A model that tells colours apart, without a file."""

    def colour(images):
        means = images.reshape(len(images), -1, 3).mean(axis=1) + 1e-3
        return {"embedding": (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)}

    monkeypatch.setattr(using, "located", lambda model: (Path(model), None))
    monkeypatch.setattr(using, "asked", lambda path, run, labels: Asked(CONTRACT, colour))


# Lists.


def test_a_list_names_two_pictures_in_each_line_and_each_picture_once(tmp_path):
    found = listed_pairs.read(str(listed(tmp_path, PAIRS)))
    assert found.same.tolist() == [True, False] * 3
    assert found.folds.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(found.paths) == len(set(found.paths)) == 6
    first, second = found.rows[1]
    assert [Path(found.paths[each]).name for each in (first, second)] == ["ann_0001.jpg", "bob_0002.jpg"]


def test_blanks_do_where_there_are_no_tabs(tmp_path):
    found = listed_pairs.read(str(listed(tmp_path, [line.replace("\t", "  ") for line in PAIRS], header="3 1")))
    assert found.same.tolist() == [True, False] * 3


@pytest.mark.parametrize(
    "line",
    ["", "ann", "ann\t1", "ann\t1\ttwo", "ann\t1\t1", "ann\t1\tann\t2", "ann\t-1\t2", "../ann\t1\t2", "a\t1\tb\t2\tc"],
)
def test_a_line_that_is_no_pair_is_one_sentence(tmp_path, line):
    place = listed(tmp_path, [PAIRS[0], line, *PAIRS[2:]])
    with pytest.raises(DataError, match=r"^Line 3 of '.*pairs\.txt' must be 'NAME N1 N2', .* Received: '[^']*'$"):
        listed_pairs.read(str(place))


@pytest.mark.parametrize("header", ["500", "ten\t300", "1\t3", "3\t0", "3\t1\t1"])
def test_a_list_begins_with_its_folds_and_pairs(tmp_path, header):
    with pytest.raises(DataError, match=r"must begin with 'FOLDS PAIRS', 2 folds or more .* Received: "):
        listed_pairs.read(str(listed(tmp_path, PAIRS, header)))


def test_a_list_that_is_cut_off_says_how_many_lines_it_lacks(tmp_path):
    with pytest.raises(DataError, match=r"announces 3 folds of 1 pairs .* which are 6 lines\. Received: 5\."):
        listed_pairs.read(str(listed(tmp_path, PAIRS[:-1])))


def test_a_fold_without_its_pairs_of_the_same_one_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Fold 2 of '.*' must have 1 pairs of the same one\. Received: 0\."):
        listed_pairs.read(str(listed(tmp_path, [*PAIRS[:2], PAIRS[3], PAIRS[5], *PAIRS[4:]])))


def test_a_picture_that_is_not_there_is_named_with_how_many_are_missing(tmp_path):
    place = listed(tmp_path, ["ann\t1\t7", *PAIRS[1:-1], "cid\t9\tann\t2"])
    with pytest.raises(DataError, match=r"names 2 pictures that are not there, the first '.*ann/ann_0007\.jpg'\. Put "):
        listed_pairs.read(str(place))


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "is empty. It begins with"), (b"\xff\xfe\x00", "is not a text file")]
)
def test_what_is_no_text_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "pairs.txt").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        listed_pairs.read(str(tmp_path / "pairs.txt"))


def test_nothing_is_learned_from_pairs(tmp_path):
    place = str(listed(tmp_path, PAIRS))
    assert sources.recognised(place).name == "pairs"
    with pytest.raises(UsageError, match=r"is a list of pairs, which judge a model: keras-transfer evaluate RUN .*"):
        sources.load(place, annotation="identity")


# Figures.


def drawn(spread, folds=10, each=30, seed=0):
    """Pairs of points, those of the same one near each other: answers, rows, same, folds."""
    rng = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], each), folds)
    first = rng.normal(size=(len(same), 8))
    second = np.where(same[:, None], first + spread * rng.normal(size=first.shape), rng.normal(size=first.shape))
    points = np.concatenate([first, second])
    rows = np.arange(2 * len(same)).reshape(2, -1).T
    answers = {"embedding": points / np.linalg.norm(points, axis=1, keepdims=True)}
    return answers, rows, same, np.repeat(np.arange(folds), 2 * each)


def test_pairs_that_lie_apart_are_all_told_right():
    scored = pairs.score(*drawn(spread=1e-3), CONTRACT)
    assert (scored.merit_name, scored.merit, scored.standard_error) == ("accuracy", 1, 0)
    assert (scored.pairs, scored.folds, scored.roc_auc, scored.tar_at_1, scored.tar_at_threshold) == (600, 10, 1, 1, 1)


def test_each_fold_is_judged_at_the_threshold_that_the_others_want():
    answers, rows, same, folds = drawn(spread=0.8, each=6)
    cosines = (answers["embedding"][rows[:, 0]] * answers["embedding"][rows[:, 1]]).sum(axis=1)
    tried, right = np.sort(cosines)[::-1], []
    for fold in range(10):
        others = folds != fold
        fits = [((cosines[others] >= each) == same[others]).mean() for each in tried]
        # Of the others' own cosines the highest that is best, halved with the next of theirs below it.
        best = max(each for each, fit in zip(tried, fits, strict=True) if fit == max(fits) and each in cosines[others])
        below = max(each for each in cosines[others] if each < best)
        right.append(((cosines[~others] >= (best + below) / 2) == same[~others]).mean())
    scored = pairs.score(answers, rows, same, folds, CONTRACT)
    assert scored.accuracy == pytest.approx(np.mean(right))
    assert scored.roc_auc == pytest.approx(roc_auc_score(same, cosines))


def test_the_standard_error_is_that_of_the_mean_over_folds():
    points = np.array([[1.0, 0.0], [0.99, 0.141], [0.0, 1.0], [0.6, 0.8], [0.5, 0.866]])
    rows, same = np.array([[0, 1], [0, 2], [0, 3], [0, 4]]), np.array([True, False, True, False])
    scored = pairs.score({"embedding": points}, rows, same, np.array([0, 0, 1, 1]), CONTRACT)
    # The second fold asks for 0.55, by which the first is right; the first for 0.495, by which half of the second is.
    assert scored.accuracy == pytest.approx(0.75)
    assert scored.standard_error == pytest.approx(np.std([1, 0.5], ddof=1) / 2**0.5)


def test_pairs_of_one_cosine_are_not_parted():
    assert pairs.best_threshold(np.array([0.5, 0.5, 0.5]), np.array([True, True, False])) < 0.5
    assert pairs.best_threshold(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) > 1


def test_without_a_threshold_in_the_contract_none_is_judged():
    scored = pairs.score(*drawn(spread=0.5), CONTRACT.model_copy(update={"thresholds": ()}))
    assert scored.far_at_threshold is scored.tar_at_threshold is None


def test_points_that_are_not_finite_are_refused():
    answers, *rest = drawn(spread=0.5)
    answers["embedding"][3] = np.nan
    with pytest.raises(DataError, match=r"Embeddings must be finite\. Received: 1 of 1200"):
        pairs.score(answers, *rest, CONTRACT)


# The verb.


def test_evaluate_judges_a_model_by_a_list_of_pairs(asked, tmp_path):
    told = []
    scored = using.evaluate("model.tflite", str(listed(tmp_path, PAIRS)), listener=told.append)
    assert (scored.merit, scored.pairs, scored.folds, scored.count, scored.threshold) == (1, 6, 3, 6, 0.9)
    assert told[-1].done == told[-1].total == 6
    assert scored.worth()[0].startswith("Of 6 pairs of pictures it tells 100.0% right (give or take 0.0%;")


def test_pairs_have_no_splits(asked, tmp_path):
    with pytest.raises(UsageError, match=r"is a list of pairs, which has no splits\. Leave --split out\."):
        using.evaluate("model.tflite", str(listed(tmp_path, PAIRS)), split="train")


def test_pairs_judge_no_classifier(monkeypatch, tmp_path):
    contract = Contract(class_names=("cat", "dog"), image_size=32)
    monkeypatch.setattr(using, "located", lambda model: (Path(model), None))
    monkeypatch.setattr(using, "asked", lambda path, run, labels: Asked(contract, dict))
    with pytest.raises(UsageError, match=r"^Pairs judge a model that gives embeddings, and this one is of class"):
        using.evaluate("model.tflite", str(listed(tmp_path, PAIRS)))
