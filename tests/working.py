"""Learns small networks on whatever devices it is given, and keeps what came of it; as a script it is one worker.

    TF_CONFIG=… python tests/working.py FOLDER CASE …

$LOGICAL: so many logical CPUs, which share every batch. $DIES: STAGE/EPOCH after which this worker kills itself.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from conftest import CLASSES, SIZE, make_network, make_stripes

from keras_transfer.errors import KerasTransferError
from keras_transfer.specs import Split, Splits, Stage

HEAD = Stage(name="head", epochs=2, learning_rate=0.01, views=2, augment="light")
PLAIN = {"optimizer": "sgd", "weight_decay": 1e-3, "learning_rate": 0.05}
"""Adam divides by the size of a gradient: where that is nothing but rounding, so is where it goes."""
ALL = Stage(name="all", blocks="all", epochs=1, learning_rate=1e-3)

CASES = {
    "head": ("classification", 97, (HEAD,)),  # the last batch holds one picture, and a worker none
    "head_then_top": (
        "classification",
        96,
        (HEAD, Stage(name="top", blocks=(-2, -1), block_decay=0.3, epochs=2, learning_rate=3e-3, batch_norm="frozen")),
    ),
    "new statistics": ("classification", 95, (ALL.model_copy(update={**PLAIN, "batch_norm": "train"}),)),
    "old statistics": ("classification", 95, (ALL.model_copy(update={"batch_norm": "frozen"}),)),
    "averaged": (
        "classification",
        95,
        (ALL.model_copy(update={"ema": 0.9, "accumulate": 2, "batch_norm": "frozen", "block_decay": 0.5}),),
    ),
    "multilabel": ("multilabel", 95, (HEAD.model_copy(update={"label_smoothing": 0.1}),)),
    "long": ("classification", 96, (HEAD.model_copy(update={"epochs": 3}),)),
}
"""A task, how many pictures, and the stages."""


def splits_of(count):
    """Pictures in memory."""
    parts = []
    for seed, (name, size) in enumerate({"train": count, "validation": 49, "test": 8}.items()):
        images, labels = make_stripes(size, seed)
        parts.append(Split(name, images, labels, tuple(f"{name} {number}" for number in range(size))))
    return Splits("stripes", *parts, tuple("abcdefgh"[:CLASSES]), f"stripes {count}", typical_size=SIZE)


def learn(case, strategy, folder, listener=lambda event: None):
    """Train and return losses and merits of every epoch, and the weights."""
    from keras_transfer.data.pipeline import make_feed
    from keras_transfer.training import trainer
    from keras_transfer.training.job import Job, Settings

    task, count, stages = CASES[case]
    splits = splits_of(count)
    with strategy.scope():
        network = make_network(task=task)
    cache = folder / ("cache" if case != "head_then_top" else f"cache-{strategy.share.index}")
    settings = Settings(
        image_size=SIZE,
        counts=splits.counts,
        batch_size=16,
        data_digest=splits.digest,
        engine="keras",
        store_dtype="float32",
        cache_folder=cache,
    )
    job = Job(network, make_feed(splits), settings, folder / "run", listener, strategy=strategy)
    results = trainer.train(job, stages)
    rows = [row for result in results for row in result.history]
    named = ("loss", "validation_loss", "validation_merit")
    history = np.array([[row[name] for name in named] for row in rows])
    return {"history": history, **{f"w{n}": np.array(each) for n, each in enumerate(network.model.weights)}}


def dies(event):
    """End as a machine does whose power is cut, after the epoch that $DIES names."""
    if event.kind == "epoch" and f"{event.message}/{event.done}" == os.environ.get("DIES"):
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder, cases):
    import tensorflow as tf

    from keras_transfer.training import strategy as strategies

    if "LOGICAL" in os.environ:
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * int(os.environ["LOGICAL"])
        tf.config.set_logical_device_configuration(cpu, logical)
    strategy = strategies.of("all" if "LOGICAL" in os.environ else "one")
    print(strategy.kind, strategy.replicas, flush=True)
    with strategy.guarded():
        for case in cases:
            found = learn(case, strategy, folder / case, dies)
            np.savez(folder / f"{case} {strategy.share.index}.npz", **found)
        try:
            strategy.check_same({"plan (seed)": str(strategy.share.index)})
        except KerasTransferError as error:
            print(error, flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except KerasTransferError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
