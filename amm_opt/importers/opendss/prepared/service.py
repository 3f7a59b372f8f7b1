"""What hangs below centre-tapped transformers, as one phase of the primary.

Between the two halves of a 120/240 V service voltages are opposite, so that equal loads on both, and loads between
them, leave the neutral without current. Half the power then flows in each, and each meets (Z_11 - Z_12) I of a line: as
one phase at the voltage of a half, with all of the power and twice the current, half of that impedance. Exact for equal
halves (tests against OpenDSS); for others the mean of both, and the report says how far they are apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from amm_opt.errors import counted
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.elements.loads import Capacitor, Load
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.conductors import reduced_neutral
from amm_opt.importers.opendss.lines.line import Line
from amm_opt.importers.opendss.plants.plants import Plant


@dataclass
class Service:
    """One centre-tapped transformer with the buses below it.

    Attributes:
        legs: nodes of the two halves.
        phase: node of the primary.
        kv: of a half.
        drawn: kW + j kvar of each half by bus, in lower case.
        lines: by their buses, in lower case; ohm by which equal and opposite currents of the halves set them apart.
    """

    transformer: Transformer
    legs: tuple[int, int]
    phase: int
    kv: float
    drawn: dict[str, list[complex]] = field(default_factory=dict)
    lines: dict[tuple[str, str], complex] = field(default_factory=dict)

    def draws(self, bus: str, power: complex, leg: int | None = None) -> None:
        """Note a load: on a half, or equally on both."""
        own = self.drawn.setdefault(bus.lower(), [0j, 0j])
        for i in (0, 1):
            own[i] += power / 2 if leg is None else power * (i == leg)

    def apart_pu(self) -> float:
        """How far a half is from the mean of both at most, at nominal voltage, by the loads as they stand."""
        below = nx.Graph()
        below.add_edges_from(self.lines)
        start = self.transformer.buses[1].lower()
        below.add_node(start)
        order = [start, *(bus for _, bus in nx.bfs_edges(below, start))]
        parent = {child: above for above, child in nx.bfs_edges(below, start)}
        more = {bus: np.conj(s[0] - s[1]) / self.kv for bus, s in self.drawn.items()}
        for bus in reversed(order[1:]):
            more[parent[bus]] = more.get(parent[bus], 0j) + more.get(bus, 0j)
        apart = {start: more.get(start, 0j) * self.transformer.half_ohm / 2}
        for bus in order[1:]:
            key = (bus, parent[bus]) if (bus, parent[bus]) in self.lines else (parent[bus], bus)
            apart[bus] = apart[parent[bus]] + more.get(bus, 0j) * self.lines[key] / 2
        return float(max(abs(v) for v in apart.values()) / (1000.0 * self.kv))


def as_one_phase(elements: Elements) -> list[Service]:
    """Change all that hangs below centre-tapped transformers; what cannot be followed goes to the problems."""
    found = [Service(x, x.legs, x.nodes[0][0], x.kv[1]) for x in elements.transformers if x.legs is not None]
    if not found:
        return []
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    for line in elements.lines:
        if line.closed:
            graph.add_edge(*(bus.lower() for bus in line.buses))
    at: dict[str, Service] = {}
    for service in found:
        bus = service.transformer.buses[1].lower()
        for below in nx.node_connected_component(graph, bus) if bus in graph else (bus,):
            if below in at:
                elements.problems.append(
                    f"{service.transformer.element}: bus {below!r} is also below {at[below].transformer.element.name!r}"
                )
            at[below] = service
    elements.problems += _changed(elements, at)
    return found


def _changed(elements: Elements, at: Mapping[str, Service]) -> Iterator[str]:
    for transformer in elements.transformers:
        if transformer.legs is None and any(bus.lower() in at for bus in transformer.buses):
            yield f"{transformer.element}: unsupported: a transformer below a centre-tapped one"
    for line in elements.lines:
        service = at.get(line.buses[0].lower()) or at.get(line.buses[1].lower())
        if service is not None:
            yield from _line(line, service)
    joined: list[Load | Plant | Capacitor] = [*elements.loads, *elements.plants, *elements.capacitors]
    for x in joined:
        if (service := at.get(x.bus.lower())) is not None:
            yield from _consumer(x, service)


def _line(x: Line, service: Service) -> Iterator[str]:
    """A line on both halves as one of half the impedance and twice the current; one on a half as it is."""
    legs = [i for i, n in enumerate(x.nodes[0]) if n in service.legs]
    neutrals = [i for i in range(len(x.nodes[0])) if i not in legs]
    if not legs or len({x.nodes[0][i] for i in legs}) < len(legs) or x.nodes[0] != x.nodes[1] or len(neutrals) > 1:
        yield f"{x.element}: unsupported: nodes {x.nodes[0]} and {x.nodes[1]} below a centre-tapped transformer"
        return
    solid = all(x.nodes[0][i] == 0 for i in neutrals)
    z = reduced_neutral(x.z_ohm, legs, neutrals, "kron" if solid else "return")
    bare, c = x.z_ohm[np.ix_(legs, legs)], x.c_nf[np.ix_(legs, legs)]
    ends = (x.buses[0].lower(), x.buses[1].lower())
    if len(legs) == 2:
        x.z_ohm = np.array([[(bare[0, 0] + bare[1, 1] - bare[0, 1] - bare[1, 0]) / 4]])
        x.c_nf = np.array([[c[0, 0] + c[1, 1] - c[0, 1] - c[1, 0]]])
        service.lines[ends] = complex(z.sum() / 2)
    else:
        x.z_ohm, x.c_nf = z, c
        service.lines[ends] = complex(z[0, 0])
    x.legs = len(legs)
    x.nodes = ((service.phase,), (service.phase,))


def _consumer(x: Load | Plant | Capacitor, service: Service) -> Iterator[str]:
    """A load or plant on the primary's phase at the voltage of a half, whatever half it is on."""
    nodes, legs = set(x.nodes), set(service.legs)
    both = legs <= nodes
    lone = isinstance(x, Capacitor) or x.phases > 2 or (x.delta and x.phases == 2)
    if lone or not nodes & legs or len(nodes - legs) > 1 or (x.phases == 2 and not both):
        yield f"{x.element}: unsupported: {x.phases} phases on nodes {x.nodes} below a centre-tapped transformer"
        return
    assert not isinstance(x, Capacitor)
    between = both and x.phases == 1
    x.kv /= 2.0 if between else math.sqrt(3) if x.phases == 2 else 1.0
    if isinstance(x, Load):
        leg = None if both else service.legs.index(next(iter(nodes & legs)))
        service.draws(x.bus, x.at_voltage(1.0), leg)
    x.phases, x.conn, x.nodes = 1, "wye", (service.phase, 0)


def remarks(services: list[Service]) -> Iterator[str]:
    """What the report says of them."""
    if not services:
        return
    kv = sorted({x.kv for x in services})
    yield (
        f"{counted(len(services), 'centre-tapped transformer')}: both halves of"
        f" {', '.join(f'{1000 * v:g}' for v in kv)} V as one phase to neutral, that of the primary;"
        " exact for loads between the halves and for equal ones"
    )
    apart = {x.transformer.element.name: x.apart_pu() for x in services}
    name = max(apart, key=lambda n: apart[n])
    if apart[name] > 1e-6:
        yield (
            f"loads on one half count half on each: with the loads as they stand a half is up to {apart[name]:.2g} pu"
            f" away from the mean of both, below transformer {name}"
        )
