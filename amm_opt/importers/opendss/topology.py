"""The tree of an OpenDSS network: meshes, islands, nominal voltages and LV feeders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import networkx as nx

from amm_opt.errors import shorten
from amm_opt.importers.opendss.elements.component import PHASE_NAMES
from amm_opt.importers.opendss.elements.loads import Capacitor, Load
from amm_opt.importers.opendss.elements.reactors import Reactor
from amm_opt.importers.opendss.elements.sources import Source
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.line import Line
from amm_opt.importers.opendss.plants.plants import Plant

LV_KV = 1.0
"""Buses below are LV."""
BASE_TOLERANCE = 0.10
"""How far a rated voltage may be from the nominal voltage of its bus."""
Edge = Line | Transformer


class Topology:
    """Buses and the lines and transformers between them.

    Args:
        edges: lines and transformers; open ones join nothing.
        source: where the walk begins.
        nominal: line-to-line nominal voltages; every bus gets the nearest. Empty: the windings' own.

    Attributes:
        names: every bus as its first mention spells it, by lower case.
        vn_kv: nominal voltage by bus, in lower case.
        depth: of the buses that are fed, how many branches from the source.
        problems: what is wrong with the edges.
        uncovered: voltages between lines of windings that no nominal voltage is near to.
        arriving: phases by bus, in lower case, once ``fed_phases`` has found them.
    """

    def __init__(self, edges: Iterable[Edge], source: Source, nominal: list[float]) -> None:
        self.edges, self.source, self.nominal = list(edges), source, nominal
        self.problems: list[str] = []
        self.uncovered: list[float] = []
        self.arriving: dict[str, str] = {}
        self.names: dict[str, str] = {}
        for bus in (source.bus, *(b for x in self.edges for b in x.buses)):
            self.names.setdefault(bus.lower(), bus)
        self.graph: nx.MultiGraph[str] = nx.MultiGraph()
        self.graph.add_nodes_from(self.names)
        self.start = source.bus.lower()
        for edge in self.edges:
            a, b = (bus.lower() for bus in edge.buses)
            if a == b:
                self.problems.append(f"{edge.element}: both ends are at bus {edge.buses[0]!r}")
            elif edge.closed:
                self.graph.add_edge(a, b, edge=edge)
        self.depth: dict[str, int] = dict(nx.single_source_shortest_path_length(self.graph, self.start))
        self.fed = set(self.depth)
        self.vn_kv = self._base_voltages()

    def _base_voltages(self) -> dict[str, float]:
        """Nominal voltage of every bus, from the source outwards; contradictions are problems."""
        given = self.source.line_kv
        vn = {self.start: self._nominal(given)}
        if abs(given / vn[self.start] - 1.0) > BASE_TOLERANCE:
            self.uncovered.append(given)
        self.check_kv(self.source.element, "basekv", self.source.line_kv, vn[self.start])
        for component in nx.connected_components(self.graph):
            if self.start not in component:
                windings = (d["edge"] for at in component for *_, d in self.graph.edges(at, data=True))
                known = next((x for x in windings if isinstance(x, Transformer)), None)
                at = next(iter(component)) if known is None else known.buses[0].lower()
                vn[at] = self._nominal(vn[self.start]) if known is None else self._winding(known, at)
        stack = list(vn)
        while stack:
            bus = stack.pop()
            for _, other, data in self.graph.edges(bus, data=True):
                edge = data["edge"]
                value = self._winding(edge, other) if isinstance(edge, Transformer) else vn[bus]
                if other not in vn:
                    vn[other] = value
                    stack.append(other)
                elif vn[other] != value and bus in self.fed:
                    self.problems.append(
                        f"{edge.element}: inconsistent base voltage: bus {self.names[other]!r} is at {vn[other]:g} kV"
                        f" elsewhere and at {value:g} kV here"
                    )
        for x in self.edges:
            if isinstance(x, Transformer):
                for bus, line_kv in zip(x.buses, x.line_kv, strict=True):
                    if bus.lower() in self.fed:
                        self.check_kv(x.element, f"kv at bus {bus!r}", line_kv, vn[bus.lower()])
        self.problems[:] = dict.fromkeys(self.problems)
        return vn

    def _winding(self, x: Transformer, bus: str) -> float:
        kv = x.line_kv[[b.lower() for b in x.buses].index(bus)]
        nominal = self._nominal(kv)
        if x.legs is None and abs(kv / nominal - 1.0) > BASE_TOLERANCE and kv not in self.uncovered:
            self.uncovered.append(kv)
        half = x.legs is not None and bus == x.buses[1].lower()
        return kv if half and abs(kv / nominal - 1.0) > BASE_TOLERANCE else nominal

    def _nominal(self, kv: float) -> float:
        return min(self.nominal, key=lambda v: abs(math.log(v / kv))) if self.nominal else kv

    def check_kv(self, element: object, what: str, kv: float, base: float) -> None:
        """A problem where a rated voltage does not fit its bus."""
        if not abs(kv / base - 1.0) <= BASE_TOLERANCE:
            self.problems.append(
                f"{element}: inconsistent base voltage: {what} is {kv:.4g} kV, the bus is at {base:g} kV"
            )

    def check_rated(self, x: Load | Capacitor | Plant) -> None:
        """The rated voltage of a load or capacitor, where its bus is supplied; to neutral with one phase."""
        if x.bus.lower() in self.fed:
            to_neutral = x.phases == 1 and not (isinstance(x, Load | Plant) and x.between_phases)
            line_kv = x.kv * (math.sqrt(3) if to_neutral else 1.0)
            self.check_kv(x.element, f"kv = {x.kv:g} at bus {x.bus!r}", line_kv, self.vn_kv[x.bus.lower()])

    def only(self, kind: type[Edge], x: Edge) -> bool:
        """Whether all that joins the buses of an edge are of one kind."""
        a, b = (bus.lower() for bus in x.buses)
        return a != b and all(isinstance(d["edge"], kind) for d in self.graph[a][b].values())

    def keep_first(self, edges: Sequence[Edge]) -> None:
        """Take out all of these closed edges between two buses but the first."""
        a, b = (bus.lower() for bus in edges[0].buses)
        gone = {id(x) for x in edges[1:]}
        self.graph.remove_edges_from([(a, b, key) for key, d in self.graph[a][b].items() if id(d["edge"]) in gone])

    def meshes(self) -> Iterator[str]:
        """For every loop, the branches of which one could be opened."""
        graph = self.graph
        if graph.number_of_edges() == len(graph) - nx.number_connected_components(graph):
            return
        simple = nx.Graph(graph)
        for a, b in simple.edges:
            edges = [d["edge"] for d in graph[a][b].values()]
            if len(edges) > 1:
                yield "mesh: open one of " + _openable(edges)
        for cycle in nx.cycle_basis(simple):
            ends = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
            yield "mesh: open one of " + _openable([next(iter(graph[a][b].values()))["edge"] for a, b in ends])

    def islands(self) -> Iterator[str]:
        """Buses that nothing feeds, with the open branches that could."""
        for island in nx.connected_components(self.graph):
            if self.start in island:
                continue
            near = [
                f"{x.element.kind} {x.element.name!r}"
                for x in self.edges
                if not x.closed and any(bus.lower() in island for bus in x.buses)
            ]
            opened = f"; open there: {shorten(near)} (by a command or a switch control)" if near else ""
            yield (
                f"island: no closed line or transformer joins {shorten(sorted(self.names[b] for b in island))} to the"
                f" source bus {self.source.own_bus!r}{opened}"
            )

    def fed_phases(self, phases: Mapping[int, str]) -> Iterator[str]:
        """Find the phases that arrive at every bus; problems are branches on more than their supply has.

        Args:
            phases: of the branches, by ``id`` of their element.
        """
        self.arriving = {self.start: "".join(PHASE_NAMES[n] for n in self.source.nodes)}
        for above, below in nx.bfs_edges(self.graph, self.start):
            supply = self.arriving[above]
            edges = [data["edge"] for data in self.graph[above][below].values()]
            own = sorted(set("".join(phases.get(id(x), "abc") for x in edges)))
            self.arriving[below] = "".join(p for p in own if p in supply)
            if lost := [p for p in own if p not in supply]:
                yield f"{edges[0].element}: phase {', '.join(lost)} does not arrive at bus {self.names[above]!r}"

    def ungrounded(self, loads: Iterable[Load | Plant]) -> Iterator[str]:
        """Loads from phases to neutral below transformers through which no current reaches ground.

        There the neutral is that of the equivalent star: right for what is between phases, and for what is balanced.
        """
        through: dict[str, Transformer] = {}
        for above, below in nx.bfs_edges(self.graph, self.start):
            edge: Edge | None = next(iter(self.graph[above][below].values()))["edge"]
            if isinstance(edge, Transformer) and (edge.without_ground or "delta" in edge.conns):
                if edge.without_ground or edge.buses[0].lower() == below:
                    through[below] = edge
            elif above in through:
                through[below] = through[above]
        for load in loads:
            edge = through.get(load.bus.lower())
            if edge is None or load.phases >= 3:
                continue
            if not (load.between_phases or load.delta):
                yield (
                    f"{load.element}: unsupported: it draws to ground, which no current reaches through transformer"
                    f" {edge.element.name!r}"
                )

    def check_phases(self, x: Load | Capacitor | Plant | Reactor) -> Iterator[str]:
        """Phases of a load or capacitor that nothing feeds."""
        nodes, bus = x.phase_nodes, x.bus.lower()
        lost = [
            PHASE_NAMES[n] for n in nodes if n in PHASE_NAMES and PHASE_NAMES[n] not in self.arriving.get(bus, "abc")
        ]
        if lost:
            yield f"{x.element}: phase {', '.join(lost)} does not arrive at bus {x.bus!r}"

    def lv_feeders(self, circuit: str, names: Mapping[int, str]) -> dict[str, str]:
        """LV feeder of every LV bus that is fed, by lower case.

        It is named after the folder of its transformer's file where that folder has no other and no transformer has
        its name, else after the transformer; the circuit's name where the source itself is LV.

        Args:
            names: of the transformers' branches, by ``id``.
        """
        heads: dict[str, Transformer] = {}
        head_of: dict[str, str] = {self.start: self.start}
        for above, below in nx.bfs_edges(self.graph, self.start):
            edge = next(iter(self.graph[above][below].values()))["edge"]
            down = self.vn_kv[below] < LV_KV <= self.vn_kv[above]
            head_of[below] = below if down else head_of[above]
            if down and isinstance(edge, Transformer):
                heads[below] = edge
        folders = [Path(x.element.where.file).parent.name for x in heads.values()]
        label = {self.start: circuit}
        taken = {circuit, *(names.get(id(x), x.element.name) for x in heads.values())}
        for (bus, x), folder in zip(heads.items(), folders, strict=True):
            alone = folder and folders.count(folder) == 1 and folder not in taken
            label[bus] = folder if alone else names.get(id(x), x.element.name)
        return {b: label[head] for b, head in head_of.items() if self.vn_kv[b] < LV_KV}


def _openable(edges: list[Edge]) -> str:
    """Branches of a mesh that could be opened: switches where there are any, else lines."""
    switches = [e for e in edges if isinstance(e, Line) and e.switch]
    lines = [e for e in edges if isinstance(e, Line)]
    return shorten((f"{e.element.kind} {e.element.name!r} ({e.element.where})" for e in switches or lines or edges), 20)
