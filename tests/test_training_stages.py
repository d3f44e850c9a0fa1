"""Stages: what learns, what must not move, what is kept, and what a killed run goes on from."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SIZE, make_network

from keras_transfer.errors import RunError, TrainingError, UsageError
from keras_transfer.specs import Stage
from keras_transfer.training import costs, freezing, learning_rates, prefix, rate_finder, recipes, trainer
from keras_transfer.training.job import Job, Settings

HEAD = Stage(name="head", epochs=3, learning_rate=0.01)
TOP = Stage(name="top", blocks=(-2, -1), epochs=3, learning_rate=0.01)


def settings(**changes):
    return Settings(
        **{"image_size": SIZE, "counts": {"train": 96, "validation": 48, "test": 48}, "batch_size": 16, **changes}
    )


def values(network):
    return [variable.numpy() for variable in network.model.variables]


def equal(before, after):
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("blocks", "learning"), [((), ()), ((-1,), (3,)), ((-2, -1), (2, 3)), ((0,), (0,)), ("all", (0, 1, 2, 3))]
)
def test_exactly_the_named_blocks_and_the_head_move(network, feed, tmp_path, blocks, learning):
    stage = Stage(name="any", blocks=blocks, epochs=1, learning_rate=0.05, augment="light")
    before = {block.index: [w.numpy() for layer in block.layers for w in layer.weights] for block in network.blocks}
    head = network.model.get_layer("logits").kernel.numpy()
    trainer.train(Job(network, feed, settings(), tmp_path), [stage])
    for block in network.blocks:
        after = [weight.numpy() for layer in block.layers for weight in layer.weights]
        moved = [not np.array_equal(a, b) for a, b in zip(before[block.index], after, strict=True)]
        assert all(moved) if block.index in learning else not any(moved), block.index
    assert not np.array_equal(head, network.model.get_layer("logits").kernel)


def test_batch_norms_of_learning_blocks_can_be_frozen(network, feed, tmp_path):
    stage = TOP.model_copy(update={"batch_norm": "frozen"})
    norms = [layer for layer in network.model.layers if "batch_norm" in layer.name]
    before = [weight.numpy() for layer in norms for weight in layer.weights]
    trainer.train(Job(network, feed, settings(), tmp_path), [stage])
    assert equal(before, [weight.numpy() for layer in norms for weight in layer.weights])


def test_frozen_digests_are_in_the_result_and_equal(network, feed, tmp_path):
    results = trainer.train(Job(network, feed, settings(), tmp_path), [HEAD, TOP])
    for result in results:
        assert result.frozen_digest_before == result.frozen_digest_after
        assert result.frozen_tensors > 0


def test_a_stage_that_does_not_beat_the_one_before_is_rolled_back(network, feed, tmp_path):
    harmful = Stage(name="harmful", blocks="all", epochs=1, learning_rate=1, optimizer="sgd", batch_norm="frozen")
    heard = []
    results = trainer.train(Job(network, feed, settings(), tmp_path), [HEAD])
    reached = values(network)
    results = trainer.train(Job(network, feed, settings(), tmp_path, heard.append), [HEAD, harmful])
    assert [result.kept for result in results] == [True, False]
    assert "rolled back" in results[1].reason
    assert any(event.kind == "warning" and "rolled back" in event.message for event in heard)
    assert equal(reached, values(network))


def test_a_loss_that_is_no_number_stops_the_stage_and_names_it(network, feed, tmp_path):
    wild = Stage(name="wild", blocks="all", epochs=2, learning_rate=10, optimizer="sgd", schedule="constant")
    network.model.get_layer("logits").kernel.assign(np.full((24, 3), np.nan))
    with pytest.raises(TrainingError, match=r"Stage 'wild' diverged in epoch 1: .* try a learning rate below 10\."):
        trainer.train(Job(network, feed, settings(), tmp_path), [wild])


@pytest.mark.parametrize("engine", ["litert", "onnxruntime", "keras"])
def test_every_engine_agrees_with_keras(network, stripes, engine):
    import keras

    model = keras.Model(network.model.input, network.blocks[1].output)
    pictures = stripes["train"][0][:20]
    built = prefix.build(model, check=pictures, engine=engine)
    assert built.engine == engine
    expected = model(pictures, training=False).numpy()
    (features,) = built.compute(pictures)
    assert np.abs(features - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_equal_graphs_and_weights_have_equal_prefix_digests_and_others_do_not(stripes):
    import keras

    def digest(network, block):
        model = keras.Model(network.model.input, network.blocks[block].output)
        return prefix.build(model, check=stripes["train"][0][:2], engine="keras").digest

    assert digest(make_network(), 1) == digest(make_network(), 1)
    assert digest(make_network(), 1) != digest(make_network(), 2)
    assert digest(make_network(), 1) != digest(make_network(seed=1), 1)


def test_stored_features_give_the_losses_of_streaming(feed, tmp_path):
    """With Keras computing the frozen part and whole floats stored, the store changes nothing but the time."""
    stage = TOP.model_copy(update={"epochs": 1})
    histories = []
    for name, engine in (("store", "keras"), ("stream", "stream")):
        network = make_network()
        chosen = settings(engine=engine, store_dtype="float32", cache_folder=tmp_path / "features")
        result = trainer.train(Job(network, feed, chosen, tmp_path / name), [stage])[0]
        histories.append((result.history[0]["loss"], result.engine))
    (stored, engine), (streamed, none) = histories
    assert (engine, none) == ("keras", "none")
    assert stored == pytest.approx(streamed, abs=1e-6)


def test_features_are_computed_once_and_shared_between_runs(feed, tmp_path, monkeypatch):
    chosen = settings(cache_folder=tmp_path / "features")
    trainer.train(Job(make_network(), feed, chosen, tmp_path / "first"), [HEAD])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("features-0.npy")}
    trainer.train(Job(make_network(), feed, chosen, tmp_path / "second"), [HEAD])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("features-0.npy")} == files


def test_a_cache_that_cannot_be_written_is_one_sentence(network, feed, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TrainingError, match=r"The feature cache .* cannot take .* KERAS_TRANSFER_CACHE"):
        trainer.train(Job(network, feed, settings(cache_folder=tmp_path / "file"), tmp_path / "run"), [HEAD])


def test_a_block_that_is_not_there_is_refused_before_anything_is_trained(network, feed, tmp_path):
    with pytest.raises(UsageError, match=r"Stage 'top' names block 9, but this backbone has 4 blocks"):
        trainer.train(Job(network, feed, settings(), tmp_path), [HEAD, TOP.model_copy(update={"blocks": (9,)})])
    assert not (tmp_path / "stages").exists()


def test_unknown_recipes_and_optimizers_suggest_the_nearest(network, feed, tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'head_then_top'"):
        recipes.stages("head_and_top", 5)
    with pytest.raises(UsageError, match=r"Unknown optimizer 'adamwe'\. Did you mean 'adamw'"):
        trainer.train(Job(network, feed, settings(), tmp_path), [HEAD.model_copy(update={"optimizer": "adamwe"})])


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_recipes_keep_the_statistics_of_trained_weights_and_let_random_ones_take_theirs(name):
    trained, random = (recipes.stages(name, 5, pretrained=pretrained) for pretrained in (True, False))
    assert [stage.name for stage in trained][-len(random) :] == [stage.name for stage in random]
    assert {stage.batch_norm for stage in random if stage.blocks} <= {"train"}
    adapting = {"top"} if name.startswith("adapt") else set()
    assert {stage.name for stage in trained if stage.blocks and stage.batch_norm == "train"} == adapting


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("head", ["head"]),
        ("head_then_top", ["head", "top"]),
        ("full", ["all"]),
        ("adapt_then_full", ["all"]),
        ("full+int8", ["all", "int8"]),
        ("head+int8", ["head", "int8"]),
    ],
)
def test_random_weights_learn_from_the_first_stage_in_which_all_of_them_do(name, names):
    assert [stage.name for stage in recipes.stages(name, 5, pretrained=False)] == names


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion", "adafactor"])
def test_blocks_further_from_the_head_learn_slower(network, feed, tmp_path, optimizer):
    """At a decay of almost nothing, the first block all but stands still and the last one moves."""
    stage = Stage(name="all", blocks="all", epochs=1, learning_rate=0.01, block_decay=1e-6, optimizer=optimizer)
    before = [block.layers[0].kernel.numpy() for block in network.blocks]
    trainer.train(Job(network, feed, settings(), tmp_path), [stage])
    moved = [
        np.abs(block.layers[0].kernel - kernel).max() for block, kernel in zip(network.blocks, before, strict=True)
    ]
    assert moved[0] < 1e-6 < 1e-4 < moved[-1]


def test_a_stage_on_smaller_pictures_trains_the_same_weights(feed, tmp_path):
    """The pictures of these tests are 32 pixels; the network is built for 64 and its first stage sees them smaller."""
    import tensorflow as tf

    def enlarged(split, *, image_size, **asked):
        def resize(images, targets, weights):
            sized = tf.image.resize(images, (image_size, image_size), method="nearest")
            return tf.ensure_shape(sized, (None, image_size, image_size, 3)), targets, weights

        return feed(split, image_size=SIZE, **asked).map(resize)

    network = make_network(size=64)
    before = values(network)
    small = Stage(name="small", blocks="all", epochs=1, learning_rate=0.01, image_size=32)
    stored = Stage(name="stored", blocks=(-1,), epochs=1, learning_rate=0.01, image_size=32)
    results = trainer.train(Job(network, enlarged, settings(image_size=64), tmp_path), [small, stored])
    assert [result.engine == "none" for result in results] == [True, False]
    assert network.model.input.shape[1] == 64
    assert not equal(before, values(network))


def test_sizes_that_would_shift_the_grid_are_refused(network, feed, tmp_path):
    stage = HEAD.model_copy(update={"image_size": 24})
    with pytest.raises(UsageError, match="Stage 'head' asks for pictures of 24 pixels; for a model of 32"):
        trainer.train(Job(network, feed, settings(), tmp_path), [stage])


def test_blocks_that_gradients_would_choose_are_trained_no_more(network, feed, tmp_path):
    with pytest.raises(UsageError, match=r"'surgical'\) are trained no more.*take recipe head_then_top"):
        trainer.train(Job(network, feed, settings(), tmp_path), [Stage(name="old", blocks="surgical")])


@pytest.mark.parametrize("name", recipes.ADVISED)
def test_every_recipe_trains_what_it_says(network, feed, tmp_path, name):
    stages = [stage.model_copy(update={"epochs": 1}) for stage in recipes.stages(name, 4)]
    results = trainer.train(Job(network, feed, settings(), tmp_path), stages)
    assert [result.name for result in results] == [stage.name for stage in stages]
    kept = [result for result in results if result.kept]
    best = max(kept, key=lambda result: (result.validation_merit, -result.validation_loss))
    assert kept[-1] is best


def test_a_head_that_can_only_be_learnt_is_not_solved(network, feed, tmp_path):
    with pytest.raises(UsageError, match=r"Stage 'head' is to be solved, and the head of this task can only be learnt"):
        trainer.train(Job(network, feed, settings(), tmp_path), recipes.stages("solved", 4))
    assert not (tmp_path / "stages").exists()


def test_blocks_do_not_learn_where_the_head_is_solved(network, feed, tmp_path):
    able = dataclasses.replace(network, solve=lambda batches: None)
    stage = Stage(name="both", blocks=(-1,), solved=True)
    with pytest.raises(UsageError, match=r"a head alone can be\. Received: blocks \(-1,\)\. Let them learn in a stage"):
        trainer.train(Job(able, feed, settings(), tmp_path), [stage])


@pytest.mark.parametrize("engine", ["auto", "stream"])
def test_a_solved_head_is_given_the_features_of_every_view_and_takes_no_step(network, feed, tmp_path, engine):
    seen = []
    able = dataclasses.replace(network, solve=lambda batches: seen.extend(list(batches)))
    stage = Stage(name="head", solved=True, epochs=1, augment="light", views=3)
    before = values(network)
    (result,) = trainer.train(Job(able, feed, settings(engine=engine), tmp_path), [stage])
    assert sum(len(weights) for _, _, weights in seen) == 3 * 96
    assert {tuple(part.shape[1:]) for part in seen[0][0]} == {tuple(part.shape[1:]) for part in network.features}
    assert equal(before, values(network))
    assert result.kept
    assert result.history[0]["loss"] > 0


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_in_one_kernel_steps_where_that_of_keras_does(name, decay):
    import keras

    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(5, 4)).astype("float32"), rng.normal(size=(6, 5, 4)).astype("float32")
    ours, theirs = keras.Variable(start), keras.Variable(start)
    plain = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[name]
    reference = plain(learning_rate=0.01, weight_decay=decay)
    method = learning_rates.optimizer(Stage(name="any", optimizer=name, learning_rate=0.01, weight_decay=decay), {})
    for gradient in gradients:
        method.apply([gradient], [ours])
        reference.apply([gradient], [theirs])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_every_weight_is_decided_once(network):
    freeze = freezing.decide(network, TOP)
    decided = [id(layer) for layer in (*freeze.learning, *freeze.frozen)]
    assert sorted(decided) == sorted(id(layer) for layer in network.model.layers if layer.weights)


def test_a_list_of_stages_that_was_changed_is_not_resumed(network, feed, tmp_path):
    trainer.train(Job(network, feed, settings(), tmp_path), [HEAD])
    with pytest.raises(RunError, match="trained with other settings"):
        trainer.train(Job(network, feed, settings(), tmp_path), [HEAD.model_copy(update={"epochs": 9})])


KILLED = """
import json, os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import numpy as np
import test_training_stages as here
from conftest import make_network
import conftest
pictures = conftest.stripes.__wrapped__()
feed = conftest.feed.__wrapped__(pictures)
network = make_network()
stages = [here.HEAD.model_copy(update={{"ema": 0.9}}), here.TOP.model_copy(update={{"augment": "light", "views": 2}})]
heard = 0
def listener(event):
    global heard
    heard += 1
    if heard == {events}:
        os.kill(os.getpid(), signal.SIGKILL)
