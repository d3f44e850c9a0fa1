"""What a network is worth that tells by a point on a sphere who it is: the nearest other, and pairs at a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from keras_transfer.errors import DataError
from keras_transfer.specs import EMBEDDING_OUTPUT, Answers, Contract, Scored, Settled, Value

FALSE_ACCEPTS = 0.01
"""Share of the pairs of different ones that the settled threshold takes for the same."""

FEW_FALSE_ACCEPTS = 0.001

SAME = 5e-3
"""Cosine distance up to which two answers to one picture are the same place: what half precision may move it by."""

PAIRED = 2_000
"""Pictures at most of which all pairs are looked at; two million pairs know a share of a thousandth to one in 40."""

RESAMPLED = 200
"""Times that identities are drawn anew for the spread of a figure."""

BLOCK = 1_024
"""Pictures that are compared with all others at once."""


class GroupErrors(Value):
    """What the threshold does among pictures of one group; fractions are 0-1."""

    name: str
    count: int = Field(ge=1)
    """Pictures."""
    wrongly_accepted: float
    """Share of the group's pairs of different ones."""
    wrongly_refused: float
    """Share of the group's pairs of the same one."""


class EmbeddingMetrics(Scored):
    """What a model scored on one split; fractions are 0-1."""

    identities: int = Field(ge=1)
    recall_at_1: float = Field(ge=0, le=1)
    """Share of the pictures whose nearest other picture shows the same one."""
    recall_spread: float
    """Standard deviation of the same, were other identities drawn like these."""
    chance: float
    """Recall@1 of saying any other picture."""
    map_at_r: float
    """Mean, over pictures with R others of the same one, of the average precision among the R nearest."""
    roc_auc: float
    """Chance that a pair of the same one lies nearer than a pair of different ones."""
    tar_at_1: float
    """Share of pairs of the same one that are accepted where 1 % of pairs of different ones are."""
    tar_spread: float
    tar_at_01: float
    """The same where 0.1 % are."""
    threshold: float | None = None
    """Cosine that the contract has; None where it has none, and then the two figures below have none either."""
    far_at_threshold: float | None = None
    tar_at_threshold: float | None = None
    per_group: tuple[GroupErrors, ...] = ()
    """Of groups that show two identities or more, where pictures are grouped so."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "Recall@1": self.recall_at_1,
            "Recall@1 spread": self.recall_spread,
            "Recall@1 by chance": self.chance,
            "mAP@R": self.map_at_r,
            "ROC AUC": self.roc_auc,
            "TAR at FAR 1%": self.tar_at_1,
            "TAR at FAR 1% spread": self.tar_spread,
            "TAR at FAR 0.1%": self.tar_at_01,
            "TAR at the threshold": self.tar_at_threshold,
            "FAR at the threshold": self.far_at_threshold,
        }

    def worth(self) -> tuple[str, ...]:
        """What a person who decides reads."""
        said = [
            f"Of {self.identities:,} that it had never seen, in {self.count:,} pictures, the nearest other picture "
            f"shows the same one in {self.recall_at_1:.1%} (by chance {self.chance:.1%}; other ones like these would "
            f"move it by {self.recall_spread:.1%}).",
            f"Where one pair of different ones in a hundred is taken for the same, {self.tar_at_1:.1%} of the pairs of "
            f"the same one are recognized (give or take {self.tar_spread:.1%}).",
        ]
        if self.threshold is not None:
            said.append(
                f"At its threshold, a cosine of {self.threshold:.3f}, it accepts {self.far_at_threshold:.2%} of pairs "
                f"of different ones and {self.tar_at_threshold:.1%} of pairs of the same one."
            )
        return tuple(said)

    def limits(self) -> tuple[str, ...]:
        """What the figures say that the model cannot do."""
        said = ["It finds the nearest of those it is given and says unknown below its threshold: it names nobody else."]
        if self.identities < 20:
            said.append(f"Its error is known of {self.identities} identities only, so it is a rough guess of others.")
        return tuple(said)


@dataclass(frozen=True)
class Pairs:
    """Cosines of pairs of pictures, float (n,), apart by what they show, the positions of the two, int (n, 2)."""

    same: np.ndarray
    different: np.ndarray
    rows_of_same: np.ndarray
    rows_of_different: np.ndarray


def score(answers: Answers, labels: np.ndarray, contract: Contract) -> EmbeddingMetrics:
    """Return what the answers are worth.

    >>> contract = Contract(class_names=(), image_size=96, outputs=(Output(name="embedding", shape=(2,)),))
    >>> points = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> score({"embedding": points}, np.array([0, 0, 1, 1]), contract).recall_at_1
    1.0

    answers: `embedding`, float (n, width) of unit length. labels: the identity of each picture, int (n,).
    Raises DataError where there is no pair of the same one, or none of different ones.
    Sources: mAP@R of Musgrave, Belongie & Lim, A Metric Learning Reality Check, ECCV 2020, section 3.2; the spread
    draws identities, not pictures (Field & Welsh, Bootstrapping clustered data, JRSS B 2007).
    """
    from sklearn.metrics import roc_auc_score  # a second that predicting does without

    points = points_of(answers)
    nearest, precision, chance = _neighbours(points, labels)
    found = pairs(points, labels)
    hits = (labels[nearest] == labels).astype(float)
    recall_spread, tar_spread = _spreads(hits, labels, found)
    asked = contract.thresholds[0] if contract.thresholds else None
    return EmbeddingMetrics(
        count=len(labels),
        identities=len(np.unique(labels)),
        recall_at_1=float(hits.mean()),
        recall_spread=recall_spread,
        chance=chance,
        map_at_r=precision,
        roc_auc=float(
            roc_auc_score(np.repeat([1, 0], [len(found.same), len(found.different)]), [*found.same, *found.different])
        ),
        tar_at_1=float((found.same >= threshold_for(found.different, FALSE_ACCEPTS)).mean()),
        tar_spread=tar_spread,
        tar_at_01=float((found.same >= threshold_for(found.different, FEW_FALSE_ACCEPTS)).mean()),
        threshold=asked,
        far_at_threshold=None if asked is None else float((found.different >= asked).mean()),
        tar_at_threshold=None if asked is None else float((found.same >= asked).mean()),
    )


def by_group(scored: Scored, answers: Answers, labels: np.ndarray, groups: np.ndarray) -> Scored:
    """Return the figures with what the threshold does in each group that shows two identities or more.

    groups: str (n,), empty where a picture belongs to none. Pairs are taken within a group: strangers who look alike
    are mostly of one. Nothing is added where there is no threshold.
    """
    cosine = getattr(scored, "threshold", None)
    if cosine is None:
        return scored
    points, rows = points_of(answers), []
    for name in sorted(set(groups.tolist()) - {""}):
        here = np.flatnonzero(groups == name)
        pictures = np.unique(labels[here], return_counts=True)[1]
        if len(pictures) > 1 and pictures.max() > 1:
            found = pairs(points[here], labels[here])
            accepted, refused = (found.different >= cosine).mean(), (found.same < cosine).mean()
            errors = {"wrongly_accepted": float(accepted), "wrongly_refused": float(refused)}
            rows.append(GroupErrors(name=name, count=len(here), **errors))
    return scored.model_copy(update={"per_group": tuple(rows)})


def right(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Return 1 for each picture whose nearest other picture shows the same one, else 0: float (n,)."""
    nearest, _, _ = _neighbours(points_of(answers), labels)
    return (labels[nearest] == labels).astype(float)


