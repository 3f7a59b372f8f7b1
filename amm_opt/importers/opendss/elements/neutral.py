"""Neutrals: which carry the return current, and star points that reach them only through ground."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import networkx as nx
import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.importers.opendss.elements.loads import Load
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.line import Line, split_conductors

SOLID_SIEMENS = 1e9
"""Of a neutral that is ground itself."""


def star_resistances(
    transformers: Iterable[Transformer],
    lines: Iterable[Line],
    loads: Iterable[Load],
    grounding: Mapping[str, float],
) -> dict[str, float]:
    """Ohm between the neutral of the busbar and the star point, for transformers whose star point is ground.

    The return current of single-phase loads then leaves the neutral through its groundings, and lifts the neutral by
    s times the sum of the phase currents. The neutral network below each transformer is solved with all single-phase
    loads drawing the same current from one phase: lines carry neutral current by their own and their mutual impedance
    with the phases, groundings take what they get; s is the busbar's neutral voltage over the total current, its part
    in phase (the rest is a few percent). (Ours.)

    Args:
        grounding: ohm from the neutral to ground by bus, in lower case.

    Returns:
        By the transformer's name; without those whose star point is the neutral itself, that feed no single-phase load,
        or below which nothing grounds the neutral.
    """
    graph: nx.Graph[str] = nx.Graph()
    for line in lines:
        phases, neutrals = split_conductors(line.nodes[0])
        if line.closed and len(neutrals) == 1 and phases:
            own, mutual = line.z_ohm[neutrals[0], neutrals[0]], line.z_ohm[neutrals[0], phases].mean()
            ends = [bus.lower() for bus in line.buses]
            ground = [bus for bus, nodes in zip(ends, line.nodes, strict=True) if nodes[neutrals[0]] == 0]
            graph.add_edge(*ends, own=own, mutual=mutual)
            graph.add_nodes_from(ground, solid=True)
    drawn: dict[str, float] = {}
    for load in loads:
        if load.phases == 1 and not load.between_phases:
            drawn[load.bus.lower()] = drawn.get(load.bus.lower(), 0.0) + 1.0
    found = {}
    for x in transformers:
        bus = x.buses[1].lower()
        if x.closed and x.conns[1] == "wye" and x.nodes[1][x.phases] == 0 and bus in graph:
            star = _star(graph, bus, drawn, grounding)
            if star > 0:
                found[x.element.name] = star
    return found


def _star(graph: nx.Graph[str], head: str, drawn: Mapping[str, float], grounding: Mapping[str, float]) -> float:
    """Neutral voltage of the busbar over the total current, in phase; 0 where there is none, or no ground."""
    order = [head, *(child for _, child in nx.bfs_edges(graph, head))]
    parent = {child: above for above, child in nx.bfs_edges(graph, head)}
    place = {bus: i for i, bus in enumerate(order)}
    below = np.array([drawn.get(bus, 0.0) for bus in order])
    admittance = np.zeros((len(order), len(order)), dtype=complex)
    for i, bus in enumerate(order):
        if graph.nodes[bus].get("solid"):
            admittance[i, i] = SOLID_SIEMENS
        elif bus in grounding:
            admittance[i, i] = 1.0 / max(grounding[bus], 1.0 / SOLID_SIEMENS)
    if not admittance.any() or not below.any():
        return 0.0
    current: ComplexArray = below.astype(complex)
    for i in range(len(order) - 1, 0, -1):
        k = place[parent[order[i]]]
        line = graph.edges[order[i], order[k]]
        y = 1.0 / line["own"]
        admittance[[i, k], [i, k]] += y
        admittance[[i, k], [k, i]] -= y
        induced = y * line["mutual"] * below[i]
        current[k] += induced
        current[i] -= induced
        below[k] += below[i]
    return float(np.linalg.solve(admittance, current)[0].real / below[0])


def idle_neutrals(lines: Iterable[Line], loads: Iterable[Load], grounding: Mapping[str, float]) -> set[str]:
    """Buses, in lower case, whose lines have a neutral that no load ends at and that less than two points ground."""
    graph: nx.Graph[str] = nx.Graph()
    grounded = dict.fromkeys(grounding, 1)
    for line in lines:
        phases, neutrals = split_conductors(line.nodes[0])
        if phases and len(neutrals) == 1 and line.closed:
            ends = [bus.lower() for bus in line.buses]
            graph.add_edge(*ends)
            for bus, nodes in zip(ends, line.nodes, strict=True):
                grounded[bus] = max(grounded.get(bus, 0), int(nodes[neutrals[0]] == 0))
    used = {x.bus.lower() for x in loads if any(n > 3 for n in x.nodes)}
    return {
        bus
        for joined in nx.connected_components(graph)
        if not joined & used and sum(grounded.get(b, 0) for b in joined) < 2
        for bus in joined
    }


def unfit_neutrals(
    loads: Iterable[Load],
    lines: Collection[Line],
    transformers: Collection[Transformer],
    grounding: Mapping[str, float],
    returning: Collection[str],
    depth: Mapping[str, int],
) -> Iterator[str]:
    """Problems with star points that float, and with loads on one phase whose current has another way back.

    Towards the source a star point may float, as its transformer then passes what is between phases.

    Args:
        depth: how many branches a bus, in lower case, is from the source.
        returning: buses, in lower case, of lines whose neutral carries the whole return current.
    """
    joining: list[Line | Transformer] = [*lines, *transformers]
    ends = [(b.lower(), nodes) for x in joining for b, nodes in zip(x.buses, x.nodes, strict=True)]
    known = set(grounding) | {bus for bus, nodes in ends if max(nodes) > 3}
    solid = set(grounding) | {bus for bus, nodes in ends if 0 in nodes}
    joined = set(grounding) | {b.lower() for x in lines for b, n in zip(x.buses, x.nodes, strict=True) if max(n) > 3}
    for t in transformers:
        for bus, conn, nodes in zip(t.buses, t.conns, t.nodes, strict=True):
            towards = depth.get(bus.lower(), 0) < depth.get(t.buses[0].lower(), 0)
            passes = t.conns[0] == "delta" and t.star_floats and towards
            if conn == "wye" and nodes[-1] > 3 and bus.lower() not in joined and not passes:
                yield f"{t.element}: node {nodes[-1]} of bus {bus!r}, its star point, is joined to nothing"
    adrift = _adrift(lines, transformers, grounding)
    for load in loads:
        bus = load.bus.lower()
        if load.delta or load.between_phases or len(load.nodes) <= load.phases:
            continue
        neutral = load.nodes[load.phases]
        if neutral > 3 and bus not in known:
            yield f"{load.element}: node {neutral} of bus {load.bus!r}, its neutral, is joined to nothing"
        elif neutral > 3 and bus in adrift:
            yield (
                f"{load.element}: node {neutral} of bus {load.bus!r}, its neutral, reaches no star point and no"
                " ground: end the transformer there, as in bus=lv.1.2.3.4, or ground it by a reactor"
            )
        elif load.phases == 1 and neutral == 0 and bus in returning and bus not in solid:
            yield (
                f"{load.element}: unsupported: its current returns through ground, but the neutral of bus {load.bus!r}"
                " is not grounded; end it at the neutral's node, or pass neutral='kron'"
            )


def _adrift(lines: Iterable[Line], transformers: Iterable[Transformer], grounding: Collection[str]) -> set[str]:
    """Buses, in lower case, whose neutrals, by the lines that have one, reach no star point and no ground."""
    graph: nx.Graph[str] = nx.Graph()
    held = set(grounding)
    for line in lines:
        neutrals = split_conductors(line.nodes[0])[1]
        if line.closed and neutrals:
            ends = [bus.lower() for bus in line.buses]
            graph.add_edge(*ends)
            held.update(b for b, nodes in zip(ends, line.nodes, strict=True) if any(nodes[i] == 0 for i in neutrals))
    for x in transformers:
        held.update(b.lower() for b, c, n in zip(x.buses, x.conns, x.nodes, strict=True) if c == "wye" and n[-1] > 3)
    return {bus for joined in nx.connected_components(graph) if not joined & held for bus in joined}
