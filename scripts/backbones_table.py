"""Hold rows of the catalogue to the contract of tests/backbones_contract.py, each in a process of its own.

    python scripts/backbones_table.py [--processes 2] [--rows FILE.jsonl] [NAME ...] > table.md

Results are appended to --rows as they come, and rows found there under the same version of the contract are not
computed again: a full run takes hours. Exit code 1 where a row breaks the contract.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import backbones_contract

from keras_transfer.backbones import registry

ROWS = Path(__file__).parents[1] / "tests" / "reference" / "backbones_contract.jsonl"
"""What was found so far; delete it to begin anew."""

FOUND = ("backbone", "side", "blocks", "uncovered", "scaling", "freezing", "saved_model", "tflite", "onnx")
COST = ("cpu_s", "peak_gb")
"""Processor time in seconds, and the most memory that was held at once in GiB."""
COLUMNS = (*FOUND, *COST)


def cell(row: dict, column: str) -> str:
    value = row.get(column, row.get("error", ""))
    return f"{value:.1e}" if isinstance(value, float) and column not in COST else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--kept", action="store_true", help="compute nothing; print the rows that are there")
    options = parser.parse_args()
    names = options.names or [spec.name for spec in sorted(registry.rows(), key=lambda spec: spec.parameters)]
    lines = options.rows.read_text().splitlines() if options.rows.exists() else []
    kept = [row for row in map(json.loads, lines) if row.get("version") == backbones_contract.VERSION]
    done = {row["backbone"]: row for row in kept if "error" not in row}
    missing = [] if options.kept else [name for name in names if name not in done]
    with concurrent.futures.ProcessPoolExecutor(
        options.processes, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        futures = [pool.submit(backbones_contract.measured, name) for name in missing]
        for future in concurrent.futures.as_completed(futures):
            row = future.result()
            done[row["backbone"]] = row
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, file=sys.stderr)
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    names = [name for name in names if name in done]
    for name in names:
        print("| " + " | ".join(cell(done[name], column) for column in COLUMNS) + " |")
    passed = sum(backbones_contract.keeps(done[name]) for name in names)
    print(f"\n{passed} of {len(names)} rows keep the contract.")
    return int(passed < len(names))


if __name__ == "__main__":
    raise SystemExit(main())
