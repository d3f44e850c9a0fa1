"""The target `web`: one static page that answers in the browser, its runtime inside."""

from __future__ import annotations

from pathlib import Path

from keras_transfer.bundles import data, filling, vendored
from keras_transfer.bundles.content import Content

BROUGHT = ("onnxruntime-web",)
MODEL = "model"
"""The folder of the modules that know how to ask and to read answers, which `node` has too."""


def write(content: Content, folder: Path) -> None:
    """Write the page."""
    brought = vendored.bring(BROUGHT, folder, content.modules)
    filling.fill("web", folder, data.values(content, place=""))
    filling.fill("javascript", folder / MODEL, {})
    data.write(content, folder, brought)
    data.write_gallery(content, folder)
    data.write_papers(content, folder, brought)
