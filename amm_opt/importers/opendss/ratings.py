"""Ampacities by conductor, for files that carry none: assumptions, to be replaced by the operator's own figures.

The rows follow the order of magnitude of cable makers' tables for Australian practice (AS/NZS 3008.1.1 for low-voltage
cables in ducts and aerial bundles; makers' tables for 11 kV cables and bare aluminium conductors in summer), rounded,
without any derating for the installation. Cross-section and material are read from the name of the line code.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LV = "assumed: AS/NZS 3008.1.1, cable in duct, rounded"
_ABC = "assumed: makers' tables for aerial bundles, AS/NZS 3560.1, rounded"
_HV = "assumed: makers' tables for 11 kV cables in duct, rounded"
_BARE = "assumed: makers' tables for bare aluminium in summer, AS 1531, rounded"
_GENERIC = "assumed: cable of about the same resistance"


class Rating(NamedTuple):
    """An ampacity and where it comes from."""

    amps: float
    conductor: str
    source: str


CATALOGUE: tuple[tuple[str, Rating], ...] = (
    (r"^ugsc_16cu", Rating(95.0, "16 mm2 Cu service cable", _LV)),
    (r"^uglv_4cu", Rating(40.0, "4 mm2 Cu service cable", _LV)),
    (r"^uglv_120cu", Rating(300.0, "120 mm2 Cu, LV", _LV)),
    (r"^uglv_185cu", Rating(385.0, "185 mm2 Cu, LV", _LV)),
    (r"^uglv_240al", Rating(360.0, "240 mm2 Al, LV cable", _LV)),
    (r"^abc4x16", Rating(78.0, "16 mm2 aerial bundle", _ABC)),
    (r"^abc4x95", Rating(215.0, "95 mm2 aerial bundle", _ABC)),
    (r"^ughv_95al", Rating(205.0, "95 mm2 Al, 11 kV", _HV)),
    (r"^ughv_240al", Rating(335.0, "240 mm2 Al, 11 kV", _HV)),
    (r"^ughv_240cu", Rating(430.0, "240 mm2 Cu, 11 kV", _HV)),
    (r"^ughv_400al", Rating(430.0, "400 mm2 Al, 11 kV", _HV)),
    (r"^moon_", Rating(345.0, "Moon 7/4.75 AAC", _BARE)),
    (r"^pluto_", Rating(495.0, "Pluto 19/3.75 AAC", _BARE)),
    (r"^generic/lv", Rating(360.0, "generic LV", _GENERIC)),
    (r"^generic/hv", Rating(335.0, "generic 11 kV", _GENERIC)),
)


GUESS_A, GUESS_SLOPE = 98.0, -0.59
"""Amperes of a conductor of 1 ohm/km, and the slope against its resistance: through the catalogue's conductors, which
it meets within an eighth."""


def assumed_rating(name: str) -> Rating | None:
    """What the catalogue says of a line code, or of a line without one."""
    return next((rating for pattern, rating in CATALOGUE if re.match(pattern, name.lower())), None)


def guessed_rating(name: str, ohm_per_km: float) -> Rating | None:
    """What a conductor of this resistance, and so of this cross-section, usually carries; None where it has none.

    Heat grows with I^2 R and leaves through the surface, which grows with the root of the cross-section (ours).
    """
    if not ohm_per_km > 0:
        return None
    amps = GUESS_A * ohm_per_km**GUESS_SLOPE
    step = 5.0 if amps > 20.0 else 1.0
    return Rating(max(step, step * round(amps / step)), name, "guessed from resistance: an assumption to be replaced")
