"""Fills a folder of templates: `.j2` files are rendered, all others copied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jinja2

TEMPLATE = ".j2"
PACKAGE = "package"
"""A folder of this name gets the name of the Python package."""
COMPILED = "__pycache__"


def fill(
    target: str,
    folder: Path,
    values: Mapping[str, Any],
    *,
    package: str = PACKAGE,
    without: Collection[str] = (),
) -> None:
    """Write the templates of a target into a folder that is there.

    values: what templates may name; an unknown name is an error. package: what a folder `package` is called. without:
    names of files that are left out.
    """
    root = _templates() / target
    for inside, source in _walked(root):
        if inside[-1] in without:
            continue
        place = folder.joinpath(*(package if part == PACKAGE else part for part in inside)).with_name(inside[-1])
        place.parent.mkdir(parents=True, exist_ok=True)
        if inside[-1].endswith(TEMPLATE):
            text = render("/".join((target, *inside)), values)
            place.with_name(inside[-1].removesuffix(TEMPLATE)).write_text(text, encoding="utf-8")
        else:
            place.write_bytes(source.read_bytes())


def render(name: str, values: Mapping[str, Any]) -> str:
    """Return one template, `folder/name.j2`, filled; what stands in HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda each: (_templates() / each).read_text(encoding="utf-8")),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)


def _templates() -> Traversable:
    return resources.files("keras_transfer.bundles") / "templates"


def _walked(folder: Traversable, inside: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Traversable]]:
    found = []
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            found += _walked(each, (*inside, each.name)) if each.name != COMPILED else []
        else:
            found.append(((*inside, each.name), each))
    return found
