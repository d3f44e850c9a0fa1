"""Writes what every bundle holds: the model, what it is, its golden pictures and answers, its papers.

`bundle.json`, format 1: `{"version": 1, "name", "summary", "made_with", "file", "format", "precision", "sha256",
"size_bytes", "tolerance", "gallery" (entries of one, 0 where there is none), "vendored": [...]}` and of the contract
`task`, `class_names`, `image_size`, `frames` (of a clip, 0 of pictures), `aspect`, `thresholds` (one for each class,
0.5 where none was settled), `outputs`, `license`, `run_digest`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_transfer.bundles import filling, golden
from keras_transfer.bundles.content import Content
from keras_transfer.bundles.vendored import Vendored

BUNDLE_FILE = "bundle.json"
GOLDEN_FILE = "golden.json"
GOLDEN_FOLDER = "golden"
GALLERY_FILE = "gallery.json"
OF_CONTRACT = ("task", "class_names", "image_size", "frames", "aspect", "outputs", "license", "run_digest")


def described(content: Content, vendored: Sequence[Vendored] = ()) -> dict[str, Any]:
    """Return `bundle.json`."""
    artifact, contract = content.artifact, content.artifact.contract
    whole = contract.model_dump(mode="json")
    return {
        "version": 1,
        "name": content.name,
        "summary": content.summary,
        "refused": content.refused,
        "made_with": made_with(),
        "file": content.file,
        "format": artifact.format,
        "precision": artifact.precision,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "tolerance": golden.tolerance(artifact.precision),
        **{name: whole[name] for name in OF_CONTRACT},
        "gallery": len(content.gallery.names) if content.gallery else 0,
        "thresholds": list(contract.thresholds or (0.5,) * len(contract.class_names)),
        "vendored": [{"name": each.name, "version": each.version, "license": each.license} for each in vendored],
    }


def write(content: Content, folder: Path, vendored: Sequence[Vendored] = ()) -> None:
    """Write model, description and golden pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content.artifact.path, folder / content.file)
    write_json(folder / BUNDLE_FILE, described(content, vendored))
    names = content.artifact.contract.class_names
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    rows = []
    (folder / GOLDEN_FOLDER).mkdir()
    for each in content.golden:
        name = f"{GOLDEN_FOLDER}/{each.name}.png"
        (folder / name).write_bytes(each.png)
        rows.append({"file": name, "answer": dict(each.answer)})
    tolerance = golden.tolerance(content.artifact.precision)
    write_json(folder / GOLDEN_FILE, {"version": 1, "tolerance": tolerance, "pictures": rows})


def write_gallery(content: Content, folder: Path) -> None:
    """Write who is known, where the content has it: `{"version": 1, "names": [...], "embeddings": [[...], ...]}`."""
    if content.gallery:
        points = [golden.rounded(each) for each in content.gallery.embeddings]
        write_json(folder / GALLERY_FILE, {"version": 1, "names": content.gallery.names, "embeddings": points})


def write_papers(content: Content, folder: Path, vendored: Sequence[Vendored] = ()) -> None:
    """Write the model card and the licences into a folder."""
    for name, paper in content.papers.items():
        (folder / name).write_bytes(paper)
    text = filling.render("common/LICENSES.md.j2", values(content, vendored=vendored))
    (folder / "LICENSES.md").write_text(text, encoding="utf-8")


def values(content: Content, **more: Any) -> dict[str, Any]:
    """Return what templates of every target may name."""
    contract = content.artifact.contract
    tolerance = golden.tolerance(content.artifact.precision)
    return {"content": content, "contract": contract, "tolerance": tolerance, "made_with": made_with(), **more}


def made_with() -> str:
    """Return the version of this package."""
    return version("keras-transfer")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as people read it, its lists of numbers in one line each."""
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n", encoding="utf-8")
