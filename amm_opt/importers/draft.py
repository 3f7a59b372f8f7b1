"""Tables of another tool's balanced network with its loads and plants, made radial and supplied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import pandas as pd

from amm_opt.errors import InputError, counted, shorten
from amm_opt.importers.imported import Demand, ImportedNetwork
from amm_opt.importers.people import BATTERY_COLUMNS, CONSTANT, MIN_POWER_FACTOR, participants, with_batteries
from amm_opt.importers.radial.couplers import renamed, without_idle_loops
from amm_opt.importers.radial.loops import check_radial, closed_graph
from amm_opt.importers.radial.shifts import check_shifts
from amm_opt.importers.radial.sources import JOINT, one_source
from amm_opt.importers.report import ImportReport

ELEMENT_COLUMNS = ["name", "bus", "quantity", "p_kw", "q_kvar", "profile", "phases"]
ENDS = [f"{end}_shunt_{unit}" for end in ("from", "to") for unit in ("kw", "kvar")]
V_MIN_PU, V_MAX_PU = 0.9, 1.1
SNAPSHOT_MINUTES = 30


@dataclass
class Draft:
    """A network as it was read.

    Attributes:
        buses, branches: as in the case folder; ``closed`` says which branches are in service. Branches may have
            ``from_shunt_kw``, ``from_shunt_kvar``, ``to_shunt_kw`` and ``to_shunt_kvar``: shunts that a closed branch
            adds to the bus at that end, signs as for ``shunt_kw`` and ``shunt_kvar`` of buses; and ``shift_degree``,
            by which ``to_bus`` lags behind ``from_bus``.
        elements: one row per load or plant: ``name``, ``bus``, ``quantity`` (inflexible, import or export), ``p_kw``,
            ``q_kvar`` (drawn by loads, injected by exports), ``profile``, empty for a constant one, and ``phases``,
            empty for all of the bus. Loads whose reactive power has a profile of its own name it in ``q_profile``,
            which ``q_kvar`` scales. Where a plant is a participant of its own, ``own`` names it, and further columns
            are the participant's.
        profiles: a ``time`` column and per-unit columns; None for a snapshot.
        batteries: one row per unit, columns ``BATTERY_COLUMNS``: kWh, kW, efficiency one way and initial share.
    """

    name: str
    buses: pd.DataFrame
    branches: pd.DataFrame
    elements: pd.DataFrame
    profiles: pd.DataFrame | None = None
    report: ImportReport = field(default_factory=ImportReport)
    batteries: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=BATTERY_COLUMNS))

    def network(
        self, open_branches: Sequence[str] = (), meshed: bool = False, sources: Sequence[str] = ()
    ) -> ImportedNetwork:
        """The network with its demand, the named branches open as well; cycles only where it may be meshed.

        Args:
            sources: buses of the sources to keep; none means all, joined at one stiff node where there are several.

        Raises:
            InputError: unknown branches or sources; a mesh where it must not be one, with the open points it could use;
                loops of a mesh in which transformers shift phases.
        """
        branches = _opened(self.branches, open_branches)
        self.buses, branches = one_source(self.buses, branches, sources, self.report, self.name)
        self.buses, branches, into = without_idle_loops(self.buses, branches, meshed, self.report)
        branches = _opened(branches, open_branches)
        known = {*self.branches["name"], *branches["name"]}
        if wrong := sorted(set(open_branches) - known):
            raise InputError([f"open_branches: no branch {name!r}" for name in wrong], subject=self.name)
        self.elements, self.batteries = (t.assign(bus=renamed(t["bus"], into)) for t in (self.elements, self.batteries))
        buses, branches, elements = self._supplied(branches)
        _check_ends(branches, self.name)
        if meshed:
            check_shifts(branches, buses["name"][buses["v_source_pu"].notna()].iloc[0], self.name)
        else:
            drawn = elements["p_kw"].where(elements["quantity"].ne("export"), 0.0).clip(lower=0.0)
            check_radial(buses, branches, drawn.groupby(elements["bus"]).sum(), self.name)
        buses, branches = _with_shunts(self._with_bands(buses), branches)
        tier = np.where(buses["vn_kv"] < 1.0, "LV", "MV")  # the formats give kV, so 230 is none of V
        buses = buses.assign(feeder=_lv_feeders(buses, branches, self.name), tier=tier)
        profiles = self._profiles()
        if elements.empty:
            raise InputError("no load or plant has a supply: nobody takes part", subject=self.name)
        moving = elements["q_profile"].fillna("").ne("") if "q_profile" in elements else elements["bus"].isna()
        at_factor = elements.assign(q_kvar=elements["q_kvar"].where(~moving, 0.0))
        people, owner = participants(at_factor, profiles, self.report)
        people = with_batteries(people, self.batteries[self.batteries["bus"].isin(buses["name"])], self.report)
        series = _series(elements, owner, moving)
        used = ["time", *sorted(set(series["profile"]))]
        demand = Demand(people, profiles[used], series[series["scale_kw"] != 0])
        customers = _customers(people, elements, owner, moving)
        made = ImportedNetwork(self.name, buses, branches, customers, self.report, demand, meshed=meshed)
        self.report.check(made.feeder)
        self.report.read += [counted(len(buses), "bus", "buses"), counted(len(branches), "branch", "branches")]
        self.report.read += [counted(len(people), "participant"), counted(len(profiles), "interval")]
        return made

    def _with_bands(self, buses: pd.DataFrame) -> pd.DataFrame:
        """Other tools hold a source by a band without width, and write one for no limits; a band must have one here."""
        source = buses["v_source_pu"].notna() & ~(buses["v_min_pu"] < buses["v_max_pu"])
        empty = buses["v_min_pu"].eq(buses["v_max_pu"]) & ~source
        if source.any():
            self.report.assumed.append(
                f"the source's voltage band is {V_MIN_PU} to {V_MAX_PU} pu; no limit is kept there"
            )
        if empty.any():
            self.report.assumed.append(
                f"{V_MIN_PU} to {V_MAX_PU} pu at {counted(int(empty.sum()), 'bus', 'buses')} whose band has no width:"
                f" {shorten(buses['name'][empty])}"
            )
        none = source | empty
        return buses.assign(
            v_min_pu=buses["v_min_pu"].where(~none, V_MIN_PU), v_max_pu=buses["v_max_pu"].where(~none, V_MAX_PU)
        )

    def _supplied(self, branches: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Without what no closed path joins to the source."""
        graph = closed_graph(branches)
        graph.add_nodes_from(self.buses["name"])
        source = self.buses["name"][self.buses["v_source_pu"].notna()].iloc[0]
        inside = nx.node_connected_component(graph, source)
        dead = self.buses["name"][~self.buses["name"].isin(inside)]
        if len(dead):
            self.report.left_out.append(f"{counted(len(dead), 'bus', 'buses')} without supply: {shorten(dead)}")
        both = branches["from_bus"].isin(inside) & branches["to_bus"].isin(inside)
        lost = ~self.elements["bus"].isin(inside)
        if lost.any():
            power = self.elements["p_kw"][lost].abs().sum()
            self.report.left_out.append(
                f"{counted(int(lost.sum()), 'load or plant', 'loads and plants')} there, {power:g} kW"
            )
        buses = self.buses[self.buses["name"].isin(inside)]
        return buses.reset_index(drop=True), branches[both].reset_index(drop=True), self.elements[~lost]

    def _profiles(self) -> pd.DataFrame:
        if self.profiles is not None:
            profiles = self.profiles
        else:
            times = pd.date_range("2030-01-01", periods=2, freq=f"{SNAPSHOT_MINUTES}min")
            profiles = pd.DataFrame({"time": times})
            self.report.assumed.append(
                f"the snapshot lasts two intervals of {SNAPSHOT_MINUTES} minutes; ao.from_tables puts profiles on it"
            )
        return profiles.assign(**{CONSTANT: 1.0})


