"""Generators that are near to each other in the network, taken together as one player each.

Source: D. Sweeney, arXiv 2512.13871 (2025) and its public code: generators of one node are a cluster; two clusters
become one while (1) their nearest trunk node is the same, (2) they are at most two hops apart, and (3) for at least one
pair the bottleneck of the shortest path carries the larger availability; inside a cluster its value is shared by
availability, equally where nobody has any.

Our reading, where the source leaves a choice: a hop is a branch; trunk nodes are the buses of the highest nominal
voltage, or those that the caller names; of equally near trunk nodes the one whose name comes first; the distance of
clusters is that of their nearest nodes; a pair is a node of each, with all that is available at it; of several shortest
paths the one with the widest bottleneck; a branch carries the smallest of its limits; parallel ones add up. Merging can
only make further merges possible, so the order of merges does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, shorten

HOPS = 2
"""Clusters that are farther apart stay two."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Players of a game, each of them one or more generators.

    Attributes:
        generators: names, G of them, in the order of the case.
        buses: (G,) the bus of each.
        names: of the clusters, C of them: their buses.
        trunk: (C,) the trunk node that each is nearest to.
        cluster: (G,) the cluster of each generator.
    """

    generators: tuple[str, ...]
    buses: tuple[str, ...]
    names: tuple[str, ...]
    trunk: tuple[str, ...]
    cluster: IntArray

    @property
    def players(self) -> dict[str, list[str]]:
        """Generators by cluster, as ``NetworkGame`` takes them."""
        members: dict[str, list[str]] = {name: [] for name in self.names}
        for generator, c in zip(self.generators, self.cluster.tolist(), strict=True):
            members[self.names[c]].append(generator)
        return members

    @property
    def table(self) -> pd.DataFrame:
        """A row per generator: its ``bus``, ``cluster`` and ``trunk`` node."""
        columns = {
            "bus": self.buses,
            "cluster": [self.names[c] for c in self.cluster],
            "trunk": [self.trunk[c] for c in self.cluster],
        }
        return pd.DataFrame(columns, index=pd.Index(self.generators, name="generator"))

    def split(self, values: ArrayLike, available_kw: ArrayLike) -> FloatArray:
        """Values of clusters, divided among their generators by availability, equally where nobody has any.

        Args:
            values: (..., C) of clusters.
            available_kw: (..., G) what each generator could give.

        Returns:
            (..., G); in every cluster they add up to its value.

        Raises:
            InputError: for other shapes, and a negative availability.
        """
        of_cluster, available = np.asarray(values, dtype=float), np.asarray(available_kw, dtype=float)
        counts = (len(self.names), len(self.generators))
        if of_cluster.shape[-1:] != counts[:1] or available.shape[-1:] != counts[1:]:
            shapes = f"values {of_cluster.shape} and available_kw {available.shape}"
            raise InputError(
                f"{shapes} must end in {counts[0]} clusters and {counts[1]} generators", subject="clusters"
            )
        if np.any(available < 0):
            raise InputError("available_kw must not be negative", subject="clusters")
        member = (self.cluster == np.arange(counts[0])[:, None]).astype(float)
        together = (available @ member.T)[..., self.cluster]
        equal = 1.0 / member.sum(axis=1)[self.cluster]
        share = np.where(together > 0, available / np.where(together > 0, together, 1.0), equal)
        return np.asarray(of_cluster[..., self.cluster] * share)


def clusters(
    case: Case, *, trunk: Sequence[str] | None = None, available_kw: Mapping[str, float] | None = None
) -> Clusters:
    """Clusters of the generators of a case: who ever offers export, or has a battery.

    Args:
        case: in a network, meshed or not.
        trunk: names of the trunk nodes; None: the buses of the highest nominal voltage.
        available_kw: what each generator could give, by name; None: the most that it offers in any interval of the
            case, with the power of its battery.

    Raises:
        InputError: where there are no generators, for an unknown bus, and availabilities that are not those of the
            generators or negative.
    """
    offered = case.scenario.export_scale * case.profiles.largest_kw("export", case.n_participants)
    offered[case.batteries.participant] += case.batteries.power_kw
    who = np.flatnonzero(case.owns("export") | (np.isin(np.arange(case.n_participants), case.batteries.participant)))
    names = tuple(case.participant_names[i] for i in who)
    _check(case, names, trunk, available_kw)
    most = offered[who] if available_kw is None else np.array([available_kw[name] for name in names])
    graph = _graph(case)
    of_bus = np.zeros(case.feeder.n_buses)
    np.add.at(of_bus, case.bus[who], most)
    nodes = sorted(set(case.bus[who].tolist()))
    nearest = _nearest(case, graph, nodes, trunk)
    joined = _joined(graph, nodes, nearest, of_bus)
    groups = sorted(([nodes[k] for k in group] for group in nx.connected_components(joined)), key=min)
    home = {bus: c for c, group in enumerate(groups) for bus in group}
    buses = case.feeder.bus_names
    return Clusters(
        generators=names,
        buses=tuple(buses[b] for b in case.bus[who]),
        names=tuple(" + ".join(sorted(buses[b] for b in group)) for group in groups),
        trunk=tuple(buses[nearest[group[0]]] for group in groups),
        cluster=np.array([home[b] for b in case.bus[who].tolist()], dtype=np.intp),
    )


def _check(
    case: Case, names: tuple[str, ...], trunk: Sequence[str] | None, available_kw: Mapping[str, float] | None
) -> None:
    said = [] if names else [f"{case.name} has no generators: nobody offers export or has a battery"]
    if trunk is not None:
        lost = [repr(bus) for bus in trunk if bus not in case.feeder.bus_index]
        said += [f"trunk: no bus is called {shorten(lost)}"] if lost else []
        said += [] if len(trunk) else ["trunk: no bus is given"]
    if available_kw is not None:
        missing, strange = [n for n in names if n not in available_kw], [n for n in available_kw if n not in names]
        said += [f"available_kw: {shorten(missing, 5)} missing"] if missing else []
        said += [f"available_kw: {shorten(strange, 5)} no generators"] if strange else []
        said += [
            f"available_kw of {n!r} = {kw:g} must not be negative" for n, kw in available_kw.items() if not kw >= 0
        ]
    if said:
        raise InputError(said, subject="clusters")


def _graph(case: Case) -> nx.Graph:
    """Buses, and between two of them what all branches carry together, kW."""
    feeder, graph = case.feeder, nx.Graph()
    graph.add_nodes_from(range(feeder.n_buses))
    limits = np.minimum(feeder.rating_kva, np.minimum(feeder.import_limit_kw, feeder.export_limit_kw))
    for a, b, kw in zip(*feeder.ends[:, 1:].tolist(), limits[1:].tolist(), strict=True):
        carried = graph.edges[a, b]["kw"] if graph.has_edge(a, b) else 0.0
        graph.add_edge(a, b, kw=carried + kw)
    return graph


def _nearest(case: Case, graph: nx.Graph, nodes: list[int], trunk: Sequence[str] | None) -> dict[int, int]:
    """The trunk node that each node is nearest to."""
    feeder = case.feeder
    if trunk is None:
        trunks = np.flatnonzero(feeder.vn_kv == feeder.vn_kv.max()).tolist()
    else:
        trunks = [feeder.bus_index[bus] for bus in trunk]
    found: dict[int, tuple[int, str, int]] = {}
    for t in trunks:
        for node, hops in nx.single_source_shortest_path_length(graph, t).items():
            found[node] = min(found.get(node, (graph.number_of_nodes(), "", t)), (hops, feeder.bus_names[t], t))
    return {node: found[node][2] for node in nodes}


def _joined(graph: nx.Graph, nodes: list[int], nearest: dict[int, int], available_kw: FloatArray) -> nx.Graph:
    """Which nodes (by position) belong together, as the components of a graph."""
    count = len(nodes)
    near, wide = np.zeros((count, count), dtype=bool), np.zeros((count, count), dtype=bool)
    for i, a in enumerate(nodes):
        hops, carries = _paths(graph, a)
        for j, b in enumerate(nodes):
            near[i, j] = hops[b] <= HOPS
            wide[i, j] = carries[b] >= max(available_kw[a], available_kw[b])
    alike = np.array([nearest[a] for a in nodes])
    joined = nx.Graph()
    joined.add_nodes_from(range(count))
    while True:
        groups = [np.array(sorted(group)) for group in nx.connected_components(joined)]
        merges = [
            (int(some[0]), int(others[0]))
            for k, some in enumerate(groups)
            for others in groups[:k]
            if alike[some[0]] == alike[others[0]]
            and near[np.ix_(some, others)].any()
            and wide[np.ix_(some, others)].any()
        ]
        if not merges:
            return joined
        joined.add_edges_from(merges)


def _paths(graph: nx.Graph, start: int) -> tuple[dict[int, int], dict[int, float]]:
    """Hops from a node to every other, and the widest bottleneck of the paths of so many hops."""
    hops: dict[int, int] = {}
    carries = {start: np.inf}
    for distance, layer in enumerate(nx.bfs_layers(graph, start)):
        hops.update(dict.fromkeys(layer, distance))
        for node in layer:
            before = [n for n in graph[node] if hops.get(n) == distance - 1]
            if before:
                carries[node] = max(min(carries[n], graph.edges[n, node]["kw"]) for n in before)
    return hops, carries
