"""Hold rows of the catalogue to the contract of tests/backbones_contract.py, each in a process of its own.

    python scripts/backbones_table.py [--processes 2] [--rows FILE.jsonl] [NAME ...] > table.md

Results are appended to --rows as they come, and rows found there are not computed again: a full run takes hours of CPU.
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

COLUMNS = (
    "backbone",
    "blocks",
    "uncovered",
    "scaling",
    "freezing",
    "saved_model",
    "tflite",
    "onnx",
    "cpu_s",
    "peak_gb",
)


def cell(value: object) -> str:
    return f"{value:.1e}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    names = options.names or [spec.name for spec in sorted(registry.rows(), key=lambda spec: spec.parameters)]
    lines = options.rows.read_text().splitlines() if options.rows.exists() else []
    done = {row["backbone"]: row for row in map(json.loads, lines) if "error" not in row}
    with concurrent.futures.ProcessPoolExecutor(
        options.processes, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        futures = [pool.submit(backbones_contract.measured, name) for name in names if name not in done]
        for future in concurrent.futures.as_completed(futures):
            row = future.result()
            done[row["backbone"]] = row
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, file=sys.stderr)
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    for name in names:
        print("| " + " | ".join(cell(done[name].get(column, done[name].get("error", ""))) for column in COLUMNS) + " |")
    return int(any("error" in done[name] for name in names))


if __name__ == "__main__":
    raise SystemExit(main())
