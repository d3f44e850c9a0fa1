"""Scores how well features suit labels, before anything is trained: pure functions, one per published method.

Features are float (n, d), one row per picture; labels are int (n,), or, for LogME and probes, bool (n, classes) where a
picture may have several. What cannot be scored (one class only, values that are not finite, features that are all
alike) raises DataError: a number there would look measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import LinearRegression
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from keras_transfer.errors import DataError

PROBE_PENALTIES = np.logspace(-3, 2, 11)
"""Ridge penalties a probe chooses from, for each picture and feature of variance 1."""

FEWEST_CHANGED = 20
"""Changed pictures below which what a probe loses by them is an anecdote."""


@dataclass(frozen=True)
class Probe:
    """What a linear classifier made of the features, each picture judged by a fit that had not seen it."""

    accuracy: float
    """Mean of `right`."""
    standard_error: float
    """Of `accuracy`: binomial, or over groups where pictures belong together."""
    balanced_accuracy: float
    """Mean over classes of the share that is named right: naming the largest class alone gives 1 / classes. Where a
    picture may have several labels: the mean of their average precision."""
    tells: bool
    """Whether the classes are told apart better than chance does, by two standard errors: `balanced_accuracy` above
    1 / classes; where a picture may have several labels, `accuracy` above that of ranking by how frequent they are."""
    probabilities: np.ndarray
    """Of the *training* pictures, out of group: float (n, classes present), in the order of the sorted labels; rows sum
    to 1 where a picture has one class."""
    right: np.ndarray
    """Of the pictures judged, float (n,) or (validation pictures,): 1 where the likeliest class is the label, 0 where
    not; where a picture may have several labels, the precision of their ranking."""


@dataclass(frozen=True)
class LabelNoise:
    """How many labels are probably wrong, and which to look at first."""

    rate: float
    """Estimated share of labels that are wrong, 0-1."""
    suspects: tuple[int, ...]
    """Positions of the pictures, most suspicious first."""


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the log of the maximum evidence per picture: higher suits better.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> logme(np.eye(2)[labels] + rng.normal(0, 0.1, (100, 2)), labels) > logme(rng.normal(0, 1, (100, 2)), labels)
    True

    Source: You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021, with the
    fixed point of You et al., Ranking and Tuning Pre-trained Models, JMLR 2022, algorithm 3.
    """
    features, labels = _checked(features, labels)
    count, width = features.shape
    variance, directions = _principal(features)
    energy = variance * count
    left = features @ directions / np.sqrt(energy)
    columns = labels.T if labels.ndim == 2 else [labels == each for each in np.unique(labels)]
    return float(np.mean([_evidence(left, energy, each, count, width) for each in columns]))


