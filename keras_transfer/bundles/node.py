"""The target `node`: an ES module with types, its runtime and its decoders inside."""

from __future__ import annotations

from pathlib import Path

from keras_transfer.bundles import data, filling, vendored, web
from keras_transfer.bundles.content import Content

BROUGHT = ("onnxruntime-web", "pngjs", "jpeg-js")
COMMONJS = {"type": "commonjs"}
"""What tells Node that the decoders are no ES modules, though the package around them is one."""


def write(content: Content, folder: Path) -> None:
    """Write the package."""
    brought = vendored.bring(BROUGHT, folder, content.modules)
    data.write_json(folder / "vendor" / "package.json", COMMONJS)
    description = f"A picture model ({content.artifact.contract.task}) with its own self-test"
    filling.fill("node", folder, data.values(content, place="", description=description))
    filling.fill("javascript", folder / web.MODEL, {})
    data.write(content, folder, brought)
    data.write_papers(content, folder, brought)
