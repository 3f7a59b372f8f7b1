"""Loops of a network that was read: the branches that could be opened, ranked by what they carry."""

from __future__ import annotations

import itertools
import json
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.importers.radial.sources import JOINT

LEAST_R_PU = 1e-9
MOST_LOOPS = 50
"""Loops that are listed one by one."""
MESHED = "meshed=true for the network model dc"
SAME_FLOW = 1e-3
"""Flows that differ by less, as a share of all load, are alike: switches come first among them."""


def closed_graph(branches: pd.DataFrame) -> nx.MultiGraph[str]:
    """Buses and the closed branches between them, by name."""
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    closed = branches[branches["closed"].astype(bool)]
    for name, start, stop in zip(closed["name"], closed["from_bus"], closed["to_bus"], strict=True):
        graph.add_edge(start, stop, key=name)
    return graph


def bridges(graph: nx.MultiGraph[Any]) -> list[Any]:
    """Keys of the branches that are in no loop."""
    single = nx.Graph(graph)
    return [next(iter(graph[a][b])) for a, b in nx.bridges(single) if graph.number_of_edges(a, b) == 1]


def check_radial(buses: pd.DataFrame, branches: pd.DataFrame, drawn_kw: pd.Series[float], case: str) -> None:
    """Stop at a mesh, and name for every loop the branches of which one must be open, those that carry least first.

    Args:
        drawn_kw: load by bus.
    """
    graph = closed_graph(branches)
    loops = graph.number_of_edges() - graph.number_of_nodes() + nx.number_connected_components(graph)
    if loops == 0:
        return
    if loops > MOST_LOOPS:
        raise InputError(f"the network is meshed by {loops} loops: {MESHED} takes meshes", subject=case)
    kind = dict(zip(branches["name"], branches["kind"], strict=True))
    opened, flow = least_loaded(buses, branches, drawn_kw, loops)
    tree: nx.Graph[str] = nx.Graph()
    ends = {}
    for start, stop, name in graph.edges(keys=True):
        ends[name] = (start, stop)
        if name not in opened:
            tree.add_edge(start, stop, name=name)
    problems = []
    for name in opened:
        path = nx.shortest_path(tree, *ends[name])
        loop = [name, *(tree.edges[a, b]["name"] for a, b in itertools.pairwise(path))]
        choices = [b for b in loop if kind[b] != "transformer"] or loop
        choices.sort(key=lambda b: (b != name, flow[b]))
        said = f"loop of {counted(len(loop), 'branch', 'branches')}; open one of: {shorten(choices, 20)}"
        if JOINT in path:
            fed = sorted(graph[JOINT])
            said += f"; sources at {shorten(fed)} close it: keep one of them, as in sources={json.dumps(fed[:1])}"
        problems.append(said)
    count = (
        f"the network is meshed: give {loops} open_branches, or {MESHED}, which takes meshes. Least loaded when all are"
        f" closed: open_branches={json.dumps(opened, ensure_ascii=False)}"
    )
    raise InputError([count, *problems], subject=case)


def least_loaded(
    buses: pd.DataFrame, branches: pd.DataFrame, drawn_kw: pd.Series[float], loops: int
) -> tuple[list[str], dict[str, float]]:
    """A branch to open in every loop: with all closed the one that carries least, then again with it open.

    The flow pattern of least losses is that of the resistances alone (D. Shirmohammadi and H. W. Hong, "Reconfiguration
    of electric distribution networks for resistive line losses reduction", IEEE Trans. Power Delivery 4(2), 1989, doi
    10.1109/61.25637). Transformers are opened where a loop has nothing else; of branches in series that carry the same,
    a switch.

    Returns:
        Names in the order in which they are opened, and the share of all load that every branch carries with all
        closed.
    """
    closed = branches[branches["closed"].astype(bool)].reset_index(drop=True)
    number = {name: i for i, name in enumerate(buses["name"])}
    start, stop = (closed[end].map(number).to_numpy() for end in ("from_bus", "to_bus"))
    r_pu = _resistance(closed, buses)
    load = buses["name"].map(drawn_kw).fillna(0.0).to_numpy(float)
    load = load / load.sum() if load.sum() > 0 else np.full(len(load), 1.0 / len(load))
    root = int(np.flatnonzero(buses["v_source_pu"].notna())[0])
    order = closed["kind"].map({"switch": 0, "transformer": 2}).fillna(1).to_numpy(int)
    alive = np.ones(len(closed), dtype=bool)
    opened: list[str] = []
    first: FloatArray | None = None
    for _ in range(loops):
        flow = _flows(start, stop, r_pu, load, root, alive)
        first = flow if first is None else first
        graph: nx.MultiGraph[int] = nx.MultiGraph()
        graph.add_edges_from((int(start[k]), int(stop[k]), int(k)) for k in np.flatnonzero(alive))
        inside = alive & ~np.isin(np.arange(len(closed)), bridges(graph))
        own = [int(k) for k in np.flatnonzero(inside)]
        rank = min(own, key=lambda k: (order[k] == 2, round(float(flow[k]) / SAME_FLOW), order[k], flow[k], k))
        alive[rank] = False
        opened.append(str(closed["name"][rank]))
    assert first is not None
    return opened, dict(zip(closed["name"], first.tolist(), strict=True))


def _resistance(closed: pd.DataFrame, buses: pd.DataFrame) -> FloatArray:
    """Of every branch on 1 MVA; of those on phases that of the first, and a little where there is none."""
    kv = closed["to_bus"].map(dict(zip(buses["name"], buses["vn_kv"], strict=True))).astype(float)
    first = [float(str(r).split("|")[0]) for r in closed["r_ohm"]]
    return np.asarray(np.maximum(np.abs(np.array(first)) / kv.to_numpy() ** 2, LEAST_R_PU))


def _flows(
    start: IntArray, stop: IntArray, r_pu: FloatArray, load: FloatArray, root: int, alive: BoolArray
) -> FloatArray:
    """Magnitudes of the flows that resistances alone give; 0 in open branches."""
    n, m = len(load), len(r_pu)
    rows = np.tile(np.arange(m), 2)
    incidence = sp.csr_array((np.repeat([1.0, -1.0], m), (rows, np.concatenate([start, stop]))), shape=(m, n))
    conductance = sp.diags_array(alive / r_pu)
    rest = np.flatnonzero(np.arange(n) != root)
    laplacian = sp.csc_array(incidence.T @ conductance @ incidence)[rest][:, rest]
    v = np.zeros(n)
    v[rest] = spsolve(sp.csc_array(laplacian), load[rest])
    return np.asarray(np.abs(conductance @ (incidence @ v)))
