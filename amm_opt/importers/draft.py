"""Tables of another tool's balanced network with its loads and plants, made radial and supplied."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import pandas as pd

from amm_opt.errors import InputError, shorten
from amm_opt.importers.imported import Demand, ImportedNetwork
from amm_opt.importers.people import CONSTANT, participants
from amm_opt.importers.report import ImportReport

ELEMENT_COLUMNS = ["name", "bus", "quantity", "p_kw", "q_kvar", "profile"]
ENDS = [f"{end}_shunt_{unit}" for end in ("from", "to") for unit in ("kw", "kvar")]
V_MIN_PU, V_MAX_PU = 0.9, 1.1
SNAPSHOT_MINUTES = 30


@dataclass
class Draft:
    """A network as it was read.

    Attributes:
        buses, branches: as in the case folder; ``closed`` says which branches are in service. Branches may have
            ``from_shunt_kw``, ``from_shunt_kvar``, ``to_shunt_kw`` and ``to_shunt_kvar``: shunts that a closed branch
            adds to the bus at that end, signs as for ``shunt_kw`` and ``shunt_kvar`` of buses.
        elements: one row per load or plant: ``name``, ``bus``, ``quantity`` (inflexible, import or export), ``p_kw``,
            ``q_kvar`` (drawn by loads, injected by exports) and ``profile``, empty for a constant one. Where a plant is
            a participant of its own, ``own`` names it, and further columns are the participant's.
        profiles: a ``time`` column and per-unit columns; None for a snapshot.
    """

    name: str
    buses: pd.DataFrame
    branches: pd.DataFrame
    elements: pd.DataFrame
    profiles: pd.DataFrame | None = None
    report: ImportReport = field(default_factory=ImportReport)

    def network(self, open_branches: Sequence[str] = (), meshed: bool = False) -> ImportedNetwork:
        """The network with its demand, the named branches open as well; cycles only where it may be meshed.

        Raises:
            InputError: unknown branches; a mesh where it must not be one, with the open points it could use.
        """
        branches = _opened(self.branches, open_branches, self.name)
        buses, branches, elements = self._supplied(branches)
        _check_ends(branches, self.name)
        if not meshed:
            _check_radial(branches, self.name)
        buses, branches = _with_shunts(self._with_source_band(buses), branches)
        tier = np.where(buses["vn_kv"] < 1.0, "LV", "MV")  # the formats give kV, so 230 is none of V
        buses = buses.assign(feeder=_lv_feeders(buses, branches, self.name), tier=tier)
        profiles = self._profiles()
        if elements.empty:
            raise InputError("no load or plant has a supply: nobody takes part", subject=self.name)
        people, owner = participants(elements, profiles, self.report)
        series = pd.DataFrame(
            {
                "participant": owner,
                "quantity": elements["quantity"],
                "profile": elements["profile"].replace("", CONSTANT),
                "scale_kw": elements["p_kw"],
            }
        )
        used = ["time", *sorted(set(series["profile"]))]
        demand = Demand(people, profiles[used], series[series["scale_kw"] != 0])
        customers = _customers(people, elements, owner)
        made = ImportedNetwork(self.name, buses, branches, customers, self.report, demand, meshed=meshed)
        self.report.check(made.feeder)
        counts = {"buses": len(buses), "branches": len(branches), "participants": len(people)}
        counts["intervals"] = len(profiles)
        self.report.read += [f"{count} {what}" for what, count in counts.items()]
        return made

    def _with_source_band(self, buses: pd.DataFrame) -> pd.DataFrame:
        """Other tools hold the source by a band without width; no limit is kept there, but a band must have one."""
        held = buses["v_source_pu"].notna() & ~(buses["v_min_pu"] < buses["v_max_pu"])
        if not held.any():
            return buses
        self.report.assumed.append(f"the source's voltage band is {V_MIN_PU} to {V_MAX_PU} pu; no limit is kept there")
        return buses.assign(
            v_min_pu=buses["v_min_pu"].where(~held, V_MIN_PU), v_max_pu=buses["v_max_pu"].where(~held, V_MAX_PU)
        )

    def _supplied(self, branches: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Without what no closed path joins to the source."""
        graph = _graph(branches)
        graph.add_nodes_from(self.buses["name"])
        source = self.buses["name"][self.buses["v_source_pu"].notna()].iloc[0]
        inside = nx.node_connected_component(graph, source)
        dead = self.buses["name"][~self.buses["name"].isin(inside)]
        if len(dead):
            self.report.left_out.append(f"{len(dead)} buses without supply: {shorten(dead)}")
        both = branches["from_bus"].isin(inside) & branches["to_bus"].isin(inside)
        lost = ~self.elements["bus"].isin(inside)
        if lost.any():
            power = self.elements["p_kw"][lost].abs().sum()
            self.report.left_out.append(f"{int(lost.sum())} loads and plants on them, {power:g} kW")
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