def _series(elements: pd.DataFrame, owner: pd.Series[str], moving: pd.Series[bool]) -> pd.DataFrame:
    """Terms of active power, and of reactive power that has a profile of its own."""
    given = {"participant": owner, "quantity": elements["quantity"], "profile": elements["profile"]}
    series = pd.DataFrame(given | {"scale_kw": elements["p_kw"]})
    if moving.any():
        own = {"quantity": "inflexible_kvar", "profile": elements["q_profile"], "scale_kw": elements["q_kvar"]}
        series = pd.concat([series, series.assign(**own)[moving]], ignore_index=True)
    return series.assign(profile=series["profile"].replace("", CONSTANT))


def _customers(
    people: pd.DataFrame, elements: pd.DataFrame, owner: pd.Series[str], moving: pd.Series[bool]
) -> pd.DataFrame:
    """Participants with inflexible load, or with constant reactive power alone; power factors are those of the file."""
    own = elements["quantity"].eq("inflexible")
    kw = people["name"].map(elements["p_kw"][own].groupby(owner[own]).sum()).fillna(0.0).clip(lower=0.0)
    own_columns = ["name", "bus", "power_factor", "inflexible_kvar", *(c for c in ("phases",) if c in people)]
    table = people[own_columns].assign(kw=kw)
    if moving.any():
        kvar = people["name"].map(elements["q_kvar"][moving].groupby(owner[moving]).sum()).fillna(0.0)
        factor = (kw / np.hypot(kw, kvar).where(kw > 0, 1.0)).clip(lower=MIN_POWER_FACTOR)
        table["power_factor"] = table["power_factor"].where(kvar.eq(0), factor.where(kvar > 0, -factor))
    return table[(kw > 0) | people["inflexible_kvar"].ne(0)].reset_index(drop=True)


