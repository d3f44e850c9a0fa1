"""Writes a diagnosis as one HTML page with thumbnails, for a person to look through."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from html import escape
from pathlib import Path
from string import Template

from PIL import Image

from keras_transfer.data.doctor import Examination, Finding

SHOWN = 200
"""Findings of one kind that are shown with their pictures; the rest is counted."""

_PAGE = Template(
    """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$source</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
figure { display: inline-block; margin: .3rem 1rem .3rem 0 } img { width: 64px; image-rendering: pixelated }
li { list-style: none; margin: .4rem 0 } ul { padding: 0 }
</style>
<h1>$source</h1>
<p>$summary</p>
<table><tr><th>Class<th>train<th>validation<th>test</tr>$classes</table>
$findings
</html>
"""
)


def write(examination: Examination, path: Path) -> Path:
    """Write the page, which needs no other file, and return its path."""
    diagnosis = examination.diagnosis
    thumbnails = {look.name: look.glance.thumbnail for look in examination.looks if look.glance}
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in diagnosis.findings:
        by_kind[finding.kind].append(finding)

    def images(finding: Finding) -> str:
        shown = [name for name in finding.pictures[:8] if name in thumbnails]
        return "".join(
            f'<figure><img alt="{escape(name)}" title="{escape(name)}" src="{_embedded(thumbnails[name])}"></figure>'
            for name in shown
        )

    sections = []
    for kind, findings in by_kind.items():
        items = "".join(f"<li>{images(each)}{escape(each.message)}</li>" for each in findings[:SHOWN])
        more = f"<p>… and {len(findings) - SHOWN} more.</p>" if len(findings) > SHOWN else ""
        sections.append(f"<h2>{escape(kind)} ({len(findings)})</h2><ul>{items}</ul>{more}")
    rows = "".join(
        f"<tr><td>{escape(name)}<td>{counts['train']}<td>{counts['validation']}<td>{counts['test']}</tr>"
        for name, counts in diagnosis.classes.items()
    )
    pictures, found = sum(diagnosis.counts.values()), len(diagnosis.findings)
    page = _PAGE.substitute(
        source=escape(diagnosis.source),
        summary=f"{pictures} pictures, {found} finding{'s' if found != 1 else ''}.",
        classes=rows,
        findings="".join(sections) or "<p>Nothing is wrong.</p>",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _embedded(pixels: object) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")  # type: ignore[arg-type]
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