def _customers(people: pd.DataFrame, elements: pd.DataFrame, owner: pd.Series[str]) -> pd.DataFrame:
    """Participants with inflexible load, or with constant reactive power alone."""
    own = elements["quantity"].eq("inflexible")
    kw = people["name"].map(elements["p_kw"][own].groupby(owner[own]).sum()).fillna(0.0).clip(lower=0.0)
    table = people[["name", "bus", "power_factor", "inflexible_kvar"]].assign(kw=kw)
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
    return buses, branches.drop(columns=own)


def _graph(branches: pd.DataFrame) -> nx.MultiGraph[str]:
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    closed = branches[branches["closed"].astype(bool)]
    for name, start, stop in zip(closed["name"], closed["from_bus"], closed["to_bus"], strict=True):
        graph.add_edge(start, stop, key=name)
    return graph


def _opened(branches: pd.DataFrame, names: Sequence[str], case: str) -> pd.DataFrame:
    if unknown := sorted(set(names) - set(branches["name"])):
        raise InputError([f"open_branches: no branch {name!r}" for name in unknown], subject=case)
    return branches.assign(closed=branches["closed"].astype(bool) & ~branches["name"].isin(list(names)))


def _check_ends(branches: pd.DataFrame, case: str) -> None:
    """Stop at branches from a bus to itself."""
    edges = _graph(branches).edges(keys=True)
    rings = [f"branch {name!r}: both ends are at bus {at!r}" for at, stop, name in edges if at == stop]
    if rings:
        raise InputError(rings, subject=case)


def _check_radial(branches: pd.DataFrame, case: str) -> None:
    """Stop at a mesh, and name for every loop the branches of which one must be open."""
    graph = _graph(branches)
    kind = dict(zip(branches["name"], branches["kind"], strict=True))
    tree: nx.Graph[str] = nx.Graph()
    closing: list[tuple[str, str, str]] = []
    for start, stop, name in graph.edges(keys=True):
        if start in tree and stop in tree and nx.has_path(tree, start, stop):
            closing.append((start, stop, name))
        else:
            tree.add_edge(start, stop, name=name)
    problems = []
    for start, stop, name in closing:
        path = nx.shortest_path(tree, start, stop)
        loop = [name, *(tree.edges[a, b]["name"] for a, b in itertools.pairwise(path))]
        choices = [b for b in loop if kind[b] != "transformer"] or loop
        problems.append(f"loop of {len(loop)} branches; open one of: {shorten(choices, 20)}")
    if problems:
        count = (
            f"the network is meshed: give {len(problems)} open_branches, or meshed=true for the network model dc, which"
            " takes meshes"
        )
        raise InputError([count, *problems], subject=case)


def _lv_feeders(buses: pd.DataFrame, branches: pd.DataFrame, case: str) -> list[str | None]:
    """Name of the transformer that brings each LV bus down from above 1 kV; the case's where the source is LV."""
    vn = dict(zip(buses["name"], buses["vn_kv"], strict=True))
    source = buses["name"][buses["v_source_pu"].notna()].iloc[0]
    graph = _graph(branches)
    graph.add_node(source)
    feeder: dict[str, str | None] = {source: case if vn[source] < 1.0 else None}
    for above, below in nx.bfs_edges(graph, source):
        name = next(iter(graph[above][below]))
        feeder[below] = name if vn[below] < 1.0 <= vn[above] else feeder[above]
    return [feeder[bus] for bus in buses["name"]]