def _evidence(left: np.ndarray, energy: np.ndarray, target: np.ndarray, count: int, width: int) -> float:
    """Return the evidence of one class's indicator under the linear model that makes it largest, per picture."""
    guard = 1e-5  # what the authors add to both norms: an exact fit has no finite precision
    explained = (left.T @ target.astype(np.float64)) ** 2
    unexplained = max(float(target.sum()) - float(explained.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(100):
        ratio = alpha / beta
        effective = float((energy / (energy + ratio)).sum())
        weights_norm = float((energy * explained / (ratio + energy) ** 2).sum())
        residual = float((explained / (1 + energy / ratio) ** 2).sum()) + unexplained
        alpha, beta = effective / (weights_norm + guard), (count - effective) / (residual + guard)
        # More features than pictures can explain everything; a precision of zero has no logarithm.
        beta = max(beta, guard)
        if abs(alpha / beta - ratio) <= 1e-3 * ratio:
            break
    return (
        width * np.log(alpha)
        + count * np.log(beta)
        # Directions without energy add ln(alpha) each.
        - (np.log(alpha + beta * energy).sum() + (width - len(energy)) * np.log(alpha))
        - beta * residual
        - alpha * weights_norm
        - count * np.log(2 * np.pi)
    ) / (2 * count)


def leep(source_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the log expected empirical prediction: at most 0, higher suits better.

    >>> round(leep(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])), 6)
    0.0

    source_probabilities: what the source model says of the pictures, float (n, source classes), rows sum to 1.

    Source: Nguyen et al., LEEP: A New Measure to Evaluate Transferability of Learned Representations, ICML 2020,
    equations 1 and 2.
    """
    source_probabilities, labels = _checked(source_probabilities, labels)
    classes, position = np.unique(labels, return_inverse=True)
    joint = np.eye(len(classes))[position].T @ source_probabilities / len(labels)
    seen = joint.sum(axis=0)
    conditional = np.divide(joint, seen, out=np.zeros_like(joint), where=seen > 0)
    expected = np.einsum("nz,nz->n", source_probabilities, conditional[position])
    return float(np.log(np.maximum(expected, np.finfo(np.float64).tiny)).mean())


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the spread between classes measured in the spread of all pictures: 0 to classes - 1, higher suits better.

    >>> round(h_score(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1])), 6)
    1.0

    With as many features as pictures it is always classes - 1: use `regularized_h_score` there.

    Source: Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP 2019,
    definition 2.
    """
    features, labels = _checked(features, labels)
    centred = features - features.mean(axis=0)
    variance, directions = _principal(centred)
    white = centred @ directions / np.sqrt(variance * len(labels))
    means = [(white[labels == each].mean(axis=0), np.sum(labels == each)) for each in np.unique(labels)]
    return float(sum(count * (mean**2).sum() for mean, count in means))


def regularized_h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score with the covariance shrunk towards a sphere, which holds with few pictures.

    >>> rng = np.random.default_rng(0)
    >>> regularized_h_score(rng.normal(size=(20, 50)), np.repeat([0, 1], 10)) < 1
    True

    Source: Ibrahim et al., Newer is not always better: Rethinking transferability metrics, ECML PKDD 2022, equation 4;
    the shrinkage is Ledoit & Wolf's (2004).
    """
    features, labels = _checked(features, labels)
    centred = features - features.mean(axis=0)
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    variance, directions = _principal(centred)
    classes, position = np.unique(labels, return_inverse=True)
    means = np.stack([centred[position == each].mean(axis=0) for each in range(len(classes))])
    between = np.bincount(position) @ (means @ directions) ** 2
    # Where no picture varies no class mean does either, so the covariance's other directions add nothing.
    shrunk = (1 - shrinkage) * variance + shrinkage * variance.sum() / features.shape[1]
    return float((1 - shrinkage) * (between / shrunk).sum() / (len(labels) - 1))


def _principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances (r,) and directions (d, r) in which rows vary, from the smaller of their two products."""
    count, width = rows.shape
    gram = rows @ rows.T if count < width else rows.T @ rows
    energy, vectors = np.linalg.eigh(gram)
    kept = energy > energy[-1] * max(count, width) * np.finfo(np.float64).eps
    energy, vectors = energy[kept], vectors[:, kept]
    return energy / count, (rows.T @ vectors) / np.sqrt(energy) if count < width else vectors


def intrinsic_dimension(features: np.ndarray, *, discard: float = 0.1) -> float:
    """Return how many directions the pictures really vary in, from each one's two nearest neighbours.

    >>> plane = np.random.default_rng(0).normal(size=(500, 2)) @ np.ones((2, 9))
    >>> 0.8 < intrinsic_dimension(plane) < 1.2
    True

    features: float (n, d), at least 20 different rows; identical rows count once.
    discard: share of the largest ratios left out of the fit, 0-1.

    Source: Facco et al., Estimating the intrinsic dimension of datasets by a minimal neighborhood information,
    Scientific Reports 7, 2017, algorithm on page 3.
    """
    features = np.unique(np.asarray(features, np.float64), axis=0)
    if not np.isfinite(features).all() or len(features) < 20:
        raise DataError(
            f"The intrinsic dimension needs at least 20 pictures whose features are finite and differ. "
            f"Received: {len(features)}."
        )
    distances, _ = NearestNeighbors(n_neighbors=2).fit(features).kneighbors()
    distances = distances[distances[:, 0] > 0]
    ratios = np.sort(distances[:, 1] / distances[:, 0])
    kept = int(len(ratios) * (1 - discard))
    below = np.arange(1, kept + 1) / len(ratios)
    line = LinearRegression(fit_intercept=False).fit(np.log(ratios[:kept, None]), -np.log1p(-below))
    return float(line.coef_[0])


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> Probe:
    """Return how often a linear classifier on the features is right about pictures it has not seen.

    >>> labels = np.repeat([0, 1], 20)
    >>> linear_probe(np.eye(2)[labels] + np.random.default_rng(0).normal(0, 0.1, (40, 2)), labels).accuracy
    1.0

    groups: int (n,), pictures that are left out together, each by itself where it is None. validation: features and
    labels of other pictures, which the classifier of all n is judged on instead; what it says of the n stays out of
    group.

    Ridge regression on the classes' indicators, for which leaving groups out in turn is exact and costs one
    decomposition; the penalty is the one with the least squared error on the pictures left out. A class of one
    group counts as missed, which it is.

    Source: Alain & Bengio, Understanding intermediate layers using linear classifier probes, 2016; leaving one out:
    Rifkin & Lippert, Notes on Regularized Least Squares, 2007, section 3; leaving several out: Hastie, Tibshirani &
    Friedman, The Elements of Statistical Learning, 2009, section 7.10, with a block of the smoother for its diagonal.
    """
    features, labels = _checked(features, labels)
    _, groups = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    if groups.max() == 0:
        raise DataError("A probe leaves out one group after another, so it needs two. All pictures belong to one.")
    indicators = _indicators(labels)
    left_out, answer = _ridge(features, indicators, groups)
    likely = np.clip(left_out, 1e-6, None)
    answers, truth, together = left_out, labels, groups
    if validation is not None:
        answers, truth, together = answer(validation[0]), validation[1], np.arange(len(validation[1]))
    right = _right(answers, truth, np.unique(labels))
    accuracy, error = _mean_over_groups(right, together)
    if labels.ndim == 2:
        # What ranking every picture's labels by how frequent they are is worth, on the same pictures.
        by_chance = _right(np.tile(indicators.mean(axis=0), (len(truth), 1)), truth, np.unique(labels))
        beyond, beyond_error = _mean_over_groups(right - by_chance, together)
        known = truth.any(axis=0) & ~truth.all(axis=0)
        balanced = float(average_precision_score(truth[:, known], answers[:, known])) if known.any() else 0.0
        tells = beyond > 2 * beyond_error
    else:
        balanced, chance_error = _class_by_class(right, truth, together, 1 / indicators.shape[1])
        tells = balanced > 1 / indicators.shape[1] + 2 * chance_error
        likely /= likely.sum(axis=1, keepdims=True)
    return Probe(accuracy, error, balanced, tells, likely, right)


Answer = Callable[[np.ndarray], np.ndarray]
"""From features (m, d) to what a linear classifier says of each class, (m, classes)."""


def _ridge(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, Answer]:
    """Return what fits without a picture's group say of it, (n, classes), and the classifier fitted on all."""
    scaler = StandardScaler().fit(features)
    rows = scaler.transform(features)
    variance, directions = _principal(rows)
    energy = variance * len(rows)
    left = rows @ directions / np.sqrt(energy)
    mean = targets.mean(axis=0)
    explained = left.T @ (targets - mean)
    sizes = np.bincount(groups)
    together = [np.flatnonzero(groups == each) for each in np.flatnonzero(sizes > 1)]
    best: tuple[float, np.ndarray, float] | None = None
    for penalty in len(rows) * PROBE_PENALTIES:
        kept = energy / (energy + penalty)
        residual = targets - mean - (left * kept) @ explained
        # H = 1/n + U diag(kept) U' smooths the targets; residuals without a group are (I - H_group)^-1 of those with.
        missed = residual / (1 - 1 / len(rows) - left**2 @ kept)[:, None]
        for members in together:
            smoother = 1 / len(rows) + (left[members] * kept) @ left[members].T
            missed[members] = np.linalg.solve(np.eye(len(members)) - smoother, residual[members])
        error = float((missed**2).mean())
        if best is None or error < best[0]:
            best = error, targets - missed, float(penalty)
    assert best is not None
    weights = (directions * (np.sqrt(energy) / (energy + best[2]))) @ explained
    return best[1], lambda others: scaler.transform(np.asarray(others, np.float64)) @ weights + mean


def _indicators(labels: np.ndarray) -> np.ndarray:
    """Return the columns that a probe is fitted to, float (n, classes present), or (n, classes) of several labels."""
    return (labels if labels.ndim == 2 else labels[:, None] == np.unique(labels)).astype(np.float64)


def _right(answers: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return what each answer (n, classes) is worth, float (n,): see `Probe.right`."""
    if labels.ndim == 1:
        return (classes[answers.argmax(axis=1)] == labels).astype(np.float64)
    # Label ranking average precision: of the labels ranked as high as one that is there, the share that is there too.
    rank = rankdata(-answers, method="max", axis=1)
    among = rankdata(np.where(labels, -answers, np.inf), method="max", axis=1)
    there = labels.sum(axis=1)
    share = np.where(labels, among / rank, 0.0).sum(axis=1)
    return np.divide(share, there, out=np.ones(len(labels)), where=there > 0)


def _mean_over_groups(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the mean of values (n,) and its standard error, to which pictures of one group count as one."""
    mean = float(values.mean())
    return mean, float(np.sqrt((np.bincount(groups, weights=values - mean) ** 2).sum()) / len(values))


def _class_by_class(right: np.ndarray, labels: np.ndarray, groups: np.ndarray, chance: float) -> tuple[float, float]:
    """Return the mean over classes of the share that is right, and what chance moves that by."""
    _, position = np.unique(labels, return_inverse=True)
    counts = np.bincount(position)
    apart = np.array([len(np.unique(groups[position == each])) for each in range(len(counts))])
    balanced = float((np.bincount(position, weights=right) / counts).mean())
    return balanced, float(np.sqrt((chance * (1 - chance) / apart).sum()) / len(counts))


def gain(before: Probe, after: Probe) -> tuple[float, float]:
    """Return how much more often `after` is right than `before` about the same pictures, and that difference's error.

    >>> features, labels = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    >>> gain(linear_probe(features, labels), linear_probe(features, labels))
    (0.0, 0.0)

    Both between -1 and 1; the standard error counts only pictures on which the two differ, as the same pictures are
    hard for both.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 1947.
    """
    return _difference(before.right, after.right)


def lost_by(
    changed: np.ndarray, features: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Return how much less often a linear classifier is right about changed pictures, and that difference's error.

    >>> features, labels = np.tile([[-1.0], [1.0]], (40, 1)), np.tile([0, 1], 40)
    >>> lost_by(-features[:20], features, labels)[0]
    1.0

    changed: float (m, d), features of the first m pictures after something was done to them. The classifier is fitted
    on those of the other n - m that share no group with them, and judges the m both ways. Both figures between -1 and
    1; the error is that of `gain`. Raises DataError for fewer than `FEWEST_CHANGED`.
    """
    features, labels = _checked(features, labels)
    count = len(changed)
    if count < FEWEST_CHANGED:
        raise DataError(f"What a change costs is told from {FEWEST_CHANGED} pictures or more. Received: {count}.")
    groups = np.arange(len(labels)) if groups is None else groups
    changed, _ = _checked(changed, labels[:count])
    others = np.setdiff1d(np.flatnonzero(~np.isin(groups, groups[:count])), np.arange(count))
    _checked(features[others], labels[others])
    _, among = np.unique(groups[others], return_inverse=True)
    _, answer = _ridge(features[others], _indicators(labels[others]), among)
    classes = np.unique(labels[others])
    before, after = (_right(answer(each), labels[:count], classes) for each in (features[:count], changed))
    return _difference(after, before)


def _difference(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Return how much more often `after` is right than `before`, float (n,) each, and the error of that."""
    difference = after - before
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def label_noise(probabilities: np.ndarray, labels: np.ndarray) -> LabelNoise:
    """Return how many labels are probably wrong, from predictions made without having seen them.

    >>> sure = np.array([[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5)
    >>> label_noise(sure, np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])).suspects
    (4,)

    probabilities: out of fold, float (n, classes present), such as a probe's.

    Source: Northcutt, Jiang & Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021,
    equations 1 to 3.
    """
    probabilities, labels = _checked(probabilities, labels)
    classes, position = np.unique(labels, return_inverse=True)
    threshold = np.array([probabilities[position == each, each].mean() for each in range(len(classes))])
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    believed = np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)
    joint = np.zeros((len(classes), len(classes)))
    np.add.at(joint, (position[believed >= 0], believed[believed >= 0]), 1)
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = 1
    # Each row stands for all the pictures that bear its label, the undecided ones too.
    joint *= (np.bincount(position) / joint.sum(axis=1))[:, None]
    wrong = np.flatnonzero((believed >= 0) & (believed != position))
    own = probabilities[wrong, position[wrong]]
    margin = own - probabilities[wrong, believed[wrong]]
    return LabelNoise(
        float(1 - np.trace(joint) / joint.sum()), tuple(int(each) for each in wrong[np.argsort(margin, kind="stable")])
    )


def statistics_distance(
    mean: np.ndarray, variance: np.ndarray, source_mean: np.ndarray, source_variance: np.ndarray
) -> float:
    """Return how far activations are from those of the pictures the backbone learned from, in their deviations.

    >>> statistics_distance(np.zeros(3), np.ones(3), np.zeros(3), np.ones(3))
    0.0

    Each argument is float (channels,); a batch norm's moving statistics are the source's. 0: alike; 1: a channel is
    off by one deviation of the source, on average.

    Source: the distance between two Gaussians of Dowson & Landau, The Fréchet distance between multivariate normal
    distributions, 1982, per channel; batch-norm statistics as the source's trace: Li et al., AdaBN, 2016.
    """
    values = [np.asarray(each, np.float64) for each in (mean, variance, source_mean, source_variance)]
    if not all(np.isfinite(each).all() for each in values):
        raise DataError("Activation statistics must be finite. The weights or the pictures hold NaN or infinity.")
    mean, variance, source_mean, source_variance = values
    # A channel that was dead at the source has no deviation to measure in.
    floor = max(float(np.median(source_variance)) * 1e-6, np.finfo(np.float64).tiny)
    squared = (mean - source_mean) ** 2 + (np.sqrt(np.maximum(variance, 0)) - np.sqrt(source_variance)) ** 2
    return float(np.sqrt(np.median(squared / np.maximum(source_variance, floor))))


def _checked(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or len(features) != len(labels):
        raise DataError(f"Features must be one row per label. Received: {features.shape} for {len(labels)} labels.")
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise DataError(f"Features must be finite. Received: NaN or infinity in {bad} of {len(features)} rows.")
    if labels.ndim == 2 and not (labels.any(axis=0) & ~labels.all(axis=0)).any():
        raise DataError("A score needs a label that some pictures have and others have not. Received: none such.")
    if labels.ndim == 1 and len(np.unique(labels)) < 2:
        raise DataError(f"A score needs pictures of at least two classes. Received: {len(np.unique(labels))}.")
    if np.ptp(features, axis=0).max(initial=0) == 0:
        raise DataError("All pictures give the same features, so nothing can be told from them: are they all alike?")
    return features, labels
