"""BranchFlowSOCP: branch flow of a balanced radial feeder with losses, as a second-order cone relaxation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from amm_opt.network.ac import ACState
from amm_opt.network.feeder import Feeder
from amm_opt.network.limits import THERMAL_TOLERANCE, VOLTAGE_TOLERANCE, Quantities
from amm_opt.network.lindistflow import LinDistFlow

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

LOSS_WEIGHT = 1e-3
SWEEPS = 100
SWEEP_TOLERANCE = 1e-12
UNRATED_BASE_KVA = 1000.0


@dataclass(frozen=True, eq=False)
class ConicForm:
    """The relaxation as matrices over the unknowns u = (P, Q, w, l), per unit of each branch's rating.

    With net injections p (kW) and q (kvar) of the buses:

        equality @ u + active @ p + reactive @ q == rhs
        lower <= w = u[voltage] <= upper, l = u[current] >= 0
        every 4 rows of currents @ u + currents_base in a second-order cone (the first is the length)
        every 3 rows of ratings @ u, the limit of the branch added to the first, likewise: sending, then receiving ends

    Attributes:
        loss_kw: (k,) losses of all branches are loss_kw @ u.
        branches: (L,) branches with an impedance, by the bus they feed: one of ``l`` and of the currents' cones each.
    """

    equality: sp.csr_array
    active: sp.csr_array
    reactive: sp.csr_array
    rhs: FloatArray
    voltage: slice
    current: slice
    currents: sp.csr_array
    currents_base: FloatArray
    ratings: sp.csr_array
    loss_kw: FloatArray
    branches: NDArray[np.intp]

    @property
    def size(self) -> int:
        """Number of unknowns k."""
        return len(self.loss_kw)

    def gap(self, u: FloatArray, n_buses: int) -> FloatArray:
        """(n_buses,) ``l v - (P^2 + Q^2)`` at each branch, as a fraction of its rating squared; 0 where exact."""
        longest, p2, q2, difference = (self.currents @ u + self.currents_base).reshape(-1, 4).T
        out = np.zeros(n_buses)
        out[self.branches] = np.maximum(longest**2 - difference**2 - p2**2 - q2**2, 0.0) / 4.0
        return out


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The relaxed model of one injection in cvxpy: unknowns, constraints and the losses of all branches in kW."""

    unknowns: cp.Variable
    constraints: list[cp.Constraint]
    loss_kw: cp.Expression


