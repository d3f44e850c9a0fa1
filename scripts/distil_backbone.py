"""Makes weights of a backbone whose own cannot be had: scripts/distil_backbone NAME.weights.h5 FOLDER ...

A student with random weights looks at pictures without labels and learns to give, through one dense layer that is
thrown away, the pooled features that a teacher with real weights gives of the same views (Romero et al., FitNets,
2015), and with them what the teacher's own ImageNet classifier makes of them (Hinton et al. 2015). `--weights
NAME.weights.h5` then begins from them. How good they are is told by a linear classifier on frozen features of
`--probe`, pictures with labels of which nothing here learns, beside random weights and the teacher: a few thousand
pictures are no ImageNet.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from keras_transfer import devices
from keras_transfer.backbones import blocks, features, registry, weights
from keras_transfer.data import files, pipeline, sources, splitting
from keras_transfer.errors import DataError
from keras_transfer.selection import scores
from keras_transfer.specs import Split, Splits, Stage, silent
from keras_transfer.tasks import pooled
from keras_transfer.training import prefix, trainer
from keras_transfer.training.job import Job, Settings

JUDGED = 0.1
"""Share of the pictures that say which epoch is the best one."""
SPREAD = 1e-3
"""Least deviation of a teacher's feature: some are zero on all pictures."""


def say(event):
    if event.kind in ("epoch", "finished", "warning"):
        told = {name: round(value, 4) for name, value in event.values.items()}
        print(event.message, told, file=sys.stderr, flush=True)


def gathered(folders, apart):
    """The pictures below some folders, each once and without those of `apart`, as a data set that has no classes."""
    paths = [path for folder in folders for path in files.paths_below(folder)[0]]
    facts = files.facts_of([*paths, *apart])
    known = {fact.content for fact in facts[len(paths) :]}
    found = {}
    for path, fact in zip(paths, facts, strict=False):
        if not fact.problem and fact.content not in known:
            found.setdefault(fact.content, path)
    if len(found) < 20:
        raise DataError(f"At least 20 pictures are needed. Found in {', '.join(map(str, folders))}: {len(found)}")
    contents, rows = list(found), np.array(list(found.values()))
    names = splitting.split_by_content(contents, ["picture"] * len(rows), shares=(0.0, JUDGED))

    def split(name):
        chosen = rows[names == name]
        return Split(name, chosen, np.zeros(len(chosen), np.int64), tuple(chosen))

    return Splits(
        source=", ".join(map(str, folders)),
        **{name: split(name) for name in ("train", "validation", "test")},
        class_names=("picture",),
        digest=splitting.digest_of([(name, "", each, 1.0) for name, each in zip(names, contents, strict=True)]),
    )


def pooled_model(spec, size, source):
    """A backbone with its weights, and a model of it that gives the mean of its last maps."""
    base = features.build(spec, image_size=size, weights=source, listener=silent).model
    return base, keras.Model(base.input, keras.layers.GlobalAveragePooling2D()(base.output))


def looked(model, feed, split, size):
    """What a frozen network makes of the pictures of a split, float32 (n, channels)."""
    given = [np.asarray(images) for images, *_ in feed(split, image_size=size, batch_size=100)]
    compute = prefix.build(model, check=given[0][:8]).compute
    return np.concatenate([compute(images)[0] for images in given])


def answered(feed, teacher):
    """Batches whose targets are the teacher's features of their views."""

    def of_teacher(images, targets, weights):
        return images, teacher(images, training=False), weights

    def batches(split, **how):
        given = feed(split, **how).map(tf.autograph.experimental.do_not_convert(of_teacher))
        return devices.prefetch(devices.without_autotune(given))

    return batches


def network_of(base, spec, seen, classifier):
    """The student with a dense layer that gives the teacher's features; what it is told is how far they are away.

    seen: the teacher's features of the training pictures; classifier: what was behind them, kernel and bias.
    """
    mean, spread = seen.mean(axis=0), np.maximum(seen.std(axis=0), SPREAD)
    kernel, bias = (np.asarray(each, np.float32) for each in classifier)

    def logits(raw, targets):
        return (tf.matmul(each, kernel) + bias for each in (raw[0] * spread + mean, targets))

    def losses(raw, targets, label_smoothing):
        given, wanted = logits(raw, targets)
        wanted = tf.nn.log_softmax(wanted)
        divergence = tf.reduce_sum(tf.exp(wanted) * (wanted - tf.nn.log_softmax(given)), axis=-1)
        return divergence + tf.reduce_mean(tf.square(raw[0] - (targets - mean) / spread), axis=-1)

    def merit(raw, targets):
        given, wanted = logits(raw, targets)
        return tf.cast(tf.argmax(given, -1) == tf.argmax(wanted, -1), tf.float32)

    model = pooled.attach(base, classes=len(mean), dropout=0.0, seed=0, activation="linear")
    return pooled.network(model, blocks.cut(base, spec), losses=losses, merit=merit)


