"""In what the inputs of two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGEST = " (digest)"
"""At the end of the name of what is known by its digest only."""
WIRES = f"wires of the OpenDSS file{DIGEST}"
"""An input of runs that are judged on all wires."""


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """In what two runs differ, one sentence each."""
    found = []
    for name in dict.fromkeys([*stored, *given]):
        there, here = stored.get(name), given.get(name)
        if there == here:
            continue
        if name.endswith(DIGEST):
            found.append(f"the {name.removesuffix(DIGEST)} differs")
        elif isinstance(there, dict) and isinstance(here, dict):
            found += [
                f"{name}: {key} is {here.get(key)} now, and was {there.get(key)}"
                for key in dict.fromkeys([*there, *here])
                if there.get(key) != here.get(key)
            ]
        else:
            found.append(f"{name}: {here} is asked for, {there} is in the folder")
    return found
