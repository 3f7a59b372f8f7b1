"""One source for a network that was read with several: joined at a stiff node, or chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, counted, shorten, unknown
from amm_opt.importers.report import ImportReport
from amm_opt.io.columns import unique_names

JOINT = "joined sources"
LINK_OHM_PER_KV2 = 1e-9
"""Reactance of a link from the joint bus, over the square of its kV: 10^9 MVA of short-circuit power."""


def one_source(
    buses: pd.DataFrame, branches: pd.DataFrame, keep: Sequence[str], report: ImportReport, case: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with one source: those named alone, and several joined at one stiff node.

    A link of no impedance whose ratio is that of the voltages feeds the place of every source. On separate trees this
    is exact; sources of one tree close a loop.

    Args:
        keep: buses of the sources to keep; none means all.

    Raises:
        InputError: a name in ``keep`` at which there is no source.
    """
    places = buses["name"][buses["v_source_pu"].notna()].tolist()
    if wrong := [str(unknown("bus of a source", name, places)) for name in keep if name not in places]:
        raise InputError([f"sources: {w}" for w in wrong], subject=case)
    if keep and (cut := [name for name in places if name not in keep]):
        report.left_out.append(f"{counted(len(cut), 'source')} by sources=...: {shorten(cut)}")
        buses = buses.assign(v_source_pu=buses["v_source_pu"].where(buses["name"].isin(list(keep))))
    fed = buses[buses["v_source_pu"].notna()]
    if len(fed) <= 1:
        return buses, branches
    first = fed.iloc[0]
    joint = unique_names([JOINT], set(buses["name"]))[0]
    links = pd.DataFrame(
        {
            "name": unique_names([f"link to {name}" for name in fed["name"]], set(branches["name"])),
            "from_bus": joint,
            "to_bus": fed["name"].tolist(),
            "kind": "transformer",
            "rating_kva": np.inf,
            "tap": (first["v_source_pu"] / fed["v_source_pu"]).tolist(),
            "closed": True,
        }
    )
    r, x = np.zeros(len(fed)), LINK_OHM_PER_KV2 * fed["vn_kv"].to_numpy(float) ** 2
    phased = "phases" in buses and first["phases"] != "pos"
    links["r_ohm"], links["x_ohm"] = (
        [f"{v} | 0 {v} | 0 0 {v}" if phased else v for v in column] for column in (r.tolist(), x.tolist())
    )
    numeric = [c for c in branches.columns if c not in links and ("shunt" in c or c == "charging_kvar")]
    links[numeric] = 0.0
    top = pd.DataFrame([{**first.to_dict(), "name": joint}])
    top[[c for c in ("shunt_kw", "shunt_kvar") if c in top]] = 0.0
    report.assumed.append(
        f"{len(fed)} sources are joined at one stiff node, {joint!r}; each keeps its voltage: {shorten(fed['name'])}"
    )
    buses = pd.concat([top, buses.assign(v_source_pu=np.nan)], ignore_index=True)
    return buses, pd.concat([links, branches], ignore_index=True)
