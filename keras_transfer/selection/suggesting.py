"""Names the pictures worth labelling: typical ones first, then those that a model is torn over, all different."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

FEW_PER_CLASS = 5
"""Labelled pictures of a class, in the mean, below which the typical ones are named: a model that saw fewer does not
know yet what it does not know (Hacohen et al. 2022, figure 1)."""

PRESELECTED = 10
"""For each picture that is to be named, so many that the model is torn over are looked at."""

MOST_CLUSTERS, SMALLEST_CLUSTER = 500, 5
NEIGHBOURS = 20
"""Of a picture, by which it is judged how typical it is."""


@dataclass(frozen=True)
class Pool:
    """What there is to choose from, and what is labelled already."""

    features: np.ndarray
    """float32 (n, width): of the pictures without a label."""
    probabilities: np.ndarray
    """float32 (n, classes): what the model says of them."""
    labelled: np.ndarray
    """float32 (m, width): features of those that have a label."""


@dataclass(frozen=True)
class Pick:
    """A picture that is worth a label."""

    row: int
    """Its position in the pool."""
    why: str


Method = Callable[[Pool, int, int], list[Pick]]
"""(pool, how many, seed) to so many picks, the first the most worth."""


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return how much likelier the likeliest class of each picture is than the second, float (n,).

    >>> margins(np.array([[0.5, 0.3, 0.2]])).round(3).tolist()
    [0.2]
    """
    first_two = np.sort(probabilities, axis=1)[:, -2:]
    return first_two[:, 1] - first_two[:, 0]


def typical(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Return the most typical picture of each of the largest groups in which nothing is labelled.

    >>> typical(pool, 50, seed=0)[0].why  # doctest: +SKIP
    'the most typical of 41 pictures that look alike, none of them labelled'

    Labelled and unlabelled pictures are put into as many clusters as there will be labels; where there are more labels
    than `MOST_CLUSTERS`, clusters are gone through several times, those with fewest labels first.

    Source: Hacohen, Dekel & Weinshall, Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets, ICML
    2022, section 3 (TypiClust).
    """
    points = normalize(np.concatenate([pool.features, pool.labelled]))
    clusters = min(len(pool.labelled) + count, MOST_CLUSTERS, len(points))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies make fewer clusters than were asked for
        where = KMeans(clusters, n_init=1, random_state=seed).fit_predict(points)
    sizes = np.bincount(where, minlength=clusters)
    labels = np.bincount(where[len(pool.features) :], minlength=clusters)
    free = where[: len(pool.features)].copy()
    picks: list[Pick] = []
    while len(picks) < count:
        open_ = np.unique(free[free >= 0])
        # Of clusters with as few labels as any, the largest; small ones are outliers and come last.
        chosen = min(open_, key=lambda each: (sizes[each] < SMALLEST_CLUSTER, labels[each], -sizes[each], each))
        members = np.flatnonzero(free == chosen)
        row = int(members[_most_typical(points, np.flatnonzero(where == chosen), members)])
        had = "none of them labelled" if labels[chosen] == 0 else f"{labels[chosen]} of them labelled or named before"
        picks.append(Pick(row, f"the most typical of {sizes[chosen]} pictures that look alike, {had}"))
        labels[chosen] += 1
        free[row] = -1
    return picks


def torn(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Return pictures that would move the last layer most and in different ways.

    >>> torn(pool, 50, seed=0)[0].why  # doctest: +SKIP
    'its two likeliest classes are 0.02 apart'

    A picture is the gradient of the last layer's weights, were the likeliest class the right one: (p - 1_likeliest)
    times its features; its length says how torn the model is. Pictures are drawn as k-means++ draws seeds: each with a
    chance that grows with the square of its distance from those drawn before.

    Source: Ash, Zhang, Krishnamurthy, Langford & Agarwal, Deep Batch Active Learning by Diverse, Uncertain Gradient
    Lower Bounds, ICLR 2020, algorithm 1 (BADGE).
    """
    errors = pool.probabilities.astype(np.float64)
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    features, apart = pool.features.astype(np.float64), margins(pool.probabilities)
    lengths = (errors**2).sum(axis=1) * (features**2).sum(axis=1)
    rng = np.random.default_rng(seed)
    rows = [int(lengths.argmax())]
    nearest = np.full(len(features), np.inf)
    while True:
        row = rows[-1]
        # The product of an error and features is never built: it is as wide as the last layer is large.
        beside = (errors @ errors[row]) * (features @ features[row])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[row] - 2 * beside, 0))
        nearest[rows] = 0
        if len(rows) == count:
            break
        total = nearest.sum()
        left = np.setdiff1d(np.arange(len(features)), rows)
        rows.append(int(rng.choice(len(features), p=nearest / total) if total > 0 else rng.choice(left)))
    return [Pick(row, f"its two likeliest classes are {apart[row]:.2f} apart") for row in rows]


