"""What a network is worth that says what is where: COCO's average precision, and boxes from a settled score on.

Answers are those of exported files: `location` (n, most, 4) as y1, x1, y2, x2 in shares of the square that the network
saw, `category` and `score` (n, most), the surest first, and `number of detections` (n,). Labels are the boxes of each
picture in the same square, float32 (k, 5), the class position last.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from keras_transfer.specs import Answers, Contract, Scored, Settled, Value

LOCATION, CATEGORY, SCORE, NUMBER = "location", "category", "score", "number of detections"

COVERED = 0.5
"""IoU from which a found box is the one that is there, where COCO's own steps are not meant."""

SURE = 0.5
"""Score from which boxes count where nothing was settled."""

NEARLY = 0.05
"""Score by which one of two compared answers may fall short of what counts: a box must not turn one into another."""

SIZES = ((0.0, "small"), (1 / 16, "middling"), (1 / 4, "large"))
"""Side of a square as large as a box, in shares of the picture's, from which it is called so."""

GRID = 1000
"""Side in which COCO's figures are computed; they depend on no size."""

RECALLS = np.linspace(0, 1, 101)
"""At which COCO reads precision."""


class BoxMetrics(Value):
    """How one class fares; None where the figure is undefined: a class that no picture shows."""

    name: str
    count: int = Field(ge=0)
    """Boxes that are there."""
    ap: float | None
    """COCO: mean over IoU 0.5, 0.55, … 0.95."""
    ap50: float | None
    threshold: float
    """Score from which its boxes count."""
    precision: float | None
    recall: float | None
    f1: float | None


class DetectionMetrics(Scored):
    """What a model scored on one split; fractions are 0-1."""

    best_f1: float = Field(ge=0, le=1)
    """Mean over pictures, see `right`."""
    ap50: float | None
    ap: float | None
    ap75: float | None
    """COCO's figures, the mean over the classes that are there."""
    f1: float
    """At the settled scores, over all boxes of all pictures."""
    per_class: tuple[BoxMetrics, ...]
    missed: Mapping[str, tuple[int, float]]
    """By size, the name of `SIZES`: boxes that are there, and the share of them that is not found."""

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Headline figures, the merit first."""
        return {
            "best F1 of a picture": self.best_f1,
            "AP50": self.ap50,
            "AP": self.ap,
            "AP75": self.ap75,
            "F1": self.f1,
        }

    def worth(self) -> tuple[str, ...]:
        """Sentences for a person who decides."""
        known = [row for row in self.per_class if row.ap50 is not None]
        sentences = [
            f"On {self.count:,} pictures it had never seen, boxes have an average precision of {self.ap50 or 0:.1%} at "
            f"IoU 0.5 (COCO AP {self.ap or 0:.1%})."
        ]
        if known:
            weakest = min(known, key=lambda row: row.ap50 or 0.0)
            sentences.append(f"Weakest is '{weakest.name}' with {weakest.ap50 or 0:.1%}.")
        return tuple(sentences)

    def limits(self) -> tuple[str, ...]:
        """Sentences for the model card."""
        return tuple(
            f"Of {count} {name} boxes, {share:.0%} are not found." for name, (count, share) in self.missed.items()
        )


def score(answers: Answers, labels: Sequence[np.ndarray], contract: Contract) -> DetectionMetrics:
    """Return what the answers are worth.

    contract: class names, and the score of each class from which its boxes count. Source of AP: Lin et al., Microsoft
    COCO, ECCV 2014, by pycocotools, with at most 100 boxes a picture.
    """
    names, thresholds = contract.class_names, _thresholds(contract)
    precision = coco_precision(answers, labels, len(names))
    found, there = _pooled(answers, labels, len(names))
    rows, hits, misses = [], np.zeros(len(names)), np.zeros(len(names))
    for i, name in enumerate(names):
        sure = found[i][found[i][:, 0] >= thresholds[i]]
        hits[i], misses[i] = sure[:, 1].sum(), (1 - sure[:, 1]).sum()
        rows.append(
            BoxMetrics(
                name=name,
                count=int(there[i]),
                ap=_mean(precision[:, :, i]),
                ap50=_mean(precision[0, :, i]),
                threshold=float(thresholds[i]),
                precision=_share(hits[i], len(sure)),
                recall=_share(hits[i], there[i]),
                f1=_share(2 * hits[i], len(sure) + there[i]),
            )
        )
    return DetectionMetrics(
        count=len(labels),
        best_f1=float(np.mean(right(answers, labels))),
        ap50=_mean(precision[0]),
        ap=_mean(precision),
        ap75=_mean(precision[5]),
        f1=_share(2 * hits.sum(), hits.sum() + misses.sum() + there.sum()) or 0.0,
        per_class=tuple(rows),
        missed=_missed(answers, labels, thresholds),
    )


def right(answers: Answers, labels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the best F1 of each picture at IoU 0.5, over all scores from which boxes could count: float (n,).

    Of a picture without objects it is 1 less the highest score, as in `tasks.detection.merit`.
    """
    worth = np.zeros(len(labels))
    for row, truth in enumerate(labels):
        boxes, kinds, scores = _of_picture(answers, row)
        if not len(truth):
            worth[row] = 1 - scores.max(initial=0.0)
            continue
        hits = np.cumsum(_first_claims(boxes, kinds, truth).any(axis=1))
        worth[row] = (2 * hits / (np.arange(1, len(hits) + 1) + len(truth))).max(initial=0.0)
    return worth


