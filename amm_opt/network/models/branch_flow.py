"""BranchFlowSOCP: branch flow of a balanced radial feeder with losses, as a second-order cone relaxation."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray
from amm_opt.network.ac.power_flow import ACState
from amm_opt.network.ac.ratings import RatedEnds
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.conic import ConicForm, ConicNetworkModel, Relaxation, interleaved, stacked
from amm_opt.network.models.limits import KINDS, Quantities
from amm_opt.network.models.lindistflow import LinDistFlow
from amm_opt.network.models.sweeps import Forest
from amm_opt.tolerances import THERMAL_TOLERANCE, VOLTAGE_TOLERANCE

SWEEPS = 100
SWEEP_TOLERANCE = 1e-12
UNRATED_BASE_KVA = 1000.0


class BranchFlowSOCP(ConicNetworkModel):
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

    Shunts and charging are admittances, affine in w. A line's limit is a current; its square at either end, with half
    the charging y, is affine too: l / tap^2 - 2 y Q + y^2 w_a upstream, l + 2 y (Q - x l) + y^2 w_b downstream.

    Limited quantities are, in this order: the squared voltage (pu^2) at every bus but the source, and for every rated
    branch, at the end that carries more, the squared current of a line or switch and the apparent power of a
    transformer, as fractions of the rating (squared), then the active power into every branch that has a limit of it,
    as a fraction of the larger one. ``evaluate`` and ``state`` solve the branch flow equations
    themselves, not the relaxation, by a backward/forward sweep.

    Args:
        feeder: a balanced feeder, or one on a single phase throughout.

    Raises:
        InputError: where the feeder has a branch on several phases.
    """

    name = "socp"

    def __init__(self, feeder: Feeder) -> None:
        super().__init__(feeder)
        self._linear = LinDistFlow(feeder)
        self._tree, self._gain = Forest(feeder.subtree_end), self._linear.gain
        f, n = feeder, feeder.n_buses
        z = np.array([m[0, 0] for m in f.z_ohm]) / (1000.0 * f.vn_kv**2) * (1.0 if f.balanced else 3.0)
        self._r, self._x = z.real, z.imag
        self._rated = np.flatnonzero(np.isfinite(f.rating_kva))
        self._rating = f.rating_kva[self._rated]
        self._ends = RatedEnds.of(f, np.arange(n))
        self._by_current = self._ends.by_current[self._rated]
        shunts = f.injected_kva.sum(axis=1)
        self._p_shunt, self._q_shunt, self._half = shunts.real, shunts.imag, 0.5 * f.charging_kvar.sum(axis=1)

    @cached_property
    def quantities(self) -> Quantities:
        """Squared voltages, flows of rated branches, and active power of metered ones."""
        f, buses, ones, of = self.feeder, np.arange(1, self.feeder.n_buses), np.ones(len(self._rated)), self.metered
        counts = [len(buses), len(ones), len(of)]
        return Quantities(
            kind=np.repeat(KINDS, counts),
            element=np.concatenate([buses, self._rated, of.branch]),
            lower=np.concatenate([f.v_min_pu[1:] ** 2, -ones, -of.export_kw / of.base_kw]),
            upper=np.concatenate([f.v_max_pu[1:] ** 2, ones, of.import_kw / of.base_kw]),
            tolerance=np.repeat([VOLTAGE_TOLERANCE, THERMAL_TOLERANCE, THERMAL_TOLERANCE], counts),
        )

    @property
    def linear(self) -> LinDistFlow:
        """LinDistFlow of the same feeder."""
        return self._linear

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
        """Voltages and flows under net injections, losses included; NaN where the equations have no solution.

        Args:
            p_kw, q_kvar: (..., n_buses) net injection at each bus, positive into the network.
        """
        tree, gain = self._tree, self._gain
        p0, q0 = (-tree.below(np.asarray(power, dtype=float)) for power in (p_kw, q_kvar))
        r, x, square = self._r, self._x, self._r**2 + self._x**2
        up = np.maximum(self.feeder.parent, 0)
        current, w = np.zeros_like(p0), np.broadcast_to(gain * self.feeder.v_source_pu**2, p0.shape)
        moved = np.full(p0.shape[:-1], np.inf)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(SWEEPS):
                p, q = self._sent(p0, q0, current, w)
                drop = tree.along((2.0 * (r * p + x * q) - square * current) / gain)
                before, w = w, gain * (self.feeder.v_source_pu**2 - drop)
                current = (p**2 + q**2) * self.feeder.tap**2 / w[..., up]
                moved = np.max(np.abs(w - before), axis=-1)
                if not np.any(moved > SWEEP_TOLERANCE):
                    break
            bad = ~(moved <= SWEEP_TOLERANCE * 1e3) | np.any(w <= 0, axis=-1)
            p, q = self._sent(p0, q0, current, w)
            sent, received = q - self._half * w[..., up], q - x * current + self._half * w
            arrays = (np.sqrt(w), p, sent, p - r * current, received, np.sqrt(w[..., up]))
        return ACState(self._ends, *(np.where(bad[..., None], np.nan, a) for a in arrays))

    def _sent(
        self, p0: FloatArray, q0: FloatArray, current: FloatArray, w: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Flows into every branch's impedance from those of the injections, squared currents and squared voltages."""
        below = self._tree.below
        return p0 + below(self._r * current - self._p_shunt * w), q0 + below(self._x * current - self._q_shunt * w)

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_buses) in, (..., m) out; NaN without a solution."""
        s = self.state(p_kw, q_kvar)
        return self._quantities(s.v_pu, s.loading_kva, s.p_sent_kw)

    def limited(
        self, v_pu: FloatArray, p_flow_kw: FloatArray, q_flow_kvar: FloatArray, p_sent_kw: FloatArray | None = None
    ) -> FloatArray:
        """Every limited quantity of voltages and of flows at one end from elsewhere: (..., n_buses) each in.

        Flows are in the terms of ratings, see ``RatedEnds``.
        """
        sent = p_flow_kw if p_sent_kw is None else p_sent_kw
        return self._quantities(v_pu, np.hypot(p_flow_kw, q_flow_kvar), sent)

    def _quantities(self, v_pu: FloatArray, loading_kva: FloatArray, p_sent_kw: FloatArray) -> FloatArray:
        loading = loading_kva[..., self._rated] / self._rating
        flows = np.where(self._by_current, loading**2, loading)
        active = self.metered.power_kw(p_sent_kw) / self.metered.base_kw
        return np.concatenate([v_pu[..., 1:] ** 2, flows, active], axis=-1)

    @cached_property
    def form(self) -> ConicForm:
        """The relaxation as matrices; branches without a rating are per unit of the largest one."""
        f, n = self.feeder, self.feeder.n_buses - 1
        base = np.where(np.isfinite(f.rating_kva), f.rating_kva, max([UNRATED_BASE_KVA, *self._rating]))[1:]
        impedance = np.hypot(self._r, self._x)[1:] > 0
        lossy = np.flatnonzero(impedance | (self._ends.by_current & np.isfinite(f.rating_kva))[1:])
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
        shunts = [diagonal(shunt[1:] / base) for shunt in (self._p_shunt, self._q_shunt)]
        equality = stacked(
            [
                [eye - children, None, shunts[0], -diagonal(r) @ at],
                [None, eye - children, shunts[1], -diagonal(x) @ at],
                drop,
            ]
        )
        bus = sp.csr_array((1.0 / base, (np.arange(n), np.arange(1, n + 1))), shape=(n, n + 1))
        nothing = sp.csr_array((n, n + 1))
        p, q, w, current = self._selectors(n, len(lossy))
        v = upstream[lossy] @ w
        return ConicForm(
            equality=equality,
            active=sp.csr_array(sp.vstack([bus, nothing, nothing])),
            reactive=sp.csr_array(sp.vstack([nothing, bus, nothing])),
            rhs=np.concatenate([np.zeros(2 * n), source]),
            voltage=slice(2 * n, 3 * n),
            current=slice(3 * n, 3 * n + len(lossy)),
            currents=interleaved([current + v, 2.0 * p[lossy], 2.0 * q[lossy], current - v]),
            currents_base=np.outer(source[lossy], [1.0, 0.0, 0.0, -1.0]).ravel(),
            **self._rated_ends(base, p, q, w, at @ current, ratio, upstream, source),
            metered=self.metered.matrix(n + 1)[:, 1:] @ diagonal(base) @ p,
            loss_kw=np.concatenate([np.zeros(3 * n), (r * base)[lossy]]),
            branches=lossy + 1,
            lossy=impedance[lossy],
        )

    def _rated_ends(
        self,
        base: FloatArray,
        p: sp.csr_array,
        q: sp.csr_array,
        w: sp.csr_array,
        squared: sp.csr_array,
        ratio: FloatArray,
        upstream: sp.csr_array,
        source: FloatArray,
    ) -> dict[str, Any]:
        """What ratings limit, as fields of ``ConicForm``.

        Args:
            p, q, w, squared: matrices that pick P, Q, w and l of every branch out of the unknowns.
            ratio, upstream, source: the squared voltage behind a branch's tap is upstream @ w + source, tap^-2 = ratio.
        """
        diagonal, half, rated = sp.diags_array, self._half[1:] / base, self._rated - 1
        r, x = self._r[1:] * base, self._x[1:] * base
        p_below, q_below = p - diagonal(r) @ squared, q - diagonal(x) @ squared
        w_above, above_base = diagonal(1.0 / ratio) @ upstream @ w, source / ratio
        of_powers = np.flatnonzero(~self._by_current)
        own = rated[of_powers]
        ends = ((p, q - diagonal(half) @ w_above), (p_below, q_below + diagonal(half) @ w))
        nothing, none = sp.csr_array((len(own), p.shape[1])), np.zeros(len(own))
        of_lines = self._amperes(base, (q, q_below), (w_above, w), squared, above_base)
        return {
            "powers": sp.csr_array(sp.vstack([interleaved([nothing, a[own], b[own]]) for a, b in ends])),
            "powers_base": np.append(np.column_stack([none, none, -(half * above_base)[own]]), np.zeros(3 * len(own))),
            "of_powers": np.tile(of_powers, 2),
            **of_lines,
        }

    def _amperes(
        self,
        base: FloatArray,
        q: tuple[sp.csr_array, sp.csr_array],
        w: tuple[sp.csr_array, sp.csr_array],
        squared: sp.csr_array,
        above_base: FloatArray,
    ) -> dict[str, Any]:
        """Squared currents at the ends of lines and switches, as fields of ``ConicForm``.

        Args:
            q: reactive flow of the impedance at its upper and lower end; w: squared voltages there, ``above_base``
                added to the upper ones.
        """
        diagonal, half, ratio = sp.diags_array, self._half[1:] / base, self.feeder.tap[1:] ** -2.0
        of_amperes = np.flatnonzero(self._by_current)
        line = self._rated[of_amperes] - 1
        sent = diagonal(ratio) @ squared - diagonal(2.0 * half) @ q[0] + diagonal(half**2) @ w[0]
        received = squared + diagonal(2.0 * half) @ q[1] + diagonal(half**2) @ w[1]
        two = (half[line] != 0) | (ratio[line] != 1)
        return {
            "amperes": sp.csr_array(sp.vstack([sent[line], received[line[two]]])),
            "amperes_base": np.append((half**2 * above_base)[line], np.zeros(two.sum())),
            "of_amperes": np.append(of_amperes, of_amperes[two]),
        }

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
        if len(form.of_powers):
            flows = cp.reshape(form.powers @ u + form.powers_base, (3, len(form.of_powers)), order="F")
            constraints.append(cp.SOC(upper[n + form.of_powers], flows[1:], axis=0))
        if len(form.of_amperes):
            constraints.append(form.amperes @ u + form.amperes_base <= upper[n + form.of_amperes])
        if len(self.metered):
            active, first = form.metered @ u, n + len(self._rated)
            constraints += [active <= upper[first:], active >= lower[first:]]
        return Relaxation(u, constraints, form.loss_kw @ u)
