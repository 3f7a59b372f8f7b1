"""Reactors: from a neutral to ground, in series as lines, and to ground as shunts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.errors import counted
from amm_opt.importers.opendss.dialect.text import is_yes, number, numbers, whole
from amm_opt.importers.opendss.elements.component import (
    PHASE_NAMES,
    Component,
    UnsupportedError,
    bus_and_nodes,
    is_delta,
)
from amm_opt.importers.opendss.lines.conductors import matrix_of, symmetrical
from amm_opt.importers.opendss.lines.line import Line

_SEQUENCE = ("z1", "z2", "z0")


@dataclass
class Reactor(Component):
    """A reactor; of four specifications OpenDSS keeps the last that was given; ``r``, ``z2`` and ``z0`` alone are none.

    Attributes:
        by: ``"kvar"``, ``"rx"``, ``"matrix"`` or ``"sequence"``.
        use: after ``finish``: ``"neutral"`` from a neutral to ground, ``"series"`` or ``"shunt"``.
    """

    kept: ClassVar[tuple[str, ...]] = ("ends",)
    phases: int = 3
    ends: dict[str, str] = field(default_factory=lambda: {"bus1": "", "bus2": ""})
    kvar: float = 100.0
    kv: float = 12.47
    conn: str = "wye"
    r: float = 0.0
    x: float = 0.0
    rp: float = 0.0
    by: str = "kvar"
    matrices: dict[str, str] = field(default_factory=dict)
    sequence: dict[str, complex] = field(default_factory=dict)
    amps: float | None = None
    use: str = "neutral"
    bus: str = ""
    nodes: tuple[int, ...] = ()
    far: tuple[str, tuple[int, ...]] = ("", ())

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read."""
        if name in self.ends:
            self.ends[name] = value
        elif name == "phases":
            self.phases = whole(value)
        elif name == "conn":
            self.conn = value
        elif name in ("kvar", "kv"):
            setattr(self, name, number(value))
            self.by = "kvar" if name == "kvar" else self.by
        elif name in ("r", "x", "rp"):
            setattr(self, name, number(value))
            self.by = "rx" if name == "x" else self.by
        elif name == "lmh":
            self.x, self.by = 2 * math.pi * self.base_frequency * number(value) / 1000.0, "rx"
        elif name == "z":
            (self.r, self.x), self.by = self._pair(name, value), "rx"
        elif name in _SEQUENCE:
            self.sequence[name] = complex(*self._pair(name, value))
            self.by = "sequence" if name == "z1" else self.by
        elif name in ("rmatrix", "xmatrix"):
            self.matrices[name], self.by = value, "matrix"
        elif name == "normamps":
            self.amps = number(value)
        elif name in ("rcurve", "lcurve") or (name == "parallel" and is_yes(value)):
            raise UnsupportedError(f"{name} is not supported")
        else:
            return False
        return True

    @staticmethod
    def _pair(name: str, value: str) -> tuple[float, float]:
        given = numbers(value)
        if len(given) != 2:
            raise UnsupportedError(f"{name} = [{value}] needs a resistance and a reactance")
        return given[0], given[1]

    def finish(self) -> None:
        """Which of the three uses it has."""
        self.bus, self.nodes = bus_and_nodes(self.ends["bus1"], self.phases)
        if not self.bus:
            raise UnsupportedError("bus1 must be given")
        self.far = (
            bus_and_nodes(self.ends["bus2"], self.phases) if self.ends["bus2"] else (self.bus, (0,) * self.phases)
        )
        phases, grounded = set(self.nodes) <= set(PHASE_NAMES), not any(self.far[1])
        if self.rp:
            raise UnsupportedError("rp is not supported")
        if self.phases == 1 and self.nodes[0] > 3 and grounded and self.by == "rx":
            self.use = "neutral"
        elif phases and not grounded and self.far[0].lower() != self.bus.lower() and not is_delta(self.conn):
            self.use = "series"
        elif phases and grounded and self.by in ("kvar", "rx") and (not is_delta(self.conn) or self.phases == 3):
            self.use = "shunt"
        else:
            raise UnsupportedError(
                f"unsupported element: a reactor on nodes {self.nodes} and {self.far[0]}.{self.far[1]}; supported are"
                " series reactors, shunts to ground or in delta, and groundings of neutrals by r and x"
            )
        if not abs(self.impedance()).max() > 0:
            raise UnsupportedError("it has no impedance")

    @property
    def phase_nodes(self) -> tuple[int, ...]:
        """Its nodes."""
        return self.nodes

    @property
    def ohm(self) -> float:
        """Size of a grounding's impedance."""
        return abs(complex(self.r, self.x))

    def impedance(self) -> ComplexArray:
        """(phases, phases) ohm."""
        n = self.phases
        if self.by == "matrix":
            if missing := [name for name in ("rmatrix", "xmatrix") if name not in self.matrices]:
                raise UnsupportedError(f"{missing[0]} is missing")
            r, x = (matrix_of(self.matrices[name], n) for name in ("rmatrix", "xmatrix"))
            if r is None or x is None:
                raise UnsupportedError(f"rmatrix or xmatrix is not a matrix of {counted(n, 'phase')}")
            return np.asarray(r + 1j * x)
        if self.by == "sequence":
            first = self.sequence.get("z1", 0j)
            if self.sequence.get("z2", first) != first or n not in (1, 3):
                raise UnsupportedError("z2 other than z1, or sequence values of other than 1 or 3 phases")
            return symmetrical(n, first, self.sequence.get("z0", first))
        if self.by == "rx":
            return np.asarray(np.eye(n) * complex(self.r, self.x))
        kv = self.kv / (math.sqrt(3) if n > 1 and not is_delta(self.conn) else 1.0)
        return np.asarray(np.eye(n) * complex(self.r, kv**2 * 1000.0 * n / self.kvar))

    def line(self) -> Line:
        """The line that a series reactor is."""
        made = Line(self.element, self.base_frequency)
        made.n, made.z_ohm, made.c_nf = self.phases, self.impedance(), np.zeros((self.phases, self.phases))
        made.buses, made.nodes = (self.bus, self.far[0]), (self.nodes, self.far[1])
        made.ends = {"bus1": self.ends["bus1"], "bus2": self.ends["bus2"]}
        made.open_terminals, made.amps, made.metres = self.open_terminals, self.amps, 0.0
        return made

    def drawn(self, vn_kv: float) -> complex:
        """kW + j kvar that a shunt draws from each of its phases at nominal voltage between lines."""
        volts = vn_kv**2 * 1000.0 * (1.0 if is_delta(self.conn) else 1.0 / 3.0)
        return complex(volts / np.conj(self.impedance()[0, 0]))
