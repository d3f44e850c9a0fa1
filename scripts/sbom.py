"""Prints what is installed with this package as a bill of materials: CycloneDX 1.6, JSON.

Source: https://cyclonedx.org/docs/1.6/json/
"""

import json
from typing import Any

from keras_transfer.workflow.supply import PACKAGE, Licence, licences


def component(each: Licence) -> dict[str, Any]:
    """A package as CycloneDX has it."""
    named = [{"license": {"name": each.licence}}] if each.licence else []
    purl = f"pkg:pypi/{each.name.lower().replace('_', '-')}@{each.version}"
    return {"type": "library", "name": each.name, "version": each.version, "purl": purl, "licenses": named}


def main() -> None:
    """Print the bill."""
    packages = [each for each in licences() if each.kind == "package"]
    own = next(each for each in packages if each.name.lower().replace("_", "-") == PACKAGE)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(own) | {"type": "application"}},
        "components": [component(each) for each in packages if each != own],
    }
    print(json.dumps(bill, indent=2))


if __name__ == "__main__":
    main()
