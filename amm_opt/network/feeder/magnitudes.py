"""Numbers that no network has: written in another unit. Bands are wide, so that honest data never meet them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray

HIGHEST_KV, LOWEST_KV = 1500.0, 0.02
"""Highest and lowest nominal voltage anywhere."""
PROBABLY_VOLTS_KV = 200.0
"""From here on a nominal voltage is taken for volts unless ``tier`` says MV: 230 and 400 are usual ones in V."""
PERCENT_PU = 50.0
TAPS = (0.4, 2.5)
LEAST_KVA = {"transformer": 0.5, "line": 0.05, "switch": 0.05}
WEAKEST_KVA = 0.1
"""Short-circuit power through one branch alone; a house needs some 1000 times as much."""
LARGEST_DROP, LEAST_DROP = 40.0, 2e-4
"""Voltage drop at a branch's rating, in pu: a transformer has 0.01 to 0.2, the longest line less than 5, and a
rating of 1,000 kVA that stands for none on a thin line 20."""
HIGHEST_KVA = {"transformer": 5e6, "line": 5e3, "switch": 5e3}
"""A rating from here on says that there is no limit: it is compared with nothing."""
MVA_TRANSFORMERS = (0.5, 2.5)
"""Ratings of low-voltage transformers in MVA."""
SUSPECT_KVA = 5_000.0
"""From here on a shunt or charging at low voltage is taken for W or var."""


def odd_buses(buses: pd.DataFrame, tier: pd.Series[object]) -> Iterator[str]:
    """One sentence per number of a bus that seems to have another unit; ``tier`` as given, None where it is not."""
    columns = ("name", "vn_kv", "v_min_pu", "v_max_pu", "v_source_pu")
    for (name, kv, low, high, held), stated in zip(buses[list(columns)].to_numpy(object), tier, strict=True):
        if kv >= HIGHEST_KV or (kv >= PROBABLY_VOLTS_KV and stated != "MV"):
            yield f"bus {name!r}: vn_kv = {kv:g} must be in kV: is it in V?" + (
                "" if kv >= HIGHEST_KV else " (if it is in kV, give the bus tier = MV)"
            )
        elif 0 < kv < LOWEST_KV:
            yield f"bus {name!r}: vn_kv = {kv:g} must be in kV: is it in MV?"
        if high > PERCENT_PU:
            unit = "%" if high <= 2 * PERCENT_PU + 50 and low > PERCENT_PU else "V"
            yield f"bus {name!r}: the voltage band {low:g} to {high:g} must be in pu of vn_kv: is it in {unit}?"
        elif 0 < low < high and (high < 0.5 or (kv > 2 and 0.5 * kv < low <= kv <= high < 2 * kv)):
            yield f"bus {name!r}: the voltage band {low:g} to {high:g} must be in pu of vn_kv: is it in kV?"
        if np.isfinite(held) and (held > 2.0 or 0 < held < 0.5):
            yield f"bus {name!r}: v_source_pu = {held:g} must be in pu of vn_kv, such as 1.02"


def odd_shunts(table: pd.DataFrame, vn_kv: FloatArray, column: str, total: FloatArray) -> Iterator[str]:
    """One sentence per shunt or charging at low voltage that seems to be in W or var; ``total`` of its phases."""
    what, unit = ("branch", "kvar") if column == "charging_kvar" else ("bus", column.rpartition("_")[2])
    for i in np.flatnonzero((vn_kv < 1.0) & (np.abs(total) >= SUSPECT_KVA)):
        unit = unit.replace("kw", "kW")
        yield (
            f"{what} {table['name'].iloc[i]!r}: {column} = {total[i]:g} must be in {unit}, at low voltage: is it in"
            f" {unit[1:]}?"
        )


def odd_branches(branches: pd.DataFrame, buses: pd.DataFrame, factors: FloatArray) -> Iterator[str]:
    """One sentence per number of a branch that seems to have another unit; ``factors`` (rows, 3) on its taps."""
    vn_kv = buses.drop_duplicates("name").set_index("name")["vn_kv"].to_dict()
    columns = ("name", "to_bus", "kind", "rating_kva", "tap", "z_ohm")
    rows = branches[list(columns)].itertuples(index=False, name=None)
    for (name, to_bus, kind, rating, tap, z), own in zip(rows, factors, strict=True):
        if 0 < rating < LEAST_KVA.get(kind, 0.0):
            yield f"branch {name!r}: rating_kva = {rating:g} must be in kVA: is it in MVA?"
        by_phase = "" if (own == 1).all() else " times phase_taps"
        if tap * own.max() > TAPS[1] or 0 < tap * own.min() < TAPS[0]:
            yield f"branch {name!r}: tap = {tap:g}{by_phase} must be a ratio near 1, neither a position nor in %"
        largest = float(np.abs(np.diagonal(z)).max())
        volts = vn_kv.get(to_bus, np.nan) * 1000.0
        if largest > 0 and volts > 0 and volts**2 / largest < WEAKEST_KVA * 1000.0:
            yield (
                f"branch {name!r}: an impedance of {largest:g} ohm at {volts:g} V lets {volts**2 / largest / 1000:.2g}"
                " kVA through: r_ohm and x_ohm must be in ohm: are they in mohm?"
            )
        elif largest > 0 and volts > 0 and np.isfinite(rating):
            yield from _unfit(name, kind, largest, volts, rating)


def _unfit(name: object, kind: str, ohm: float, volts: float, rating: float) -> Iterator[str]:
    """A sentence where rating and impedance of a branch do not fit each other."""
    drop = ohm * 1000.0 * rating / volts**2
    if drop > LARGEST_DROP and rating < HIGHEST_KVA.get(kind, 0.0):
        side = ", or referred to the other side" if kind == "transformer" else ""
        yield (
            f"branch {name!r}: rating_kva = {rating:g} through {ohm:g} ohm at {volts:g} V drops {drop:g} times the"
            f" voltage: are r_ohm and x_ohm in mohm{side}, or is the rating in VA? (leave it empty for no limit)"
        )
    if (
        kind == "transformer"
        and volts < 1000.0
        and drop < LEAST_DROP
        and MVA_TRANSFORMERS[0] <= rating <= MVA_TRANSFORMERS[1]
    ):
        yield (
            f"branch {name!r}: rating_kva = {rating:g} must be in kVA: with {ohm:g} ohm at {volts:g} V its"
            f" short-circuit voltage would be {100.0 * drop:.2g} %: is it in MVA?"
        )
