"""Lists the pictures of a manifest: a CSV or Parquet table of paths and labels, perhaps splits, weights and groups."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_transfer.data import box_files, clip_files, mask_files, tags
from keras_transfer.data.annotations import annotation_of
from keras_transfer.data.folders import SPLIT_FOLDERS
from keras_transfer.data.gathering import Listing, gather
from keras_transfer.errors import DataError, first_line, unknown
from keras_transfer.files import MOST_TEXT_BYTES, expanded, read_bytes, regular
from keras_transfer.specs import Listener, Splits, silent

COLUMNS = ("path", "label", "split", "weight", "group", "sha256")

ADDRESS = re.compile(r"(?:https?|ftp|file|s3|gs):(?=/)|[a-z][a-z0-9+.-]+:(?=//)", re.IGNORECASE)
"""How an address begins, which is no path: a well-known one also with a slash too few."""

PLAIN = re.compile(r"(?:[^/.:\0][^/:\0]*/)*[^/.:\0][^/:\0]*")
"""A path that stays in its folder as it is written, and so is not looked at any closer: nearly all of them."""

SHA256 = re.compile(r"[0-9a-f]{64}")

DELIMITERS = (",", ";", "\t")
"""What may stand between the columns of a CSV table: spreadsheets of half of Europe write semicolons."""


MOST_CELLS = 2**28
"""Of a Parquet table, rows times columns: a file of a few bytes can declare any number of equal ones."""


def _read_csv(path: Path) -> Any:
    from pyarrow import csv, string

    content = read_bytes(path, MOST_TEXT_BYTES)
    if b"\0" in content:
        line = 1 + content[: content.index(b"\0")].count(b"\n")
        raise DataError(f"'{path}', line {line}: a NUL byte, which text never holds. Save the table anew, as UTF-8.")
    header = content.partition(b"\n")[0].decode("utf-8", "replace")
    columns = {name: string() for name in (*COLUMNS, "labels", "identity")}
    as_text = csv.ConvertOptions(column_types=columns, strings_can_be_null=True, null_values=[""])
    parsing = csv.ParseOptions(delimiter=max(DELIMITERS, key=header.count))
    return csv.read_csv(io.BytesIO(content), convert_options=as_text, parse_options=parsing)


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    with regular(path, MOST_TEXT_BYTES) as file:
        table = parquet.ParquetFile(file)
        cells = table.metadata.num_rows * table.metadata.num_columns
        if cells > MOST_CELLS:
            raise DataError(f"'{path}' declares {cells:,} cells, and at most {MOST_CELLS:,} are read. Divide it.")
        return table.read()


READERS: dict[str, Callable[[Path], Any]] = {".csv": _read_csv, ".parquet": _read_parquet}
"""How a manifest is read, by its suffix."""


def load(source: str, *, annotation: str = "class", seed: int = 0, listener: Listener = silent) -> Splits:
    """Return the splits of a manifest with the columns path, label and, where it has them, split, weight and group.

    For several labels a picture it has `labels` (`cat|dog`; an empty cell is a picture without one) in place of
    `label`; or neither, and then every other column is a label and holds 0 or 1. Asked for identities it has
    `identity`, else `label`; for masks `mask`, the path of one, and `classes.csv` may stand beside it. For boxes it
    has a row for each, with `x1`, `y1`, `x2`, `y2` in pixels; a picture without objects has one row in which they and
    the label are empty. Asked for clips it may have `start` and `end`, the part of the video in seconds. A file whose
    `sha256` stands in its row is believed to hold that, and is not read before its picture is wanted.
    Paths are relative to the manifest and stay in its folder. Pictures whose split is empty are divided by group where
    they have one, else by content. Raises DataError for a missing column, an empty table, a path that leads elsewhere,
    a weight that is no weight.
    """
    path = expanded(source)
    table = _table(path)
    kind = annotation_of(source, tags.held(table, annotation), asked=annotation)
    if annotation == "identity" and "identity" in table.column_names:
        table = table.append_column("label", table["identity"]) if "label" not in table.column_names else table
        table = table.set_column(table.column_names.index("label"), "label", table["identity"])
    needed = {"classes": ("path",), "identity": ("path", "label")}.get(annotation, kind.columns)
    _check_columns(path, table, needed)
    if not table.num_rows:
        raise DataError(f"'{path}' lists no pictures. Write a row for each: {','.join(kind.columns)}")
    columns = {name: table[name].to_pylist() for name in COLUMNS if name in table.column_names}
    if annotation == "boxes":
        found = box_files.of_table(table, lambda columns: _listed(path, dict(columns)), path.name)
        return box_files.gather_boxes(source, found, seed=seed, listener=listener)
    declared = tags.columns_of(table) if annotation == "classes" else ()
    if annotation == "classes":
        columns["label"] = tags.read(path, table)
    if annotation == "mask":
        columns["label"] = table["mask"].to_pylist()
        masked = [
            each._replace(label=os.path.join(path.parent, _inside(f"'{path}', {each.key}", each.label)))
            for each in _listed(path, columns)
        ]
        return mask_files.gather_masks(source, path.parent, masked, seed=seed, listener=listener)
    free = list(_without_label(path, columns)) if annotation == "class" else []
    listings = list(_listed(path, columns, beside_unlabelled=bool(free)))
    if annotation == "clip":
        times = {name: table[name].to_pylist() for name in clip_files.TIMES if name in table.column_names}
        parts = list(clip_files.of_table(f"'{path}'", listings, times))
        return clip_files.gather_clips(source, parts, seed=seed, listener=listener)
    return gather(
        source, listings, annotation=annotation, declared=declared, unlabelled=free, seed=seed, listener=listener
    )


def listings(path: Path) -> list[Listing]:
    """Return the pictures of a table, one class each; nothing but the table is read. Those without a label come last.

    Raises DataError as `load` does.
    """
    table = _table(path)
    _check_columns(path, table, ("path", "label"))
    columns = {name: table[name].to_pylist() for name in COLUMNS if name in table.column_names}
    return [*_listed(path, columns, beside_unlabelled=True), *_without_label(path, columns)]


def _table(path: Path) -> Any:
    import pyarrow

    try:
        table = READERS[path.suffix.lower()](path)
        table.column_names  # noqa: B018  # Arrow reads the letters of names when it is asked for them
        return table
    except UnicodeDecodeError:
        raise DataError(f"'{path}' has columns whose names are no UTF-8. Save the table anew, as UTF-8.") from None
    except (pyarrow.ArrowException, OSError) as error:
        said = first_line(error)
        reason = f"it is not {path.suffix[1:].upper()}" if "<" in said else said  # Arrow names its own buffers
        raise DataError(f"'{path}' is not a table that can be read: {reason}") from None


def _check_columns(path: Path, table: Any, needed: Sequence[str]) -> None:
    for name in needed:
        if name not in table.column_names:
            meant = unknown("column", name, table.column_names)
            raise DataError(f"'{path}' has no column '{name}'. It has: {', '.join(table.column_names)}. {meant}")


def _without_label(manifest: Path, columns: Mapping[str, Sequence[Any]]) -> Iterator[Listing]:
    """The pictures of rows that have neither label nor split."""
    splits = columns.get("split", [None] * len(columns["path"]))
    for number, (path, label, split) in enumerate(zip(columns["path"], columns["label"], splits, strict=True), start=1):
        if _is_unlabelled(path, label, split):
            inside = _inside(f"'{manifest}', row {number}", path)
            yield Listing(path=os.path.join(manifest.parent, inside), key=inside, label=None)


def _is_unlabelled(path: Any, label: Any, split: Any) -> bool:
    return bool(path) and not _says(label) and not _says(split)


def _says(cell: Any) -> bool:
    return cell is not None and bool(str(cell).strip())


def _listed(manifest: Path, columns: dict[str, Sequence[Any]], *, beside_unlabelled: bool = False) -> Iterator[Listing]:
    """The pictures that have a label; beside_unlabelled: rows without any are listed elsewhere, and are no mistake."""
    folder, empty = os.path.join(manifest.parent, ""), [None] * len(columns["path"])
    rows = zip(*(columns.get(name, empty) for name in COLUMNS), strict=True)
    label_of, split_of, weight_of, group_of = (_once(each) for each in (_label, _split, _weight, _group))
    for number, (path, label, split, weight, group, content) in enumerate(rows, start=1):
        if beside_unlabelled and _is_unlabelled(path, label, split):
            continue
        where = f"'{manifest}', row {number}"
        if not path or (said := label_of(where, label)) is None:
            raise DataError(f"{where}: a path and a label are needed. Received: '{path or ''}', '{label or ''}'")
        inside = path if PLAIN.fullmatch(path) else _inside(where, path)
        yield Listing(
            path=folder + inside,
            key=inside,
            label=said,
            split=split_of(where, split),
            weight=weight_of(where, weight),
            group=group_of(where, group),
            content=_content(where, content),
        )


def _once(understood: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return what understands equal cells once: of a million most say what another said, and so share what is kept."""
    known: dict[Any, Any] = {}

    def of(where: str, cell: Any) -> Any:
        try:
            return known[cell]
        except KeyError:
            known[cell] = understood(where, cell)
            return known[cell]
        except TypeError:  # Parquet has cells that are lists
            return understood(where, cell)

    return of


