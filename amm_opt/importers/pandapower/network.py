"""pandapower nets, and SimBench networks with their profiles."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.errors import InputError, shorten
from amm_opt.fields import shortened
from amm_opt.importers.draft import ELEMENT_COLUMNS, V_MAX_PU, V_MIN_PU, Draft
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.pandapower.branches import BranchReader
from amm_opt.importers.pandapower.costs import Costs
from amm_opt.importers.pandapower.file import read_net
from amm_opt.importers.pandapower.net import NetTables
from amm_opt.importers.pandapower.profiles import read_profiles
from amm_opt.io.columns import unique_names

CHARGE_POINTS = ("APLS", "HLS")
"""SimBench profiles of charge points, public and at home."""


def from_pandapower(net: Any, *, name: str = "", open_branches: Sequence[str] = (), meshed: bool = False) -> Case:
    """A case from a pandapower net (balanced, radial unless ``meshed``); pandapower itself is not needed to read it.

    Loads are inflexible, or flexible import where ``controllable`` is true or their SimBench profile is one of a charge
    point. Static generators and generators are export. ``net.profiles`` and the ``profile`` column are used where they
    exist, as in SimBench; else the case is a snapshot of two intervals. ``case.report`` says what was assumed and left
    out.

    Args:
        net: pandapower net: ``bus``, ``line``, ``trafo``, ``load``, ... as attributes, with pandapower's columns.
        name: of the case; the net's own by default.
        open_branches: names of branches to open beside those that the net has open.
        meshed: whether branches may form cycles, for the network model ``dc``.

    Raises:
        InputError: elements that cannot be modelled, no or several external grids, or a mesh where it must not be one,
            with the open points it could use; all at once.
    """
    return _network(net, name, open_branches, meshed).case()


def from_simbench(code: str, *, open_branches: Sequence[str] = ()) -> Case:
    """A SimBench network with its year of quarter-hours as a case; see ``simbench_network``."""
    return simbench_network(code, open_branches=open_branches).case()


def pandapower_network(
    path: str | Path, *, name: str = "", open_branches: Sequence[str] = (), meshed: bool = False
) -> ImportedNetwork:
    """A network from a JSON file that ``pandapower.to_json`` wrote; pandapower itself is not needed.

    Args:
        path: the file.
        name: of the network; the net's own by default, else that of the file.
        open_branches: names of branches to open beside those that the net has open.
        meshed: whether branches may form cycles, for the network model ``dc``.

    Raises:
        InputError: where the file cannot be read, or what ``from_pandapower`` refuses.
    """
    net = read_net(path)
    return _network(net, name or str(net.get("name") or "") or Path(path).stem, open_branches, meshed, str(path))


def simbench_network(code: str, *, open_branches: Sequence[str] = ()) -> ImportedNetwork:
    """A SimBench network with its year of quarter-hours, such as ``"1-LV-rural1--0-sw"``; see ``from_pandapower``.

    Raises:
        InputError: where simbench is not installed, the code is unknown, or ``from_pandapower`` refuses the net.
    """
    try:
        import simbench
    except ImportError as error:
        raise InputError("SimBench networks need simbench: pip install 'amm-opt[simbench]'") from error
    codes = [str(c) for c in simbench.collect_all_simbench_codes()]
    if code not in codes:
        near = ", ".join(difflib.get_close_matches(code, codes, 5, 0.0))
        raise InputError(f"unknown SimBench code {code!r}; {len(codes)} are known, nearest: {near}")
    return _network(simbench.get_simbench_net(code), code, open_branches)


def _network(
    net: Any, name: str, open_branches: Sequence[str], meshed: bool = False, source: str = ""
) -> ImportedNetwork:
    if not isinstance(name, str | None):
        raise InputError(f"name = {shortened(name)} must be text")
    tables = NetTables(net, name or str(getattr(net, "name", "") or "pandapower"))
    tables.report.source = source
    if meshed:
        tables.problems += [
            f"trafo {name!r}: shift_degree = {shift:g}; dc has no phase shifters"
            for name, shift in _shifting(tables)
            if shift
        ]
    return _Reader(tables).draft().network(open_branches, meshed)


def _shifting(t: NetTables) -> list[tuple[str, float]]:
    """Names of the transformers with two windings in service and their phase shifts."""
    table = t.table("trafo")
    shifts = t.numbers(table, "trafo", "shift_degree", 0.0)
    return [*zip(t.names(table, "trafo"), shifts, strict=True)]


class _Reader:
    """Reads one net, collecting problems and what the report says."""

    def __init__(self, tables: NetTables) -> None:
        self._tables, self._report = tables, tables.report
        self._problems = tables.problems

    def draft(self) -> Draft:
        t = self._tables
        reader = BranchReader(t)
        branches = reader.branches()
        buses = self._buses(reader)
        elements = self._elements()
        profiles = read_profiles(t, elements)
        self._source(buses)
        t.check_the_rest()
        if self._problems:
            raise InputError(list(dict.fromkeys(self._problems)), subject=t.name)
        columns = ["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "kind", "rating_kva", "tap", "closed"]
        joined = pd.concat(branches, ignore_index=True) if branches else pd.DataFrame(columns=columns)
        shunts = [c for c in joined if "shunt" in str(c) or c == "charging_kvar"]
        joined[shunts] = joined[shunts].fillna(0.0)
        joined["name"] = unique_names(joined["name"])
        return Draft(t.name, buses, joined, elements, profiles, self._report)

    def _buses(self, reader: BranchReader) -> pd.DataFrame:
        t = self._tables
        bus = t.table("bus")
        table = pd.DataFrame({"name": t.bus, "vn_kv": t.vn_kv, "v_source_pu": np.nan})
        table["shunt_kw"], table["shunt_kvar"] = reader.shunt_kw, reader.shunt_kvar
        for column, ours, default in (("min_vm_pu", "v_min_pu", V_MIN_PU), ("max_vm_pu", "v_max_pu", V_MAX_PU)):
            given = t.numbers(bus, "bus", column, np.nan)
            if missing := int(given.isna().sum()):
                self._report.assumed.append(f"{ours} = {default} at {missing} buses without {column}")
            table[ours] = given.fillna(default)
        return table

    def _source(self, buses: pd.DataFrame) -> None:
        t = self._tables
        grid, plants = t.table("ext_grid"), t.table("gen")
        slack = plants[t.texts(plants, "slack").eq("True")] if len(plants) else plants
        if len(grid) + len(slack) != 1 or len(slack) or grid["bus"].iloc[0] not in t.bus.index:
            places = [*(grid["bus"] if len(grid) else ()), *(slack["bus"] if len(slack) else ())]
            at = shorten(str(t.bus.get(b, b)) for b in places) if places else "none"
            more = f" and {len(slack)} slack generators" if len(slack) else ""
            self._problems.append(f"one external grid is needed, this net has {len(grid)}{more} (at {at})")
            return
        buses.loc[grid["bus"].iloc[0], "v_source_pu"] = float(t.numbers(grid, "ext_grid", "vm_pu").iloc[0])

    def _elements(self) -> pd.DataFrame:
        t, parts = self._tables, []
        costs = Costs(t)
        for kind in ("load", "sgen", "gen", "ward"):
            table = t.table(kind)
            if len(table) == 0:
                continue
            table = t.at_buses(table, kind)
            parts.append(costs.priced(kind, table, self._powers(table, kind)))
            self._report.read.append(f"{len(table)} {kind} elements")
        costs.say_source()
        joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=ELEMENT_COLUMNS)
        if len(joined) == 0 and not self._problems:
            self._problems.append("no loads and no generators: nobody takes part")
        return joined

    def _stated(self, table: pd.DataFrame, kind: str, column: str, without: float) -> pd.Series[float]:
        """A column that a net may lack, but that has no empty places: ``runpp`` knows no power there either."""
        lacking = column not in table
        return self._tables.numbers(table, kind, column, without if lacking else None)

    def _powers(self, table: pd.DataFrame, kind: str) -> pd.DataFrame:
        t = self._tables
        p_column, q_column = ("ps_mw", "qs_mvar") if kind == "ward" else ("p_mw", "q_mvar")
        scaling = 1e3 * self._stated(table, kind, "scaling", 1.0)
        profile = t.texts(table, "profile")
        quantity = pd.Series("inflexible" if kind == "ward" else "export", index=table.index)
        if kind == "load":
            flexible = profile.str.startswith(CHARGE_POINTS) | t.texts(table, "controllable").isin(["True", "1", "1.0"])
            quantity = flexible.map({True: "import", False: "inflexible"})
            if flexible.any():
                self._report.assumed.append(
                    f"{int(flexible.sum())} loads ask for flexible import (controllable, or a charge point's profile)"
                )
            dependent = [c for c in table if str(c).startswith("const_") and t.numbers(table, kind, str(c), 0.0).any()]
            if dependent:
                self._report.assumed.append(
                    f"loads that depend on the voltage ({shorten(dependent)}) draw constant power"
                )
            profile = profile.where(profile == "", profile + "_pload")
        p = t.numbers(table, kind, p_column) * scaling
        q = self._stated(table, kind, q_column, 0.0) * scaling
        if kind == "gen" and len(table):
            self._report.assumed.append(f"{len(table)} generators export at unity power factor; they hold no voltage")
            q *= 0.0
        wrong = table[(quantity != "inflexible") & (p < 0)]
        self._problems += [f"{kind} {name!r}: p_mw must not be negative" for name in t.names(wrong, kind)]
        columns = {"name": t.names(table, kind), "bus": table["bus"].map(t.bus), "quantity": quantity}
        return pd.DataFrame({**columns, "p_kw": p, "q_kvar": q, "profile": profile})[ELEMENT_COLUMNS]