def distilled(given, splits, spec, base):
    """Train a student's backbone in place; return what its last stage says of itself."""
    teacher_spec = registry.backbone(given.teacher)
    _, teacher = pooled_model(teacher_spec, given.image_size, "imagenet")
    feed = pipeline.make_feed(splits, seed=given.seed)
    seen = looked(teacher, feed, "train", given.image_size)
    network = network_of(base, spec, seen, weights.classifier(teacher_spec))
    settings = Settings(
        image_size=given.image_size,
        counts=splits.counts,
        batch_size=given.batch_size,
        seed=given.seed,
        data_digest=f"{splits.digest}, features of {given.teacher}",
        engine="stream",
    )
    stage = Stage(
        name="distil",
        blocks="all",
        epochs=given.epochs,
        learning_rate=given.learning_rate,
        schedule="one_cycle",
        augment=given.augment,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = Job(network, answered(feed, teacher), settings, Path(folder), say)
        return trainer.train(job, [stage])[0]


def write(spec, base, size, path):
    """Write a backbone's weights as Keras' own network of the same name reads them."""
    own = spec.build(keras.Input((size, size, 3)))
    pairs = zip(base.get_weights(), own.weights, strict=True)
    own.set_weights([value.reshape(each.shape) for value, each in pairs])  # grouped kernels became depthwise ones
    path.parent.mkdir(parents=True, exist_ok=True)
    own.save_weights(path)


def probed(splits, size, models):
    """How often a linear classifier on each network's frozen features is right about test pictures, and its error."""
    feed, found = pipeline.make_feed(splits), {}
    for name, model in models.items():
        train, test = (looked(model, feed, split, size) for split in ("train", "test"))
        probe = scores.linear_probe(train, splits.train.labels, validation=(test, splits.test.labels))
        found[name] = (probe.accuracy, probe.standard_error)
    return found


def tell(given, splits, result, found):
    rows = {name: {"accuracy": accuracy, "standard_error": error} for name, (accuracy, error) in found.items()}
    told = {"pictures": splits.counts, "epochs": result.epochs, "best_epoch": result.best_epoch}
    told |= {"agreement": result.validation_merit, "seconds": result.seconds, "weights": str(given.output)}
    if given.json:
        print(json.dumps({**told, "probe": given.probe, "accuracy": rows}, indent=2))
        return
    console = Console(width=120)
    agreed = f"the likeliest of ImageNet's classes is the teacher's for {result.validation_merit:.1%} of them"
    console.print(f"{splits.counts['train']} pictures learnt from, {splits.counts['validation']} judged: {agreed}")
    if found:
        table = Table(f"a linear classifier on frozen features of {given.probe}", "test accuracy", "standard error")
        for name, (accuracy, error) in found.items():
            table.add_row(name, f"{accuracy:.1%}", f"{error:.1%}")
        console.print(table)
    console.print(f"keras-transfer train SOURCE --backbone {given.student} --weights {given.output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the file to write: its name ends in .weights.h5")
    parser.add_argument("folders", type=Path, nargs="+", help="pictures, at any depth")
    parser.add_argument("--student", default="MobileNetV3Small")
    parser.add_argument("--teacher", default="EfficientNetLite2", help="a backbone whose classifier is at hand")
    parser.add_argument("--probe", help="pictures with labels, as keras-transfer train takes them")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--augment", default="light")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.output.name.endswith(".weights.h5"):
        parser.error(f"Keras' weights files end in .weights.h5. Received: {given.output}")
    given.output = given.output.resolve()
    judging = sources.load(given.probe, seed=given.seed) if given.probe else None
    in_files = judging is not None and np.asarray(judging.test.pictures).dtype.kind == "U"
    splits = gathered(given.folders, judging.test.pictures.tolist() if in_files else [])
    spec = registry.backbone(given.student)
    keras.utils.set_random_seed(given.seed)
    base, _ = pooled_model(spec, given.image_size, "none")
    result = distilled(given, splits, spec, base)
    write(spec, base, given.image_size, given.output)
    rows = {
        f"{given.student}, random weights": (spec, "none"),
        f"{given.student}, distilled": (spec, str(given.output)),
        f"{given.teacher}, the teacher": (registry.backbone(given.teacher), "imagenet"),
    }
    models = {name: pooled_model(spec, given.image_size, source)[1] for name, (spec, source) in rows.items()}
    found = probed(judging, given.image_size, models) if judging else {}
    tell(given, splits, result, found)


if __name__ == "__main__":
    main()
