"""The verb about what comes along."""

from __future__ import annotations

from rich.table import Table

from keras_transfer.cli.options import Json
from keras_transfer.cli.showing import plain, print_json, show


def licences(as_json: Json = False) -> None:
    """List the licence of every installed dependency, and of the weights of every backbone."""
    from keras_transfer import workflow

    found = workflow.licences()
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    table = Table("what", "name", "version", "licence")
    for each in found:
        table.add_row(each.kind, plain(each.name), each.version or "-", plain(each.licence or "it does not say"))
    show(table)
