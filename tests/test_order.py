"""The order of an epoch: one function for all who ask, and the one that finished runs were trained in."""

import numpy as np
import pytest

from keras_transfer.order import BALANCES, NOTHING, Share, of_epoch

LABELS = np.array([0] * 40 + [1] * 10)


@pytest.mark.parametrize("balance", BALANCES)
def test_an_order_is_a_function_of_seed_and_epoch(balance):
    def order(seed, epoch):
        return of_epoch(50, seed=seed, epoch=epoch, labels=LABELS, balance=balance).tolist()

    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(3, 2)
    assert order(3, 1) != order(4, 1)


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_without_resampling_the_order_is_the_plain_permutation_of_seed_and_epoch(balance):
    plain = np.random.default_rng((3, 1)).permutation(50)
    assert (of_epoch(50, seed=3, epoch=1) == plain).all()
    assert (of_epoch(50, seed=3, epoch=1, labels=LABELS, balance=balance) == plain).all()


def test_resampling_shows_every_class_as_often_and_the_small_one_in_rounds():
    order = of_epoch(50, seed=0, epoch=0, labels=LABELS, balance="resample")
    times = np.bincount(order, minlength=50)
    assert len(order) == 50
    assert (times[40:] >= 2).all()
    assert times[:40].max() == 1


def test_resampling_pictures_without_one_class_each_is_refused():
    with pytest.raises(ValueError, match=r"Resampling needs one class a picture, \(4,\). Received: \(4, 2\)"):
        of_epoch(4, seed=0, epoch=0, labels=np.eye(2, dtype=bool)[[0, 1, 1, 0]], balance="resample")


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [7, 12, 13])
def test_the_shares_of_all_workers_are_the_batches_of_one(workers, count):
    order, size = np.random.default_rng(0).permutation(count), 6
    shares = [Share(index, workers) for index in range(workers)]
    mine = [share.of(order, size) for share in shares]
    for batch in range(-(-count // size)):
        parts = [each[batch * share.size(size) :][: share.size(size)] for each, share in zip(mine, shares, strict=True)]
        assert all(len(part) for part in parts)  # nobody waits for one that has no batch
        whole = order[batch * size :][:size]
        found = [part[row] for row in range(size) for part in parts if row < len(part)]
        assert [each for each in found if each != NOTHING] == whole.tolist()


def test_more_workers_than_pictures_of_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"3 workers share batches of at least as many pictures\. Received: 2"):
        Share(0, 3).of(np.arange(9), batch_size=2)
