"""What a kW or kvar more at each node adds to losses, at an operating point of the feeder's AC power flow."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.sparse.linalg import splu

from amm_opt.arrays import ComplexArray, FloatArray
from amm_opt.errors import InputError, SolveError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.losses.laws import Laws

CONVERGED, SWEEPS = 1e-12, 200


class MarginalLosses:
    """Derivatives of the source's power, from the power-flow equations themselves: no steps, no linear model.

    The source sends P_source = Re(conj(V_0) I_0). Differentiated at a solution, the equations of ``Laws`` are a sparse
    linear system; its adjoint gives dP_source/dS of every node at once. A kW more of consumption costs the source
    1 + dLoss/dd kW; losses include what shunts draw.

    Args:
        feeder: a radial feeder, balanced or on phases. Nodes are those of its linear network model.

    Raises:
        InputError: where the network is meshed.
    """

    def __init__(self, feeder: Feeder) -> None:
        if feeder.meshed:
            raise InputError(f"marginal losses are those of radial networks, and {feeder.cycles}")
        single = len(set(feeder.branch_phases[1:])) <= 1 and len(feeder.branch_phases[-1]) == 1
        laws = self._laws = Laws.single(feeder) if single else Laws.of_phases(feeder)
        self._down, self._up = laws.down, sp.csc_array(laws.down.conj().T)

    def at(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> tuple[FloatArray, FloatArray, float]:
        """Marginal losses at net injections (n_nodes,).

        Returns:
            (n_nodes,) each, kW of losses per kW and per kvar more of consumption; and the losses, kW.

        Raises:
            SolveError: where the power flow does not converge.
        """
        power = np.zeros(len(self._laws.source), dtype=complex)
        power[self._laws.node] = np.asarray(p_kw, dtype=float) + 1j * np.asarray(q_kvar, dtype=float)
        v, current = self._solved(power)
        of_current, of_source = _real(self._up), np.zeros(2 * len(v))
        of_voltage = _real(self._laws.draw) - _conjugate(np.conj(power / v**2))
        system = sp.block_array([[of_voltage, of_current], [_real(self._down), _real(self._laws.z)]], format="csc")
        at_source = np.flatnonzero(self._laws.source)
        of_source[at_source], of_source[len(v) + at_source] = v[at_source].real, v[at_source].imag
        adjoint = splu(system.T.tocsc()).solve(np.concatenate([np.zeros(2 * len(v)), of_source]))
        weight = adjoint[: len(v)] + 1j * adjoint[len(v) : 2 * len(v)]
        per_injection = -np.conj(weight) / np.conj(v)  # dP_source = Re(per_injection conj(dS))
        sent = float((np.conj(v[at_source]) @ current[at_source]).real)
        per_kva = per_injection[self._laws.node]
        return -per_kva.real - 1.0, -per_kva.imag, sent + float(power.real.sum())

    def _solved(self, power: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Voltages and currents, by fixed-point sweeps."""
        down, up = splu(self._down), splu(self._up)
        v = no_load = self._laws.no_load
        for _ in range(SWEEPS):
            current = -up.solve(np.conj(power / v) + self._laws.draw @ v)
            before, v = v, no_load - down.solve(self._laws.z @ current)
            if not np.all(np.isfinite(v)):
                break
            if np.max(np.abs(v - before)) < CONVERGED:
                return v, current
        raise SolveError("the power flow does not converge: the injections are beyond what the feeder can carry")


@lru_cache(maxsize=4)
def marginal_losses(feeder: Feeder) -> MarginalLosses:
    """Those of a feeder, kept for the feeders that were used last."""
    return MarginalLosses(feeder)


def _real(matrix: sp.csr_array) -> sp.csr_array:
    """A complex matrix on vectors of real and imaginary parts."""
    return sp.csr_array(sp.block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]))


def _conjugate(diagonal: ComplexArray) -> sp.csr_array:
    """What multiplies the conjugate of a vector of real and imaginary parts."""
    real, imag = sp.diags_array(diagonal.real), sp.diags_array(diagonal.imag)
    return sp.csr_array(sp.block_array([[real, imag], [imag, -real]]))