def margin(pool: Pool, count: int, seed: int) -> list[Pick]:
    """Return one picture of each of `count` groups of those that the model is most torn over.

    >>> margin(pool, 50, seed=0)[0].why  # doctest: +SKIP
    'its two likeliest classes are 0.02 apart, as in 17 pictures like it'

    `PRESELECTED` times as many as asked for, those with the smallest margin between the two likeliest classes, are put
    into `count` clusters, where a picture weighs more the smaller its margin; of each, the one nearest to its middle
    stands for it, the group that weighs most first.

    Source: Zhdanov, Diverse Mini-batch Active Learning, 2019, algorithm 1.
    """
    apart = margins(pool.probabilities)
    torn_over = np.argsort(apart, kind="stable")[: PRESELECTED * count]
    points, weights = normalize(pool.features[torn_over]), 1.001 - apart[torn_over]  # above 0: sure ones are to be had
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        groups = KMeans(count, n_init=1, random_state=seed).fit(points, sample_weight=weights)
    sizes, weigh = (np.bincount(groups.labels_, each, minlength=count) for each in (None, weights))
    distances = groups.transform(points)
    picks: dict[int, Pick] = {}
    for group in np.argsort(-weigh, kind="stable"):
        nearest = torn_over[np.argsort(distances[:, group], kind="stable")]
        row = int(next(each for each in nearest if each not in picks))
        alike = f", as in {sizes[group]} pictures like it" if sizes[group] > 1 else ""
        picks[row] = Pick(row, f"its two likeliest classes are {apart[row]:.2f} apart{alike}")
    return list(picks.values())


METHODS: dict[str, Method] = {"typical": typical, "margin": margin, "torn": torn}


def method_for(labelled: int, classes: int) -> tuple[str, str]:
    """Return the method that suits so many labels, and why, for a person.

    >>> method_for(30, 10)[0], method_for(850, 10)[0]
    ('typical', 'margin')
    """
    each = labelled / classes
    if each < FEW_PER_CLASS:
        return "typical", f"{each:.1f} labels a class are too few for the model to know what it lacks: typical pictures"
    return "margin", f"{each:.0f} labels a class: pictures that the model is torn over, different from each other"


def suggest(pool: Pool, count: int, method: str, seed: int = 0) -> list[Pick]:
    """Return up to `count` pictures of the pool, all of them where it has no more.

    >>> [pick.row for pick in suggest(pool, 2, "torn")]  # doctest: +SKIP
    [311, 40]

    method: a row of `METHODS`.
    """
    return METHODS[method](pool, min(count, len(pool.features)), seed)


def _most_typical(points: np.ndarray, cluster: np.ndarray, members: np.ndarray) -> int:
    """Which of `members` is nearest to its neighbours in the cluster."""
    neighbours = min(NEIGHBOURS, len(cluster) - 1)
    if neighbours < 1:
        return 0
    distances, _ = NearestNeighbors(n_neighbors=neighbours + 1).fit(points[cluster]).kneighbors(points[members])
    return int(distances[:, 1:].mean(axis=1).argmin())
