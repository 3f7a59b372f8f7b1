"""Loads of a circuit as customers, and its shunts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.errors import SolveError, shorten
from amm_opt.importers.imported import ImportedNetwork
from amm_opt.importers.opendss.banks import Unit
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.elements.component import PHASE_NAMES
from amm_opt.importers.opendss.elements.loads import Capacitor, Load, power_factor_and_rest
from amm_opt.importers.opendss.elements.reactors import Reactor
from amm_opt.importers.opendss.solved.shares import Between, solved_shares
from amm_opt.importers.opendss.topology import Topology
from amm_opt.importers.report import ImportReport

UNEVEN = 0.005
"""Part of its power by which a delta load may draw from a phase other than a third, and stay one customer."""
CUSTOMER_COLUMNS = ["name", "bus", "phases", "kw", "kvar", "power_factor", "inflexible_kvar"]


class Customers:
    """Makes the rows; what is wrong goes to ``problems``, and what is assumed to the report."""

    def __init__(
        self,
        elements: Elements,
        topology: Topology,
        problems: list[str],
        report: ImportReport,
        load_voltage_pu: float = 1.0,
    ) -> None:
        self._elements, self._topology, self._load_voltage_pu = elements, topology, load_voltage_pu
        self._problems, self._report = problems, report
        self._shares: Mapping[int, ComplexArray] = {}
        self.load_of: dict[str, Load] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Rows of all loads; those between phases draw by the voltages that ``settle`` found, else by nominal ones."""
        return [row for x in self._elements.loads for row in self._customers(x)]

    def settle(self, network: ImportedNetwork) -> bool:
        """Solve for what loads between phases draw from each; whether there are any.

        Args:
            network: with all rows at nominal voltages.
        """
        loads = [x for x in self._elements.loads if _is_between(x) and x.kw * x.scale]
        if not loads:
            return False
        between = [self._between(x) for x in loads]
        theirs = {row["name"] for x in loads for row in self._customers(x)}
        others = network.customers[~network.customers["name"].isin(theirs)]
        try:
            self._shares = solved_shares(network.feeder, others, between)
        except SolveError as error:
            self._report.assumed.append(f"loads between phases draw by nominal, balanced voltages, as {error}")
            return False
        self._say_shares(loads)
        return True

    def _say_shares(self, loads: list[Load]) -> None:
        split = [x for x in loads if x.phases == 3 and self._uneven(x)]
        pairs = sum(x.phases < 3 for x in loads)
        if pairs:
            self._report.assumed.append(
                f"{pairs} loads between two phases or in open delta: a customer on each, with what they draw at the"
                " voltages of the file's own loads"
            )
        if split:
            self._report.assumed.append(
                f"{len(split)} delta loads draw unevenly from their phases, by more than {UNEVEN:.1%} of their power:"
                f" a customer on each phase: {shorten(x.element.name for x in split)}"
            )

    def _uneven(self, x: Load) -> bool:
        """Whether a delta load does not draw a third from each phase."""
        return id(x) in self._shares and bool(np.abs(self._shares[id(x)] - 1 / 3).max() > UNEVEN)

    def _customers(self, x: Load) -> list[dict[str, Any]]:
        """Rows of a load: one, or one for each of the two phases that it is between."""
        if not self._known_bus(x):
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
        power = x.at_voltage(self._load_voltage_pu)
        names = "".join(PHASE_NAMES[n] for n in nodes)
        if not (x.between_phases or x.open_delta or self._uneven(x)):
            return [self._row(x, x.element.name, "".join(sorted(names)), power)]
        between = self._between(x)
        shares = self._shares.get(id(x), between.nominal())
        return [
            self._row(x, f"{x.element.name}.{p}", p, power * s) for p, s in zip(between.phases, shares, strict=True)
        ]

    def _between(self, x: Load) -> Between:
        """A load between phases: in the order of its own, but a closed delta."""
        phases = "abc" if x.phases == 3 else "".join(PHASE_NAMES[n] for n in x.phase_nodes)
        power = x.at_voltage(self._load_voltage_pu)
        return Between(id(x), self._topology.names[x.bus.lower()], phases, power, not x.open_delta)

    def _row(self, x: Load, name: str, phases: str, power: complex) -> dict[str, Any]:
        factor, rest = power_factor_and_rest(power.real, power.imag)
        self.load_of[name] = x
        return {
            "name": name,
            "bus": self._topology.names[x.bus.lower()],
            "phases": phases,
            "kw": power.real,
            "kvar": power.imag,
            "power_factor": factor,
            "inflexible_kvar": rest,
        }

    def _known_bus(self, x: Load | Capacitor | Reactor) -> bool:
        """Whether something ends at a bus; only where nothing is broken that might is it a problem."""
        if x.bus.lower() in self._topology.names:
            return True
        if x.bus.lower() not in self._elements.ends:
            self._problems.append(f"{x.element}: unknown bus {x.bus!r}: no line or transformer ends there")
        return False

    def shunts(self, units: list[Unit], moved: Mapping[tuple[str, str], complex]) -> dict[tuple[str, str], complex]:
        """kW drawn and kvar fed in at nominal voltage by bus and phase: capacitors, and transformers without load.

        Args:
            moved: what lines draw and feed into other phases.
        """
        shunts = dict(moved)
        for x in self._elements.capacitors:
            if self._known_bus(x):
                self._topology.check_rated(x)
                ratio = self._topology.vn_kv[x.bus.lower()] / (x.kv * (math.sqrt(3) if x.phases == 1 else 1.0))
                for node in x.nodes:
                    key = (x.bus.lower(), PHASE_NAMES[node])
                    shunts[key] = shunts.get(key, 0.0) + 1j * x.kvar * ratio**2 / x.phases
        for reactor in self._elements.reactors:
            if self._known_bus(reactor):
                drawn = np.conj(reactor.drawn(self._topology.vn_kv[reactor.bus.lower()]))
                for node in reactor.nodes:
                    key = (reactor.bus.lower(), PHASE_NAMES[node])
                    shunts[key] = shunts.get(key, 0.0) + drawn
        for t, phases in ((u.transformer, u.phases) for u in units):
            bus = t.buses[t.idle_end].lower()
            rated = t.line_kv[t.idle_end] * t.taps[t.idle_end]
            power = complex(t.no_load_loss, -t.magnetising) / 100.0 * t.kva * (self._topology.vn_kv[bus] / rated) ** 2
            for phase in phases if power else "":
                shunts[bus, phase] = shunts.get((bus, phase), 0.0) + power / len(phases)
        return shunts


def _is_between(x: Load) -> bool:
    return x.between_phases or (x.delta and x.phases > 1)
