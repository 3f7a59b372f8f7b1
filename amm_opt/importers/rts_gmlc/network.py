"""RTS-GMLC tables (bus, branch, gen, timeseries_pointers and their series) as a meshed case with plants and costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.errors import InputError, as_path, counted, shorten
from amm_opt.importers.draft import V_MAX_PU, V_MIN_PU, Draft
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.report import ImportReport
from amm_opt.importers.rts_gmlc.files import Tables
from amm_opt.importers.rts_gmlc.plants import Plants, shares
from amm_opt.importers.rts_gmlc.series import Series

BASE_MVA = 100.0
REFERENCE = "REF"


def from_rts_gmlc(path: str | Path, *, name: str = "", simulation: str = "DAY_AHEAD") -> Case:
    """The tables of the RTS-GMLC, or of a system in the same layout, as a case; see ``rts_gmlc_network``."""
    return rts_gmlc_network(path, name=name, simulation=simulation).case()


def rts_gmlc_network(path: str | Path, *, name: str = "", simulation: str = "DAY_AHEAD") -> ImportedNetwork:
    """A meshed network with plants, costs and time series in the tables of the RTS-GMLC, for the network model ``dc``.

    Loads are flexible import, shared by bus as in ``bus.csv``; plants are export, with what fuel and operation cost as
    offers, or steps of them; stores are batteries. The layout is that of C. Barrows and others, "The IEEE Reliability
    Test System: a proposed 2019 update", IEEE Trans. Power Systems 35(1), 2020, doi 10.1109/TPWRS.2019.2925557.

    Args:
        path: the folder with ``bus.csv``, ``branch.csv``, ``gen.csv`` and ``timeseries_pointers.csv``, or one in which
            they are in ``SourceData``.
        name: of the network; ``rts-gmlc`` by default.
        simulation: whose series count: a name in ``timeseries_pointers.csv``, such as ``DAY_AHEAD`` or ``REAL_TIME``.

    Raises:
        InputError: missing files and columns; else everything that is wrong with rows, by name.
    """
    tables = Tables(as_path(path, "folder"))
    report = ImportReport(str(path))
    series = Series(tables, simulation)
    plants = Plants(tables, series, report)
    buses, branches = _buses(tables), _branches(tables, report)
    elements = [*_loads(tables, series, report), *plants.elements()]
    tables.known("gen", "GEN UID", "Bus ID", tables.texts("bus", "Bus ID"))
    tables.unique("gen", "GEN UID")
    if tables.problems:
        raise InputError(list(dict.fromkeys(tables.problems)), subject=str(tables.folder))
    _say_what_is_left(tables, series, report)
    profiles = pd.concat([series.area.add_prefix("load of area "), series.most], axis=1)
    profiles.insert(0, "time", series.times)
    table = pd.DataFrame(elements).assign(phases="")
    table["bus"] = "bus " + table["bus"]
    return Draft(name or "rts-gmlc", buses, branches, table, profiles, report).network(meshed=True)


def _buses(t: Tables) -> pd.DataFrame:
    t.unique("bus", "Bus ID")
    kv = t.numbers("bus", "Bus ID", "BaseKV")
    t.problems += [
        f"bus {t.table('bus')['Bus ID'][i]!r}: BaseKV = {kv[i]:g} must be positive" for i in kv.index[kv <= 0]
    ]
    reference = t.texts("bus", "Bus Type").str.upper() == REFERENCE
    if reference.sum() != 1:
        t.problems.append(f"one bus of type Ref is needed, bus.csv has {int(reference.sum())}")
    held = t.numbers("bus", "Bus ID", "V Mag").where(reference)
    shunt = {"shunt_kw": "MW Shunt G", "shunt_kvar": "MVAR Shunt B"}
    return pd.DataFrame(
        {
            "name": "bus " + t.texts("bus", "Bus ID"),
            "vn_kv": kv,
            "v_min_pu": V_MIN_PU,
            "v_max_pu": V_MAX_PU,
            "v_source_pu": held,
            **{ours: 1e3 * t.numbers("bus", "Bus ID", column, 0.0) for ours, column in shunt.items()},
        }
    )


def _branches(t: Tables, report: ImportReport) -> pd.DataFrame:
    t.unique("branch", "UID")
    for end in ("From Bus", "To Bus"):
        t.known("branch", "UID", end, t.texts("bus", "Bus ID"))
    kv = dict(zip(t.texts("bus", "Bus ID"), t.numbers("bus", "Bus ID", "BaseKV"), strict=True))
    start, stop = t.texts("branch", "From Bus"), t.texts("branch", "To Bus")
    at_kv = stop.map(kv).fillna(1.0).astype(float)
    ratio = t.numbers("branch", "UID", "Tr Ratio", 0.0, lower=0.0)
    transformer = (ratio > 0) | (start.map(kv) != stop.map(kv))
    rating = t.numbers("branch", "UID", "Cont Rating", 0.0, lower=0.0)
    if unrated := int((rating == 0).sum()):
        report.assumed.append(f"no limit on {counted(unrated, 'branch', 'branches')} without a Cont Rating")
    x = t.numbers("branch", "UID", "X", lower=0.0)
    t.problems += [
        f"branch {t.table('branch')['UID'][i]!r}: X = 0 must be positive, because dc shares flows by reactance; a link"
        " without one is a single bus"
        for i in x.index[x == 0]
    ]
    ohm = at_kv**2 / BASE_MVA
    report.assumed.append(f"R and X are per unit on {BASE_MVA:g} MVA")
    return pd.DataFrame(
        {
            "name": t.texts("branch", "UID"),
            "from_bus": "bus " + start,
            "to_bus": "bus " + stop,
            "r_ohm": t.numbers("branch", "UID", "R", lower=0.0) * ohm,
            "x_ohm": x * ohm,
            "kind": np.where(transformer, "transformer", "line"),
            "rating_kva": (1e3 * rating).where(rating > 0, np.inf),
            "tap": ratio.where(ratio > 0, 1.0),
            "closed": True,
        }
    )


def _loads(t: Tables, series: Series, report: ImportReport) -> list[dict[str, object]]:
    """A request at every bus with load, by its share of the area's."""
    bus, area = t.texts("bus", "Bus ID"), t.texts("bus", "Area")
    mw, mvar = (t.numbers("bus", "Bus ID", c) for c in ("MW Load", "MVAR Load"))
    t.problems += [f"bus {bus[i]!r}: MW Load = {mw[i]:g} must not be negative" for i in bus.index[mw < 0]]
    share = shares(mw.to_numpy(float), area)
    some = mw > 0
    t.problems += [
        f"area {name!r} has load, and no series of it in timeseries_pointers.csv"
        for name in sorted(set(area[some]) - set(series.area))
    ]
    if empty := sorted(set(series.area) - set(area[some])):
        report.left_out.append(f"load of areas without a bus with load: {shorten(empty)}")
    report.assumed.append(
        "loads are flexible import: what is not served is shed; each has its share of its area's load"
    )
    return [
        {
            "name": f"load at bus {bus[i]}",
            "bus": bus[i],
            "quantity": "import",
            "p_kw": 1e3 * share[i],
            "q_kvar": 1e3 * share[i] * mvar[i] / mw[i],
            "profile": f"load of area {area[i]}",
        }
        for i in bus.index[some]
    ]


def _say_what_is_left(t: Tables, series: Series, report: ImportReport) -> None:
    if len(links := t.table("dc_branch")) and "UID" in links:
        report.left_out.append(f"{len(links)} direct-current lines: {shorten(links['UID'])}")
    if len(t.table("reserves")) or "Requirement" in series.unread:
        report.left_out.append("reserve products and their series: reserve is a parameter of dispatch")
    if series.unread:
        report.left_out.append(f"series that are not read: {series.unread}")
    report.left_out.append("line charging and emergency ratings: dc has no reactive power, Cont Rating is the limit")
