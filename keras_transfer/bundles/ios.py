"""The target `ios`: a Swift package with a sample in SwiftUI, and a test of the golden pictures."""

from __future__ import annotations

from pathlib import Path

from keras_transfer.bundles import data, filling
from keras_transfer.bundles.content import Content

RESOURCES = "Sources/PictureModel/Resources/"


def write(content: Content, folder: Path) -> None:
    """Write the package, its data among the resources of its library."""
    filling.fill("ios", folder, data.values(content, place=RESOURCES))
    data.write(content, folder / RESOURCES)
    data.write_json(folder / data.BUNDLE_FILE, data.described(content))
    data.write_papers(content, folder)
