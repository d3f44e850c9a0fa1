"""Gives pictures without a label the one that those with a label make likely, and says whether that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix, diags, identity
from scipy.sparse.linalg import cg
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

NEIGHBOURS, NEARNESS, KEPT = 50, 3, 0.99
"""Of the graph: how many neighbours a picture has, the power that their cosine is raised to, and the share of a label
that is taken from neighbours in each step (Iscen et al. 2019, section 5)."""

FEWEST_NEIGHBOURS = 5

RIGHT = 0.95
"""Share of validation pictures that has to be right from the probability on at which a label is believed."""

ROUNDS, FINAL_SHARE, BELIEF = 5, 0.8, 0.5
"""Of `curriculum`: how often it fits, the share of the mean class that is believed in its last round, and what a given
label weighs beside one that somebody gave."""

TURNS, LEAST_SURE = 6, 0.5
"""Of `consistency`: how often it fits, and the part of the threshold that a class is never let under."""

SHARES = (0.0, 0.25, 0.5, 0.75)
"""Of the weight of all features, what those of the earlier depth may have: none, up to three quarters."""

FOLDS, REPEATS, MOST_JUDGED = 5, 2, 500
"""How pictures with a label judge such a share: left out in so many parts, so often, and no more of them."""

LENIENCE = 2.5
"""Weight of all pictures together beside the penalty of the regression that judges, on features of unit deviation: the
same however many they are, so that more labels do not look better because they are more."""


@dataclass(frozen=True)
class Known:
    """Features of pictures, and the labels that are known."""

    features: np.ndarray
    """float32 (n, width): of the training pictures. Where they are of several depths, those lie side by side."""
    labels: np.ndarray
    """int (n,)."""
    validation: np.ndarray
    """float32 (m, width)."""
    validation_labels: np.ndarray
    """int (m,)."""
    unlabelled: np.ndarray
    """float32 (u, width)."""
    classes: int
    scales: np.ndarray | None = None
    """float32 (width,): what each number is multiplied with once it has unit deviation; 1 where left out."""
    strong: np.ndarray | None = None
    """float32 (copies, u, width): of strongly augmented copies of the pictures without a label; read by `consistency`
    alone, which takes the pictures themselves where there are none."""


@dataclass(frozen=True)
class Given:
    """Labels that were given to pictures that had none."""

    method: str
    labels: np.ndarray
    """int (u,)."""
    weights: np.ndarray
    """float32 (u,), 0 to 1: how much each is believed; 0 where it is not taken."""
    accuracy: float
    """Of a regression on all labels, on validation."""


Method = Callable[[Known], tuple[np.ndarray, np.ndarray]]
"""Features and known labels to the label of each picture without one, int (u,), and its weight, float (u,)."""


def weighed(known: Known, head: int) -> Known:
    """Return what is known with the features of both depths weighed as pictures that are left out make likely.

    >>> weighed(known, head=1280).scales[:2]  # doctest: +SKIP
    array([0.8660254, 0.8660254])

    head: how many of the numbers are those that the head takes; the rest is from before it. What the last block gives
    is best for photographs; for drawings, which ImageNet has none of, it has lost what an earlier one still has. The
    share of that one, a row of `SHARES`, is the one under which a regression on the known labels finds those of left
    out pictures likeliest. Where no class has two of them it is none.
    """
    width = known.features.shape[1]
    rows = np.concatenate([known.features, known.validation])
    labels = np.append(known.labels, known.validation_labels)
    several = np.flatnonzero(np.bincount(labels, minlength=known.classes)[labels] > 1)
    judged = np.random.default_rng(0).permutation(several)[:MOST_JUDGED]
    judged = judged[np.bincount(labels[judged], minlength=known.classes)[labels[judged]] > 1]
    best, likeliest = 0.0, -np.inf
    for share in SHARES if head < width and len(np.unique(labels[judged])) > 1 else ():
        found = _left_out(_scaled(replace(known, scales=_scales(share, head, width)))(rows[judged]), labels[judged])
        if found > likeliest:
            best, likeliest = share, found
    return replace(known, scales=_scales(best, head, width))


def propagated(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Let labels flow from picture to picture over a graph of nearest neighbours; weigh each by how sure it became.

    >>> propagated(known)[1].max() <= 1  # doctest: +SKIP
    True

    Source: Iscen, Tolias, Avrithis & Chum, Label Propagation for Deep Semi-supervised Learning, CVPR 2019, equations 8
    to 11; no class weighs more in all than the mean class, after equation 12.
    """
    points = normalize(np.concatenate([known.features, known.unlabelled]))
    count = len(points)
    # Half of what a class has in the mean at most: where pictures are few, fifty of them are of other classes.
    neighbours = min(NEIGHBOURS, max(FEWEST_NEIGHBOURS, count // (2 * known.classes)), count - 1)
    distances, columns = NearestNeighbors(n_neighbors=neighbours + 1).fit(points).kneighbors(points)
    cosines = np.maximum(1 - distances[:, 1:] ** 2 / 2, 0) ** NEARNESS
    rows = np.repeat(np.arange(count), neighbours)
    graph = coo_matrix((cosines.ravel(), (rows, columns[:, 1:].ravel())), shape=(count, count)).tocsr()
    graph = graph + graph.T
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    system = identity(count) - KEPT * (scale @ graph @ scale)
    seeds = np.zeros((count, known.classes))
    seeds[np.arange(len(known.labels)), known.labels] = (
        1 / np.bincount(known.labels, minlength=known.classes)[known.labels]
    )
    flown = np.stack([cg(system, column, rtol=1e-6, maxiter=50)[0] for column in seeds.T], axis=1)
    shares = np.maximum(flown[len(known.features) :], 0)
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, shares / np.maximum(total, 1e-12), 1 / known.classes)
    unsure = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1) / np.log(known.classes)
    return shares.argmax(axis=1), _balanced(shares.argmax(axis=1), np.clip(1 - unsure, 0, 1), known.classes)