def _with_shunts(buses: pd.DataFrame, branches: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shunts at the ends of closed branches as shunts of the buses."""
    own = [c for c in ENDS if c in branches]
    closed = branches[branches["closed"]]
    for column in own:
        end, _, unit = column.partition("_")
        added = closed.groupby(f"{end}_bus")[column].sum()
        before = buses.get(unit, 0.0)
        buses = buses.assign(**{unit: before + buses["name"].map(added).fillna(0.0)})
    return buses, branches.drop(columns=[*own, *(c for c in ("shift_degree",) if c in branches)])


def _opened(branches: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return branches.assign(closed=branches["closed"].astype(bool) & ~branches["name"].isin(list(names)))


def _check_ends(branches: pd.DataFrame, case: str) -> None:
    """Stop at branches from a bus to itself."""
    edges = closed_graph(branches).edges(keys=True)
    rings = [f"branch {name!r}: both ends are at bus {at!r}" for at, stop, name in edges if at == stop]
    if rings:
        raise InputError(rings, subject=case)


def _lv_feeders(buses: pd.DataFrame, branches: pd.DataFrame, case: str) -> list[str | None]:
    """Name of the transformer that brings each LV bus down from above 1 kV; the case's where the source is LV."""
    vn = dict(zip(buses["name"], buses["vn_kv"], strict=True))
    source = buses["name"][buses["v_source_pu"].notna()].iloc[0]
    graph = closed_graph(branches)
    graph.add_node(source)
    feeder: dict[str, str | None] = {source: case if vn[source] < 1.0 else None}
    for above, below in nx.bfs_edges(graph, source):
        name = next(iter(graph[above][below]))
        joined = above == source and str(source).startswith(JOINT)
        if vn[below] < 1.0 and (vn[above] >= 1.0 or joined):
            feeder[below] = below if joined else name
        else:
            feeder[below] = feeder[above]
    return [feeder[bus] for bus in buses["name"]]
