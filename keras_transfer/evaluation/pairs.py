"""What an embedding is worth on a list of pairs, by the protocol of Labeled Faces in the Wild."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from keras_transfer.evaluation.embedding import FALSE_ACCEPTS, points_of, threshold_for
from keras_transfer.specs import Answers, Contract, Scored


class PairMetrics(Scored):
    """What a model scored on pairs; fractions are 0-1."""

    pairs: int = Field(ge=2)
    folds: int = Field(ge=2)
    accuracy: float = Field(ge=0, le=1)
    """Share of the pairs that are told right, the mean over folds, at the cosine that suits the other folds best."""
    standard_error: float = Field(ge=0)
    """Of that mean: the deviation of the folds by the root of their number."""
    roc_auc: float
    """Chance that a pair of the same one lies nearer than a pair of different ones."""
    tar_at_1: float
    """Share of pairs of the same one that are accepted where 1 % of pairs of different ones are."""
    threshold: float | None = None
    """Cosine that the contract has; None where it has none, and then the two figures below have none either."""
    far_at_threshold: float | None = None
    tar_at_threshold: float | None = None

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "accuracy": self.accuracy,
            "accuracy standard error": self.standard_error,
            "ROC AUC": self.roc_auc,
            "TAR at FAR 1%": self.tar_at_1,
            "TAR at the threshold": self.tar_at_threshold,
            "FAR at the threshold": self.far_at_threshold,
        }

    def worth(self) -> tuple[str, ...]:
        """What a person who decides reads."""
        return (
            f"Of {self.pairs:,} pairs of pictures it tells {self.accuracy:.1%} right (give or take "
            f"{self.standard_error:.1%}; guessing, half of them), at a threshold that other pairs were asked for.",
        )


def score(answers: Answers, rows: np.ndarray, same: np.ndarray, folds: np.ndarray, contract: Contract) -> PairMetrics:
    """Return what the answers are worth on pairs.

    >>> contract = Contract(class_names=("ann", "bob"), image_size=96)
    >>> points, same = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([True, False, True, False])
    >>> score({"embedding": points}, np.array([[0, 1], [0, 2]] * 2), same, np.array([0, 0, 1, 1]), contract).accuracy
    1.0

    answers: `embedding`, float (pictures, width) of unit length. rows: the positions of the two of each pair, int
    (n, 2); same: whether they show the same one, bool (n,); folds: int (n,), in each of which both kinds are.
    Raises DataError for embeddings that are not finite.
    Source: Huang et al., Labeled Faces in the Wild, 2007, section III, for folds and the standard error.
    """
    from sklearn.metrics import roc_auc_score  # a second that predicting does without

    points = points_of(answers)
    cosines = np.einsum("ij,ij->i", points[rows[:, 0]], points[rows[:, 1]])
    right = []
    for fold in np.unique(folds):
        here = folds == fold
        cosine = best_threshold(cosines[~here], same[~here])
        right.append(float(((cosines[here] >= cosine) == same[here]).mean()))
    different, alike = cosines[~same], cosines[same]
    asked = contract.thresholds[0] if contract.thresholds else None
    return PairMetrics(
        count=len(points),
        pairs=len(rows),
        folds=len(right),
        accuracy=float(np.mean(right)),
        standard_error=float(np.std(right, ddof=1) / np.sqrt(len(right))),
        roc_auc=float(roc_auc_score(same, cosines)),
        tar_at_1=float((alike >= threshold_for(different, FALSE_ACCEPTS)).mean()),
        threshold=asked,
        far_at_threshold=None if asked is None else float((different >= asked).mean()),
        tar_at_threshold=None if asked is None else float((alike >= asked).mean()),
    )


def best_threshold(cosines: np.ndarray, same: np.ndarray) -> float:
    """Return the cosine from which saying "the same" is right most often, half-way to the next pair below.

    >>> best_threshold(np.array([0.9, 0.7, 0.3, 0.1]), np.array([True, True, False, False]))
    0.5

    The highest of several that are equally good: who is unsure refuses.
    """
    order = np.argsort(-cosines, kind="stable")
    falling = np.concatenate([[2.0], cosines[order], [-2.0]])  # beyond any cosine: none or all may be accepted
    # Each that is accepted is one more right where it is of the same one, and one more wrong where it is not.
    gained = np.append(0, np.cumsum(np.where(same[order], 1, -1)))
    parted = falling[:-1] > falling[1:]  # nothing lies between pairs of one cosine
    accepted = int(np.where(parted, gained, -len(falling)).argmax())
    return float((falling[accepted] + falling[accepted + 1]) / 2)
