"""What a network is worth that gives a picture any number of labels: ranking, thresholds, and each label by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from keras_transfer.evaluation.intervals import margin
from keras_transfer.specs import PROBABILITIES_OUTPUT, Answers, Contract, Scored, Settled, Value

RARE = 10
"""Fewer pictures with a label than this and what is said of it is a guess."""


class LabelMetrics(Value):
    """How one label fares; None where the figure is undefined: a label that no picture has, or that all have."""

    name: str
    count: int = Field(ge=0)
    """Pictures that have it."""
    prevalence: float
    """Share of the pictures that have it: the average precision of saying it at random."""
    average_precision: float | None
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None


class MultilabelMetrics(Scored):
    """What a model scored on one split; fractions are 0-1."""

    ranking: float = Field(ge=0, le=1)
    """Label ranking average precision."""
    mean_average_precision: float | None
    """Over the labels that some pictures have and some have not."""
    prevalence: float
    """Mean over the same labels: what chance would give as mean average precision."""
    macro_f1: float
    """At the thresholds, mean over labels."""
    micro_f1: float
    """At the thresholds, over all labels of all pictures together."""
    exact_match: float
    """Share of the pictures whose labels, at the thresholds, are all right and none is missing."""
    per_class: tuple[LabelMetrics, ...]

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "label ranking": self.ranking,
            "mAP": self.mean_average_precision,
            "mAP by chance": self.prevalence,
            "macro F1": self.macro_f1,
            "micro F1": self.micro_f1,
            "exact match": self.exact_match,
        }

    def worth(self) -> tuple[str, ...]:
        """Sentences for a person who decides."""
        found = self.mean_average_precision
        said = [
            f"On {self.count:,} pictures it had never seen, the model names all labels and no other of "
            f"{self.exact_match:.0%} (give or take {margin(self.exact_match, self.count):.0%})."
        ]
        if found is not None:
            said.append(f"Its mAP is {found:.1%}, where saying labels at random gives {self.prevalence:.1%}.")
        judged = [row for row in self.per_class if row.average_precision is not None]
        if judged:
            weakest = min(judged, key=lambda row: row.average_precision or 0.0)
            said.append(
                f"It is weakest on {weakest.name}, with an average precision of {weakest.average_precision:.0%}."
            )
        return tuple(said)

    def limits(self) -> tuple[str, ...]:
        """Sentences for the model card."""
        unseen = [row.name for row in self.per_class if not row.count]
        rare = [row.name for row in self.per_class if 0 < row.count < RARE]
        said = {
            f"It knows {len(self.per_class)} labels and says of any picture which it has, whatever it shows.": True,
            f"Nothing is known of {', '.join(unseen)}: no test picture has it.": bool(unseen),
            f"Fewer than {RARE} test pictures have these, so their figures are guesses: {', '.join(rare)}.": bool(rare),
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


def score(answers: Answers, labels: np.ndarray, contract: Contract) -> MultilabelMetrics:
    """Return what the answers are worth.

    >>> contract = Contract(class_names=("cat", "dog"), image_size=96)
    >>> answers = {"probabilities": np.array([[0.9, 0.2]])}
    >>> score(answers, np.array([[True, False]]), contract).exact_match
    1.0

    answers: `probabilities`, float (n, classes). labels: bool (n, classes). contract: whose thresholds, one half for
    each label where it has none, decide what counts as said.
    """
    from sklearn.metrics import f1_score, precision_recall_fscore_support  # a second that predicting does without

    scores, said = answers[PROBABILITIES_OUTPUT], decided(answers, contract)
    labels = labels.astype(bool)
    precision, recall, f1, count = precision_recall_fscore_support(labels, said, average=None, zero_division=np.nan)
    rows = tuple(
        LabelMetrics(
            name=name,
            count=int(count[i]),
            prevalence=float(labels[:, i].mean()),
            average_precision=_average_precision(labels[:, i], scores[:, i]),
            threshold=thresholds(contract)[i],
            precision=_defined(precision[i]),
            recall=_defined(recall[i]),
            f1=_defined(f1[i]),
        )
        for i, name in enumerate(contract.class_names)
    )
    judged = [row for row in rows if row.average_precision is not None]
    return MultilabelMetrics(
        count=len(labels),
        ranking=float(right(answers, labels).mean()),
        mean_average_precision=float(np.mean([row.average_precision for row in judged])) if judged else None,
        prevalence=float(np.mean([row.prevalence for row in judged])) if judged else 0.0,
        macro_f1=float(f1_score(labels, said, average="macro", zero_division=0)),
        micro_f1=float(f1_score(labels, said, average="micro", zero_division=0)),
        exact_match=float((said == labels).all(axis=1).mean()),
        per_class=rows,
    )


def right(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Return the label ranking average precision of each picture, float (n,); 1 where all or none of them are there.

    Equal scores count against the model, as in `tasks.multilabel.merit`.
    """
    from scipy.stats import rankdata

    worst_first, there = -answers[PROBABILITIES_OUTPUT].astype(np.float64), labels.astype(bool)
    rank = rankdata(worst_first, method="max", axis=1)
    among_right = rankdata(np.where(there, worst_first, np.inf), method="max", axis=1)
    precise = np.where(there, among_right / rank, 0).sum(axis=1)
    return np.where(there.any(axis=1), precise / np.maximum(there.sum(axis=1), 1), 1.0)


