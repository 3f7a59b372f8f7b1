"""Ohm's and Kirchhoff's laws of a radial feeder as sparse matrices, balanced or on phases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from amm_opt.arrays import ComplexArray, FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import phase_nodes
from amm_opt.network.models.phase_sweeps import PhaseSweeps


@dataclass(frozen=True, eq=False)
class Laws:
    """Voltages V and currents I away from the source, per unit and kVA of one node, of whatever is injected (S):

        V = source + R V - Z I,        I = R^H I - conj(S / V) - D V.

    Balanced feeders, and those on a single phase throughout, have a place for each bus; others one for each bus and
    phase, all of phase a first, whether it exists or not.

    Attributes:
        ratio, z: (places, places) R, from a branch's upper end to its lower one, and Z.
        source: (places,) voltages of the source, zero elsewhere.
        shunt: (places,) Y, what shunts and line charging inject at nominal voltage.
        draw: (places, places) D, conj(Y) and what grounded stars inject by the voltages of all phases of a bus.
        node: (n_nodes,) places of the nodes that exist.
    """

    ratio: sp.csr_array
    z: sp.csr_array
    source: ComplexArray
    shunt: ComplexArray
    draw: sp.csr_array
    node: IntArray

    @classmethod
    def single(cls, feeder: Feeder) -> Self:
        """Of a feeder whose buses are one node each."""
        n, child = feeder.n_buses, np.arange(1, feeder.n_buses)
        ratio = sp.csr_array((1.0 / feeder.tap[1:] + 0j, (child, feeder.parent[1:])), shape=(n, n))
        per_kva = (1.0 if feeder.balanced else 3.0) / (1000.0 * feeder.vn_kv**2)
        z = sp.csr_array(sp.diags_array(np.array([m[0, 0] for m in feeder.z_ohm]) * per_kva))
        source = np.where(np.arange(n) == 0, feeder.v_source_pu, 0.0).astype(complex)
        shunt = feeder.injected_kva.sum(axis=1)
        return cls(ratio, z, source, shunt, sp.csr_array(sp.diags_array(np.conj(shunt))), np.arange(n))

    @classmethod
    def of_phases(cls, feeder: Feeder) -> Self:
        """Of a feeder on named phases."""
        sweeps, (phase, bus) = PhaseSweeps(feeder), phase_nodes(feeder.branch_phases)
        source = np.zeros(3 * feeder.n_buses, dtype=complex)
        source[:: feeder.n_buses] = sweeps.source
        shunt = feeder.injected_kva.T.ravel()
        stars = sp.kron(np.ones((3, 3)), sp.diags_array(np.conj(feeder.star_kva) / 3.0))
        draw = sp.csr_array(sp.diags_array(np.conj(shunt)) + stars)
        return cls(*sweeps.matrices(), source, shunt, draw, feeder.n_buses * phase + bus)

    def of_nodes(self) -> Laws:
        """The same without places that do not exist; each node is one place."""
        at = self.node
        ratio, z, draw = (sp.csr_array(m[at][:, at]) for m in (self.ratio, self.z, self.draw))
        return Laws(ratio, z, self.source[at], self.shunt[at], draw, np.arange(len(at)))

    @property
    def down(self) -> sp.csc_array:
        """I - R."""
        return sp.csc_array(sp.eye_array(len(self.source)) - self.ratio, dtype=complex)

    @cached_property
    def no_load(self) -> ComplexArray:
        """(places,) voltages where nothing flows."""
        return np.asarray(splu(self.down).solve(self.source))

    @cached_property
    def _sending(self) -> ComplexArray:
        """(places,) those at the upper end of every branch, behind its ratio; 1 where there is no branch."""
        above = self.ratio @ self.no_load
        return np.where(above == 0.0, 1.0, above)

    def lost(self, current: ComplexArray) -> ComplexArray:
        """What branches lose at these currents (..., places), as complex kVA injected: half at either end of each."""
        half = 0.5 * (current @ self.z.T) * np.conj(current)
        return np.asarray(-half - self.no_load * ((half / self._sending) @ self.ratio))

    def beyond_nominal(self, v_pu: FloatArray) -> ComplexArray:
        """What shunts and line charging inject at voltages (..., places) beyond what they do at nominal voltage."""
        return np.asarray(self.shunt * (v_pu**2 - 1.0))