def believed(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Take the likeliest class of a regression where it is as likely as what is right on validation; classes alike.

    >>> set(believed(known)[1]) <= {0.0, 1.0}  # doctest: +SKIP
    True

    The threshold is the lowest probability from which `RIGHT` of the validation pictures are. Of each class no more are
    taken than the median class has, the likeliest first: what is easy would crowd out the rest.

    Source: Lee, Pseudo-Label, ICML workshop on Challenges in Representation Learning 2013; one number of each class as
    in Zou et al., Unsupervised Domain Adaptation via Class-Balanced Self-Training, ECCV 2018, section 4.
    """
    said, order = _regression(known, known.features, known.labels, np.ones(len(known.labels)))
    on_validation, on_unlabelled = said(known.validation), said(known.unlabelled)
    threshold = _threshold(on_validation.max(axis=1), order[on_validation.argmax(axis=1)] == known.validation_labels)
    labels, sure = order[on_unlabelled.argmax(axis=1)], on_unlabelled.max(axis=1)
    fine = sure >= threshold
    counts = np.bincount(labels[fine], minlength=known.classes)
    most = int(np.median(counts[counts > 0])) if fine.any() else 0
    weights = np.zeros(len(labels), np.float32)
    for each in range(known.classes):
        members = np.flatnonzero(fine & (labels == each))
        weights[members[np.argsort(-sure[members], kind="stable")[:most]]] = 1.0
    return labels, weights


def learnt_by_turns(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Believe the surest of each class, fit on them, and believe more in the next round.

    >>> set(learnt_by_turns(known)[1]) <= {0.0, 0.5}  # doctest: +SKIP
    True

    In each round as many of every class are taken, the surest first: a fifth of `FINAL_SHARE` of the mean class more
    than in the round before. Labels of earlier rounds are given anew, so that mistakes do not stay.

    Source: Cascante-Bonilla, Tan, Qi & Ordonez, Curriculum Labeling: Revisiting Pseudo-Labeling for Semi-Supervised
    Learning, AAAI 2021, section 3; one number of each class as in `believed`.
    """
    labels, weights = np.zeros(len(known.unlabelled), int), np.zeros(len(known.unlabelled))
    for turn in range(1, ROUNDS + 1):
        said, order = _regression(known, *_joined(known, labels, weights))
        likely = said(known.unlabelled)
        labels, sure = order[likely.argmax(axis=1)], likely.max(axis=1)
        most = int(turn / ROUNDS * FINAL_SHARE * len(labels) / known.classes)
        weights = np.zeros(len(labels))
        for each in range(known.classes):
            members = np.flatnonzero(labels == each)
            weights[members[np.argsort(-sure[members], kind="stable")[:most]]] = BELIEF
    return labels, weights


def consistent(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Ask the pictures as they are, and learn the sure answers from strongly augmented copies of them.

    >>> set(consistent(known)[1]) <= {0.0, 0.5}  # doctest: +SKIP
    True

    In each turn a regression learns from the next copy. Its answers are moved to the shares that classes have among the
    labels; sure is one from a threshold on, below which validation is wrong too often, and which is lower for classes
    of which little is sure yet. No class weighs more in all than the mean class.

    Source: Sohn et al., FixMatch, NeurIPS 2020, section 2.2; thresholds by class of Zhang et al., FlexMatch, NeurIPS
    2021, equations 5 to 9; shares of classes of Berthelot et al., ReMixMatch, ICLR 2020, section 3.1.
    """
    copies = known.unlabelled[None] if known.strong is None else known.strong
    labels, weights = np.zeros(len(known.unlabelled), int), np.zeros(len(known.unlabelled))
    for turn in range(TURNS):
        learnt = replace(known, unlabelled=copies[turn % len(copies)])
        said, order = _regression(known, *_joined(learnt, labels, weights))
        shares = np.bincount(known.labels, minlength=known.classes)[order] / len(known.labels)
        likely, judged = (_aligned(said(rows), shares) for rows in (known.unlabelled, known.validation))
        labels, sure = order[likely.argmax(axis=1)], likely.max(axis=1)
        right = order[judged.argmax(axis=1)] == known.validation_labels
        from_here = min(_threshold(judged.max(axis=1), right), float(np.median(sure)))
        counts = np.bincount(labels[sure >= from_here], minlength=known.classes)
        learnt_so_far = counts / max(counts.max(), 1)
        of_class = from_here * np.maximum(learnt_so_far / (2 - learnt_so_far), LEAST_SURE)
        weights = BELIEF * _balanced(labels, (sure >= of_class[labels]).astype(float), known.classes)
    return labels, weights


METHODS: dict[str, Method] = {
    "curriculum": learnt_by_turns,
    "consistency": consistent,
    "believe": believed,
    "propagate": propagated,
}
"""By the name that `Plan.unlabelled` calls them; the first is taken where the plan leaves it out."""


def gated(known: Known, name: str) -> tuple[Given | None, Given]:
    """Return what a method gives, None where it is of no use, and what there is without.

    >>> gated(known, "curriculum")[0].method  # doctest: +SKIP
    'curriculum'

    It stands unless validation says that it does harm: unless a regression on all labels is right about fewer pictures
    of validation than one on the known labels alone, by more than the standard error of that difference. Where labels
    are few, so are the pictures that judge: twenty of them cannot tell whether labels bring a few points, and asking
    them to say so would refuse most of what helps.
    """
    nothing = np.zeros(len(known.unlabelled))
    without, right_without = _judged(known, "none", nothing.astype(int), nothing)
    given, right = _judged(known, name, *METHODS[name](known))
    apart = right.astype(float) - right_without
    harm = -apart.mean() > apart.std() / np.sqrt(len(apart))
    return (None if harm or not (given.weights > 0).any() else given), without


def _judged(known: Known, method: str, labels: np.ndarray, weights: np.ndarray) -> tuple[Given, np.ndarray]:
    """Return what was given, and which pictures of validation a regression on all labels is right about, bool (m,)."""
    said, order = _regression(known, *_joined(known, labels, weights))
    right = order[said(known.validation).argmax(axis=1)] == known.validation_labels
    return Given(method, labels, weights.astype(np.float32), float(right.mean())), right


def _joined(known: Known, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and weights of what is known and of what was given."""
    taken = weights > 0
    rows = np.concatenate([known.features, known.unlabelled[taken]])
    return rows, np.append(known.labels, labels[taken]), np.append(np.ones(len(known.labels)), weights[taken])


def _regression(
    known: Known, rows: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return what gives probabilities of features, and the classes that they are of."""
    scaled = _scaled(known)
    model = LogisticRegression(C=LENIENCE / weights.sum(), max_iter=300).fit(scaled(rows), labels, weights)
    return lambda others: model.predict_proba(scaled(others)), model.classes_


def _scaled(known: Known) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives features the deviation that a regression takes them with."""
    scaler = StandardScaler().fit(np.concatenate([known.features, known.unlabelled]))  # a few labels say little of it
    scales = np.float32(1) if known.scales is None else known.scales
    return lambda rows: scaler.transform(rows) * scales


def _scales(share: float, head: int, width: int) -> np.ndarray:
    """Return the factor of each number under which the earlier depth has that share of what the head's alone have."""
    earlier = width - head
    of_earlier = np.sqrt(share * head / max(earlier, 1))
    return np.repeat(np.array([np.sqrt(1 - share), of_earlier], np.float32), [head, earlier])


def _left_out(rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean logarithm of the probability of the right class, each picture left out in turn."""
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    rows = left * sizes  # the same products in as few numbers as there are pictures: as good, and faster
    folds = RepeatedStratifiedKFold(
        n_splits=min(FOLDS, int(np.unique(labels, return_counts=True)[1].min())), n_repeats=REPEATS, random_state=0
    )
    found = []
    for kept, out in folds.split(rows, labels):
        model = LogisticRegression(C=LENIENCE / len(kept), max_iter=300).fit(rows[kept], labels[kept])
        said = model.predict_log_proba(rows[out])
        found.append(said[np.arange(len(out)), np.searchsorted(model.classes_, labels[out])])
    return float(np.concatenate(found).mean())


def _aligned(likely: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return probabilities whose mean over all pictures is nearer to the shares of the classes."""
    moved = likely * shares / np.maximum(likely.mean(axis=0), 1e-12)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def _threshold(sure: np.ndarray, right: np.ndarray) -> float:
    """Return the lowest probability from which `RIGHT` of the pictures are right; above 1 where none is."""
    order = np.argsort(-sure, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    fine = np.flatnonzero(share >= RIGHT)
    return float(sure[order][fine[-1]]) if len(fine) else 2.0


def _balanced(labels: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Return weights of which no class has more in all than the mean class."""
    sums = np.bincount(labels, weights, minlength=classes)
    return weights * np.minimum(1.0, sums.mean() / np.maximum(sums, 1e-12))[labels]
