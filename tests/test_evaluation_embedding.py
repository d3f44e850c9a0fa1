"""What an embedding is worth: nearest others, pairs at a threshold, and how well that is known."""

import numpy as np
import pytest

from keras_transfer.errors import DataError
from keras_transfer.evaluation import embedding, embedding_page
from keras_transfer.specs import Contract, Output

CONTRACT = Contract(class_names=(), image_size=96, outputs=(Output(name="embedding", shape=(8,)),))


def blobs(identities=12, pictures=6, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), pictures)
    points = rng.normal(size=(identities, 8))[labels] + spread * rng.normal(size=(len(labels), 8))
    return {"embedding": points / np.linalg.norm(points, axis=1, keepdims=True)}, labels


def test_apart_is_perfect():
    scored = embedding.score(*blobs(spread=0.001), CONTRACT)
    assert (scored.merit, scored.map_at_r, scored.roc_auc, scored.tar_at_1, scored.tar_at_01) == (1, 1, 1, 1, 1)
    assert scored.merit_name == "Recall@1"


def test_noise_is_at_chance():
    scored = embedding.score(*blobs(identities=10, pictures=40, spread=1e6), CONTRACT)
    assert scored.chance == pytest.approx(39 / 399)
    assert abs(scored.recall_at_1 - scored.chance) < 0.06
    assert abs(scored.roc_auc - 0.5) < 0.03
    assert scored.tar_at_1 < 0.03


def test_map_at_r_is_that_of_its_formula():
    points = np.array([[1, 0], [0.98, 0.199], [0.9, 0.436], [0.995, 0.0998]])
    scored = embedding.score({"embedding": points}, np.array([0, 0, 0, 1]), CONTRACT)
    # By hand, R = 2 each: first [no, yes] 1/4; second [no, yes] 1/4; third [yes, no] 1/2; the last has no other.
    assert scored.map_at_r == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3)


def test_the_settled_threshold_lets_one_pair_in_a_hundred_through():
    answers, labels = blobs(spread=0.6)
    settled = embedding.settle(answers, labels)
    (cosine,) = settled.contract["thresholds"]
    scored = embedding.score(answers, labels, CONTRACT.model_copy(update={"thresholds": (cosine,)}))
    assert 0.005 < scored.far_at_threshold <= 0.01
    assert scored.tar_at_threshold == scored.tar_at_1
    assert "threshold" in settled.sentence


def test_few_identities_are_known_less_well_than_many():
    few, many = (embedding.score(*blobs(identities=n, spread=0.7), CONTRACT) for n in (6, 60))
    assert few.tar_spread > many.tar_spread > 0
    assert any("6 identities only" in each for each in few.limits())


def test_right_is_the_merit_picture_by_picture():
    answers, labels = blobs(spread=0.8)
    assert embedding.right(answers, labels).mean() == embedding.score(answers, labels, CONTRACT).recall_at_1


def test_difference_is_the_cosine_distance():
    first, second = np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0], [0, 1]])
    same, distance = embedding.differ({"embedding": first}, {"embedding": second}, CONTRACT)
    assert same.tolist() == [True, False]
    assert distance == pytest.approx([0, 1])


def test_one_identity_is_refused_in_one_sentence():
    with pytest.raises(DataError, match="no pair of pictures of different ones"):
        embedding.score({"embedding": np.eye(3)}, np.zeros(3, int), CONTRACT)


def test_an_embedding_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="1 of 4 that are not, the first at 2"):
        embedding.right({"embedding": np.array([[1, 0], [0, 1], [np.nan, 0], [1, 0]])}, np.array([0, 0, 1, 1]))


def test_a_contract_of_an_embedding_names_nobody_and_others_must_name_classes():
    assert CONTRACT.class_names == ()
    with pytest.raises(ValueError, match="at least two classes"):
        Contract(class_names=("cat",), image_size=96)


def test_the_error_of_the_threshold_is_told_for_each_group_of_several_identities():
    answers, labels = blobs(identities=6, pictures=4, spread=1.0)
    groups = np.repeat(["north", "south", "alone"], [8, 12, 4])
    contract = CONTRACT.model_copy(update={"thresholds": (0.5,)})
    scored = embedding.by_group(embedding.score(answers, labels, contract), answers, labels, groups)
    assert [(row.name, row.count) for row in scored.per_group] == [("north", 8), ("south", 12)]
    found = embedding.pairs(answers["embedding"][:8], labels[:8])
    assert scored.per_group[0].wrongly_accepted == pytest.approx((found.different >= 0.5).mean())
    assert scored.per_group[0].wrongly_refused == pytest.approx((found.same < 0.5).mean())


def test_groups_without_a_threshold_have_no_error():
    answers, labels = blobs(identities=4)
    scored = embedding.score(answers, labels, CONTRACT)
    assert embedding.by_group(scored, answers, labels, np.repeat(["a", "b"], len(labels) // 2)) == scored


def test_the_map_keeps_the_largest_distances():
    points = np.array([[0.0, 0, 0], [10, 0, 0], [0, 4, 0], [0, 0, 0.1]])
    places = embedding_page.flat(points)
    np.testing.assert_allclose(np.linalg.norm(places[0] - places[1]), 10, rtol=1e-3)
    assert np.linalg.norm(places[0] - places[3]) <= 0.1
    assert embedding_page.flat_map(points, np.array([0, 0, 1, 1])).startswith("<svg")
