"""Draws boxes over pictures, in colours that the colour-blind tell apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from keras_transfer.evaluation.detection import sure_boxes
from keras_transfer.evaluation.overlays import colour
from keras_transfer.specs import Answers, Contract


def draw(picture: np.ndarray, answers: Answers, contract: Contract) -> Mapping[str, bytes]:
    """Return an answer as a PNG of the picture's own size: the boxes that count, each with its class and score.

    picture: uint8 (height, width, 3) as a person sees it; answers: to this one picture.
    """
    boxes, kinds, scores = sure_boxes(answers, 0, contract)
    names = [f"{contract.class_names[kind]} {value:.0%}" for kind, value in zip(kinds, scores, strict=True)]
    height, width = picture.shape[:2]
    drawn = boxed(picture, on_picture(boxes, height, width, contract.aspect), kinds.tolist(), names)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return {"boxes.png": buffer.getvalue()}


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


def boxed(picture: np.ndarray, boxes: np.ndarray, kinds: Sequence[int], names: Sequence[str] = ()) -> np.ndarray:
    """Return a picture with boxes, (k, 4) in shares of its sides, and their names if they have any: uint8."""
    drawn = np.ascontiguousarray(picture)
    drawn = drawn.copy() if drawn is picture else drawn
    height, width = picture.shape[:2]
    thick = max(1, round(max(height, width) / 320))
    for number, (box, kind) in enumerate(zip(boxes, kinds, strict=True)):
        top, left, bottom, right = (
            np.rint(box[:4] * (height - 1, width - 1, height - 1, width - 1)).astype(int).tolist()
        )
        cv2.rectangle(drawn, (left, top), (right, bottom), colour(int(kind)), thick)
        if names:
            place, size = (left + thick, max(top - 3 * thick, 12 * thick)), 0.4 * thick
            cv2.putText(drawn, names[number], place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 2 * thick + 1)
            cv2.putText(drawn, names[number], place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick)
    return drawn
