"""Sources behind their impedances; several as one: joined at a stiff node, or some of them cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import networkx as nx
import numpy as np

from amm_opt.errors import counted, shorten, unknown
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.dialect.script import Element
from amm_opt.importers.opendss.elements.component import UnsupportedError
from amm_opt.importers.opendss.elements.sources import Source
from amm_opt.importers.opendss.elements.transformers import Transformer, Winding
from amm_opt.importers.opendss.lines.line import Line

JOINT = "joined sources"
BEHIND, IMPEDANCE = "infinite_bus_of_", "impedance_of_"
"""What the bus behind the impedance of a source and the branch from it are called, with the source's own bus."""
LINK_PERCENT, LINK_KVA = 1e-4, 1e6
"""A link has 1e-9 ohm per kV squared, which is 10^9 MVA of short-circuit power."""


def _kept(sources: Sequence[Source], names: Sequence[str] | None) -> tuple[list[Source], list[str]]:
    """Sources that are named, by their own name or their bus, and what is wrong with the names; all by default."""
    if names is None:
        return list(sources), []
    known = {name.lower(): x for x in sources for name in (x.bus, x.element.name)}
    wrong = [f"sources: {unknown('source', n, [x.bus for x in sources])}" for n in names if n.lower() not in known]
    return [x for x in sources if {x.bus.lower(), x.element.name} & {n.lower() for n in names}], wrong


def _joined(sources: Sequence[Source]) -> tuple[Source, list[Transformer]]:
    """One source, and links without impedance from it to the places of all, where each keeps its voltage.

    On separate trees that is exact, whatever the angles; sources of one tree close a loop.
    """
    first = sources[0]
    if len(sources) == 1:
        return first, []
    joint = Source(first.element, first.base_frequency, bus=JOINT, own_bus=JOINT, kv=first.kv, pu=first.pu, ideal=True)
    links = []
    for x in sources:
        ends = [Winding(JOINT, kv=first.kv), Winding(x.bus, kv=x.kv, tap=x.pu / first.pu)]
        element = Element("transformer", f"link to {x.bus}", x.element.where)
        link = Transformer(element, x.base_frequency, windings=[*ends], xhl=LINK_PERCENT, normal_kva=math.inf)
        for winding in link.windings:
            winding.r, winding.kva = 0.0, LINK_KVA
        link.finish()
        link.link = True
        links.append(link)
    return joint, links


def _behind_impedance(source: Source) -> Line:
    """The impedance of a source as a line, to the bus that it is moved from."""
    own, behind = source.bus, f"{BEHIND}{source.bus}"
    line = Line(Element("vsource", f"{IMPEDANCE}{own}", source.element.where), source.base_frequency)
    line.z_ohm = source.z_ohm
    line.c_nf, line.n = np.zeros(line.z_ohm.shape), len(line.z_ohm)
    line.buses, line.nodes, line.amps = (behind, own), (source.nodes, source.nodes), math.inf
    source.bus = behind
    return line


def choose_sources(elements: Elements, names: Sequence[str] | None, impedance: bool = True) -> None:
    """Keep these sources, by name or bus, with what they feed; several are joined at one stiff node.

    Args:
        names: all by default.
        impedance: whether those that are not ideal are behind their impedances, each from a bus of its own.
    """
    chosen, wrong = _kept(elements.sources, names)
    elements.problems += wrong
    places = [x.bus.lower() for x in chosen]
    for x in (x for i, x in enumerate(chosen) if x.bus.lower() in places[:i]):
        elements.problems.append(f"{x.element}: another source is at bus {x.bus!r}")
    if wrong or not chosen or len(set(places)) < len(places):
        return
    cut = [x for x in elements.sources if x not in chosen]
    if cut:
        _cut(elements, set(places), cut)
    if len(chosen) > 1 and (single := [x for x in chosen if x.phases != 3]):
        elements.problems.append(
            f"{single[0].element}: unsupported: one phase beside other sources; name those to keep"
        )
        return
    for x in chosen if impedance else ():
        try:
            if not x.ideal and np.abs(x.z_ohm).max() > 0:
                elements.lines.append(_behind_impedance(x))
        except UnsupportedError as error:
            elements.problems.append(f"{x.element}: {error}")
    joint, links = _joined(chosen)
    elements.sources = [joint]
    elements.transformers = [*links, *elements.transformers]
    if links:
        listed = ", ".join(f"{x.own_bus} at {x.pu:g} pu of {x.kv:g} kV" for x in chosen)
        behind = "" if impedance or all(x.ideal for x in chosen) else ", without their impedances"
        elements.assumed.append(
            f"{len(chosen)} sources are joined at one stiff node, {joint.bus!r}, and keep their voltages{behind}:"
            f" {listed}; sources=[...] keeps only those that it names"
        )


def _cut(elements: Elements, places: set[str], cut: list[Source]) -> None:
    """Leave out sources and what only they feed."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from([*places, *(x.bus.lower() for x in cut)])
    edges: list[Line | Transformer] = [*elements.lines, *elements.transformers]
    graph.add_edges_from([bus.lower() for bus in x.buses] for x in edges if x.closed)
    fed = {bus for place in places for bus in nx.node_connected_component(graph, place)}
    dead = {bus for x in cut for bus in nx.node_connected_component(graph, x.bus.lower())} - fed
    elements.lines = [x for x in elements.lines if not dead & {b.lower() for b in x.buses}]
    elements.transformers = [x for x in elements.transformers if not dead & {b.lower() for b in x.buses}]
    loads = len(elements.loads)
    elements.loads = [x for x in elements.loads if x.bus.lower() not in dead]
    elements.capacitors = [x for x in elements.capacitors if x.bus.lower() not in dead]
    elements.plants = [x for x in elements.plants if x.bus.lower() not in dead]
    elements.cut = (
        f"{counted(len(cut), 'source')} by sources=...: {shorten(x.bus for x in cut)}, with"
        f" {counted(len(dead), 'bus', 'buses')} and {counted(loads - len(elements.loads), 'load')} that only they feed"
    )
