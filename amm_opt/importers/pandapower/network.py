"""pandapower nets, and SimBench networks with their profiles."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.errors import InputError, counted
from amm_opt.fields import shortened
from amm_opt.importers.draft import V_MAX_PU, V_MIN_PU, Draft
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.pandapower.branches import BranchReader, turning
from amm_opt.importers.pandapower.elements import ElementReader
from amm_opt.importers.pandapower.file import read_net
from amm_opt.importers.pandapower.net import NetTables
from amm_opt.importers.pandapower.profiles import read_profiles
from amm_opt.io.columns import unique_names


def from_pandapower(
    net: Any,
    *,
    name: str = "",
    open_branches: Sequence[str] = (),
    meshed: bool = False,
    sources: Sequence[str] = (),
) -> Case:
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
        sources: names of buses whose external grids are kept; by default all, several joined at one stiff node, which
            is exact on separate trees. What only the others feed is left out.

    Raises:
        InputError: elements that cannot be modelled, no external grid, or a mesh where it must not be one,
            with the open points it could use; all at once.
    """
    return _network(net, name, meshed=meshed).network(open_branches, meshed, sources).case()


def from_simbench(
    code: str, *, open_branches: Sequence[str] = (), meshed: bool = False, sources: Sequence[str] = ()
) -> Case:
    """A SimBench network with its year of quarter-hours as a case; see ``simbench_network``."""
    return simbench_network(code, open_branches=open_branches, meshed=meshed, sources=sources).case()


def pandapower_network(
    path: str | Path,
    *,
    name: str = "",
    open_branches: Sequence[str] = (),
    meshed: bool = False,
    sources: Sequence[str] = (),
) -> ImportedNetwork:
    """A network from a JSON file that ``pandapower.to_json`` wrote; pandapower itself is not needed.

    Args:
        path: the file.
        name: of the network; the net's own by default, else that of the file.
        open_branches: names of branches to open beside those that the net has open.
        meshed: whether branches may form cycles, for the network model ``dc``.
        sources: names of buses whose external grids are kept; by default all, several joined at one stiff node, which
            is exact on separate trees. What only the others feed is left out.

    Raises:
        InputError: where the file cannot be read, or what ``from_pandapower`` refuses.
    """
    net = read_net(path)
    read = _network(net, name or str(net.get("name") or "") or Path(path).stem, str(path), meshed)
    return read.network(open_branches, meshed, sources)


def simbench_network(
    code: str, *, open_branches: Sequence[str] = (), meshed: bool = False, sources: Sequence[str] = ()
) -> ImportedNetwork:
    """A SimBench network (``"1-LV-rural1--0-sw"``) with its year of quarter-hours; see ``from_pandapower``.

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
    return _network(simbench.get_simbench_net(code), code, meshed=meshed).network(open_branches, meshed, sources)


def _network(net: Any, name: str, source: str = "", meshed: bool = False) -> Draft:
    if not isinstance(name, str | None):
        raise InputError(f"name = {shortened(name)} must be text")
    tables = NetTables(net, name or str(getattr(net, "name", "") or "pandapower"))
    tables.report.source = source
    if meshed:
        tables.problems += _turned_taps(tables)
    return _Reader(tables, meshed).draft()


def _turned_taps(t: NetTables) -> list[str]:
    """Transformers in service whose taps stand where they turn the angle, which a mesh must not have."""
    problems = []
    for kind in ("trafo", "trafo3w"):
        table = t.table(kind)
        for tap in ("tap", "tap2"):
            problems += [
                f"{kind} {name!r}: {tap}_pos turns the angle; dc has no phase shifters"
                for name in t.names(table[turning(t, table, kind, tap)], kind)
            ]
    return problems


class _Reader:
    """Reads one net, collecting problems and what the report says."""

    def __init__(self, tables: NetTables, meshed: bool) -> None:
        self._tables, self._report = tables, tables.report
        self._problems, self._meshed = tables.problems, meshed

    def draft(self) -> Draft:
        t = self._tables
        reader = BranchReader(t)
        branches = reader.branches()
        buses = self._buses(reader)
        people = ElementReader(t)
        elements, batteries = people.elements(), people.batteries()
        profiles = read_profiles(t, elements)
        self._source(buses)
        t.check_the_rest()
        if self._problems:
            raise InputError(list(dict.fromkeys(self._problems)), subject=t.name)
        columns = ["name", "from_bus", "to_bus", "r_ohm", "x_ohm", "kind", "rating_kva", "tap", "closed"]
        joined = pd.concat(branches, ignore_index=True) if branches else pd.DataFrame(columns=columns)
        shunts = [c for c in joined if "shunt" in str(c) or c in ("charging_kvar", "shift_degree")]
        joined[shunts] = joined[shunts].fillna(0.0)
        joined["name"] = unique_names(joined["name"])
        return Draft(t.name, buses, joined, elements, profiles, self._report, batteries)

    def _buses(self, reader: BranchReader) -> pd.DataFrame:
        t = self._tables
        bus = t.table("bus")
        table = pd.DataFrame({"name": t.bus, "vn_kv": t.vn_kv, "v_source_pu": np.nan})
        if t.phased:
            table["phases"] = "abc"
            self._report.assumed.append("the source is stiff: its impedance in the other sequences is left out")
        table["shunt_kw"], table["shunt_kvar"] = reader.shunt_kw, reader.shunt_kvar
        for column, ours, default in (("min_vm_pu", "v_min_pu", V_MIN_PU), ("max_vm_pu", "v_max_pu", V_MAX_PU)):
            given = t.numbers(bus, "bus", column, np.nan)
            if missing := int(given.isna().sum()):
                self._report.assumed.append(
                    f"{ours} = {default} at {counted(missing, 'bus', 'buses')} without {column}"
                )
            table[ours] = given.reindex(table.index).fillna(default)
        return table

    def _source(self, buses: pd.DataFrame) -> None:
        """External grids and slack generators hold the voltage of their buses."""
        t = self._tables
        plants = t.table("gen")
        slack = plants[t.texts(plants, "slack").eq("True")] if len(plants) else plants
        held: dict[Any, set[float]] = {}
        angles: set[float] = set()
        for kind, table in (("ext_grid", t.table("ext_grid")), ("gen", slack)):
            if len(table):
                table = t.at_buses(table, kind)
                if "vm_pu" not in table:
                    self._problems.append(f"the {kind} table has no column vm_pu, and holds a voltage")
                for bus, vm in zip(table["bus"], t.numbers(table, kind, "vm_pu"), strict=True):
                    held.setdefault(bus, set()).add(float(vm))
                angles |= set(t.numbers(table, kind, "va_degree", 0.0))
        if self._meshed and len(angles) > 1:
            listed = ", ".join(f"{a:g}" for a in sorted(angles))
            self._problems.append(f"sources at different angles (va_degree): {listed}; in a mesh they drive power")
        if not held:
            self._problems.append("no external grid and no slack generator in service at a bus in service: no source")
        for bus, values in held.items():
            if len(values) > 1:
                at = ", ".join(f"{v:g}" for v in sorted(values))
                self._problems.append(f"sources at bus {t.bus[bus]!r} hold different voltages: {at} pu")
            buses.loc[bus, "v_source_pu"] = min(values)
