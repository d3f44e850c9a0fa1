"""Writes a diagnosis as one HTML page with thumbnails, for a person to look through."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from keras_transfer.data.doctor import Diagnosis, Examination, Finding
from keras_transfer.data.label_views import FIRST
from keras_transfer.drawing import colour
from keras_transfer.files import write_bytes

SHOWN = 200
"""Findings of one kind that are shown with their pictures; the rest is counted."""

PICTURES = 8
"""Pictures of one finding that are shown."""

_PAGE = Template(
    """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$source</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
figure { display: inline-block; margin: .3rem 1rem .3rem 0 } img { width: 64px; image-rendering: pixelated }
img.view { width: auto; max-width: 240px } .key { display: inline-block; width: .8em; height: .8em; margin-right: .4em }
li { list-style: none; margin: .4rem 0 } ul { padding: 0 }
</style>
<h1>$source</h1>
<p>$summary</p>
<table><tr><th>Class<th>train<th>validation<th>test</tr>$classes</table>
$findings
$labelled
</html>
"""
)


def write(examination: Examination, path: Path, *, views: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write the page, which needs no other file, and return its path.

    views: pictures under their labels by name, as `label_views.views` draws them; shown in place of the thumbnails.
    """
    diagnosis, views = examination.diagnosis, views or {}
    thumbnails = {look.name: look.glance.thumbnail for look in examination.looks if look.glance}

    def images(finding: Finding) -> str:
        shown = [name for name in finding.pictures[:PICTURES] if name in thumbnails]
        return "".join(_figure(name, views.get(name, thumbnails[name]), name in views) for name in shown)

    sections = []
    for kind, findings in _by_kind(diagnosis).items():
        items = "".join(f"<li>{images(each)}{escape(each.message)}</li>" for each in findings[:SHOWN])
        more = f"<p>… and {len(findings) - SHOWN} more.</p>" if len(findings) > SHOWN else ""
        sections.append(f"<h2>{escape(kind)} ({len(findings)})</h2><ul>{items}</ul>{more}")
    keys = [_key(position) if views else "" for position in range(len(diagnosis.classes))]
    rows = "".join(
        f"<tr><td>{key}{escape(name)}<td>{counts['train']}<td>{counts['validation']}<td>{counts['test']}</tr>"
        for key, (name, counts) in zip(keys, diagnosis.classes.items(), strict=True)
    )
    pictures, found = sum(diagnosis.counts.values()), len(diagnosis.findings)
    page = _PAGE.substitute(
        source=escape(diagnosis.source),
        summary=f"{pictures} pictures, {found} finding{'s' if found != 1 else ''}.",
        classes=rows,
        findings="".join(sections) or "<p>Nothing is wrong.</p>",
        labelled=_labelled(views),
    )
    write_bytes(path, page.encode())
    return path


def pictured(diagnosis: Diagnosis) -> set[str]:
    """Return the names of the pictures that the page shows with its findings."""
    shown = (each for findings in _by_kind(diagnosis).values() for each in findings[:SHOWN])
    return {name for each in shown for name in each.pictures[:PICTURES]}


def _by_kind(diagnosis: Diagnosis) -> Mapping[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in diagnosis.findings:
        kinds[finding.kind].append(finding)
    return kinds


def _labelled(views: Mapping[str, np.ndarray]) -> str:
    """The first training pictures under their labels, whatever was found: nothing else tells that boxes are shifted."""
    first = [name for name in views if name.startswith("train: ")][:FIRST]
    figures = "".join(_figure(name, views[name], True) for name in first)
    return f"<h2>pictures under their labels ({len(first)})</h2><div>{figures}</div>" if first else ""


def _figure(name: str, pixels: np.ndarray, is_view: bool) -> str:
    kind = ' class="view"' if is_view else ""
    return f'<figure><img{kind} alt="{escape(name)}" title="{escape(name)}" src="{_embedded(pixels)}"></figure>'


def _key(position: int) -> str:
    return f'<span class="key" style="background: rgb{colour(position)}"></span>'


def _embedded(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
