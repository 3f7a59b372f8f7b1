"""Loads of a circuit as customers, and its shunts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.errors import InputError, SolveError, counted, shorten
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.opendss.banks import Unit
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, is_delta
from amm_opt.importers.opendss.elements.loads import Load, power_factor_and_rest
from amm_opt.importers.opendss.settings import SOLVED, Settings
from amm_opt.importers.opendss.solved.shares import Drawn, solved_power
from amm_opt.importers.opendss.topology import Topology
from amm_opt.importers.report import ImportReport

UNEVEN = 0.001
"""Part of its power by which a delta load may draw from a phase other than a third, and stay one customer."""
SMALL_KVA = 1e-9
CUSTOMER_COLUMNS = ["name", "bus", "phases", "kw", "kvar", "power_factor", "inflexible_kvar"]


class Customers:
    """Makes the rows; what is wrong goes to ``problems``, and what is assumed to the report."""

    def __init__(
        self,
        elements: Elements,
        topology: Topology,
        problems: list[str],
        report: ImportReport,
        settings: Settings,
    ) -> None:
        self._elements, self._topology, self._settings = elements, topology, settings
        self._problems, self._report = problems, report
        self._drawn: Mapping[int, ComplexArray] = {}
        self._unsolved = ""
        self.deltas: dict[str, complex] = {}
        self.part_of: dict[str, tuple[Load, complex]] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of all loads; those between phases draw by the voltages that ``settle`` found, else by nominal ones."""
        return [row for x in self._elements.loads for row in self._customers(x)]

    def settle(self, network: ImportedNetwork) -> bool:
        """Solve for what loads draw at the voltages that they meet; whether that changes any.

        Args:
            network: with all rows as they are now.
        """
        solved = self._settings.load_voltage_pu == SOLVED
        loads = [x for x in self._elements.loads if (solved or _is_between(x)) and x.power]
        if not loads or self._unsolved:
            return False
        theirs = {row["name"] for x in loads for row in self._customers(x)}
        others = network.customers[~network.customers["name"].isin(theirs)]
        try:
            self._drawn = solved_power(network.feeder, others, [self._hanging(x) for x in loads])
        except SolveError as error:
            if solved:
                raise InputError(f"load_voltage_pu={SOLVED!r}: {error}") from None
            self._unsolved = str(error)
            return False
        return True

    def remarks(self) -> list[str]:
        """What the report says of loads between phases."""
        loads = [x for x in self._elements.loads if id(x) in self._drawn]
        if self._unsolved:
            return [f"loads between phases draw by nominal, balanced voltages, as {self._unsolved}"]
        pairs = sum(x.phases < 3 for x in loads if _is_between(x))
        split = [x for x in loads if self._uneven(x) and not (_is_between(x) and x.phases < 3)]
        said = []
        if pairs:
            said.append(
                f"{counted(pairs, 'load')} between two phases or in open delta: a customer on each, with what they draw"
                " at the voltages of the file's own loads"
            )
        if split:
            said.append(
                f"{counted(len(split), 'load draws', 'loads draw')} unevenly from the phases, by more than"
                f" {UNEVEN:.1%} of what is drawn:"
                f" a customer on each phase: {shorten(x.element.name for x in split)}"
            )
        return said

    def _uneven(self, x: Load) -> bool:
        """Whether a load does not draw alike from its phases."""
        drawn = self._drawn.get(id(x))
        return drawn is not None and bool(np.abs(drawn / drawn.sum() - 1 / len(drawn)).max() > UNEVEN)

    def _customers(self, x: Load) -> list[dict[str, Any]]:
        """Rows of a load: one, or one for each of the two phases that it is between."""
        if not self._elements.is_joined(x, self._topology.names):
            return []
        nodes = x.phase_nodes
        neutral = () if x.delta or x.between_phases else x.nodes[x.phases : x.phases + 1]
        wrong = set(nodes) - set(PHASE_NAMES) or set(neutral) & set(PHASE_NAMES) or len(set(nodes)) < len(nodes)
        if x.phases > 3 or wrong:
            self._problems.append(
                f"{x.element}: unsupported element: nodes {x.nodes}; supported are loads from phases to neutral,"
                " between two phases, and on three phases"
            )
            return []
        self._topology.check_rated(x)
        names = "".join(PHASE_NAMES[n] for n in nodes)
        if not (x.between_phases or x.open_delta or self._uneven(x)):
            power = self._drawn[id(x)].sum() if id(x) in self._drawn else x.at_voltage(self._settings.load_pu)
            return [self._row(x, x.element.name, "".join(sorted(names)), complex(power), 1.0)]
        hanging = self._hanging(x)
        drawn = self._drawn.get(id(x), hanging.nominal())
        even = replace(hanging, power=lambda _: 1.0 + 0j).nominal()
        rows = zip(hanging.phases, drawn, even, strict=True)
        return [self._row(x, f"{x.element.name}.{p}", p, s, part) for p, s, part in rows]

    def _hanging(self, x: Load) -> Drawn:
        """A load as it hangs on voltages: in the order of its own phases, but a closed delta."""
        star = not _is_between(x)
        phases = "abc" if x.phases == 3 else "".join(PHASE_NAMES[n] for n in x.phase_nodes)
        phases = "".join(sorted(phases)) if star else phases
        fixed = x.at_voltage(self._settings.load_pu)
        rated = x.kv * (3**0.5 if star and x.phases == 1 else 1.0) / self._topology.vn_kv[x.bus.lower()]
        power = x.met if self._settings.load_voltage_pu == SOLVED else lambda _: fixed
        return Drawn(id(x), self._topology.names[x.bus.lower()], phases, power, rated, star, not x.open_delta)

    def _row(self, x: Load, name: str, phases: str, power: complex, idle: complex) -> dict[str, Any]:
        """A row; ``idle`` is its share of a load that draws nothing."""
        factor, rest = power_factor_and_rest(power.real, power.imag)
        self.part_of[name] = x, power / x.power if abs(x.power) > SMALL_KVA else idle
        return {
            "name": name,
            "bus": self._topology.names[x.bus.lower()],
            "phases": phases,
            "kw": power.real,
            "kvar": power.imag,
            "power_factor": factor,
            "inflexible_kvar": rest,
        }

    def shunts(self, units: list[Unit], moved: Mapping[tuple[str, str], complex]) -> dict[tuple[str, str], complex]:
        """kW drawn and kvar fed in at nominal voltage by bus and phase: capacitors, and transformers without load.

        ``deltas`` gets how much of it is between phases, by bus.

        Args:
            moved: what lines draw and feed into other phases.
        """
        shunts = dict(moved)
        for x in self._elements.capacitors:
            if self._elements.is_joined(x, self._topology.names):
                self._topology.check_rated(x)
                ratio = self._topology.vn_kv[x.bus.lower()] / (x.kv * (math.sqrt(3) if x.phases == 1 else 1.0))
                for node in x.nodes:
                    key = (x.bus.lower(), PHASE_NAMES[node])
                    shunts[key] = shunts.get(key, 0.0) + 1j * x.kvar * ratio**2 / x.phases
                    self._between(x.bus, x.conn, 1j * x.kvar * ratio**2 / x.phases)
        for reactor in self._elements.reactors:
            if self._elements.is_joined(reactor, self._topology.names):
                drawn = np.conj(reactor.drawn(self._topology.vn_kv[reactor.bus.lower()]))
                for node in reactor.nodes:
                    key = (reactor.bus.lower(), PHASE_NAMES[node])
                    shunts[key] = shunts.get(key, 0.0) + drawn
                    self._between(reactor.bus, reactor.conn, drawn)
        for t, phases in ((u.transformer, u.phases) for u in units):
            bus = t.buses[t.idle_end].lower()
            rated = t.line_kv[t.idle_end] * t.taps[t.idle_end]
            power = complex(t.no_load_loss, -t.magnetising) / 100.0 * t.kva * (self._topology.vn_kv[bus] / rated) ** 2
            for phase in phases if power else "":
                shunts[bus, phase] = shunts.get((bus, phase), 0.0) + power / len(phases)
                self._between(bus, t.conns[t.idle_end], power / len(phases) if len(phases) == 3 else 0j)
        return shunts

    def _between(self, bus: str, conn: str, power: complex) -> None:
        if is_delta(conn):
            self.deltas[bus.lower()] = self.deltas.get(bus.lower(), 0j) + power


def _is_between(x: Load) -> bool:
    return x.between_phases or (x.delta and x.phases > 1)
