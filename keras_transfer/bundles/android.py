"""The target `android`: a Gradle project in Kotlin with the camera, and an instrumented test of the golden pictures."""

from __future__ import annotations

from pathlib import Path

from keras_transfer.bundles import data, filling
from keras_transfer.bundles.content import Content

ASSETS = "app/src/main/assets/"


def write(content: Content, folder: Path) -> None:
    """Write the project, its data among the assets of the app."""
    filling.fill("android", folder, data.values(content, place=ASSETS))
    data.write(content, folder / ASSETS)
    data.write_json(folder / data.BUNDLE_FILE, data.described(content))
    data.write_papers(content, folder)
