"""Reads what a run folder tells: its stages, its figures, its files and their proofs, its bundles."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_transfer import runs
from keras_transfer.errors import KerasTransferError
from keras_transfer.files import MOST_TEXT_BYTES, read_bytes
from keras_transfer.studio.ids import id_of

REPORT = "report.html"


def listed(folder: Path) -> list[dict[str, Any]]:
    """Return the runs of a folder for a list to choose from, the newest first, unfinished ones included."""
    found = []
    for place in _places(folder):
        told = {"id": id_of("run", str(place)), "name": place.name, "finished": False}
        try:
            record = runs.open_run(place).record
        except KerasTransferError:
            found.append(told)
            continue
        test = next(iter(record.test.values()), None)
        told |= {"finished": record.finished, "task": record.plan.task, "merit_name": record.merit_name, "test": test}
        found.append(told | {"backbone": record.plan.backbone, "seconds": record.seconds})
    return found


def place_of(folder: Path, id: str) -> Path | None:
    """Return the run folder of an id; None where there is none."""
    return next((place for place in _places(folder) if id_of("run", str(place)) == id), None)


def described(place: Path, spread: Callable[[Mapping[str, float | None], int], float]) -> dict[str, Any]:
    """Return all that the page shows of a finished run.

    spread: of the first of its figures; see `Given.spread`.
    """
    run = runs.open_run(place)
    record = run.record
    return {
        "id": id_of("run", str(place)),
        "name": place.name,
        "finished": record.finished,
        "task": record.plan.task,
        "backbone": record.plan.backbone,
        "image_size": record.image_size,
        "merit_name": record.merit_name,
        "class_names": record.class_names[:1000],
        "counts": record.counts,
        "seconds": record.seconds,
        "test": {name: plain(value) for name, value in record.test.items()},
        "spread": plain(spread(record.test, record.counts["test"])) if record.test else None,
        "planned": record.plan.exports,
        "exports": exports(place),
        "bundles": [
            {"id": id_of("bundle", str(each)), "name": each.name, "bytes": each.stat().st_size}
            for each in packed(place)
        ],
        "report": (place / REPORT).is_file(),
    }


def exports(place: Path) -> list[dict[str, Any]]:
    """Return the exported files with what was proven of each, those that were set aside last.

    Formats: `exports/manifest.json` and `exports/proofs.json`, which other programs may read as well.
    """
    manifest, proofs = (_document(place / "exports" / name) for name in ("manifest.json", "proofs.json"))
    proven = {each["artifact"]["sha256"]: each for each in proofs.get("proofs", ())}
    rows = [(each, "") for each in manifest.get("artifacts", ())]
    rows += [(each["artifact"], each["reason"]) for each in manifest.get("rejected", ())]
    return [_row(artifact, reason, proven.get(artifact["sha256"])) for artifact, reason in rows]


def _row(artifact: dict[str, Any], reason: str, proof: dict[str, Any] | None) -> dict[str, Any]:
    told = {"name": artifact["path"], "format": artifact["format"], "precision": artifact["precision"]}
    told |= {"bytes": artifact["size_bytes"], "rejected": reason}
    if not proof:
        return told
    parity, latency = proof["parity"], proof["latency"]
    return told | {
        "merit": plain(parity["accuracy"]),
        "agreement": plain(parity["agreement"]),
        "largest": plain(parity["max_difference"]),
        "pictures": parity["pictures"],
        "milliseconds": plain(latency["median_ms"]),
    }


def packed(place: Path) -> list[Path]:
    """Return the bundles of a run as they are downloaded."""
    return sorted((place / "bundles").glob("*.zip"))


def plain(value: Any) -> Any:
    """Return a number as JSON has it: what is none, or has no end, is null."""
    return value if not isinstance(value, float) or math.isfinite(value) else None


def _places(folder: Path) -> list[Path]:
    """Run folders, the last written first; a folder whose training only began has a plan and no record."""
    places = {path.parent for name in (runs.RECORD, runs.PLAN) for path in folder.glob(f"*/{name}")}
    return sorted(places, key=lambda place: -place.stat().st_mtime)


def _document(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(read_bytes(path, MOST_TEXT_BYTES))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
