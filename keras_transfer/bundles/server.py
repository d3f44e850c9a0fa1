"""The target `server`: an HTTP service with its container, and the SavedModel as TensorFlow Serving wants it."""

from __future__ import annotations

import shutil
from pathlib import Path

from keras_transfer.bundles import data, filling, python, warming
from keras_transfer.bundles.content import Content

REQUIREMENTS = ("fastapi>=0.115", "uvicorn>=0.30", "prometheus-client>=0.20")
"""Of the service, beside those of the package."""
VERSION = "1"
"""The folder of a model's first version, as TensorFlow Serving names them."""


def write(content: Content, folder: Path) -> None:
    """Write the service, the Python package it asks, and the SavedModel."""
    project = folder / "python"
    project.mkdir()
    python.write(content, project)
    requirements = (*python.requirements(content), *REQUIREMENTS)
    place = f"python/{content.package}/data/"
    filling.fill("server", folder, data.values(content, place=place, requirements=requirements))
    if content.saved_model:
        served = folder / "serving" / content.name / VERSION
        shutil.copytree(content.saved_model, served)
        warming.write(content, served)
    data.write_json(folder / data.BUNDLE_FILE, data.described(content))
    data.write_papers(content, folder)
