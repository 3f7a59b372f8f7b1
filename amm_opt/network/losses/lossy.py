"""The linear models with what they leave out, estimated from inflexible load."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import ComplexArray, FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.losses.laws import Laws
from amm_opt.network.models.base import Answering
from amm_opt.network.models.limits import NetworkState
from amm_opt.network.models.lindist3flow import LinDist3Flow
from amm_opt.network.models.lindistflow import LinDistFlow

PASSES = 2
"""Estimates, each made of the flows that the one before leads to."""
LEAST_V = 0.5
"""Voltages are taken to be at least this share of those without load, where constant power meets its limit."""


class Lossy(Answering):
    """LinDistFlow or LinDist3Flow, and as constant injections what they leave out at inflexible load.

    Rows and slopes are those of the linear model. :meth:`left_out` estimates the losses of every branch from the flows
    S and the voltages V that the linear model itself has at inflexible load, with the impedance Z of the branch,

        I = conj(S / V),        loss = (Z I) conj(I),        half of it drawn at either end of the branch,

    V being the mean of both ends, at the angles of no load; and what shunts and line charging give beyond nominal
    voltage, Y (|V|^2 - 1). Halves at both ends leave the mean of what is sent and received on the branch, for which
    w_a - w_b = 2 (r P + x Q) is exact: the term |z|^2 l of the branch flow equations (M. E. Baran and F. F. Wu, IEEE
    Trans. Power Delivery 4(2), 1989, eqs. (1)-(4), doi 10.1109/61.25627) is contained. What remains is the unbalance of
    the voltages that mutual impedances meet, and the losses of flexible power. (Our reading: others fit losses that
    grow with the flow, as E. Schweitzer et al., IEEE Trans. Power Systems 35(3), 2020, doi 10.1109/TPWRS.2019.2954453.)

    The flow on a branch is that in its middle.

    Args:
        feeder: a balanced feeder, or one on named phases.

    Attributes:
        phase: see ``NetworkModel``.

    Raises:
        InputError: see the linear models.
    """

    name = "lossy"
    estimates = True

    def __init__(self, feeder: Feeder) -> None:
        super().__init__(feeder)
        self._inner = LinDistFlow(feeder) if feeder.balanced else LinDist3Flow(feeder)
        self._laws = (Laws.single(feeder) if feeder.balanced else Laws.of_phases(feeder)).of_nodes()
        self.phase = self._inner.phase

    @property
    def bus(self) -> IntArray:
        """(n_nodes,) bus of each node."""
        return self._inner.bus

    def left_out(self, p_kw: FloatArray, q_kvar: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See ``NetworkModel``: losses and what shunts give beyond nominal voltage."""
        more = np.zeros(np.shape(p_kw), dtype=complex)
        for _ in range(PASSES):
            more = self._estimated(self._inner.state(p_kw + more.real, q_kvar + more.imag))
        return more.real, more.imag

    def _estimated(self, state: NetworkState) -> ComplexArray:
        """(..., n_nodes) complex kVA that are injected in addition."""
        laws, size = self._laws, np.abs(self._laws.no_load)
        v = laws.no_load * np.maximum(state.v_pu / size, LEAST_V)
        current = np.conj((state.p_flow_kw + 1j * state.q_flow_kvar) / (0.5 * (v + v @ laws.ratio.T)))
        return laws.lost(current) + laws.beyond_nominal(np.abs(v))
