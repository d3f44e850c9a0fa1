"""Figures of an embedding beside a loop over pictures and pairs, and scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_transfer.errors import DataError
from keras_transfer.evaluation import embedding
from keras_transfer.specs import Contract, Output

CONTRACT = Contract(class_names=(), image_size=96, outputs=(Output(name="embedding", shape=(5,)),))


def places(seed, identities=6, pictures=5, spread=0.9):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(identities), pictures))
    points = rng.normal(size=(identities, 5))[labels] + spread * rng.normal(size=(len(labels), 5))
    return {"embedding": points / np.linalg.norm(points, axis=1, keepdims=True)}, labels


def by_hand(points, labels):
    """Recall@1, mAP@R and the cosines of both kinds of pairs, one picture at a time."""
    hits, precise, same, different = [], [], [], []
    for row in range(len(labels)):
        others = [each for each in range(len(labels)) if each != row]
        ranked = sorted(others, key=lambda each: -float(points[row] @ points[each]))
        hits.append(labels[ranked[0]] == labels[row])
        alike = sum(labels[each] == labels[row] for each in others)
        right = [labels[each] == labels[row] for each in ranked[:alike]]
        precise.append(sum(sum(right[: i + 1]) / (i + 1) for i in range(alike) if right[i]) / alike)
        for each in range(row + 1, len(labels)):
            (same if labels[each] == labels[row] else different).append(float(points[row] @ points[each]))
    return np.mean(hits), np.mean(precise), np.array(same), np.array(different)


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_is_that_of_looking_at_one_picture_after_another(seed):
    answers, labels = places(seed)
    recall, precise, same, different = by_hand(answers["embedding"], labels)
    scored = embedding.score(answers, labels, CONTRACT.model_copy(update={"thresholds": (0.4,)}))
    assert scored.recall_at_1 == pytest.approx(recall)
    assert scored.map_at_r == pytest.approx(precise)
    assert scored.roc_auc == pytest.approx(
        roc_auc_score(np.r_[np.ones(len(same)), np.zeros(len(different))], np.r_[same, different])
    )
    assert scored.tar_at_threshold == pytest.approx((same >= 0.4).mean())
    assert scored.far_at_threshold == pytest.approx((different >= 0.4).mean())
    assert scored.chance == pytest.approx(4 / 29)
    assert scored.identities == 6


@pytest.mark.parametrize("seed", range(4))
def test_no_lower_threshold_accepts_as_few_of_different_ones(seed):
    answers, labels = places(seed, identities=10)
    *_, different = by_hand(answers["embedding"], labels)
    for share in (0.001, 0.01, 0.1, 0.5):
        cosine = embedding.threshold_for(different, share)
        assert (different >= cosine).mean() <= share
        lower = different[different < cosine].max()
        assert (different >= lower).mean() > share


def test_turning_the_sphere_moves_no_figure():
    answers, labels = places(1)
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(5, 5)))
    turned = {"embedding": answers["embedding"] @ turn}
    one, other = (embedding.score(each, labels, CONTRACT) for each in (answers, turned))
    assert {k: v for k, v in other.figures.items() if v is not None} == pytest.approx(
        {k: v for k, v in one.figures.items() if v is not None}
    )


def test_names_of_identities_are_of_no_account():
    answers, labels = places(2)
    renamed = np.array([70, 3, 11, 5, 900, 41])[labels]
    assert embedding.score(answers, renamed, CONTRACT).map_at_r == embedding.score(answers, labels, CONTRACT).map_at_r


def test_more_pictures_than_a_block_are_compared_as_all_at_once(monkeypatch):
    answers, labels = places(3)
    whole = embedding.score(answers, labels, CONTRACT)
    monkeypatch.setattr(embedding, "BLOCK", 7)
    parted = embedding.score(answers, labels, CONTRACT)
    assert parted.map_at_r == pytest.approx(whole.map_at_r)
    assert parted.recall_at_1 == whole.recall_at_1


def test_of_many_pictures_some_are_paired_and_always_the_same(monkeypatch):
    answers, labels = places(4)
    monkeypatch.setattr(embedding, "PAIRED", 12)
    found, again = (embedding.pairs(answers["embedding"], labels) for _ in range(2))
    assert len(found.same) + len(found.different) == 12 * 11 // 2
    np.testing.assert_array_equal(found.rows_of_same, again.rows_of_same)
    for cosines, rows, alike in (
        (found.same, found.rows_of_same, True),
        (found.different, found.rows_of_different, False),
    ):
        first, second = rows.T
        np.testing.assert_allclose(cosines, (answers["embedding"][first] * answers["embedding"][second]).sum(1))
        assert ((labels[first] == labels[second]) == alike).all()


def test_someone_with_one_picture_has_no_part_in_map_and_cannot_be_found():
    points = np.eye(5)[[0, 0, 1]]
    scored = embedding.score({"embedding": points}, np.array([0, 0, 1]), CONTRACT)
    assert scored.map_at_r == 1
    assert scored.recall_at_1 == pytest.approx(2 / 3)


def test_where_nobody_has_a_second_picture_that_is_one_sentence():
    with pytest.raises(DataError, match=r"no pair of pictures of the same one to judge by.* Received: 3 pictures of 3"):
        embedding.score({"embedding": np.eye(5)[:3]}, np.arange(3), CONTRACT)


def test_places_that_are_a_hair_apart_are_the_same_and_the_distance_keeps_its_digits():
    point = np.array([[1.0, 0, 0, 0, 0]])
    near = np.array([[np.cos(1e-5), np.sin(1e-5), 0, 0, 0]])
    same, distance = embedding.differ({"embedding": point}, {"embedding": near}, CONTRACT)
    assert same.tolist() == [True]
    assert distance == pytest.approx([0.5e-10], rel=1e-6)  # 1 - cosine would say 0 or 1e-16


def test_what_is_read_of_a_picture_is_plain_numbers():
    read = embedding.read({"embedding": np.ones((1, 5), np.float32)}, CONTRACT)
    assert read == {"embedding": [1.0] * 5}
    assert type(read["embedding"][0]) is float


def test_a_threshold_that_was_settled_is_told_in_worth_and_else_not():
    answers, labels = places(5)
    settled = embedding.settle(answers, labels)
    plain, with_one = (
        embedding.score(answers, labels, contract)
        for contract in (CONTRACT, CONTRACT.model_copy(update=dict(settled.contract)))
    )
    assert len(plain.worth()) == 2
    assert with_one.worth()[2].startswith(f"At its threshold, a cosine of {with_one.threshold:.3f}, it accepts ")
    assert with_one.far_at_threshold <= embedding.FALSE_ACCEPTS