def differ(reference: Answers, candidate: Answers, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each picture gets the same place, bool (n,), and the cosine distance of the two, float (n,)."""
    # Of two unit vectors half the square of their distance is 1 minus their cosine, and keeps its digits near zero.
    distance = 0.5 * np.square(points_of(reference) - points_of(candidate)).sum(axis=1)
    return distance <= SAME, distance


def settle(answers: Answers, labels: np.ndarray) -> Settled:
    """Return the cosine from which 1 % of the pairs of different validation identities would be taken for the same."""
    found = pairs(points_of(answers), labels)
    cosine = threshold_for(found.different, FALSE_ACCEPTS)
    return Settled(
        {"thresholds": (cosine,)},
        f"threshold {cosine:.3f}: accepts {(found.same >= cosine).mean():.1%} of pairs of the same one and "
        f"{(found.different >= cosine).mean():.2%} of {len(found.different):,} pairs of different ones in validation",
    )


def read(answers: Answers, contract: Contract) -> Mapping[str, Any]:
    """Return what the answer to one picture, (1, width), says: its place, to be compared with others."""
    (row,) = answers[EMBEDDING_OUTPUT]
    return {"embedding": [float(each) for each in row]}


def pairs(points: np.ndarray, labels: np.ndarray) -> Pairs:
    """Return all pairs of pictures; of more than `PAIRED`, those of some drawn by a fixed seed.

    Raises DataError where there is no pair of one kind.
    """
    rows = np.arange(len(labels))
    if len(rows) > PAIRED:
        rows = np.sort(np.random.default_rng(0).choice(rows, PAIRED, replace=False))
    first, second = np.triu_indices(len(rows), 1)
    cosines = (points[rows] @ points[rows].T)[first, second]
    alike: np.ndarray = labels[rows[first]] == labels[rows[second]]
    if alike.all() or not alike.any():
        kind = "different ones" if alike.all() else "the same one"
        raise DataError(
            f"There is no pair of pictures of {kind} to judge by. Two identities with two pictures each are the least. "
            f"Received: {len(labels)} pictures of {len(np.unique(labels))}."
        )
    places = rows[np.stack([first, second], axis=1)]
    return Pairs(cosines[alike], cosines[~alike], places[alike], places[~alike])


def threshold_for(different: np.ndarray, share: float) -> float:
    """Return the lowest cosine from which at most that share of pairs of different ones is accepted.

    >>> threshold_for(np.array([0.1, 0.2, 0.3, 0.9]), 0.25)
    0.6

    It stands half-way between the last that is accepted and the next, so that a hair's breadth does not decide.
    """
    falling = np.sort(different)[::-1]
    accepted = int(share * len(falling) + 1e-9)
    above = falling[accepted - 1] if accepted else max(1.0, falling[0])
    return float((above + falling[accepted]) / 2) if accepted < len(falling) else float(falling[-1])


def points_of(answers: Answers) -> np.ndarray:
    """Return the embeddings, float64 (n, width); DataError where one is not finite."""
    points = np.asarray(answers[EMBEDDING_OUTPUT], np.float64)
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise DataError(
            f"Embeddings must be finite. Received: {len(bad)} of {len(points)} that are not, the first at "
            f"{int(bad[0])}. The model diverged in training or its file is broken."
        )
    return points


def _neighbours(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return each picture's nearest other one, int (n,), the mean average precision at R, and Recall@1 by chance."""
    nearest = np.empty(len(labels), int)
    precise, chances = [], []
    for start in range(0, len(labels), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(labels)))
        near = points[rows] @ points.T
        near[np.arange(len(rows)), rows] = -np.inf
        nearest[rows] = near.argmax(axis=1)
        for row, cosines in zip(rows, near, strict=True):
            alike = int((labels == labels[row]).sum()) - 1
            chances.append(alike / max(len(labels) - 1, 1))
            if alike:
                best = np.argpartition(-cosines, alike - 1)[:alike]
                hit = labels[best[np.argsort(-cosines[best], kind="stable")]] == labels[row]
                precise.append(float((hit * np.cumsum(hit) / np.arange(1, alike + 1)).sum() / alike))
    return nearest, float(np.mean(precise or [0.0])), float(np.mean(chances))


def _spreads(hits: np.ndarray, labels: np.ndarray, found: Pairs) -> tuple[float, float]:
    """Return the standard deviations of Recall@1 and of TAR at FAR 1 % over identities that are drawn again and again.

    Someone drawn k times counts k times, and a pair of two as often as both of them together.
    """
    _, who = np.unique(labels, return_inverse=True)
    rng, several = np.random.default_rng(0), who.max() + 1
    order = np.argsort(-found.different)
    first, second = who[found.rows_of_different[order]].T
    of_same = who[found.rows_of_same[:, 0]]
    recalls, accepted = [], []
    for _ in range(RESAMPLED):
        times = np.bincount(rng.integers(several, size=several), minlength=several)
        if np.count_nonzero(times) < 2 or not times[of_same].any():
            continue
        recalls.append(np.average(hits, weights=times[who]))
        passing = np.cumsum(times[first] * times[second])
        if passing[-1]:
            last = int(np.searchsorted(passing, FALSE_ACCEPTS * passing[-1], side="right"))
            cosine = found.different[order[min(last, len(order) - 1)]]
            accepted.append(np.average(found.same > cosine, weights=times[of_same]))
    return float(np.std(recalls)) if recalls else 0.0, float(np.std(accepted)) if accepted else 0.0
