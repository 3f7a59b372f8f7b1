"""Lines side by side: several between the same two buses are one branch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray


@dataclass(frozen=True)
class Conductor:
    """A line on its phases, neutral taken out.

    Attributes:
        name, switch: of the line.
        phases: such as ``"abc"``.
        z_ohm: (k, k) series impedance.
        amps: ampacity; ``inf`` for no limit, NaN where it is unknown.
        charging_kvar: (k,) fed in by its capacitance.
    """

    name: str
    switch: bool
    phases: str
    z_ohm: ComplexArray
    amps: float
    charging_kvar: FloatArray

    @property
    def columns(self) -> dict[str, object]:
        """Its columns of the branches table, but for ends and rating."""
        return {
            "kind": "switch" if self.switch else "line",
            **triangles(self.z_ohm),
            "tap": 1.0,
            "phases": self.phases,
            "vector_group": "YNyn0",
            "charging_kvar": listed(self.charging_kvar),
        }


def side_by_side(conductors: Sequence[Conductor]) -> Conductor:
    """One conductor instead of several between the same buses.

    Their admittances add up, each on its own phases. Current divides by them, so the ampacity is that of balanced
    current at which the first of them reaches its own. (Ours.)

    Raises:
        LinAlgError: where one of them has no impedance.
    """
    phases = "".join(sorted(set("".join(p.phases for p in conductors))))
    places = [[phases.index(p) for p in conductor.phases] for conductor in conductors]
    admittances = [np.linalg.inv(conductor.z_ohm) for conductor in conductors]
    total = np.zeros((len(phases), len(phases)), dtype=complex)
    charging = np.zeros(len(phases))
    for conductor, at, y in zip(conductors, places, admittances, strict=True):
        total[np.ix_(at, at)] += y
        charging[at] += conductor.charging_kvar
    z = np.linalg.inv(total)
    drop = z @ np.exp([-2j * math.pi / 3 * "abc".index(p) for p in phases])
    shares = [np.abs(y @ drop[at]).max() for at, y in zip(places, admittances, strict=True)]
    amps = min(conductor.amps / share for conductor, share in zip(conductors, shares, strict=True))
    name, switch = "+".join(p.name for p in conductors), all(p.switch for p in conductors)
    return Conductor(name, switch, phases, np.asarray(z), float(amps), charging)


def triangles(z: ComplexArray) -> dict[str, object]:
    """Columns ``r_ohm`` and ``x_ohm``: numbers, or lower triangles as text; the small asymmetry of data is averaged."""
    if len(z) == 1:
        return {"r_ohm": float(z[0, 0].real), "x_ohm": float(z[0, 0].imag)}
    z = (z + z.T) / 2
    return {
        name: " | ".join(" ".join(f"{v:.9g}" for v in matrix[i, : i + 1]) for i in range(len(z)))
        for name, matrix in (("r_ohm", z.real), ("x_ohm", z.imag))
    }


def listed(values: Sequence[float] | FloatArray) -> str | float:
    """One number per phase as text; 0 where all are."""
    return " ".join(f"{v:.9g}" for v in values) if any(values) else 0.0