def differ(reference: Answers, candidate: Answers, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each picture gets the same labels, bool (n,), and its largest difference of a probability."""
    same = (decided(reference, contract) == decided(candidate, contract)).all(axis=1)
    difference = np.abs(reference[PROBABILITIES_OUTPUT].astype(np.float64) - candidate[PROBABILITIES_OUTPUT])
    return same, difference.max(axis=1)


def settle(answers: Answers, labels: np.ndarray) -> Settled:
    """Return for each label the threshold with the largest F1 on validation pictures.

    The threshold stands half-way between the last score that is still said and the next one, so that a hair's breadth
    does not decide. A label that no validation picture has, or that all have, keeps one half.
    Source: Lipton, Elkan & Naryanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure, ECML PKDD 2014.
    """
    from sklearn.metrics import f1_score

    scores = answers[PROBABILITIES_OUTPUT].astype(np.float64)
    found = tuple(_threshold(labels[:, i].astype(bool), scores[:, i]) for i in range(labels.shape[1]))
    before, after = (f1_score(labels, scores >= each, average="macro", zero_division=0) for each in (0.5, found))
    sentence = f"thresholds {min(found):.2f} to {max(found):.2f}: macro F1 on validation {before:.1%} -> {after:.1%}"
    return Settled({"thresholds": found}, sentence)


def read(answers: Answers, contract: Contract) -> Mapping[str, Any]:
    """Return what the answers to one picture, (1, classes), say: its labels, likeliest first, and all probabilities."""
    (row,), (said,) = answers[PROBABILITIES_OUTPUT], decided(answers, contract)
    order = [int(i) for i in np.argsort(-row, kind="stable")]
    names = contract.class_names
    return {
        "labels": [names[i] for i in order if said[i]],
        "probabilities": {names[i]: float(row[i]) for i in order},
    }


def decided(answers: Answers, contract: Contract) -> np.ndarray:
    """Return which labels are said of each picture: those at or above their threshold, bool (n, classes)."""
    return answers[PROBABILITIES_OUTPUT] >= np.array(thresholds(contract), np.float32)


def thresholds(contract: Contract) -> tuple[float, ...]:
    """Return the threshold of each label, one half where the contract names none."""
    return contract.thresholds or (0.5,) * len(contract.class_names)


def _threshold(there: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import precision_recall_curve

    if there.all() or not there.any():
        return 0.5
    precision, recall, levels = precision_recall_curve(there, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = levels[int(f1[:-1].argmax())]
    below = scores[scores < best]
    return float((best + below.max()) / 2 if len(below) else best / 2)


def _average_precision(there: np.ndarray, scores: np.ndarray) -> float | None:
    from sklearn.metrics import average_precision_score

    return None if there.all() or not there.any() else float(average_precision_score(there, scores))


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
