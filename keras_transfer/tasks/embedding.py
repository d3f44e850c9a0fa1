"""Who or what it is, of kinds never seen in training: a point on a sphere, where the same ones lie close together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import UsageError
from keras_transfer.specs import EMBEDDING_OUTPUT, POOL_LAYER, Block, Contract, Losses, Network

POWER = 3.0
"""Of generalized-mean pooling, between the mean (1) and the largest value: where it ends up when it is learned
(Radenović, Tolias & Chum 2018, section 5.2)."""

SCALE, ANGLE, COSINE = 16.0, 0.3, 0.2
"""Scale and margins of ArcFace and CosFace. Their papers take 64 and 0.5 for 85,000 identities; with tens of them a
softmax so sharp stops teaching as soon as each is told from the others."""

WARMTH = 0.1
"""Temperature of the supervised contrastive loss, as its authors found best."""

COSINES_OUTPUT = "cosines"

SHRUNK = 0.1
"""Share of the scatter within identities that `solve` takes for the same in all directions: a few hundred pictures know
the rarest ones badly."""

CELLS = ((-3, 4), (-2, 2))
"""Blocks that `grid` takes, and how many cells a side of each: what lies where is told by the finer one."""

Taps = Callable[[keras.Model, tuple[Block, ...]], tuple[Any, ...]]
"""`taps(features, blocks)`: what a head takes, KerasTensors (batch, channels)."""


@dataclass(frozen=True)
class Head:
    """One row of `HEADS`."""

    taps: Taps
    width: int
    """Numbers of an embedding."""
    unused: int = 0
    """Blocks at the end that nothing is taken of: they are left out of the network."""


def attach(
    features: keras.Model,
    blocks: tuple[Block, ...],
    *,
    classes: int,
    dropout: float = 0.0,
    seed: int = 0,
    loss: str = "arcface",
    head: str = "gem",
) -> Network:
    """Return the network that gives an embedding, float32 (batch, width) of unit length.

    >>> attach(features, blocks, classes=20).model.output_names  # doctest: +SKIP
    ['embedding', 'cosines']

    classes: identities to train on. Its model gives `cosines` too, (batch, classes), to a direction for each of them,
    which training needs and exported files leave out. loss: a row of `LOSSES`; head: a row of `HEADS`.
    """
    row = HEADS[head]
    taps, width = row.taps(features, blocks), row.width
    start = keras.initializers.GlorotUniform(seed=seed)
    # Each of unit length, so that the many channels of the last block do not drown the few of the one before it.
    joined = keras.layers.Concatenate(dtype="float32")(
        [keras.layers.UnitNormalization(dtype="float32")(each) for each in taps]
    )
    narrow = keras.layers.Dense(width, use_bias=False, kernel_initializer=start, name="narrow", dtype="float32")
    norm = keras.layers.BatchNormalization(name="narrow_norm", dtype="float32")
    x = keras.layers.Dropout(dropout, seed=seed, name="dropout", dtype="float32")(joined)
    embedding = keras.layers.UnitNormalization(name=EMBEDDING_OUTPUT, dtype="float32")(norm(narrow(x)))
    directions = keras.layers.Dense(
        classes,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=width**-0.5, seed=seed),
        kernel_constraint=keras.constraints.UnitNorm(axis=0),  # so that a dot product is a cosine
        name=COSINES_OUTPUT,
        dtype="float32",
    )
    cosines = directions(embedding)

    def solve(batches: Iterable[tuple[Any, Any, Any]]) -> None:
        found = Solved.of(scatter(keras.Model(list(taps), joined), batches, classes), width)
        narrow.set_weights([found.kernel])
        norm.set_weights([np.ones(width), np.zeros(width), found.middle, np.ones(width)])
        directions.set_weights([found.directions])

    return Network(
        model=keras.Model(features.input, [embedding, cosines], name="embedder"),
        blocks=blocks[: len(blocks) - row.unused],
        features=taps,
        raw=(embedding, cosines),
        losses=LOSSES[loss],
        merit=merit,
        merit_over="split",
        solve=solve,
    )


def gem(features: keras.Model, blocks: tuple[Block, ...]) -> tuple[Any, ...]:
    """Return the last two blocks as one value a channel each: what is there, wherever it is."""
    earlier = [pooled(block.output, f"{POOL_LAYER}_before") for block in blocks[-2:-1]]
    return (*earlier, pooled(features.output, POOL_LAYER))


def grid(features: keras.Model, blocks: tuple[Block, ...]) -> tuple[Any, ...]:
    """Return two earlier blocks as one value a channel of each cell: what is where, for pictures that lie alike.

    Raises UsageError for a backbone of fewer blocks than it looks back.
    """
    if len(blocks) < -min(block for block, _ in CELLS):
        raise UsageError(f"The head 'grid' takes the third last block, and the backbone has {len(blocks)}. Take 'gem'.")
    return tuple(halved(blocks[block].output, cells, f"cells_{cells}") for block, cells in CELLS)


HEADS: dict[str, Head] = {"gem": Head(gem, width=128), "grid": Head(grid, width=512, unused=1)}
"""By the name a plan calls them; the first is the task's own."""


