"""Print pip constraints that pin every dependency to the lowest release that pyproject.toml declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

SIMPLE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*])?>=(?P<version>[0-9.]+)(; python_version >= '3[.]\d+')?$")


def constraints(document: str) -> list[str]:
    """``name==version`` of all dependencies and extras; those on the project itself are left out.

    A constraint on what the Python at hand does not need is without effect.
    """
    project = tomllib.loads(document)["project"]
    listed = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    pins = {}
    for requirement in listed:
        if requirement.startswith(f"{project['name']}["):
            continue
        found = SIMPLE.match(requirement)
        if found is None:
            raise SystemExit(f"pyproject.toml: {requirement!r} declares no lowest release as name>=version")
        pins[found["name"]] = f"{found['name']}=={found['version']}"
    return sorted(pins.values())


if __name__ == "__main__":
    print("\n".join(constraints(Path("pyproject.toml").read_text(encoding="utf-8"))))
