"""What a network is worth that gives each pixel a class: overlap of areas, their edges, and each class by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from keras_transfer.errors import UsageError
from keras_transfer.masks import VOID
from keras_transfer.specs import PROBABILITIES_OUTPUT, Answers, Contract, Scored, Value

CLASSES_ANSWER = "classes"
"""What is kept of the answers to many pictures: the class of each pixel, uint8 (n, side, side)."""

TOLERANCE = 0.0075
"""Of the diagonal of a picture: how far an edge may be off (Csurka et al. 2013, section 3)."""


class AreaMetrics(Value):
    """How one class fares; None where the figure is undefined: no pixel of it, or none said to be of it."""

    name: str
    count: int = Field(ge=0)
    """Pictures that show it."""
    share: float
    """Of all pixels that count."""
    iou: float | None
    precision: float | None
    """Share of the pixels said to be of the class that are."""
    recall: float | None
    """Share of the pixels of the class that are said to be of it."""
    f1: float | None
    """Of both: twice the overlap over the sum of the areas, also called Dice."""
    boundary_f1: float | None
    """Mean over the pictures that show it."""


class SegmentationMetrics(Scored):
    """What a model scored on one split, at the model's own side; fractions are 0-1, and void counts nowhere."""

    iou_of_pictures: float = Field(ge=0, le=1)
    """Mean over pictures of their mean IoU: see `right`."""
    mean_iou: float
    """Of all pixels of the split together, the mean over the classes that occur or are said."""
    pixel_accuracy: float
    boundary_f1: float | None
    """Mean over the classes that occur."""
    per_class: tuple[AreaMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Pixels by what they are (rows) and what is said of them (columns)."""

    def worth(self) -> tuple[str, ...]:
        """Sentences for a person who decides."""
        known = [row for row in self.per_class if row.iou is not None]
        if not known:
            return (f"On {self.count:,} pictures it had never seen, no pixel counts: their masks are void.",)
        weakest = min(known, key=lambda row: row.iou or 0.0)
        return (
            f"On {self.count:,} pictures it had never seen, {self.pixel_accuracy:.1%} of the pixels get their class.",
            f"Areas overlap by {self.mean_iou:.1%} in the mean over classes (mean IoU).",
            f"Weakest is '{weakest.name}' with {weakest.iou or 0:.1%}.",
        )

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "mean IoU of a picture": self.iou_of_pictures,
            "mean IoU": self.mean_iou,
            "pixel accuracy": self.pixel_accuracy,
            "boundary F1": self.boundary_f1,
        }


def keep(answers: Answers) -> Answers:
    """Return what the answers to some pictures come down to: the class of each pixel.

    >>> keep({"probabilities": np.array([[[[0.25, 0.75]]]])})["classes"].tolist()
    [[[1]]]

    Of 11 classes that is 1/44 of the memory. Answers that were kept so already are returned as they are.
    """
    if CLASSES_ANSWER in answers:
        return answers
    return {CLASSES_ANSWER: answers[PROBABILITIES_OUTPUT].argmax(axis=-1).astype(np.uint8)}


def score(answers: Answers, labels: np.ndarray, contract: Contract) -> SegmentationMetrics:
    """Return what the answers are worth.

    >>> contract = Contract(class_names=("sky", "road"), image_size=16, task="segmentation")
    >>> said = masks = np.zeros((1, 16, 16), np.uint8)
    >>> score({"classes": said}, masks, contract).mean_iou
    1.0

    answers: `probabilities`, float (n, side, side, classes), or what `keep` makes of them. labels: class positions of
    pixels, `VOID` where nothing counts, uint8 (n, side, side).
    """
    said, names = keep(answers)[CLASSES_ANSWER], contract.class_names
    confusion = np.zeros((len(names), len(names)), np.int64)
    pictures, ious, edges = np.zeros(len(names), int), [], []
    for answer, mask in zip(said, labels, strict=True):
        here = confusion_of(answer, mask, len(names))
        confusion += here
        pictures += here.any(axis=1)
        ious.append(mean_iou(here))
        edges.append(_edges(answer, mask, here))
    of_class = np.array(edges)
    boundary = [_mean(of_class[:, i][~np.isnan(of_class[:, i])]) for i in range(len(names))]
    return SegmentationMetrics(
        count=len(said),
        iou_of_pictures=float(np.mean(ious)),
        mean_iou=mean_iou(confusion),
        pixel_accuracy=_share(int(confusion.trace()), int(confusion.sum())) or 0.0,
        boundary_f1=_mean([each for each in boundary if each is not None]),
        per_class=_by_class(names, confusion, pictures, boundary),
        confusion=tuple(tuple(int(each) for each in row) for row in confusion),
    )


def right(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """Return the mean IoU of each picture, float (n,), over the classes that it shows or that are said of it.

    1 where no pixel counts, as in `tasks.segmentation.merit`.
    """
    said = keep(answers)[CLASSES_ANSWER]
    classes = 1 + max(int(said.max(initial=0)), int(labels[labels != VOID].max(initial=0)))
    return np.array([mean_iou(confusion_of(one, mask, classes)) for one, mask in zip(said, labels, strict=True)])


def differ(reference: Answers, candidate: Answers, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of pixels that get the same class, and that of those which get another: float (n,) both."""
    wanted, given = keep(reference)[CLASSES_ANSWER], keep(candidate)[CLASSES_ANSWER]
    if wanted.shape != given.shape:
        raise UsageError(
            f"Two sets of answers to the same pictures are compared. Received: {wanted.shape} and {given.shape}."
        )
    same = (wanted == given).reshape(len(wanted), -1).mean(axis=1)
    return same, 1 - same


def read(answers: Answers, contract: Contract) -> Mapping[str, Any]:
    """Return what the answers to one picture say: its largest class, and the share of the picture that each takes."""
    (classes,) = keep(answers)[CLASSES_ANSWER]
    shares = np.bincount(classes.ravel(), minlength=len(contract.class_names)) / classes.size
    order = [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    names = contract.class_names
    return {
        "largest": names[order[0]],
        "share": float(shares[order[0]]),
        "areas": {names[i]: float(shares[i]) for i in order},
    }


def confusion_of(said: np.ndarray, mask: np.ndarray, classes: int) -> np.ndarray:
    """Return the pixels of one picture by what they are (rows) and what is said of them: int64 (classes, classes)."""
    counted = mask != VOID
    cells = mask[counted].astype(np.int64) * classes + said[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def mean_iou(confusion: np.ndarray) -> float:
    """Return the mean over the classes that occur or are said; 1 where there is no pixel.

    >>> mean_iou(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]))
    0.375
    """
    ious = _ious(confusion)
    return float(np.nanmean(ious)) if confusion.any() else 1.0


def _ious(confusion: np.ndarray) -> np.ndarray:
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - confusion.diagonal()
    return np.where(either > 0, confusion.diagonal() / np.maximum(either, 1), np.nan)


def _by_class(
    names: tuple[str, ...], confusion: np.ndarray, pictures: np.ndarray, boundary: list[float | None]
) -> tuple[AreaMetrics, ...]:
    ious, total = _ious(confusion), max(int(confusion.sum()), 1)
    hits, is_of, said_of = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        AreaMetrics(
            name=name,
            count=int(pictures[i]),
            share=int(is_of[i]) / total,
            iou=None if np.isnan(ious[i]) else float(ious[i]),
            precision=_share(int(hits[i]), int(said_of[i])),
            recall=_share(int(hits[i]), int(is_of[i])),
            f1=_share(2 * int(hits[i]), int(is_of[i] + said_of[i])),
            boundary_f1=boundary[i],
        )
        for i, name in enumerate(names)
    )


def _edges(said: np.ndarray, mask: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Return the boundary F1 of each class of one picture, NaN where the picture does not show it: float (classes,).

    Of both edges, the share that lies within `TOLERANCE` of the other. Edges against void are no edges.
    Source: Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013, section 3.
    """
    scores = np.full(len(confusion), np.nan)
    radius = max(1, round(TOLERANCE * float(np.hypot(*mask.shape))))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    answered = np.where(mask == VOID, VOID, said).astype(np.uint8)
    of_answer, of_mask = _is_edge(answered), _is_edge(mask)
    for i in np.flatnonzero(confusion.any(axis=1)):
        said_edge, true_edge = (of_answer & (answered == i)).view(np.uint8), (of_mask & (mask == i)).view(np.uint8)
        precise = _share(int((said_edge & cv2.dilate(true_edge, disk)).sum()), int(said_edge.sum()))
        found = _share(int((true_edge & cv2.dilate(said_edge, disk)).sum()), int(true_edge.sum()))
        if precise is None and found is None:  # the class fills the picture, and so does the answer
            scores[i] = 1.0
        else:
            sum_of_both = (precise or 0.0) + (found or 0.0)
            scores[i] = 2 * (precise or 0.0) * (found or 0.0) / sum_of_both if sum_of_both else 0.0
    return scores


def _is_edge(mask: np.ndarray) -> np.ndarray:
    """Return which pixels have another class above, below, left or right of them: bool (height, width)."""
    edge = np.zeros(mask.shape, bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        unlike = (mask[first] != mask[second]) & (mask[first] != VOID) & (mask[second] != VOID)
        edge[first] |= unlike
        edge[second] |= unlike
    return edge


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