class BranchFlowSOCP:
    """Branch flow with losses; the equality that defines the current is relaxed to a cone.

    For branch b that feeds bus b from bus a, P and Q at the sending end, l the squared current and w the squared
    voltage (M. Farivar and S. H. Low, "Branch flow model: relaxations and convexification - part I", IEEE Trans. Power
    Systems 28(3), 2013, eqs. (9)-(12), doi 10.1109/TPWRS.2013.2255317; the tap is ours):

        P_b = sum of P below - p_b + r_b l_b                       Q_b likewise with q and x
        w_b = w_a / tap_b^2 - 2 (r_b P_b + x_b Q_b) + |z_b|^2 l_b
        l_b w_a / tap_b^2 >= P_b^2 + Q_b^2

    Where a cone is not tight the solution is *inexact*: it has losses that no network has. That happens where losses
    help the objective, as when export envelopes are maximised; ``ConicForm.gap`` says by how much. Among equals the
    solution with the least losses is taken: ``loss_weight`` times the losses in kW is subtracted from what is
    maximised (added to what is minimised), except in leximin programs.

    Limited quantities are, in this order: the squared voltage (pu^2) at every bus but the source, and for every rated
    branch its apparent power at the end that carries more, as a fraction of the rating. ``evaluate`` and ``state``
    solve the branch flow equations themselves, not the relaxation, by a backward/forward sweep.

    Args:
        feeder: a balanced feeder, or one on a single phase throughout.

    Raises:
        InputError: where the feeder has a branch on several phases.
    """

    name = "socp"
    loss_weight = LOSS_WEIGHT

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self._tree = LinDistFlow(feeder)
        f, n = feeder, feeder.n_buses
        z = np.array([m[0, 0] for m in f.z_ohm]) / (1000.0 * f.vn_kv**2) * (1.0 if f.balanced else 3.0)
        self._r, self._x = z.real, z.imag
        self._rated = np.flatnonzero(np.isfinite(f.rating_kva))
        self._rating = f.rating_kva[self._rated]
        buses, ones = np.arange(1, n), np.ones(len(self._rated))
        self.n_nodes, self.rating_kva = n, f.rating_kva
        self.v_min_pu, self.v_max_pu = self._tree.v_min_pu, self._tree.v_max_pu
        self.quantities = Quantities(
            kind=np.repeat(["voltage", "thermal"], [len(buses), len(ones)]),
            element=np.concatenate([buses, self._rated]),
            lower=np.concatenate([f.v_min_pu[1:] ** 2, -ones]),
            upper=np.concatenate([f.v_max_pu[1:] ** 2, ones]),
            tolerance=np.repeat([VOLTAGE_TOLERANCE, THERMAL_TOLERANCE], [len(buses), len(ones)]),
        )

    def incidence(self, bus: IntArray, phases: tuple[str, ...]) -> sp.csr_array:
        """(n_buses, n) matrix that adds n participants up at their bus."""
        return self._tree.incidence(bus, phases)

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
        """Voltages and flows under net injections, losses included; NaN where the equations have no solution.

        Args:
            p_kw, q_kvar: (..., n_buses) net injection at each bus, positive into the network.
        """
        tree, gain = self._tree._tree, self._tree._gain
        p0, q0 = (-tree.below(np.asarray(power, dtype=float)) for power in (p_kw, q_kvar))
        r, x, square = self._r, self._x, self._r**2 + self._x**2
        up = np.maximum(self.feeder.parent, 0)
        current, w = np.zeros_like(p0), np.broadcast_to(gain * self.feeder.v_source_pu**2, p0.shape)
        moved = np.full(p0.shape[:-1], np.inf)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(SWEEPS):
                p, q = p0 + tree.below(r * current), q0 + tree.below(x * current)
                drop = tree.along((2.0 * (r * p + x * q) - square * current) / gain)
                before, w = w, gain * (self.feeder.v_source_pu**2 - drop)
                current = (p**2 + q**2) * self.feeder.tap**2 / w[..., up]
                moved = np.max(np.abs(w - before), axis=-1)
                if not np.any(moved > SWEEP_TOLERANCE):
                    break
            bad = ~(moved <= SWEEP_TOLERANCE * 1e3) | np.any(w <= 0, axis=-1)
            p, q = p0 + tree.below(r * current), q0 + tree.below(x * current)
            arrays = (np.sqrt(w), p, q, p - r * current, q - x * current)
        return ACState(*(np.where(bad[..., None], np.nan, a) for a in arrays))

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_buses) in, (..., m) out; NaN without a solution."""
        s = self.state(p_kw, q_kvar)
        return np.concatenate([s.v_pu[..., 1:] ** 2, s.s_flow_kva[..., self._rated] / self._rating], axis=-1)

    def limited(self, v_pu: FloatArray, p_flow_kw: FloatArray, q_flow_kvar: FloatArray) -> FloatArray:
        """Every limited quantity of voltages and of flows at one end from elsewhere: (..., n_buses) each in."""
        flow = np.hypot(p_flow_kw[..., self._rated], q_flow_kvar[..., self._rated]) / self._rating
        return np.concatenate([v_pu[..., 1:] ** 2, flow], axis=-1)

    @cached_property
    def form(self) -> ConicForm:
        """The relaxation as matrices; branches without a rating are per unit of the largest one."""
        f, n = self.feeder, self.feeder.n_buses - 1
        base = np.where(np.isfinite(f.rating_kva), f.rating_kva, max([UNRATED_BASE_KVA, *self._rating]))[1:]
        lossy = np.flatnonzero(np.hypot(self._r, self._x)[1:] > 0)
        r, x = self._r[1:] * base, self._x[1:] * base
        below = np.flatnonzero(f.parent[1:] > 0)
        above = f.parent[1:][below] - 1
        eye = sp.eye_array(n, format="csr")
        at = eye[:, lossy]
        children = sp.csr_array((base[below] / base[above], (above, below)), shape=(n, n))
        ratio = f.tap[1:] ** -2.0
        upstream = sp.csr_array((ratio[below], (below, above)), shape=(n, n))
        source = np.where(f.parent[1:] == 0, f.v_source_pu**2 * ratio, 0.0)
        diagonal = sp.diags_array
        drop = [2.0 * diagonal(r), 2.0 * diagonal(x), eye - upstream, -diagonal(r**2 + x**2) @ at]
        equality = sp.block_array(
            [[eye - children, None, None, -diagonal(r) @ at], [None, eye - children, None, -diagonal(x) @ at], drop]
        )
        bus = sp.csr_array((1.0 / base, (np.arange(n), np.arange(1, n + 1))), shape=(n, n + 1))
        nothing = sp.csr_array((n, n + 1))
        p, q, w, current = self._selectors(n, len(lossy))
        v = upstream[lossy] @ w
        rated = self._rated - 1
        ends = ((p, q), (p - diagonal(r) @ at @ current, q - diagonal(x) @ at @ current))
        ratings = [[sp.csr_array((len(rated), p.shape[1])), flow[rated], other[rated]] for flow, other in ends]
        return ConicForm(
            equality=sp.csr_array(equality),
            active=sp.csr_array(sp.vstack([bus, nothing, nothing])),
            reactive=sp.csr_array(sp.vstack([nothing, bus, nothing])),
            rhs=np.concatenate([np.zeros(2 * n), source]),
            voltage=slice(2 * n, 3 * n),
            current=slice(3 * n, 3 * n + len(lossy)),
            currents=_interleaved([current + v, 2.0 * p[lossy], 2.0 * q[lossy], current - v]),
            currents_base=np.outer(source[lossy], [1.0, 0.0, 0.0, -1.0]).ravel(),
            ratings=sp.csr_array(sp.vstack([_interleaved(parts) for parts in ratings])),
            loss_kw=np.concatenate([np.zeros(3 * n), (r * base)[lossy]]),
            branches=lossy + 1,
        )

    @staticmethod
    def _selectors(n: int, n_lossy: int) -> tuple[sp.csr_array, ...]:
        """Matrices that pick P, Q, w and l out of the unknowns."""
        eye = sp.eye_array(3 * n + n_lossy, format="csr")
        return eye[:n], eye[n : 2 * n], eye[2 * n : 3 * n], eye[3 * n :]

    def relaxation(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> Relaxation:
        """The relaxed model in cvxpy.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_buses,).
            lower, upper: expressions of shape (m,), the limits of the interval; a lower limit of a flow is not used.
        """
        form, n = self.form, self.feeder.n_buses - 1
        u = cp.Variable(form.size)
        cones = cp.reshape(form.currents @ u + form.currents_base, (4, len(form.branches)), order="F")
        constraints = [
            form.equality @ u + form.active @ p_kw + form.reactive @ q_kvar == form.rhs,
            u[form.voltage] >= lower[:n],
            u[form.voltage] <= upper[:n],
            u[form.current] >= 0,
            cp.SOC(cones[0], cones[1:], axis=0),
        ]
        if len(self._rated):
            flows = cp.reshape(form.ratings @ u, (3, 2 * len(self._rated)), order="F")
            constraints.append(cp.SOC(cp.hstack([upper[n:], upper[n:]]), flows[1:], axis=0))
        return Relaxation(u, constraints, form.loss_kw @ u)


def _interleaved(parts: list[sp.csr_array]) -> sp.csr_array:
    """Row 0 of every part, then row 1 of every part, and so on."""
    count, rows = len(parts), parts[0].shape[0]
    order = np.arange(count * rows).reshape(count, rows).T.ravel()
    return sp.csr_array(sp.csr_array(sp.vstack(parts))[order])
