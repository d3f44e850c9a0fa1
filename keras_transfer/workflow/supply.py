"""Tells the licence of everything that is installed with this package, and of the weights in its catalogue."""

from __future__ import annotations

import re
from importlib import metadata

from keras_transfer.backbones import registry
from keras_transfer.specs import Value

PACKAGE = "keras-transfer"
LONGEST = 80
"""Characters of a licence field; some packages put the whole text there."""
UNSAID = ("OSI Approved", "License")
"""Classifiers that name no licence."""


class Licence(Value):
    """A thing that comes along, and under what."""

    kind: str
    """`package` or `weights`."""
    name: str
    version: str = ""
    licence: str = ""
    """As its publisher writes it; empty where they write nothing."""


def licences() -> tuple[Licence, ...]:
    """Return the licence of each installed dependency, whatever it is needed by, then of the weights of each backbone.

    >>> [each.licence for each in licences() if each.name == "keras"]
    ['Apache-2.0']
    """
    packages = [
        Licence(kind="package", name=each.metadata["Name"], version=each.version, licence=licence_of(each))
        for _, each in sorted(_installed().items())
    ]
    weights = [
        Licence(kind="weights", name=f"{row.name} {source.name}", licence=source.license)
        for row in registry.select()
        for source in row.weights
    ]
    return (*packages, *weights)


def licence_of(package: metadata.Distribution) -> str:
    """Return what a package says of its licence: as an expression, else by its classifiers, else in words."""
    told = package.metadata
    if "License-Expression" in told:
        return told["License-Expression"]
    named = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or () if each.startswith("License ::")]
    words = (told["License"].strip().splitlines() or [""])[0] if "License" in told else ""
    return ", ".join(each for each in named if each not in UNSAID) or words[:LONGEST]


def _installed() -> dict[str, metadata.Distribution]:
    """The packages that this one needs, and those that they need, as far as they are installed, by name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [PACKAGE]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another system, or an extra that was not asked for
        found[name] = package
        # Extras are followed too: what is installed comes along, whoever asked for it.
        waiting += [re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in package.requires or ()]
    return found