def halved(maps: Any, cells: int, name: str) -> Any:
    """Return the mean of feature maps in each cell of a grid, each with its mirror image, float32 (batch, numbers).

    A face and its mirror image are one person's; so are most things. Cells overlap where `cells` do not divide a side.
    """
    side = int(maps.shape[1])
    cells = min(cells, side)
    stride = side // cells
    pool = keras.layers.AveragePooling2D(side - stride * (cells - 1), stride, name=name, dtype="float32")
    means = pool(maps)
    columns = [means[:, :, column] for column in range(cells)]
    pairs = [(columns[column] + columns[-1 - column]) * 0.5 for column in range(-(-cells // 2))]
    return keras.layers.Flatten(dtype="float32")(keras.ops.concatenate(pairs, axis=-1))


@dataclass(frozen=True)
class Scatter:
    """How features lie about the mean of their identity, and where these means are."""

    within: np.ndarray
    """float64 (numbers, numbers), of one picture."""
    means: np.ndarray
    """float64 (identities, numbers); rows of identities that showed no picture are zero."""
    middle: np.ndarray
    """float64 (numbers,): of all pictures."""


def scatter(joined: keras.Model, batches: Iterable[tuple[Any, Any, Any]], classes: int) -> Scatter:
    """Return the scatter of all pictures in `batches` that weigh anything, one batch in memory at a time."""
    size = int(joined.output.shape[-1])
    squares, sums, counts = np.zeros((size, size)), np.zeros((classes, size)), np.zeros(classes)
    for features, targets, weights in batches:
        there = np.asarray(weights) > 0
        who = np.asarray(targets)[there, 0].astype(int)
        points = np.asarray(joined.predict_on_batch(list(features)), np.float64)[there]
        squares += points.T @ points
        np.add.at(sums, who, points)
        counts += np.bincount(who, minlength=classes)
    means = sums / np.maximum(counts, 1)[:, None]
    degrees = max(counts.sum() - np.count_nonzero(counts), 1)
    return Scatter((squares - means.T @ sums) / degrees, means, sums.sum(0) / max(counts.sum(), 1))


@dataclass(frozen=True)
class Solved:
    """The weights of a head in which pictures of one identity scatter alike in all directions."""

    kernel: np.ndarray
    """(numbers, width)."""
    middle: np.ndarray
    """(width,): where the middle of all pictures comes to lie."""
    directions: np.ndarray
    """(width, identities), of unit length."""

    @classmethod
    def of(cls, found: Scatter, width: int) -> Solved:
        """Whiten the scatter within identities, and keep its `width` largest directions.

        Where pictures of one identity differ little, a difference says much: the cosine of whitened features is the
        likelihood that two are the same, were people scattered alike. Sources: Hatch, Kajarekar & Stolcke, Within-class
        Covariance Normalization for SVM-based Speaker Recognition, Interspeech 2006; Ledoit & Wolf, A Well-conditioned
        Estimator for Large-dimensional Covariance Matrices, JMVA 2004, for shrinking.
        """
        size = len(found.within)
        level = max(np.trace(found.within) / size, 1e-12)
        spread, axes = np.linalg.eigh((1 - SHRUNK) * found.within + SHRUNK * level * np.eye(size))
        kept = axes[:, -width:] / np.sqrt(spread[-width:])
        kernel = np.zeros((size, width))
        kernel[:, : kept.shape[1]] = kept  # fewer features than the embedding is wide: the rest of it stays zero
        directions = ((found.means - found.middle) @ kernel).T
        lengths = np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
        return cls(kernel, found.middle @ kernel, directions / lengths)


def pooled(maps: Any, name: str) -> Any:
    """Return the generalized mean of feature maps over their places, float32 (batch, channels).

    Source: Radenović, Tolias & Chum, Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018, equation 3.
    """
    positive = keras.ops.maximum(keras.ops.cast(maps, "float32"), 1e-6)
    mean = keras.layers.GlobalAveragePooling2D(name=name, dtype="float32")(keras.ops.power(positive, POWER))
    return keras.ops.power(mean, 1 / POWER)


def without_cosines(model: keras.Model, contract: Contract) -> keras.Model:
    """Return the model of `attach` that gives the embedding alone, as exported files do; the weights are shared."""
    return keras.Model(model.input, model.get_layer(EMBEDDING_OUTPUT).output, name="embedder")


def arcface(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the loss of each picture, float32 (batch,): cross-entropy after the right angle was made wider.

    targets: float32 (batch, 1), the identity. One that is not trained on, as those of validation are, has no direction:
    its loss is the contrastive one.
    Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, equation 3.
    """
    cosines = raw[1]
    angle = tf.acos(tf.clip_by_value(cosines, -1 + 1e-6, 1 - 1e-6))
    # Beyond pi a wider angle would be a better one: there the margin is taken off the cosine, as in the authors' code.
    wider = tf.where(angle + ANGLE < math.pi, tf.cos(angle + ANGLE), cosines - ANGLE * math.sin(ANGLE))
    return _cross_entropy(raw, wider, targets, label_smoothing)


def cosface(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the loss of each picture, float32 (batch,): cross-entropy after the right cosine was made smaller.

    Source: Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018, equation 4.
    """
    return _cross_entropy(raw, raw[1] - COSINE, targets, label_smoothing)


def proxy(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the loss of each picture, float32 (batch,): cross-entropy over the cosines as they are.

    Source: Movshovitz-Attias et al., No Fuss Distance Metric Learning using Proxies, ICCV 2017, section 3, with the
    normalized softmax of Zhai & Wu 2019.
    """
    return _cross_entropy(raw, raw[1], targets, label_smoothing)


def _cross_entropy(raw: tuple[Any, ...], of_right: Any, targets: Any, label_smoothing: float) -> Any:
    cosines = raw[1]
    wanted = tf.one_hot(tf.cast(targets[:, 0], tf.int32), cosines.shape[-1])
    logits = SCALE * tf.where(wanted > 0, of_right, cosines)
    smoothed = wanted * (1 - label_smoothing) + label_smoothing / cosines.shape[-1]
    known = tf.reduce_sum(wanted, axis=-1) > 0
    by_directions = tf.nn.softmax_cross_entropy_with_logits(labels=smoothed, logits=logits)
    # Nobody of validation has a direction; how they lie among each other decides where Recall@1 is the same.
    return tf.where(known, by_directions, contrastive(raw, targets, label_smoothing))


def contrastive(raw: tuple[Any, ...], targets: Any, label_smoothing: float) -> Any:
    """Return the loss of each picture, float32 (batch,): how much nearer others of its identity are than the rest.

    A picture whose identity comes once in the batch costs nothing: batches of several pictures each are wanted.
    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2.
    """
    embedding, _ = raw
    others = 1.0 - tf.eye(tf.shape(embedding)[0])
    same = others * tf.cast(targets == tf.transpose(targets), tf.float32)
    near = tf.matmul(embedding, embedding, transpose_b=True) / WARMTH
    near -= tf.stop_gradient(tf.reduce_max(near, axis=-1, keepdims=True))
    told = near - tf.math.log(tf.reduce_sum(others * tf.exp(near), axis=-1, keepdims=True) + 1e-12)
    return -tf.math.divide_no_nan(tf.reduce_sum(same * told, axis=-1), tf.reduce_sum(same, axis=-1))


LOSSES: dict[str, Losses] = {
    "arcface": arcface,
    "cosface": cosface,
    "contrastive": contrastive,
    "proxy": proxy,
}
"""By the name a plan calls them; the first is the task's own."""


def merit(raw: tuple[Any, ...], targets: Any) -> Any:
    """Return whether the nearest other picture shows the same one, float32 (n,) of 0 and 1, over a whole split."""
    embedding = raw[0]
    near = tf.matmul(embedding, embedding, transpose_b=True) - 3.0 * tf.eye(tf.shape(embedding)[0])
    nearest = tf.argmax(near, axis=-1)
    return tf.cast(tf.gather(targets[:, 0], nearest) == targets[:, 0], tf.float32)
