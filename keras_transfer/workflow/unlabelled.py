"""Lets pictures without a label help: gives them labels by their features, where validation gains, or a teacher's."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_transfer.data import pipeline
from keras_transfer.errors import UsageError
from keras_transfer.selection import pseudo_labels
from keras_transfer.specs import BackboneSpec, Event, Feed, Listener, Network, Plan, Split, Splits
from keras_transfer.training import prefix
from keras_transfer.training.resizing import resized
from keras_transfer.workflow.building import fitting_size
from keras_transfer.workflow.tasks import BATCH
from keras_transfer.workflow.teaching import Teacher

FEWEST = 2
"""Validation pictures of which a gain can be told."""

STRONG, COPIES = "standard", 2
"""Augmentation, and so many copies by it, of what `consistency` learns from."""


def with_labels(
    plan: Plan,
    spec: BackboneSpec,
    splits: Splits,
    network: Network,
    feed: Feed,
    listener: Listener,
    teacher: Teacher | None = None,
) -> Splits:
    """Return what is trained on: the data set, and pictures that were given a label where validation gains by them.

    network: of the plan, its weights as they are before training; feed: of `splits`. The pictures that judge stay the
    same. A teacher gives labels to all that have none, unless the plan names another way: what it answers is learnt
    from anyway. Raises UsageError where the plan names a way to give labels and there is nothing to give them to.
    """
    if splits.unlabelled is None:
        if plan.unlabelled not in (None, "none"):
            raise UsageError(
                f"unlabelled={plan.unlabelled} needs pictures without a label: a folder 'unlabelled' beside those of "
                f"the classes, or rows of a table whose label is empty. '{splits.source}' has none."
            )
        return splits
    if teacher is not None and plan.unlabelled is None:
        listener(
            Event("note", f"{len(splits.unlabelled)} pictures without a label take part: the teacher has one for each")
        )
        return _joined(splits, _taught(plan, splits, teacher))
    if "none" in (plan.unlabelled, plan.weights) or len(splits.validation) < FEWEST:
        return splits
    known = _known(plan, splits, network, feed, fitting_size(spec, splits.typical_size))
    found, without = pseudo_labels.gated(known, plan.unlabelled or next(iter(pseudo_labels.METHODS)))
    total = len(splits.unlabelled)
    if found is None:
        listener(Event("note", f"{total} pictures without a label are left aside: validation loses by them"))
        return splits
    taken = int((found.weights > 0).sum())
    told = (
        f"{taken} of {total} pictures without a label are given one ({found.method}): a linear classifier on the "
        f"frozen features is right in {found.accuracy:.1%} of validation with them, {without.accuracy:.1%} without"
    )
    listener(Event("note", told))
    return _joined(splits, found)


def _known(plan: Plan, splits: Splits, network: Network, feed: Feed, size: int) -> pseudo_labels.Known:
    """What the frozen part makes of every picture that learns, of those that judge stages, and of the others.

    At the size that fits the pictures, whatever that of the plan is: minutes change that one, and the labels that are
    given must be the same when a run goes on.
    """
    free = _free(plan, splits)
    check = np.asarray(next(iter(feed("train", image_size=size, batch_size=16)))[0])
    compute = prefix.build(resized(depths(network), [(size, size, 3)]), check=check).compute

    def features(given: Feed, split: str, **how: Any) -> np.ndarray:
        batches = given(split, image_size=size, batch_size=BATCH, **how)
        return np.concatenate([np.concatenate(compute(np.asarray(images)), axis=1) for images, *_ in batches])

    copies = COPIES if plan.unlabelled == "consistency" else 0
    strong = [features(free, "train", augment=STRONG, epoch=number) for number in range(copies)]
    known = pseudo_labels.Known(
        features=features(feed, "train"),
        labels=splits.train.labels,
        validation=features(feed, "validation"),
        validation_labels=splits.validation.labels,
        unlabelled=features(free, "train"),
        classes=len(splits.class_names),
        strong=np.stack(strong) if strong else None,
    )
    return pseudo_labels.weighed(known, head=int(network.features[0].shape[-1]))


def _free(plan: Plan, splits: Splits) -> Feed:
    """A feed whose training pictures are those without a label."""
    assert splits.unlabelled is not None
    pool = replace(splits, train=replace(splits.unlabelled, name="train"))
    return pipeline.make_feed(pool, aspect=plan.aspect, cache_bytes=0)


def _taught(plan: Plan, splits: Splits, teacher: Teacher) -> pseudo_labels.Given:
    """The likeliest class of each picture without a label, as a teacher says."""
    batches = _free(plan, splits)("train", image_size=teacher.run.record.image_size, batch_size=BATCH)
    said = np.concatenate([np.asarray(teacher.ask(images)) for images, *_ in batches])
    return pseudo_labels.Given("teacher", said.argmax(axis=-1), np.ones(len(said), np.float32), teacher.merit)


def depths(network: Network) -> keras.Model:
    """Return what labels are given by: what the head takes, and the mean over all places before the last block.

    >>> [each.shape[1] for each in depths(network).outputs]  # doctest: +SKIP
    [1280, 112]
    """
    before = [keras.layers.GlobalAveragePooling2D()(block.output) for block in network.blocks[-2:-1]]
    return keras.Model(network.model.input, [network.features[0], *before])


def _joined(splits: Splits, found: pseudo_labels.Given) -> Splits:
    """Training pictures and those that were given a label, each with its weight."""
    assert splits.unlabelled is not None
    rows = np.flatnonzero(found.weights > 0)
    new, train = splits.unlabelled.take(rows), splits.train
    weights = np.ones(len(train), np.float32) if train.weights is None else train.weights
    alone = None if train.groups is None else np.append(train.groups, np.full(len(rows), ""))
    both = Split(
        name="train",
        pictures=np.concatenate([train.pictures, new.pictures]),
        labels=np.concatenate([train.labels, found.labels[rows]]),
        keys=(*train.keys, *new.keys),
        weights=np.append(weights, found.weights[rows]).astype(np.float32),
        groups=alone,
    )
    # Features are stored under the digest of what they are of: another choice must not find those of this one.
    chosen = hashlib.sha256(splits.digest.encode() + found.labels.tobytes() + found.weights.tobytes()).hexdigest()
    return replace(splits, train=both, digest=chosen)
