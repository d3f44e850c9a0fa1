"""Finds the templates of the report and the model card, and the few filters that they share."""

from __future__ import annotations

from importlib import resources

import jinja2


def template(name: str) -> jinja2.Template:
    """Return a template of this folder; names in HTML are escaped, an unknown value is an error."""
    folder = resources.files(__name__)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda each: (folder / each).read_text(encoding="utf-8")),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: "-" if value is None else f"{value:.{digits}%}"
    environment.filters["megabytes"] = lambda value: f"{value / 1e6:.2f}"
    environment.filters["figure"] = figure
    environment.filters["cell"] = cell
    return environment.get_template(name)


def figure(value: float | None, name: str) -> str:
    """Return a headline figure as a person reads it: a share in percent, a loss as the number it is.

    >>> figure(0.84, "accuracy"), figure(0.5563, "log loss"), figure(None, "top-5 accuracy")
    ('84.0%', '0.556', '-')
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if name.endswith("loss") else f"{value:.1%}"


def cell(text: str) -> str:
    """Return a name as a cell of a Markdown table: in one line, its bars no borders of the cell.

    >>> cell("a|b")
    'a\\\\|b'
    """
    return " ".join(text.split()).replace("|", "\\|")
