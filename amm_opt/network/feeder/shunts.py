"""Shunts of buses and the charging of lines: reading them, and what they inject at nominal voltage."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.arrays import ComplexArray, FloatArray, IntArray
from amm_opt.errors import shown
from amm_opt.network.feeder.phases import PHASES

BUS_SHUNTS = {"shunt_kw": 0.0, "shunt_kvar": 0.0}
BRANCH_SHUNTS = {"charging_kvar": 0.0}
DELTA_SHUNTS = {"delta_kw": "shunt_kw", "delta_kvar": "shunt_kvar"}
"""Optional columns of the buses: how much of their shunts is between phases, without ground."""


def per_phase(table: pd.DataFrame, column: str, what: str) -> tuple[FloatArray, list[str]]:
    """A column of totals (numbers), or of texts with one number per phase, and what is wrong with it.

    Returns:
        (rows, 3): phases a, b, c; the total of a balanced element (phase ``pos``) stands first.
    """
    values, problems = np.zeros((len(table), 3)), []
    for i, (raw, name, phases) in enumerate(zip(table[column], table["name"], table["phases"], strict=True)):
        if isinstance(raw, float | int) and raw == 0:
            continue
        own = phases or PHASES[:1]
        found = _numbers(raw, len(own))
        if found is None:
            several = f", or one number per phase ({' '.join(own)}) in a text" if len(own) > 1 else ""
            problems.append(f"{what} {name!r}: {column} = {shown(raw)} must be a finite number{several}")
            continue
        values[i, [PHASES.index(p) if p in PHASES else 0 for p in own]] = found
    return values, problems


def _numbers(raw: object, count: int) -> list[float] | None:
    """One number per phase from a total or a text; None where it is neither."""
    if isinstance(raw, bool | np.bool_):
        return None
    try:
        given = [float(word) for word in (raw.split() if isinstance(raw, str) else [raw])]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if len(given) not in (1, count) or not all(map(math.isfinite, given)):
        return None
    return given if len(given) == count else [given[0] / count] * count


def unfed(values: NDArray[np.generic], fed: Iterable[tuple[str, ...]], names: Iterable[str]) -> list[str]:
    """Problems with shunts on a phase that no branch feeds.

    Args:
        values: (n, 3) shunts of the buses; ``fed`` the phases that arrive at each and ``names`` their names.
    """
    return [
        f"bus {name!r}: it has a shunt on phase {p}, but only {''.join(own)} arrives there"
        for name, own, row in zip(names, fed, values, strict=True)
        for p, value in zip(PHASES, row, strict=True)
        if value != 0 and "pos" not in own and p not in own
    ]


def at_buses(shunt_kva: ComplexArray, charging_kvar: FloatArray, ends: IntArray) -> ComplexArray:
    """(n, 3) complex kVA injected at every bus at nominal voltage: its shunt and half the charging of its branches."""
    half, total = 0.5j * charging_kvar, shunt_kva.copy()
    np.add.at(total, ends[1], half)
    np.add.at(total, ends[0, 1:], half[1:])
    return np.asarray(total)


def delta_shunts(buses: pd.DataFrame) -> tuple[ComplexArray, list[str]]:
    """(rows,) complex kVA that the part of the shunts between phases injects at nominal voltage; what is wrong with it.

    Args:
        buses: with ``name`` and ``phases`` and, where there are such shunts, the columns ``DELTA_SHUNTS``.
    """
    parts, problems = np.zeros((2, len(buses))), []
    for values, column in zip(parts, DELTA_SHUNTS, strict=True):
        given = buses[column] if column in buses else pd.Series(0.0, index=buses.index)
        for i, (raw, name, phases) in enumerate(zip(given, buses["name"], buses["phases"], strict=True)):
            found = [0.0] if (isinstance(raw, float) and math.isnan(raw)) or raw is None else _numbers(raw, 1)
            if found is None or (found[0] and phases != PHASES):
                problems.append(
                    f"bus {name!r}: {column} = {shown(raw)} must be a finite number, at a bus on phases abc"
                )
            else:
                values[i] = found[0]
    return 1j * parts[1] - parts[0], problems


def at_stars(z_ohm: ComplexArray, vn_kv: FloatArray, bus: IntArray, n: int) -> ComplexArray:
    """(n,) complex kVA that grounded stars inject on each phase at a zero-sequence voltage of 1 pu.

    Args:
        z_ohm: three times the impedance behind each star, in ohm of the delta's nominal voltage ``vn_kv``.
        bus: where the stars are.
    """
    total = np.zeros(n, dtype=complex)
    np.add.at(total, bus, -np.conj(1000.0 * vn_kv**2 / z_ohm))
    return total
