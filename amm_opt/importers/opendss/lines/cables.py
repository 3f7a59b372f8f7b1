"""Cables with concentric neutrals or tape shields, whose neutrals and shields are grounded at both ends.

W. H. Kersting, "Distribution System Modeling and Analysis", sections 4.3 and 5.4, in the form in which OpenDSS has
them: every neutral or shield is a conductor of its own, taken out by Kron reduction; the capacitance is that of the
insulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.importers.opendss.lines.carson import EPSILON_0, Earth, Strands, series_impedance
from amm_opt.importers.opendss.lines.conductors import reduced_neutral

TAPE_OHM_M = 2.3718e-8
"""Resistivity of a shield of copper tape."""


@dataclass(frozen=True)
class Sheath:
    """What surrounds a cable's conductor, in ohm per m and m.

    Attributes:
        resistance: of the neutral or shield.
        gmr: its geometric mean radius.
        radius: at which its strands stand, or of the tape.
        strands: their number; 0 for a tape.
        insulation: inner and outer radius of the insulation.
        permittivity: relative, of the insulation.
    """

    resistance: float
    gmr: float
    radius: float
    strands: int
    insulation: tuple[float, float]
    permittivity: float

    def apart(self, distance: float) -> float:
        """Mean distance of its strands to something at a distance from its middle."""
        if not self.strands:
            return distance
        k = self.strands
        return float((distance**k - self.radius**k) ** (1 / k))

    @property
    def capacitance(self) -> float:
        """F per m."""
        inner, outer = self.insulation
        return 2 * math.pi * EPSILON_0 * self.permittivity / math.log(outer / inner)


def concentric(strands: int, diameter: float, gmr: float, resistance: float, around: float) -> tuple[float, ...]:
    """Resistance, geometric mean radius and radius of a neutral of strands, on a cable of this diameter."""
    radius = 0.5 * (around - diameter)
    return resistance / strands, (gmr * strands * radius ** (strands - 1)) ** (1 / strands), radius


def tape(diameter: float, thickness: float, lap: float) -> tuple[float, ...]:
    """Resistance, geometric mean radius and radius of a tape shield; ``lap`` in percent."""
    radius = 0.5 * (diameter - thickness)
    return 0.3183 * TAPE_OHM_M / (diameter * thickness * math.sqrt(50.0 / (100.0 - lap))), radius, radius


def cable_impedance(
    wires: Sequence[Strands], sheaths: Sequence[Sheath], places: Sequence[tuple[float, float]], earth: Earth
) -> ComplexArray:
    """(n, n) impedance in ohm per m of conductors, of which the first have sheaths, with these taken out."""
    n, m = len(wires), len(sheaths)
    z = np.zeros((n + m, n + m), dtype=complex)
    z[:n, :n] = series_impedance(wires, places, earth)
    for i, sheath in enumerate(sheaths):
        at = n + i
        z[at, at] = sheath.resistance + earth.factor * math.log(1.0 / sheath.gmr) + earth.term(places[i], places[i])
        for k in range(n + i):
            other = k - n if k >= n else k
            away = math.dist(places[i], places[other])
            distance = sheath.radius if other == i else away if k >= n else sheath.apart(away)
            z[at, k] = z[k, at] = earth.factor * math.log(1.0 / distance) + earth.term(places[i], places[other])
    return reduced_neutral(z, list(range(n)), list(range(n, n + m)), "kron")


def cable_capacitance(n: int, sheaths: Sequence[Sheath]) -> FloatArray:
    """(n, n) capacitance in F per m of n conductors, of which the first have sheaths."""
    return np.diag([*(s.capacitance for s in sheaths), *[0.0] * (n - len(sheaths))])