chosen = here.settings(cache_folder=Path({cache!r}))
here.trainer.train(here.Job(network, feed, chosen, Path({folder!r}), listener), stages)
print(json.dumps([here.freezing.digest(network.model.layers), heard]))
"""


def run_until(events, folder, cache):
    script = KILLED.format(tests=str(Path(__file__).parent), events=events, folder=str(folder), cache=str(cache))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ)


def check_killed(kills, tmp_path, seed):
    whole = run_until(-1, tmp_path / "whole", tmp_path / "cache-whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    digest, events = json.loads(whole.stdout.splitlines()[-1])
    rng = np.random.default_rng(seed)
    for number in range(kills):
        folder, cache = tmp_path / f"killed-{number}", tmp_path / f"cache-{number}"
        killed = run_until(int(rng.integers(2, events)), folder, cache)
        assert killed.returncode == -signal.SIGKILL
        resumed = run_until(-1, folder, cache)
        assert resumed.returncode == 0, resumed.stderr[-2000:]
        assert json.loads(resumed.stdout.splitlines()[-1])[0] == digest


def test_a_killed_run_ends_bit_identical_after_it_is_resumed(tmp_path):
    check_killed(1, tmp_path, seed=11)


@pytest.mark.slow
def test_twenty_killed_runs_end_bit_identical_after_they_are_resumed(tmp_path):
    check_killed(20, tmp_path, seed=12)


def test_looking_for_a_learning_rate_leaves_no_trace(network, feed, tmp_path):
    before, learned = values(network), [layer.trainable for layer in network.model.layers]
    curve = rate_finder.find(
        Job(network, feed, settings(cache_folder=tmp_path), tmp_path), TOP, rate_finder.Range(tries=40)
    )
    assert equal(before, values(network))
    assert learned == [layer.trainable for layer in network.model.layers]
    assert 1e-6 < curve.suggestion < 1
    first = trainer.train(Job(network, feed, settings(cache_folder=tmp_path), tmp_path / "first"), [TOP])
    untouched = trainer.train(Job(make_network(), feed, settings(cache_folder=tmp_path), tmp_path / "second"), [TOP])
    assert first[0].history[-1]["loss"] == untouched[0].history[-1]["loss"]


def test_no_learning_rate_helps_a_network_of_no_numbers(network, feed, tmp_path):
    network.model.get_layer("logits").kernel.assign(np.full((24, 3), np.nan))
    with pytest.raises(TrainingError, match="gives stage 'top' a loss that is a number"):
        rate_finder.find(Job(network, feed, settings(cache_folder=tmp_path), tmp_path), TOP)


def test_the_store_is_chosen_where_it_is_cheaper():
    """A head is trained from the store; large early features of little work are streamed."""
    assert costs.store_share(72_000_000, 2_560, engine="litert", views=2, epochs=20) < 0.1
    assert costs.store_share(2_000_000, 73_728, engine="litert", views=4, epochs=8) > 1
    assert costs.store_share(72_000_000, 2_560, engine="keras", views=1, epochs=1) > 1


def test_a_stage_streams_what_would_cost_more_to_store_and_says_so(feed, tmp_path):
    stage = Stage(name="once", blocks=(-3, -2, -1), epochs=1, learning_rate=0.01)
    (result,) = trainer.train(Job(make_network(), feed, settings(), tmp_path), [stage])
    assert result.engine == "none"
    assert "times as much as computing them anew" in result.engine_reason


def test_no_more_views_are_computed_than_there_are_epochs(feed, tmp_path):
    stage = HEAD.model_copy(update={"epochs": 2, "augment": "light", "views": 5})
    given = settings(cache_folder=tmp_path / "cache")
    trainer.train(Job(make_network(), feed, given, tmp_path), [stage])
    assert len(list((tmp_path / "cache" / "features").glob("*/key.json"))) == 3  # two of training, one of validation
