"""Series impedances and capacitances of parallel conductors over ground, as OpenDSS works them out.

Impedances per metre of conductors i, k at distance d, with image distance D: j w mu_0 / (2 pi) ln(1 / d) plus the
earth's part, by one of three models:

- ``deri``: complex depth 1 / sqrt(j w mu_0 / rho) (A. Deri, G. Tevan, A. Semlyen, A. Castanheira, "The complex ground
  return plane", IEEE Trans. PAS 100(8), 1981, doi 10.1109/TPAS.1981.317011); resistance with skin effect of a round
  conductor from its DC resistance;
- ``fullcarson``: J. R. Carson's series ("Wave propagation in overhead wires with ground return", Bell System Technical
  Journal 5, 1926) as in N. Tleis, "Power Systems Modelling and Fault Analysis", section 3.2;
- ``carson``: its first terms, w mu_0 / 8 and a return at 658.5 sqrt(rho / f) m (W. H. Kersting, "Distribution System
  Modeling and Analysis", section 4.1).

Capacitances are from potential coefficients ln(D / d) / (2 pi e_0), of cables from their insulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from amm_opt.arrays import ComplexArray, FloatArray

MU_0 = 4e-7 * math.pi
EPSILON_0 = 8.854e-12
MODELS = ("deri", "fullcarson", "carson")


class Strands(Protocol):
    """What a conductor is made of, in ohm per m and m."""

    @property
    def rac(self) -> float:
        """AC resistance."""

    @property
    def rdc(self) -> float:
        """DC resistance."""

    @property
    def gmr(self) -> float:
        """Geometric mean radius."""

    @property
    def cap_radius(self) -> float:
        """Radius for capacitance."""


@dataclass(frozen=True)
class Earth:
    """Ground return: model, frequency in Hz and resistivity in ohm m."""

    model: str
    frequency: float
    rho: float

    @property
    def omega(self) -> float:
        """Angular frequency."""
        return 2 * math.pi * self.frequency

    @property
    def factor(self) -> complex:
        """j w mu_0 / (2 pi)."""
        return 1j * self.omega * MU_0 / (2 * math.pi)

    def resistance(self, wire: Strands) -> float:
        """Of a conductor itself, ohm per m."""
        if self.model != "deri":
            return wire.rac
        alpha = (1 + 1j) * math.sqrt(self.frequency * MU_0 / wire.rdc)
        ratio = 1.0 if abs(alpha) > 35 else complex(special.iv(0, alpha) / special.iv(1, alpha))
        return float(((1 + 1j) * ratio * math.sqrt(wire.rdc * self.frequency * MU_0) / 2.0).real)

    def term(self, i: tuple[float, float], k: tuple[float, float]) -> complex:
        """The earth's part between conductors at (x, height) in m, or of one with itself."""
        if self.model == "carson":
            depth = 658.5 * math.sqrt(self.rho / self.frequency)
            return self.omega * MU_0 / 8.0 + self.factor * math.log(depth)
        high, aside = abs(i[1]) + abs(k[1]), i[0] - k[0]
        if self.model == "deri":
            plane = 1.0 / np.sqrt(1j * self.omega * MU_0 / self.rho)
            return complex(self.factor * np.log(np.sqrt((high + 2 * plane) ** 2 + aside**2)))
        return self._series(math.hypot(high, aside), 0.0 if i == k else math.acos(high / math.hypot(high, aside)))

    def _series(self, image: float, theta: float) -> complex:
        """Carson's series to the fifth power, of the image distance in m and its angle."""
        m = 2.8099e-3 * image * math.sqrt(self.frequency / self.rho)
        b = [math.sqrt(2) / 6, 1 / 16, math.sqrt(2) / 6 / 15, 1 / 16 / 24, -math.sqrt(2) / 6 / 15 / 35]
        d = [math.pi / 4 * x for x in b]
        c2, c4 = 1.3659315, 1.3659315 + 1 / 4 + 1 / 6
        cos = [math.cos(n * theta) for n in range(6)]
        sin = [math.sin(n * theta) for n in range(6)]
        real = math.pi / 8 - b[0] * m * cos[1] + b[1] * m**2 * ((c2 - math.log(m)) * cos[2] + theta * sin[2])
        real += b[2] * m**3 * cos[3] - d[3] * m**4 * cos[4] - b[4] * m**5 * cos[5]
        imag = 0.5 * math.log(1.85138 / m) + b[0] * m * cos[1] - d[1] * m**2 * cos[2] + b[2] * m**3 * cos[3]
        imag += -b[3] * m**4 * ((c4 - math.log(m)) * cos[4] + theta * sin[4]) + b[4] * m**5 * cos[5]
        return self.omega * MU_0 / math.pi * complex(real, imag + 0.5 * math.log(image))


def series_impedance(wires: Sequence[Strands], places: Sequence[tuple[float, float]], earth: Earth) -> ComplexArray:
    """(n, n) impedance in ohm per m of conductors at (x, height) in m."""
    n = len(wires)
    z = np.zeros((n, n), dtype=complex)
    for i in range(n):
        own = earth.resistance(wires[i]) + earth.factor * math.log(1.0 / wires[i].gmr)
        z[i, i] = own + earth.term(places[i], places[i])
        for k in range(i):
            z[i, k] = z[k, i] = earth.factor * math.log(1.0 / math.dist(places[i], places[k])) + earth.term(
                places[i], places[k]
            )
    return z


def capacitance(wires: Sequence[Strands], places: Sequence[tuple[float, float]]) -> FloatArray:
    """(n, n) capacitance in F per m of conductors over ground at (x, height) in m."""
    n = len(wires)
    p = np.zeros((n, n))
    for i in range(n):
        p[i, i] = math.log(2 * places[i][1] / wires[i].cap_radius)
        for k in range(i):
            image = math.dist(places[i], (places[k][0], -places[k][1]))
            p[i, k] = p[k, i] = math.log(image / math.dist(places[i], places[k]))
    return np.asarray(np.linalg.inv(p) * 2 * math.pi * EPSILON_0)
