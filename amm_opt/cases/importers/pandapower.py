"""pandapower nets, and SimBench networks with their profiles."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.cases.importers.draft import ELEMENT_COLUMNS, V_MAX_PU, V_MIN_PU, Draft
from amm_opt.cases.importers.people import unique_names
from amm_opt.cases.importers.report import ImportReport
from amm_opt.errors import InputError, shorten

UNSUPPORTED = (
    "trafo3w", "impedance", "dcline", "tcsc", "ward", "xward", "motor", "asymmetric_load", "asymmetric_sgen",
)  # fmt: skip
LEFT_OUT = ("storage", "shunt", "svc", "ssc", "controller")
CHARGE_POINTS = ("APLS", "HLS")
"""SimBench profiles of charge points, public and at home."""


def from_pandapower(net: Any, *, name: str = "", open_branches: Sequence[str] = ()) -> Case:
    """A case from a pandapower net (balanced, radial); pandapower itself is not needed to read it.

    Loads are inflexible, or flexible import where ``controllable`` is true or their SimBench profile is one of a charge
    point. Static generators and generators are export. ``net.profiles`` and the ``profile`` column are used where they
    exist, as in SimBench; else the case is a snapshot of two intervals. ``case.report`` says what was assumed and left
    out.

    Args:
        net: pandapower net: ``bus``, ``line``, ``trafo``, ``load``, ... as attributes, with pandapower's columns.
        name: of the case; the net's own by default.
        open_branches: names of branches to open beside those that the net has open.

    Raises:
        InputError: elements that cannot be modelled, no or several external grids, or a meshed network, with the open
            points it could use; all at once.
    """
    reader = _Reader(net, name or str(getattr(net, "name", "") or "pandapower"))
    return reader.draft().case(open_branches)


def from_simbench(code: str, *, open_branches: Sequence[str] = ()) -> Case:
    """A SimBench network with its year of quarter-hours, such as ``"1-LV-rural1--0-sw"``; see ``from_pandapower``.

    Raises:
        InputError: where simbench is not installed, the code is unknown, or ``from_pandapower`` refuses the net.
    """
    try:
        import simbench
    except ImportError as error:
        raise InputError("from_simbench needs simbench: pip install 'amm-opt[simbench]'") from error
    codes = [str(c) for c in simbench.collect_all_simbench_codes()]
    if code not in codes:
        near = ", ".join(difflib.get_close_matches(code, codes, 5, 0.0))
        raise InputError(f"unknown SimBench code {code!r}; {len(codes)} are known, nearest: {near}")
    net = simbench.get_simbench_net(code)
    return from_pandapower(net, name=code, open_branches=open_branches)


class _Reader:
    """Reads one net, collecting problems and what the report says."""

    def __init__(self, net: Any, name: str) -> None:
        self._net, self._name = net, name
        self._problems: list[str] = []
        self._report = ImportReport()

    def _table(self, kind: str) -> pd.DataFrame:
        """The elements of a kind that are in service."""
        table = self._net[kind] if kind in self._net else None  # noqa: SIM401
        if not isinstance(table, pd.DataFrame) or len(table) == 0:
            return pd.DataFrame()
        if "in_service" not in table:
            return table
        on = table["in_service"].astype(bool)
        if not on.all():
            self._report.left_out.append(f"{int((~on).sum())} of {len(table)} {kind} elements out of service")
        return table[on]

    def draft(self) -> Draft:
        buses = self._buses()
        for kind in UNSUPPORTED:
            if len(self._table(kind)):
                self._problems.append(f"{len(self._table(kind))} {kind} elements: not supported")
        for kind in LEFT_OUT:
            if n := len(self._table(kind)):
                self._report.left_out.append(f"{n} {kind} elements")
        branches = [self._lines(), self._transformers(), self._switches()]
        elements = self._elements()
        profiles = self._profiles(elements)
        self._source(buses)
        if self._problems:
            raise InputError(self._problems, subject=self._name)
        tables = [b for b in branches if len(b)]
        columns = ["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "kind", "rating_kva", "tap", "closed"]
        joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
        joined["name"] = unique_names(joined["name"])
        return Draft(self._name, buses, joined, elements, profiles, self._report)

    def _buses(self) -> pd.DataFrame:
        bus = self._table("bus")
        if len(bus) == 0:
            raise InputError("the net has no buses in service", subject=self._name)
        self._bus = pd.Series(unique_names(_names(bus, "bus")), index=bus.index)
        self._vn = bus["vn_kv"].astype(float)
        table = pd.DataFrame({"name": self._bus, "vn_kv": self._vn, "v_source_pu": np.nan})
        for column, ours, default in (("min_vm_pu", "v_min_pu", V_MIN_PU), ("max_vm_pu", "v_max_pu", V_MAX_PU)):
            given = bus[column].astype(float) if column in bus else pd.Series(np.nan, index=bus.index)
            if missing := int(given.isna().sum()):
                self._report.assumed.append(f"{ours} = {default} at {missing} buses without {column}")
            table[ours] = given.fillna(default)
        return table

    def _source(self, buses: pd.DataFrame) -> None:
        grid = self._table("ext_grid")
        if len(grid) != 1 or grid["bus"].iloc[0] not in self._bus.index:
            at = shorten(str(self._bus.get(b, b)) for b in grid["bus"]) if len(grid) else "none"
            self._problems.append(f"one external grid is needed, this net has {len(grid)} (at {at})")
            return
        buses.loc[grid["bus"].iloc[0], "v_source_pu"] = float(grid["vm_pu"].iloc[0])

    def _between(self, table: pd.DataFrame, start: str, stop: str, kind: str) -> pd.DataFrame:
        """Elements whose both ends are buses in service, with their names and ends."""
        inside = table[start].isin(self._bus.index) & table[stop].isin(self._bus.index)
        if not inside.all():
            self._report.left_out.append(f"{int((~inside).sum())} {kind} elements at buses out of service")
        return table[inside]

    def _is_open(self, table: pd.DataFrame, letter: str) -> pd.Series[bool]:
        """Which elements an open switch cuts off."""
        switch = self._table("switch")
        if len(switch) == 0:
            return pd.Series(False, index=table.index)
        off = switch[(switch["et"] == letter) & ~switch["closed"].astype(bool)]
        return pd.Series(table.index.isin(off["element"]), index=table.index)

    def _lines(self) -> pd.DataFrame:
        line = self._table("line")
        if len(line) == 0:
            return line
        line = self._between(line, "from_bus", "to_bus", "line")
        number = _column(line, "parallel", 1.0)
        loading = _column(line, "max_loading_percent", 100.0) / 100.0
        kv = line["to_bus"].map(self._vn)
        amps = line["max_i_ka"].astype(float) * _column(line, "df", 1.0) * number
        if unrated := int(amps.isna().sum()):
            self._report.assumed.append(f"{unrated} lines without max_i_ka have no limit")
        charging = float(
            (2e-3 * np.pi * 50 * _column(line, "c_nf_per_km", 0.0) * 1e-6 * line["length_km"] * number * kv**2).sum()
        )
        if charging > 0:
            self._report.left_out.append(f"line charging, {1e3 * charging:.1f} kvar in all at 50 Hz")
        return pd.DataFrame(
            {
                "name": _names(line, "line"),
                "from_bus": line["from_bus"].map(self._bus),
                "to_bus": line["to_bus"].map(self._bus),
                "r_ohm": line["r_ohm_per_km"] * line["length_km"] / number,
                "x_ohm": line["x_ohm_per_km"] * line["length_km"] / number,
                "kind": "line",
                "rating_kva": 1000.0 * np.sqrt(3.0) * kv * amps * loading,
                "tap": 1.0,
                "closed": ~self._is_open(line, "l"),
            }
        )

    def _transformers(self) -> pd.DataFrame:
        """Impedance at the low-voltage side, from vk and vkr; the turns ratio from the tap and the rated voltages."""
        tr = self._table("trafo")
        if len(tr) == 0:
            return tr
        tr = self._between(tr, "hv_bus", "lv_bus", "trafo")
        moved = (_column(tr, "tap_pos", np.nan) - _column(tr, "tap_neutral", 0.0)).fillna(0.0)
        if "tap_step_degree" in tr:
            turned = (_column(tr, "tap_step_degree", 0.0) != 0) & (moved != 0)
            self._problems += [
                f"trafo {n!r}: phase-shifting taps are not supported" for n in _names(tr[turned], "trafo")
            ]
        step = 1.0 + moved * _column(tr, "tap_step_percent", 0.0) / 100.0
        side = tr["tap_side"].fillna("") if "tap_side" in tr else pd.Series("", index=tr.index)
        high = tr["vn_hv_kv"] * np.where(side == "hv", step, 1.0)
        low = tr["vn_lv_kv"] * np.where(side == "lv", step, 1.0)
        number, mva = _column(tr, "parallel", 1.0), tr["sn_mva"].astype(float)
        base = low**2 / mva / number
        r, z = tr["vkr_percent"] / 100.0, tr["vk_percent"] / 100.0
        iron = float((_column(tr, "pfe_kw", 0.0) * number).sum())
        if iron > 0:
            self._report.left_out.append(f"iron losses of transformers, {iron:.2f} kW, and their magnetising current")
        loading = _column(tr, "max_loading_percent", 100.0) / 100.0
        return pd.DataFrame(
            {
                "name": _names(tr, "trafo"),
                "from_bus": tr["hv_bus"].map(self._bus),
                "to_bus": tr["lv_bus"].map(self._bus),
                "r_ohm": r * base,
                "x_ohm": np.sqrt(np.maximum(z**2 - r**2, 0.0)) * base,
                "kind": "transformer",
                "rating_kva": 1000.0 * mva * _column(tr, "df", 1.0) * number * loading,
                "tap": (high / tr["hv_bus"].map(self._vn)) / (low / tr["lv_bus"].map(self._vn)),
                "closed": ~self._is_open(tr, "t"),
            }
        )

    def _switches(self) -> pd.DataFrame:
        """Switches between two buses; those at lines and transformers open these."""
        switch = self._table("switch")
        if len(switch) == 0:
            return switch
        switch = self._between(switch[switch["et"] == "b"], "bus", "element", "switch")
        return pd.DataFrame(
            {
                "name": _names(switch, "switch"),
                "from_bus": switch["bus"].map(self._bus),
                "to_bus": switch["element"].map(self._bus),
                "r_ohm": _column(switch, "z_ohm", 0.0),
                "x_ohm": 0.0,
                "kind": "switch",
                "rating_kva": np.inf,
                "tap": 1.0,
                "closed": switch["closed"].astype(bool),
            }
        )

    def _elements(self) -> pd.DataFrame:
        parts = []
        for kind in ("load", "sgen", "gen"):
            table = self._table(kind)
            if len(table) == 0:
                continue
            inside = table["bus"].isin(self._bus.index)
            if not inside.all():
                self._report.left_out.append(f"{int((~inside).sum())} {kind} elements at buses out of service")
            parts.append(self._powers(table[inside], kind))
            self._report.read.append(f"{int(inside.sum())} {kind} elements")
        if not parts:
            self._problems.append("no loads and no generators: nobody takes part")
            return pd.DataFrame(columns=ELEMENT_COLUMNS)
        return pd.concat(parts, ignore_index=True)

    def _powers(self, table: pd.DataFrame, kind: str) -> pd.DataFrame:
        scaling = 1000.0 * _column(table, "scaling", 1.0)
        profile = table["profile"].fillna("").astype(str) if "profile" in table else pd.Series("", index=table.index)
        quantity = pd.Series("export", index=table.index)
        if kind == "load":
            controllable = table["controllable"] == True if "controllable" in table else False  # noqa: E712
            flexible = profile.str.startswith(CHARGE_POINTS) | controllable
            quantity = flexible.map({True: "import", False: "inflexible"})
            if flexible.any():
                self._report.assumed.append(
                    f"{int(flexible.sum())} loads ask for flexible import (controllable, or a charge point's profile)"
                )
            dependent = [c for c in table if str(c).startswith("const_") and (table[c].fillna(0) != 0).any()]
            if dependent:
                self._report.assumed.append("loads that depend on the voltage draw constant power")
            profile = profile.where(profile == "", profile + "_pload")
        if kind == "gen":
            self._report.assumed.append(f"{len(table)} generators export at unity power factor; they hold no voltage")
        p = table["p_mw"].astype(float) * scaling
        wrong = table[(quantity != "inflexible") & (p < 0)]
        self._problems += [f"{kind} {name!r}: p_mw must not be negative" for name in _names(wrong, kind)]
        q = _column(table, "q_mvar", 0.0) * scaling
        return pd.DataFrame(
            {
                "name": _names(table, kind),
                "bus": table["bus"].map(self._bus),
                "quantity": quantity,
                "p_kw": p,
                "q_kvar": q,
                "profile": profile,
            }
        )[ELEMENT_COLUMNS]

    def _profiles(self, elements: pd.DataFrame) -> pd.DataFrame | None:
        """SimBench's profiles that the elements use; regular steps from the first row's time."""
        stored = self._net["profiles"] if "profiles" in self._net else {}  # noqa: SIM401
        wanted = set(elements["profile"]) - {""}
        tables = [stored[k] for k in ("load", "renewables", "powerplants") if k in stored and len(stored[k])]
        if not wanted or not tables:
            elements["profile"] = ""
            return None
        known: dict[str, Any] = {c: t[c] for t in tables for c in t if c != "time"}
        for missing in sorted(wanted - known.keys()):
            self._problems.append(f"profile {missing!r} is not in net.profiles")
        start, second = pd.to_datetime(tables[0]["time"].iloc[:2], dayfirst=True)
        times = pd.date_range(start, periods=len(tables[0]), freq=second - start)
        self._report.assumed.append("profiles are regular steps in standard time; reactive profiles are not used")
        columns = {c: np.asarray(known[c], dtype=float) for c in sorted(wanted & known.keys())}
        low = {c for c, v in columns.items() if v.min() < 0}
        for c in sorted(low & set(elements["profile"][elements["quantity"] != "inflexible"])):
            self._report.assumed.append(f"negative values of profile {c!r} count as 0")
            columns[c] = np.maximum(columns[c], 0.0)
        return pd.DataFrame({"time": times, **columns})


def _column(table: pd.DataFrame, column: str, default: float) -> pd.Series[float]:
    """A column as floats, the default where it or a value is missing."""
    if column not in table:
        return pd.Series(default, index=table.index, dtype=float)
    return pd.to_numeric(table[column], errors="coerce").astype(float).fillna(default)


def _names(table: pd.DataFrame, kind: str) -> list[str]:
    """Names, made from the index where there is none."""
    given = table["name"] if "name" in table else [None] * len(table)
    return [
        f"{kind} {i}" if n is None or n != n or str(n) == "" else str(n)
        for i, n in zip(table.index, given, strict=True)
    ]