def _label(where: str, written: Any) -> Any:
    """What a cell says; None where it is empty."""
    if written is None or isinstance(written, tuple):
        return written
    return str(written) if _says(written) else None


def _group(where: str, written: Any) -> str:
    return "" if written is None else str(written).strip()


def _content(where: str, written: Any) -> str:
    if not _says(written):
        return ""
    if not SHA256.fullmatch(str(written)):
        raise DataError(f"{where}: a sha256 has 64 digits, 0-9 and a-f. Received: '{written}'")
    return str(written)


def _inside(where: str, path: str) -> str:
    address = ADDRESS.match(path)
    if address:
        typo = "" if path.startswith("//", address.end()) else ", and this one lacks a slash"
        raise DataError(f"{where}: pictures must be files beside the manifest, not addresses{typo}. Received: '{path}'")
    inside = os.path.normpath(path)
    if os.path.isabs(inside) or inside.split(os.sep)[0] == "..":
        raise DataError(f"{where}: a path must stay in the manifest's folder. Received: '{path}'")
    return inside


def _split(where: str, written: Any) -> str | None:
    if written is None or not str(written).strip():
        return None
    name = SPLIT_FOLDERS.get(str(written).strip().casefold())
    if name is None:
        raise DataError(f"{where}: {unknown('split', str(written), SPLIT_FOLDERS)}")
    return name


def _weight(where: str, written: Any) -> float:
    if written is None or written == "":
        return 1.0
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"{where}: a weight must be a number of at least 0. Received: '{written}'")
    return weight
