"""What a caller of the OpenDSS importer may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from amm_opt.errors import InputError
from amm_opt.fields import shortened

AS_60038 = "AS 60038"
STANDARDS = {
    AS_60038: ((216.0 / 230.0, 253.0 / 230.0), (0.9, 1.1)),
    "IEC 60038": ((0.9, 1.1), (0.9, 1.1)),
    "ANSI C84.1": ((0.95, 1.05), (0.975, 1.05)),
}
"""Bands of buses below 1 kV and of the others: AS 60038 (2022) and IEC 60038 (2009), supply voltage;
ANSI C84.1 (2020), service voltage of range A, whose upper band begins at 600 V."""
AS_STATED, HELD = "as_stated", "set_point"
"""Taps as the file leaves them, or where regulators come to rest."""
SOLVED = "solved"
"""Loads at the voltages that they meet."""
NOMINAL_KV, NEAR_NOMINAL = 0.4, 0.1
"""Of the standards with 230 V: their band in volts is that of 400 V, whatever near it a file calls nominal."""
SHAPES, SOLVE = ("yearly", "daily", "duty"), "solve"
"""Load shapes that may count, and the hour at which the file's last solve ends."""
LATEST = 1e6
OTHERS, GUESS = "*", "guess"
"""Ratings of all line codes that have no other, and what is said of one that is to be guessed."""


@dataclass(frozen=True)
class Settings:
    """Arguments of ``from_opendss``, which says what they mean; names of ratings are in lower case.

    Attributes:
        standard: of the bands; empty where the caller gave both.
        in_volts: whether the band of LV is that of a standard with 230 V.
    """

    xhl: str
    neutral: str
    ratings: Mapping[str, float | str]
    nominal_kv: list[float] | None
    bands: Mapping[str, tuple[float, float]]
    standard: str
    in_volts: bool
    load_voltage_pu: float | str
    sources: list[str] | None
    source_impedance: bool = True
    regulators: str = AS_STATED
    shapes: str | None = None
    hour: float | str | None = None

    @property
    def load_pu(self) -> float:
        """Voltage at which loads are taken before any power flow."""
        return 1.0 if isinstance(self.load_voltage_pu, str) else self.load_voltage_pu

    def band(self, tier: str, vn_kv: float) -> tuple[float, float]:
        """Band of a bus in pu of its nominal voltage."""
        near = self.in_volts and tier == "LV" and abs(vn_kv / NOMINAL_KV - 1.0) <= NEAR_NOMINAL
        factor = NOMINAL_KV / vn_kv if near else 1.0
        low, high = self.bands[tier]
        return factor * low, factor * high


def checked_settings(
    xhl: str,
    neutral: str,
    ratings: Mapping[str, float | str] | float | str | None,
    nominal_kv: Sequence[float] | None,
    bands: Mapping[str, tuple[float, float] | None],
    standard: str,
    load_voltage_pu: float | str,
    sources: Sequence[str] | None,
    source_impedance: bool = True,
    regulators: str = AS_STATED,
    shapes: str | None = None,
    hour: float | str | None = None,
) -> Settings:
    """Settings whose values are possible.

    Raises:
        InputError: everything that is wrong with them.
    """
    words = {"xhl": xhl, "neutral": neutral, "standard": standard, "regulators": regulators}
    problems = _unknown_words({**words, "shapes": SHAPES[0] if shapes is None else shapes})
    own = _by_code(ratings)
    for name, amps in own.items():
        if not ((isinstance(amps, str) and amps == GUESS) or _positive(amps)):
            where = "" if not isinstance(ratings, Mapping) else f"[{name!r}]"
            problems.append(
                f"ratings{where} = {shortened(amps)} must be a positive number of A, inf or {GUESS!r}, or a dictionary"
                f" of these by line code, with {OTHERS!r} for all others"
            )
    if not _is_list(nominal_kv):
        problems.append(f"nominal_kv = {shortened(nominal_kv)} must be a list of kV")
        nominal_kv = None
    for tier, band in bands.items():
        if band is not None and not (
            isinstance(band, tuple | list) and len(band) == 2 and all(map(_positive, band)) and band[0] < band[1]
        ):
            problems.append(f"{tier.lower()}_band_pu = {shortened(band)} must be two numbers in pu, the lower first")
    given = list(nominal_kv) if nominal_kv is not None else None
    problems += [f"nominal_kv: {v!r} must be a positive number of kV" for v in given or [] if not _positive(v)]
    at = load_voltage_pu
    if not (at == SOLVED if isinstance(at, str) else _positive(at) and 0.5 <= at <= 1.5):
        problems.append(f"load_voltage_pu = {shortened(at)} must be within 0.5 to 1.5 pu, or {SOLVED!r}")
    if not _is_list(sources) or not all(isinstance(name, str) for name in sources or []) or sources == []:
        problems.append(f"sources = {shortened(sources)} must be a list of names of sources or their buses")
    if not (hour is None or hour == SOLVE or (_number(hour) and 0 <= float(hour) <= LATEST)):
        problems.append(f"hour = {shortened(hour)} must be {SOLVE!r} or a number from 0 to {LATEST:g}")
    if source_impedance not in (True, False):
        problems.append(f"source_impedance = {shortened(source_impedance)} must be true or false")
    if problems:
        raise InputError(problems)
    usual = dict(zip(("LV", "MV"), STANDARDS[standard], strict=True))
    chosen = {tier: usual[tier] if band is None else (band[0], band[1]) for tier, band in bands.items()}
    named = standard if any(band is None for band in bands.values()) else ""
    in_volts = bands["LV"] is None and not standard.startswith("ANSI")
    kept = None if sources is None else list(sources)
    return Settings(
        *(xhl, neutral, own, given, chosen, named, in_volts, load_voltage_pu, kept, source_impedance, regulators),
        *(shapes, hour),
    )


def _unknown_words(given: Mapping[str, str]) -> list[str]:
    """Problems with words that are none of the valid ones."""
    valid = {
        "xhl": ("percent", "per_unit"),
        "neutral": ("auto", "kron", "return"),
        "standard": tuple(STANDARDS),
        "regulators": (AS_STATED, HELD),
        "shapes": SHAPES,
    }
    return [
        f"{name} = {value!r}; valid choices: {', '.join(valid[name])}"
        for name, value in given.items()
        if not isinstance(value, str) or value not in valid[name]
    ]


def _by_code(ratings: Mapping[str, float | str] | float | str | None) -> dict[str, float | str]:
    """Ratings by line code, in lower case; one that is not in a dictionary is for all others."""
    if isinstance(ratings, Mapping):
        return {str(name).lower(): amps for name, amps in ratings.items()}
    return {} if ratings is None else {OTHERS: ratings}


def _is_list(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence | None) and not isinstance(value, str | bytes)


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | complex)


def _positive(value: object) -> bool:
    return _number(value) and bool(value > 0)
