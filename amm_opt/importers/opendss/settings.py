"""What a caller of the OpenDSS importer may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amm_opt.errors import InputError
from amm_opt.fields import shortened

LV_BAND_PU = (216.0 / 230.0, 253.0 / 230.0)
MV_BAND_PU = (0.9, 1.1)
OTHERS, GUESS = "*", "guess"
"""Ratings of all line codes that have no other, and what is said of one that is to be guessed."""


@dataclass(frozen=True)
class Settings:
    """Arguments of ``from_opendss``, which says what they mean; names of ratings are in lower case."""

    xhl: str
    neutral: str
    ratings: Mapping[str, float | str]
    nominal_kv: list[float] | None
    bands: Mapping[str, tuple[float, float]]


def checked_settings(
    xhl: str,
    neutral: str,
    ratings: Mapping[str, float | str] | float | str | None,
    nominal_kv: Sequence[float] | None,
    bands: Mapping[str, tuple[float, float]],
) -> Settings:
    """Settings whose values are possible.

    Raises:
        InputError: everything that is wrong with them.
    """
    problems = [
        f"{name} = {value!r}; valid choices: {', '.join(valid)}"
        for name, value, valid in (
            ("xhl", xhl, ("percent", "per_unit")),
            ("neutral", neutral, ("auto", "kron", "return")),
        )
        if not isinstance(value, str) or value not in valid
    ]
    if isinstance(ratings, Mapping):
        own = {str(name).lower(): amps for name, amps in ratings.items()}
    else:
        own = {} if ratings is None else {OTHERS: ratings}
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
        if not (isinstance(band, tuple | list) and len(band) == 2 and all(map(_positive, band)) and band[0] < band[1]):
            problems.append(f"{tier.lower()}_band_pu = {shortened(band)} must be two numbers in pu, the lower first")
    given = list(nominal_kv) if nominal_kv is not None else None
    problems += [f"nominal_kv: {v!r} must be a positive number of kV" for v in given or [] if not _positive(v)]
    if problems:
        raise InputError(problems)
    return Settings(xhl, neutral, own, given, bands)


def _is_list(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence | None) and not isinstance(value, str | bytes)


def _positive(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | complex) and bool(value > 0)
