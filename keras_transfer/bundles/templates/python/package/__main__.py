"""The command line: ask about pictures, show what the model is, test it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from . import Model, ModelError, PictureError, about, selftest

VERBS = {
    "classification": "classify",
    "clips": "classify",
    "multilabel": "classify",
    "segmentation": "segment",
    "detection": "detect",
    "embedding": "embed",
}
"""What is done to a picture, by task."""
SHOWN = 5
"""Classes a line tells of."""


def main(given: list[str] | None = None) -> int:
    """Do what the arguments ask; return the exit code."""
    described = about()
    parser = argparse.ArgumentParser(prog=described["name"], description=described["summary"])
    verbs = parser.add_subparsers(dest="verb", required=True)
    thing = "video" if described["frames"] else "picture"
    asking = verbs.add_parser(VERBS[described["task"]], help=f"say what {thing}s show")
    asking.add_argument("pictures", nargs="+", metavar=thing.upper())
    asking.add_argument("--json", action="store_true", help="print a JSON list")
    verbs.add_parser("selftest", help="compare the golden pictures' answers with what they must be")
    verbs.add_parser("about", help="print what the model is, as JSON")
    asked = parser.parse_args(given)
    if asked.verb == "about":
        print(json.dumps(described, indent=2, ensure_ascii=False))
        return 0
    try:
        return _tested() if asked.verb == "selftest" else _asked(asked.pictures, asked.json)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1


def _asked(pictures: list[str], as_json: bool) -> int:
    model, said, failed = Model(), [], False
    for picture in pictures:
        try:
            answer = model.ask(picture)
        except PictureError as error:
            failed = True
            print(f"'{picture}' {error}.", file=sys.stderr)
            continue
        said.append({"picture": picture, **answer})
        if not as_json:
            print(f"{picture}  {_line(answer)}")
    if as_json:
        print(json.dumps(said, indent=2, ensure_ascii=False))
    return int(failed)


def _tested() -> int:
    compared = selftest()
    for each in compared:
        print(f"{'pass' if each.passed else 'FAIL'}  {each.picture}  differs by {each.difference:.1e}")
    failed = sum(not each.passed for each in compared)
    print(f"self-test {'failed' if failed else 'passed'}: {len(compared) - failed} of {len(compared)} pictures")
    return int(failed > 0)


def _line(answer: dict[str, Any]) -> str:
    shares = answer.get("probabilities") or answer.get("areas")
    if shares:
        told = ", ".join(f"{name} {share:.1%}" for name, share in list(shares.items())[:SHOWN])
        return f"{', '.join(answer['labels']) or 'none'} ({told})" if "labels" in answer else told
    if "boxes" in answer:
        return ", ".join(f"{each['class_name']} {each['score']:.1%}" for each in answer["boxes"]) or "nothing"
    return " ".join(f"{each:.4f}" for each in answer["embedding"])


if __name__ == "__main__":
    sys.exit(main())