def differ(reference: Answers, candidate: Answers, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each picture shows the same boxes, bool (n,), and the largest difference of their scores, (n,).

    The same: every box that counts in one answer is in the other, of the same class and covered by half; there its
    score may fall short of what counts by `NEARLY`.
    """
    thresholds, count = _thresholds(contract), len(reference[SCORE])
    same, difference = np.ones(count, bool), np.zeros(count)
    for row in range(count):
        for one, other in ((reference, candidate), (candidate, reference)):
            boxes, kinds, scores = _of_picture(one, row)
            sure = scores >= thresholds[kinds]
            near, known, told = _of_picture(other, row)
            kept = told >= thresholds[known] - NEARLY
            pairs = (iou(boxes[sure], near[kept]) >= COVERED) & (kinds[sure][:, None] == known[kept][None])
            same[row] &= bool(pairs.any(axis=1).all())
            gaps = np.where(pairs, np.abs(scores[sure][:, None] - told[kept][None]), np.inf)
            if gaps.size and pairs.any():
                difference[row] = max(difference[row], gaps[pairs.any(axis=1)].min(axis=1).max())
        if not all(np.isfinite(each[SCORE][row]).all() for each in (reference, candidate)):
            same[row], difference[row] = False, np.nan
    return same, difference


def read(answers: Answers, contract: Contract) -> Mapping[str, Any]:
    """Return what the answers to one picture say: how many of which class, and each box as a COCO result.

    `bbox` is left, top, width and height in shares of the square that the network saw; see `placed`.
    """
    boxes, kinds, scores = sure_boxes(answers, 0, contract)
    counted = Counter(contract.class_names[kind] for kind in kinds.tolist())
    return {
        "found": ", ".join(f"{count} {name}" for name, count in counted.most_common()) or "nothing",
        "boxes": [
            {
                "class_name": contract.class_names[kind],
                "category_id": kind,
                "score": value,
                "bbox": [box[1], box[0], box[3] - box[1], box[2] - box[0]],
            }
            for box, kind, value in zip(boxes.tolist(), kinds.tolist(), scores.tolist(), strict=True)
        ],
    }


def placed(said: Mapping[str, Any], height: int, width: int, contract: Contract) -> Mapping[str, Any]:
    """Return what `read` says with each `bbox` in pixels of the picture itself, as high and wide as given."""
    boxes = []
    for each in said["boxes"]:
        left, top, wide, high = each["bbox"]
        square = np.array([[top, left, top + high, left + wide]])
        y1, x1, y2, x2 = (
            on_picture(square, height, width, contract.aspect)[0] * (height, width, height, width)
        ).tolist()
        boxes.append({**each, "bbox": [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)]})
    return {**said, "boxes": boxes}


def results(picture: str, said: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return what is said of a picture as COCO's results: a row for each box, none where nothing is found.

    >>> results("val/0042.jpg", {"boxes": []})
    ()

    `image_id` is the name of the file, as a number where it is one; `category_id` counts the model's classes from 0.
    """
    stem = Path(picture).stem
    image = int(stem) if stem.isdecimal() else stem
    return tuple(
        {
            "image_id": image,
            "file_name": Path(picture).name,
            "category_id": each["category_id"],
            "category_name": each["class_name"],
            "bbox": each["bbox"],
            "score": each["score"],
        }
        for each in said["boxes"]
    )


def on_picture(boxes: np.ndarray, height: int, width: int, aspect: str) -> np.ndarray:
    """Return boxes of a square, (k, 4), in shares of the picture that it was made of.

    >>> on_picture(np.array([[0.25, 0.0, 0.75, 1.0]]), 2, 4, "letterbox").tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    sides = np.array([height, width, height, width], float)
    if aspect == "stretch":
        return boxes
    extent = max(height, width) if aspect == "letterbox" else min(height, width)
    return np.clip((boxes * extent + (sides - extent) / 2) / sides, 0, 1)


def settle(answers: Answers, labels: Sequence[np.ndarray], classes: int) -> Settled:
    """Return the score of each class from which boxes count: the one with the best F1 on validation.

    A class that validation does not show keeps `SURE`.
    """
    found, there = _pooled(answers, labels, classes)
    chosen = [_best_score(found[i], int(there[i])) for i in range(classes)]
    told = ", ".join(f"{value:.2f}" for value in chosen[:8]) + (", …" if classes > 8 else "")
    return Settled({"thresholds": tuple(chosen)}, f"boxes count from these scores on, by class: {told}")


def sure_boxes(answers: Answers, row: int, contract: Contract) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of a picture that count: (k, 4), class positions (k,) and scores (k,), the surest first."""
    boxes, kinds, scores = _of_picture(answers, row)
    sure = scores >= _thresholds(contract)[kinds]
    return boxes[sure], kinds[sure], scores[sure]


def coco_precision(answers: Answers, labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Return precision at 10 steps of IoU, `RECALLS` and each class, (10, 101, classes); -1 where nothing is there."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for row, truth in enumerate(labels):
        annotations += [
            _as_coco(row, box, int(box[4]), identity=len(annotations) + n + 1) for n, box in enumerate(truth)
        ]
        for box, kind, value in zip(*_of_picture(answers, row), strict=True):
            results.append(_as_coco(row, box, int(kind), identity=len(results) + 1, score=float(value)))
    if not annotations or not results:
        shown = np.bincount([each["category_id"] for each in annotations], minlength=classes) > 0
        return np.broadcast_to(np.where(shown, 0.0, -1.0), (10, len(RECALLS), classes))
    images = [{"id": row, "width": GRID, "height": GRID} for row in range(len(labels))]
    categories = [{"id": i, "name": str(i)} for i in range(classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, said = COCO(), COCO()
        for each, boxes in ((truth, annotations), (said, results)):
            each.dataset = {"images": images, "annotations": boxes, "categories": categories}
            each.createIndex()
        measured = COCOeval(truth, said, "bbox")
        measured.evaluate()
        measured.accumulate()
    return np.asarray(measured.eval["precision"])[:, :, :, 0, -1]


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the share of two boxes' union that both cover, for all pairs of (a, 4) and (b, 4): float (a, b)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:4], other[None, :, 2:4])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(each[:, 2:4] - each[:, :2], 0), axis=-1) for each in (one, other)]
    return both / (areas[0][:, None] + areas[1][None] - both + 1e-9)


def _of_picture(answers: Answers, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = round(float(answers[NUMBER][row]))
    kinds = answers[CATEGORY][row][:count].round().astype(int)
    return answers[LOCATION][row][:count], kinds, answers[SCORE][row][:count]


def _thresholds(contract: Contract) -> np.ndarray:
    return np.array(contract.thresholds or (SURE,) * len(contract.class_names))


def _first_claims(boxes: np.ndarray, kinds: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which found box, the surest first, is the first to claim each that is there: bool (found, there).

    It claims the one of its class that it covers best, where it covers it by half (Everingham et al. 2010, section
    4.2): of two things that overlap, the second box must be free to find the second.
    """
    if not len(truth):
        return np.zeros((len(boxes), 0), bool)
    overlap = np.where(kinds[:, None] == truth[None, :, 4].astype(int), iou(boxes, truth), 0.0)
    best: np.ndarray = np.arange(len(truth)) == overlap.argmax(axis=1)[:, None]
    claims: np.ndarray = best & (overlap >= COVERED)
    return claims & (np.cumsum(claims, axis=0) == 1)


def _pooled(answers: Answers, labels: Sequence[np.ndarray], classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Of each class, score and hit (1 or 0) of all its found boxes, (k, 2), and how many boxes are there."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(classes)]
    there = np.zeros(classes, int)
    for row, truth in enumerate(labels):
        boxes, kinds, scores = _of_picture(answers, row)
        hits = np.asarray(_first_claims(boxes, kinds, truth).any(axis=1))
        for kind, value, hit in zip(kinds.tolist(), scores.tolist(), hits.tolist(), strict=True):
            found[kind].append((value, hit))
        there += np.bincount(truth[:, 4].astype(int), minlength=classes)
    return [np.array(each, float).reshape(-1, 2) for each in found], there


def _best_score(found: np.ndarray, there: int) -> float:
    if not there or not len(found):
        return SURE
    found = found[np.argsort(-found[:, 0], kind="stable")]
    f1 = 2 * np.cumsum(found[:, 1]) / (np.arange(1, len(found) + 1) + there)
    # Boxes of one score count or fall with the last of them.
    together: np.ndarray = np.append(found[1:, 0] == found[:-1, 0], False)
    last = int(np.where(together, -1.0, f1).argmax())
    below = found[last + 1, 0] if last + 1 < len(found) else 0.0
    return float(found[last, 0] + below) / 2  # between two scores, so that a rounded one stays on its side


def _missed(answers: Answers, labels: Sequence[np.ndarray], thresholds: np.ndarray) -> Mapping[str, tuple[int, float]]:
    sides, hits = [], []
    for row, truth in enumerate(labels):
        boxes, kinds, scores = _of_picture(answers, row)
        sure = scores >= thresholds[kinds]
        hits.append(_first_claims(boxes[sure], kinds[sure], truth).any(axis=0))
        sides.append(np.sqrt(np.prod(truth[:, 2:4] - truth[:, :2], axis=-1)))
    side, hit = np.concatenate(sides or [np.zeros(0)]), np.concatenate(hits or [np.zeros(0, bool)])
    band = np.searchsorted([least for least, _ in SIZES], side, side="right") - 1
    return {
        name: (int((band == i).sum()), float(1 - hit[band == i].mean()))
        for i, (_, name) in enumerate(SIZES)
        if (band == i).any()
    }


def _as_coco(row: int, box: np.ndarray, kind: int, **others: Any) -> dict[str, Any]:
    y1, x1, y2, x2 = (float(side) * GRID for side in box[:4])
    identity = {"id": others.pop("identity"), "image_id": row, "category_id": kind, "iscrowd": 0}
    return {**identity, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), **others}


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
