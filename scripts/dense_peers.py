"""What the benchmarks of tasks that say where things are share: our run of a plan, and its network in Keras `fit`."""

import json
import os
import subprocess
import sys
import tempfile
import time

BACKBONE, BATCH, SEED = "EfficientNetLite0", 8, 0

EPOCHS = """
import json, sys, keras_transfer as kt
run = kt.train(kt.Plan(**json.loads(sys.argv[1])), folder=sys.argv[2])
print(json.dumps(list(run.record.stages[0].history)))
"""
"""Code for `ours`: what each epoch of a plan's first stage took."""


def plan_of(task, source, options, recipe):
    return {
        "data": source,
        "task": task,
        "backbone": BACKBONE,
        "recipe": recipe,
        "batch_size": BATCH,
        "seed": SEED,
        "image_size": options.image_size,
    }


def ours(code, plan):
    """What `code` prints of a plan, as JSON: in a process of its own, with nothing stored by an earlier one."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", code, json.dumps(plan), place]
        environment = os.environ | {"KERAS_TRANSFER_CACHE": f"{place}/cache"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def built(plan, annotation):
    """The network of a plan (its fields by name), its feed and its splits."""
    from keras_transfer.backbones import registry
    from keras_transfer.data import pipeline, sources
    from keras_transfer.specs import Plan, silent
    from keras_transfer.workflow.building import network_of

    made = Plan(**plan)
    splits = sources.load(made.data, annotation=annotation)
    network, _ = network_of(made, registry.backbone(BACKBONE), splits, "imagenet", silent)
    return network, pipeline.make_feed(splits, seed=SEED), splits


def compiled(network, rate):
    """A model that `fit` trains with the task's own loss, which looks at all outputs together and at whole pictures."""
    import keras
    import tensorflow as tf

    class Peer(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return tf.reduce_mean(network.losses(tuple(tf.nest.flatten(y_pred)), y, 0.0))

    model = Peer(network.model.input, list(network.raw))
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4))
    return model


def frozen(plan, annotation):
    """Print what an epoch of the frozen stage takes, validation included, from stored taps and streamed by `fit`."""
    stored = [row["seconds"] for row in ours(EPOCHS, {**plan, "recipe": "head", "epochs": 4})][1:]
    network, feed, _ = built(plan, annotation)
    for layer in _owned(network):
        layer.trainable = False
    model, streamed, size = compiled(network, 3e-3), [], plan["image_size"]
    held_out = feed("validation", image_size=size, batch_size=BATCH)
    for epoch in range(4):
        began = time.perf_counter()
        model.fit(_batches(feed, size, epoch), validation_data=held_out, verbose=0)
        streamed.append(time.perf_counter() - began)
    streamed = streamed[1:]  # the first epoch of each traces its steps
    told = ", ".join(f"{seconds:.1f}" for seconds in streamed), ", ".join(f"{seconds:.1f}" for seconds in stored)
    print(f"\nfrozen backbone: an epoch takes {min(streamed):.1f} s streamed by fit (of {told[0]}), ", end="")
    print(f"{min(stored):.1f} s from stored taps (of {told[1]}): {min(streamed) / min(stored):.1f} x", flush=True)


def guided(network, feed, size, *, head_epochs, epochs):
    """Train as Keras' guide says, and return the seconds: the head, then all with batch norms in inference mode."""
    import keras

    began = time.perf_counter()
    for learns, rate, count in ((False, 1e-3, head_epochs), (True, 1e-5, epochs)):
        for layer in _owned(network):
            layer.trainable = learns and not isinstance(layer, keras.layers.BatchNormalization)
        model = compiled(network, rate)
        for epoch in range(count):
            model.fit(_batches(feed, size, epoch), verbose=0)
    return time.perf_counter() - began


def _owned(network):
    return [layer for block in network.blocks for layer in block.layers]


def _batches(feed, size, epoch):
    return feed("train", image_size=size, batch_size=BATCH, augment="scenes", epoch=epoch, shuffle=True)
