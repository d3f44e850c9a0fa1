"""What stored features must not lose: the balance, the weights, what was decided, and every constant they depend on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import CLASSES, SIZE, make_network

from keras_transfer.errors import TrainingError
from keras_transfer.order import of_epoch
from keras_transfer.specs import Stage
from keras_transfer.training import feature_store, freezing, prefix, stage_data, trainer
from keras_transfer.training.feature_store import View
from keras_transfer.training.job import Job, Settings

COUNTS = {"train": 96, "validation": 48, "test": 48}
HEAD = Stage(name="head", epochs=3, learning_rate=0.01)


def settings(**changes):
    return Settings(**{"image_size": SIZE, "counts": COUNTS, "batch_size": 16, "engine": "keras", **changes})


def stop_after(epoch):
    def listener(event):
        if event.kind == "epoch" and event.done == epoch:
            raise KeyboardInterrupt

    return listener


def values(network):
    return [variable.numpy() for variable in network.model.variables]


def test_stored_features_come_in_the_order_that_balances_classes():
    labels = np.array([0] * 90 + [1] * 10)
    view = View((np.arange(100.0)[:, None],), np.eye(2, dtype=np.float32)[labels], np.ones(100, np.float32))
    chosen = Settings(image_size=8, counts={"train": 100}, batch_size=25, balance="resample", labels=labels)
    batches = list(stage_data.shuffled([view], chosen, epoch=3))
    seen = np.concatenate([features[0] for (features, _, _) in [(b[0], b[1], b[2]) for b in batches]]).ravel()
    assert np.bincount(labels[seen.astype(int)]).tolist() == [50, 50]
    assert seen.astype(int).tolist() == of_epoch(100, seed=0, epoch=3, labels=labels, balance="resample").tolist()


def test_balancing_by_weights_is_not_lost_on_features_that_were_stored_without(feed, tmp_path):
    """The second run finds the features of the first, whose pictures all weighed the same."""

    def weighted(split, **asked):
        heavier = tf.constant([3.0, 1.0, 1.0])
        return feed(split, **asked).map(lambda x, y, w: (x, y, w * tf.linalg.matvec(y, heavier)))

    cache = tmp_path / "cache"
    trainer.train(Job(make_network(), feed, settings(cache_folder=cache), tmp_path / "plain"), [HEAD])
    balanced = settings(cache_folder=cache, balance="weights")
    (shared,) = trainer.train(Job(make_network(), weighted, balanced, tmp_path / "shared"), [HEAD])
    fresh = settings(cache_folder=tmp_path / "fresh", balance="weights")
    (alone,) = trainer.train(Job(make_network(), weighted, fresh, tmp_path / "alone"), [HEAD])
    assert shared.history[0]["loss"] == alone.history[0]["loss"]


def test_a_stage_that_went_on_asks_no_disk_that_its_own_features_filled(feed, tmp_path, monkeypatch):
    given = settings(cache_folder=tmp_path / "cache")
    whole, resumed = make_network(), make_network()
    trainer.train(Job(whole, feed, given, tmp_path / "whole"), [HEAD])
    with pytest.raises(KeyboardInterrupt):
        trainer.train(Job(resumed, feed, given, tmp_path / "run", stop_after(2)), [HEAD])
    monkeypatch.setattr(stage_data, "_free_bytes", lambda folder: 0)
    again = make_network()
    (result,) = trainer.train(Job(again, feed, given, tmp_path / "run"), [HEAD])
    assert result.engine == "keras"
    for ours, theirs in zip(values(again), values(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_stage_that_is_under_way_keeps_its_engine_whatever_is_asked_for(feed, tmp_path):
    given = {"cache_folder": tmp_path / "cache"}
    with pytest.raises(KeyboardInterrupt):
        trainer.train(Job(make_network(), feed, settings(**given), tmp_path / "run", stop_after(1)), [HEAD])
    (result,) = trainer.train(Job(make_network(), feed, settings(**given, engine="stream"), tmp_path / "run"), [HEAD])
    assert result.engine == "keras"


def test_before_its_first_epoch_a_stage_takes_the_engine_that_is_asked_for_now(feed, tmp_path):
    def full(event):
        if event.kind == "progress":
            raise TrainingError("the disk is full")

    with pytest.raises(TrainingError, match="the disk is full"):
        trainer.train(Job(make_network(), feed, settings(), tmp_path / "run", full), [HEAD])
    (result,) = trainer.train(Job(make_network(), feed, settings(engine="stream"), tmp_path / "run"), [HEAD])
    assert result.engine == "none"


def digest(scale=1 / 127.5, epsilon=1e-3, repeat=2.0):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(scale)(image)
    x = keras.layers.BatchNormalization(epsilon=epsilon)(x)
    return prefix.digest_of(keras.Model(image, x * repeat))


@pytest.mark.parametrize("change", [{"scale": 1 / 128}, {"epsilon": 1e-5}, {"repeat": 3.0}])
def test_the_digest_of_a_frozen_part_covers_its_constants(change):
    assert digest() == digest()
    assert digest() != digest(**change)


def test_the_digest_of_a_frozen_part_covers_what_is_given_and_in_which_order():
    image = keras.Input((8, 8, 3), dtype="uint8")
    first = keras.layers.Rescaling(0.5)(image)
    second = keras.layers.Rescaling(0.25)(first)
    models = [keras.Model(image, outputs) for outputs in ([first, second], [second, first], [second])]
    assert len({prefix.digest_of(model) for model in models}) == 3


def test_the_digest_of_a_frozen_part_on_other_pictures_is_another(network):
    model = keras.Model(network.model.input, network.blocks[1].output)
    smaller = stage_data.resized(model, [(16, 16, 3)])
    assert prefix.digest_of(smaller) == prefix.digest_of(stage_data.resized(model, [(16, 16, 3)]))
    assert prefix.digest_of(smaller) != prefix.digest_of(model)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_average_moves_once_for_each_step_of_the_optimizer(network, feed, tmp_path, accumulate):
    class Steps(keras.callbacks.Callback):
        kernels = []

        def on_train_batch_end(self, batch, logs=None):
            self.kernels.append(network.model.get_layer("logits").kernel.numpy())

    steps, average = Steps(), network.model.get_layer("logits").kernel.numpy()
    steps.kernels = []
    stage = HEAD.model_copy(update={"epochs": 1, "ema": 0.8, "accumulate": accumulate})
    trainer.train(Job(network, feed, settings(callbacks=(steps,)), tmp_path), [stage])
    assert len(steps.kernels) == 6
    for after in steps.kernels[accumulate - 1 :: accumulate]:
        average = 0.8 * average + 0.2 * after
    np.testing.assert_allclose(network.model.get_layer("logits").kernel, average, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("how", [{}, {"ema": 0.8, "accumulate": 4}, {"augment": "light", "views": 2, "average": 2}])
def test_batches_learnt_from_in_one_call_give_the_weights_that_one_at_a_time_give(feed, tmp_path, how, monkeypatch):
    """4 batches of 20 and one of 16 that ends the epoch; whoever looks at each batch gets one at a time."""
    monkeypatch.setattr(stage_data, "TOGETHER", 4)
    reached, calls = [], []
    for together, callbacks in ((4, ()), (1, (keras.callbacks.Callback(),))):
        network = make_network()
        given = settings(batch_size=20, cache_folder=tmp_path / "cache", callbacks=callbacks)
        heard = []
        job = Job(network, feed, given, tmp_path / str(together), heard.append)
        (result,) = trainer.train(job, [HEAD.model_copy(update=how)])
        reached.append((values(network), [row["loss"] for row in result.history]))
        calls.append([event.done for event in heard if event.kind == "progress" and "epoch 1" in event.message])
    assert calls == [[4, 5], [1, 2, 3, 4, 5]]
    assert reached[0][1] == reached[1][1]
    for ours, theirs in zip(reached[0][0], reached[1][0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_split_that_gives_fewer_pictures_than_were_counted_is_not_stored(feed, tmp_path):
    given = settings(counts={**COUNTS, "train": 97}, cache_folder=tmp_path / "cache")
    with pytest.raises(TrainingError, match="The train split gave 96 pictures where 97 were counted"):
        trainer.train(Job(make_network(), feed, given, tmp_path), [HEAD])
    assert not list((tmp_path / "cache" / "features").glob("*/key.json"))


def key(**changes):
    plain = {"data_digest": "d", "prefix_digest": "p", "engine": "keras", "split": "train", "image_size": 8}
    others = {"aspect": "crop", "augment": "none", "view": 0, "seed": 0, "dtype": "float16", "weighting": "none"}
    return feature_store.Key(**{**plain, **others, **changes})


def stored(folder, of, **changes):
    images, targets = np.arange(6, dtype=np.uint8)[:, None], np.eye(CLASSES, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    weights = np.arange(6, dtype=np.float32)
    batches = [(images[at : at + 4], targets[at : at + 4], weights[at : at + 4]) for at in (0, 4)]
    shapes = [(1,), (2, 2)]
    asked = {"count": 6, "feature_shapes": shapes, "batches": batches, **changes}
    return feature_store.obtain(folder, of, compute=lambda x: (x * 2, np.ones((len(x), 2, 2)) * x[..., None]), **asked)


def test_a_view_keeps_an_array_for_each_tensor_and_its_targets_and_weights(tmp_path):
    for view in (stored(tmp_path, key()), stored(tmp_path, key(), batches=[])):  # computed, then found
        first, second = view.features
        assert (first.dtype, second.shape) == (np.float16, (6, 2, 2))
        assert first.ravel().tolist() == [0, 2, 4, 6, 8, 10]
        assert view.targets.argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
        assert view.weights.tolist() == [0, 1, 2, 3, 4, 5]


def test_views_that_were_not_used_longest_make_room_but_those_in_use_stay(tmp_path):
    stored(tmp_path, key(prefix_digest="old"))
    stored(tmp_path, key(view=1))
    stored(tmp_path, key(view=2), limit_bytes=1)
    kept = [path.read_text() for path in (tmp_path / "features").glob("*/key.json")]
    assert len(kept) == 2
    assert not any('"old"' in text for text in kept)


def test_features_of_several_tensors_are_counted_together():
    assert feature_store.size_bytes(10, [(2, 3), (4,)], "float16") == 10 * 10 * 2


def test_what_a_view_takes_on_disk_is_counted_with_its_targets_and_weights(tmp_path):
    batches = [(np.zeros((6, 1), np.uint8), np.zeros((6, 32, 32), np.float32), np.ones(6, np.float32))]
    stored(tmp_path, key(), batches=batches, target_shape=(32, 32))
    taken = sum(np.load(file).nbytes for file in tmp_path.rglob("*.npy"))
    assert taken == feature_store.view_bytes(6, [(1,), (2, 2)], "float16", target_shape=(32, 32))


def test_masks_that_do_not_fit_the_cache_beside_their_features_are_not_stored(network, feed, tmp_path):
    """Features of these pictures take a few kB, a mask for each of them 600 kB more."""

    def masked(split, **asked):
        return feed(split, **asked).map(lambda images, labels, weights: (images, images[..., 0], weights))

    ways = {}
    for limit in (400_000, 1_000_000):
        job = Job(network, masked, settings(engine="keras", cache_limit_bytes=limit), tmp_path)
        freeze = freezing.decide(network, HEAD)
        ways[limit] = stage_data.decide(job, HEAD, freeze, stage_data.prefixes(job, freeze, "keras"))
    assert [way.engine for way in ways.values()] == ["none", "keras"]
    assert "of features and targets do not fit the 400.0 kB the cache may take" in ways[400_000].reason
