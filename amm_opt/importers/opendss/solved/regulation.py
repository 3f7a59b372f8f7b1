"""Taps at which regulators come to rest, by the rule of OpenDSS's RegControl in static control mode.

Each control compares the voltage of its winding, less the drop of its line drop compensation at the current that it
passes, with its set point. Outside the band it waits for its delay, then moves by whole steps that would make up the
difference, a part of them and at least one; those with the shortest delay move first, and the network is solved again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from amm_opt.arrays import ComplexArray
from amm_opt.errors import SolveError, counted, shorten
from amm_opt.importers.opendss.elements.component import PHASE_NAMES
from amm_opt.importers.opendss.elements.regulators import RegControl
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.solved.shares import node_power
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.lindist3flow import LinDist3Flow
from amm_opt.network.models.phase_sweeps import PhaseSweeps

ROUNDS = 100
REVERSED_W = 100e3
"""Power that comes back, at which OpenDSS by default turns the direction of a control that may be reversed."""
PART = 0.7
"""Of the steps that would make up the difference, what OpenDSS takes in one move (found by trying)."""


@dataclass(frozen=True)
class Flow:
    """Voltages to neutral in V and currents in A towards each bus, by bus and phase ``"a"`` .. ``"c"``."""

    volts: Mapping[tuple[str, str], complex]
    amperes: Mapping[tuple[str, str], complex]
    upstream: Mapping[str, str]


def flow(feeder: Feeder, customers: pd.DataFrame) -> Flow:
    """The power flow of a feeder with its customers.

    Raises:
        SolveError: where there is none.
    """
    model = LinDist3Flow(feeder)
    power = node_power(model, customers)
    u = model.power_flow(-power.real, -power.imag)
    phase = np.zeros(0, dtype=np.intp) if model.phase is None else model.phase
    v: ComplexArray = np.ones((3, feeder.n_buses), dtype=complex)
    injected: ComplexArray = np.zeros((3, feeder.n_buses), dtype=complex)
    v[phase, model.bus] = u
    injected[phase, model.bus] = -power
    sweeps = PhaseSweeps(feeder)
    drawn = np.conj(feeder.injected_kva.T) * v + sweeps.through_stars(v)
    current = sweeps.currents(np.conj(injected / v) + drawn)
    volt = feeder.vn_kv * 1000.0 / math.sqrt(3)
    keys = [(feeder.bus_names[b].lower(), "abc"[p]) for b, p in zip(model.bus, phase, strict=True)]
    places = list(zip(phase.tolist(), model.bus.tolist(), strict=True))
    return Flow(
        {key: complex(v[at] * volt[at[1]]) for key, at in zip(keys, places, strict=True)},
        {key: complex(current[at] * 1000.0 / volt[at[1]]) for key, at in zip(keys, places, strict=True)},
        {feeder.bus_names[b].lower(): feeder.bus_names[feeder.parent[b]].lower() for b in range(1, feeder.n_buses)},
    )


@dataclass
class Regulator:
    """A control with the winding that it moves.

    Attributes:
        pending, armed: the change that it would make, and whether it waits to make one.
        first, second: phases between which it measures; an empty text is the neutral.
        common: of an open delta, the phase that both units have.
        end: which winding.
    """

    control: RegControl
    transformer: Transformer
    pending: float = 0.0
    armed: bool = False
    first: str = ""
    second: str = ""
    common: str = ""
    end: int = 0

    def __post_init__(self) -> None:
        turned = self.transformer.idle_end == 0
        self.end = (2 - self.control.winding) if turned else self.control.winding - 1
        nodes = self.transformer.nodes[self.end]
        at = self.control.pt_phase - 1
        self.first = PHASE_NAMES[nodes[at]]
        if self.transformer.between_phases or self.transformer.conns[self.end] == "delta":
            self.second = PHASE_NAMES[nodes[(at + 1) % max(self.transformer.phases, 2)]]

    @property
    def tap(self) -> float:
        """Where it stands."""
        return self.transformer.windings[self.end].tap

    def sample(self, at: Flow) -> None:
        """See whether its voltage is out of band, and by how many steps.

        Raises:
            SolveError: where power flows the other way through a control that may be reversed.
        """
        control, winding = self.control, self.transformer.windings[self.end]
        bus = self.transformer.buses[self.end].lower()
        volt = at.volts[bus, self.first] - (at.volts[bus, self.second] if self.second else 0.0)
        measured = volt / control.pt_ratio
        if control.reversible and (volt * self._current(at, bus).conjugate()).real < -REVERSED_W:
            raise SolveError(f"{control.element}: power comes back through it, which reversible=yes makes another rule")
        if control.r or control.x:
            measured -= complex(control.r, control.x) * self._current(at, bus) / control.ct_rating
        off = control.v_set - abs(measured)
        low, high = winding.tap_range
        step = (high - low) / winding.tap_steps
        base = winding.kv * 1000.0 / (1.0 if self.second or self.transformer.phases == 1 else math.sqrt(3))
        self.pending = round(off * control.pt_ratio / base / step) * step if abs(off) > control.band / 2 else 0.0
        room = winding.tap < high if self.pending > 0 else winding.tap > low
        self.armed = self.armed or bool(self.pending and room)

    def _current(self, at: Flow, bus: str) -> complex:
        """From its winding into the network; of an open delta that of the phase that it has alone."""
        away = at.upstream.get(bus) == self.transformer.buses[1 - self.end].lower()
        phase, turn = self.first, 1.0
        if self.transformer.between_phases and self.common == self.first:
            phase, turn = self.second, -1.0
        lower = bus if away else self.transformer.buses[1 - self.end].lower()
        return turn * at.amperes[lower, phase] * (1.0 if away else -1.0)

    def move(self) -> bool:
        """Make the pending change, by at least one step; whether the tap moved."""
        self.armed = False
        if not self.pending:
            return False
        winding = self.transformer.windings[self.end]
        low, high = winding.tap_range
        step = (high - low) / winding.tap_steps
        count = min(max(math.trunc(PART * abs(self.pending) / step + 1e-9), 1), self.control.max_change)
        before = winding.tap
        winding.tap = min(max(before + math.copysign(count * step, self.pending), low), high)
        return winding.tap != before


@dataclass
class Regulation:
    """All controls of a circuit; ``step`` is one round of OpenDSS's control iterations."""

    controls: Sequence[RegControl]
    regulators: list[Regulator] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.regulators = [Regulator(c, c.target) for c in self.controls if isinstance(c.target, Transformer)]
        for one in self.regulators:
            for two in self.regulators:
                x, y = one.transformer, two.transformer
                if x is not y and x.between_phases and {b.lower() for b in x.buses} == {b.lower() for b in y.buses}:
                    (one.common,) = {one.first, one.second} & {two.first, two.second}

    def step(self, at: Flow) -> tuple[bool, bool]:
        """Whether any tap moved, and whether some control still waits."""
        for regulator in self.regulators:
            regulator.sample(at)
        armed = [r for r in self.regulators if r.armed]
        first = min((r.control.delay for r in armed), default=0.0)
        moved = [r.move() for r in armed if r.control.delay == first]
        return any(moved), bool(armed)

    def remarks(self) -> list[str]:
        """Where they stand."""
        taps = shorten((f"{r.control.element.name} {r.tap:.5f}" for r in self.regulators), 20)
        return (
            [f"{counted(len(self.regulators), 'regulator')} at rest under the file's own loads: {taps}"] if taps else []
        )
