"""The verb about backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from keras_transfer.cli.options import Json
from keras_transfer.cli.showing import explain, out, print_json, show, suggest
from keras_transfer.errors import UsageError
from keras_transfer.specs import BackboneSpec

MEANINGS = {
    "input": "side in pixels of the pictures it was trained on",
    "ImageNet top-1": "share of 50,000 photographs whose first guess among 1,000 classes is right",
    "weights": "packages that bring them, or where Keras fetches them; none: they must be given with --weights FILE",
}
MEANINGS_OF_BLOCKS = {
    "multiply-adds": "how much it computes for a picture",
    "features storable": "whether what is frozen can end there, and be computed once",
}


def backbones(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One backbone; all where left out.")] = None,
    having: Annotated[list[str] | None, typer.Option("--with", help="Trait, licence, or part of a name.")] = None,
    lacking: Annotated[list[str] | None, typer.Option("--without", help="The same, to leave out.")] = None,
    sort: Annotated[str | None, typer.Option(help="name, input, parameters or top1.")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the ImageNet weights of NAME now.")] = False,
    blocks: Annotated[bool, typer.Option("--blocks", help="Show how NAME is cut into blocks.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels for --blocks.")] = None,
    as_json: Json = False,
) -> None:
    """List the networks to start from, with what matters at the edge."""
    if (fetch or blocks) and name is None:
        raise UsageError("--fetch and --blocks are about one backbone. Name it: keras-transfer backbones NAME --blocks")
    if fetch:
        _fetch(str(name), as_json)
    elif blocks:
        _show_blocks(str(name), image_size, as_json)
    else:
        _show_backbones([*(having or ()), *([name] if name else ())], lacking or (), sort, as_json)


def _fetch(name: str, as_json: bool) -> None:
    from keras_transfer import workflow

    source = workflow.fetch(name)
    if as_json:
        print_json({"name": name, "weights": source})
        return
    out.print(f"The weights of {name} are here: {source}.")
    suggest("train FOLDER --backbone", name)


def _show_blocks(name: str, image_size: int | None, as_json: bool) -> None:
    from keras_transfer import workflow

    shapes = workflow.backbone_blocks(name, image_size)
    if as_json:
        print_json([shape.model_dump() for shape in shapes])
        return
    table = Table("block", "output", "parameters", "multiply-adds", "share of the compute", "features storable")
    for shape in shapes:
        output = f"{shape.resolution}x{shape.resolution}x{shape.channels}"
        bar = f"{shape.share:5.1%} " + "█" * round(20 * shape.share)
        parameters, work = f"{shape.parameters / 1e6:.2f} M", f"{shape.multiply_adds / 1e6:.0f} M"
        table.add_row(str(shape.index), output, parameters, work, bar, "yes" if shape.storable else "no")
    show(table)
    explain(MEANINGS_OF_BLOCKS)
    suggest("train FOLDER --backbone", name)


def _show_backbones(having: Sequence[str], lacking: Sequence[str], sort: str | None, as_json: bool) -> None:
    from keras_transfer import workflow

    rows = workflow.backbones(having=having, lacking=lacking, sort=sort)
    if as_json:
        print_json([_backbone_row(row) for row in rows])
        return
    table = Table("name", "input", "parameters", "ImageNet top-1", "traits", "weights")
    for row in rows:
        shown = _backbone_row(row)
        top1 = f"{row.top1:.1%}" if row.top1 else "-"
        millions = f"{row.parameters / 1e6:.1f} M"
        traits, weights = ", ".join(shown["traits"]), ", ".join(shown["weights"])
        table.add_row(row.name, str(row.input_size), millions, top1, traits, weights)
    show(table)
    explain(MEANINGS)
    suggest("train FOLDER --backbone NAME")


def _backbone_row(row: BackboneSpec) -> dict[str, Any]:
    return {
        "name": row.name,
        "family": row.family,
        "input_size": row.input_size,
        "min_size": row.min_size,
        "scaling": row.scaling,
        "parameters": row.parameters,
        "top1": row.top1,
        "traits": sorted(row.traits),
        "weights": [source.name for source in row.weights],
    }
