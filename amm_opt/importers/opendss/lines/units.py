"""Units of length of OpenDSS."""

from __future__ import annotations

from amm_opt.importers.opendss.elements.component import UnsupportedError

METRES = {
    "mi": 1609.344,
    "kft": 304.8,
    "km": 1000.0,
    "m": 1.0,
    "ft": 0.3048,
    "in": 0.0254,
    "cm": 0.01,
    "mm": 0.001,
}
LONG = {"mile": "mi", "miles": "mi", "me": "m", "meter": "m"}
"""Longer words for them that every version of OpenDSS reads alike; some take ``meters`` for no unit, some for m."""


def unit(value: str) -> str | None:
    """A unit of length; None for ``none``.

    Raises:
        UnsupportedError: where it is unknown.
    """
    name = value.lower()
    if name == "none":
        return None
    found = LONG.get(name, name)
    if found not in METRES:
        raise UnsupportedError(f"unknown units {value!r}; valid choices: none, {', '.join(METRES)}")
    return found


def ratio(old: str | None, new: str | None) -> float:
    """Factor on a value per ``old`` unit that makes it one per ``new`` unit; 1 where either is unknown."""
    return METRES[new] / METRES[old] if old and new else 1.0
