"""A picture model, proven to say what it said in training, with its own self-test."""

from .model import Model, ModelError, about
from .pictures import PictureError
from .selftest import selftest

__all__ = ["Model", "ModelError", "PictureError", "about", "selftest"]
