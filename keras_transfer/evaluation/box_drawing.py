"""Draws what a detector says of a picture: the boxes that count."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from keras_transfer.drawing import boxed
from keras_transfer.evaluation.detection import on_picture, sure_boxes
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
