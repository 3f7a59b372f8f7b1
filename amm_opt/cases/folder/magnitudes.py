"""Powers of customers that no customer has: written in W. Bands are wide, so that honest data never meet them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.arrays import BoolArray
from amm_opt.cases.profiles import REACTIVE
from amm_opt.network import Feeder

SUSPECT_KW = (5_000.0, 500_000.0)
"""At low voltage a power between these is taken for W; what is above says that there is no limit."""
SUSPECT_SESSION_KW = 2_000.0
LARGEST = 1e12
"""Beyond this a number of kW or kWh is none."""


def _at_low_voltage(table: pd.DataFrame, feeder: Feeder) -> BoolArray:
    at = table["bus"].map(feeder.bus_index).fillna(0).astype(int).to_numpy()
    return np.asarray(feeder.vn_kv[at] < 1.0)


def odd_participants(table: pd.DataFrame, feeder: Feeder) -> Iterator[str]:
    """One sentence per power of a participant that seems to be in W; columns as they were given."""
    low = _at_low_voltage(table, feeder)
    for column in ("connection_import_kw", "connection_export_kw", "battery_kw", "battery_kwh", "inflexible_kvar"):
        if column not in table:
            continue
        value = table[column].to_numpy(float)
        unit = column.rpartition("_")[2].replace("kw", "kW")
        hint = " (leave it empty for no limit)" if "connection" in column else ""
        for i in np.flatnonzero(low & (np.abs(value) >= SUSPECT_KW[0]) & (np.abs(value) < SUSPECT_KW[1])):
            yield (
                f"participant {table['name'].iloc[i]!r}: {column} = {value[i]:g} must be in {unit}, and its bus is at"
                f" low voltage: is it in {unit[1:]}?{hint}"
            )
        for i in np.flatnonzero(np.isfinite(value) & (np.abs(value) > LARGEST)):
            yield f"participant {table['name'].iloc[i]!r}: {column} = {value[i]:g} must be at most {LARGEST:g}"


def odd_terms(
    coded: pd.DataFrame, people: pd.DataFrame, columns: tuple[str, ...], values: NDArray[np.float32], feeder: Feeder
) -> Iterator[str]:
    """One sentence per term of a series whose power seems to be in W."""
    if not len(coded):
        return
    low = _at_low_voltage(people, feeder)[coded["participant"].to_numpy()]
    with np.errstate(over="ignore"):
        peak = np.abs(values).max(axis=0, initial=0.0).astype(float)[coded["profile"].to_numpy()]
        peak = peak * np.abs(coded["scale_kw"].to_numpy())
    for i in np.flatnonzero((low & (peak >= SUSPECT_KW[0])) | (peak > LARGEST))[:20]:
        who = people["name"].iloc[int(coded["participant"].iloc[i])]
        profile = columns[int(coded["profile"].iloc[i])]
        unit = "kvar" if coded["quantity"].iloc[i] == REACTIVE else "kW"
        yield (
            f"series: row {i + 1}: scale_kw = {coded['scale_kw'].iloc[i]:g} times profile {profile!r} reaches"
            f" {peak[i]:g} {unit} at participant {who!r}"
            + (f", at low voltage: is it in {unit[1:]}?" if low[i] else ": too much")
        )
