"""Says of figures how well they are known, and in a line each what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MEANINGS = {
    "balanced accuracy": "mean over the classes of the share of their pictures that are named correctly",
    "top-5 accuracy": "share of the pictures whose class is among the five most probable",
    "log loss": "mean of -ln(probability of the right class); 0 is best",
    "calibration error": "by how much the share that is right differs from the probability that is claimed",
    "label ranking": "how high the right labels of a picture stand among all, 100% where no other stands above them",
    "mAP": "mean over labels of how well pictures that have one stand above those that have not",
    "mAP by chance": "what guessing would give: the mean share of pictures that have a label",
    "macro F1": "F1 at each label's threshold, the mean over labels",
    "micro F1": "F1 at the thresholds, of all labels of all pictures together",
    "exact match": "share of the pictures with every label right and none missing",
    "mean IoU of a picture": "mean over pictures of how much the areas said and the areas there overlap",
    "mean IoU": "the same of all pixels together, the mean over classes",
    "pixel accuracy": "share of the pixels that get their class",
    "boundary F1": "how well the edges of areas are met",
    "best F1 of a picture": "mean over pictures of F1 at the score that suits each best, boxes that overlap by half",
    "AP": "COCO's average precision, the mean over overlaps (IoU) of 0.5 to 0.95",
    "AP50": "average precision of boxes that overlap by 0.5 or more",
    "AP75": "average precision of boxes that overlap by 0.75 or more",
    "F1": "of precision and recall the harmonic mean, at the scores that validation settled",
    "Recall@1": "share of the pictures whose nearest other picture shows the same one",
    "mAP@R": "how far the nearest pictures, as many as there are of the same one, show it, nearer ones counting more",
    "ROC AUC": "chance that two pictures of the same one lie nearer than two of different ones",
    "TAR": "share of pairs of the same one that are accepted",
    "FAR": "share of pairs of different ones that are accepted",
    "standard error": "of the mean over folds: their standard deviation by the root of their number",
    "spread": "standard deviation of the figure, were other identities drawn like these",
    "by chance": "what saying any other picture would give",
}
"""By what a figure's name is or contains; `accuracy` says itself."""

OF_CLASSES = {
    "prevalence": "share of the pictures that have it",
    "AP": "average precision: how well pictures that have it stand above the others; prevalence is what guessing gives",
    "AP50": "average precision of its boxes that overlap by half",
    "precision": "share of those said to be of the class that are",
    "recall": "share of those of the class that are found",
    "F1": "of precision and recall the harmonic mean",
    "IoU": "the area said and the area there: what both share, of what either covers",
    "edges (F1)": "how well the edges of its areas are met",
}
"""What stands over the columns of a table of classes."""


def meanings_of(names: Iterable[str]) -> dict[str, str]:
    """Return what the figures of these names stand for: each by its own name, else by the words it is made of.

    >>> list(meanings_of(["accuracy", "TAR at FAR 1%"]))
    ['TAR', 'FAR']
    """
    found: dict[str, str] = {}
    for name in names:
        known = [name] if name in MEANINGS else [part for part in MEANINGS if part in name]
        found |= {part: MEANINGS[part] for part in known}
    return found


def known(figures: Mapping[str, float | None], count: int) -> str:
    """Return the first of some figures in percent, with half of its 95 % interval in points.

    >>> known({"accuracy": 0.5}, 100)
    '50.0% ± 9.6'

    count: pictures that it is of; what is of nobody knows how many has no interval.
    """
    from keras_transfer import workflow

    merit = next(iter(figures.values())) or 0.0
    return f"{merit:.1%} ± {100 * workflow.spread_of(figures, count):.1f}" if count else f"{merit:.1%}"
