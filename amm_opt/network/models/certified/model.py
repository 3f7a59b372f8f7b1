"""Certified: a convex inner approximation of branch flow that hosts boxes of injections, not points."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.branch_flow import UNRATED_BASE_KVA, BranchFlowSOCP
from amm_opt.network.models.certified.certificate import Branches, Certificate, certificate
from amm_opt.network.models.certified.form import BoxForm
from amm_opt.network.models.certified.tangents import Weights, gradients
from amm_opt.network.models.conic import Relaxation, Tangents, interleaved, stacked
from amm_opt.network.models.limits import Quantities
from amm_opt.tolerances import THERMAL_TOLERANCE, VOLTAGE_TOLERANCE


class Certified(BranchFlowSOCP):
    """Branch flow, in which an injection is a box, and every point of it keeps every limit on AC power flow.

    Flexible import may be anywhere between nothing and what is decided, flexible export likewise, of everybody
    independently (``amm_opt.program.Corners``). Idea: N. Nazir and M. Almassalkhi, "Grid-aware aggregation and realtime
    disaggregation of distributed energy resources in radial networks", IEEE Trans. Power Systems 37(3), 2022, arXiv
    1907.06709. Their program is not known to us: bounds, cones and proof are our own (docs/certified.md).

    Unknowns are bounds of all AC solutions in the box: of flows P and Q at the upper end of branch b from a to b, of
    squared voltages w, and of squared currents lh:

        PU_b = sum of PU below - p_low + r_b lh_b,   PL_b = sum of PL below - p_high          QU, QL likewise
        wU_b = wU_a / tap^2 - 2 (r PL + x QL)
        wL_b = wL_a / tap^2 - 2 (r PU + x QU) + |z|^2 lh
        s >= PU, -PL;   t >= QU, -QL;   s^2 + t^2 <= (wL_a / tap^2) lh
        v_min^2 <= wL,  wU <= v_max^2,  and ratings by s, t and lh

    Admittances take or give what the worse of wL and wU makes them.

    Limited quantities are, in this order: the lowest and then the highest squared voltage (pu^2) at every bus but the
    source; for every rated branch, at the end that carries more, the largest squared current of a line or switch and
    the largest apparent power of a transformer, as fractions of the rating (squared); the largest active power into
    every branch with a limit of it, and then the smallest. ``evaluate`` finds them by sweeps, without a solver, and
    exactly: a box keeps its limits there where the cones have a solution for it, and only there. ``state`` is the power
    flow of a point.

    What is claimed holds for the balanced equivalent of a radial feeder, constant power, fixed taps and a fixed source.

    Args:
        feeder: a balanced feeder, or one on a single phase throughout, with r, x >= 0.

    Raises:
        InputError: where the feeder has cycles, a branch on several phases, or one with a negative r or x.
    """

    name = "certified"
    boxes = True
    loss_weight = 0.0

    def __init__(self, feeder: Feeder) -> None:
        super().__init__(feeder)
        for what, values in (("r", self._r), ("x", self._x)):
            if len(negative := np.flatnonzero(values < 0)):
                branch = feeder.branch_names[negative[0]]
                raise InputError(f"{self.name}: branch {branch!r} has a negative {what}, for which nothing is proved")
        self._branches = Branches(
            self._tree,
            np.maximum(feeder.parent, 0),
            self._r,
            self._x,
            feeder.tap,
            self._gain,
            self._p_shunt,
            self._q_shunt,
            feeder.v_source_pu**2,
        )

    @cached_property
    def quantities(self) -> Quantities:
        """Lowest and highest squared voltages, flows of rated branches, most and least active power of metered ones."""
        f, buses, of = self.feeder, np.arange(1, self.feeder.n_buses), self.metered
        ones, free = np.ones(len(self._rated)), np.full(len(buses), np.inf)
        counts, kinds = [len(buses)] * 2 + [len(ones)] + [len(of)] * 2, ["voltage"] * 2 + ["thermal"] + ["active"] * 2
        none, tolerances = np.full(len(of), np.inf), [VOLTAGE_TOLERANCE] * 2 + [THERMAL_TOLERANCE] * 3
        return Quantities(
            kind=np.repeat(np.array(kinds), counts),
            element=np.concatenate([buses, buses, self._rated, of.branch, of.branch]),
            lower=np.concatenate([f.v_min_pu[1:] ** 2, -free, -ones, -none, -of.export_kw / of.base_kw]),
            upper=np.concatenate([free, f.v_max_pu[1:] ** 2, ones, of.import_kw / of.base_kw, none]),
            tolerance=np.repeat(tolerances, counts),
        )

    def certificate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> Certificate:
        """Bounds of every AC solution of a box, or of a point.

        Args:
            p_kw, q_kvar: (..., n_buses) net injection at each bus, positive into the network; or (..., 2 n_buses), the
                lowest at each bus and then the highest.
        """
        n = self.feeder.n_buses
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        return certificate(self._branches, (p[..., :n], q[..., :n]), (p[..., -n:], q[..., -n:]))

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity of a box or a point, (..., m); NaN where there are no bounds.

        Args:
            p_kw, q_kvar: as for :meth:`certificate`.
        """
        return self.bounded(self.certificate(p_kw, q_kvar))

    def bounded(self, c: Certificate) -> FloatArray:
        """Every limited quantity by its bounds, (..., m)."""
        rated, line, half = self._rated, self._by_current, self._half
        amperes = np.maximum(*self._squared_currents(c))[..., rated] / self._rating**2
        charging = half * np.maximum(c.w_high[..., self._branches.up], c.w_high)
        power = np.hypot(c.p_most, c.q_most + charging)[..., rated] / self._rating
        of = self.metered
        active = [of.power_kw(p) / of.base_kw for p in (c.p_high, c.p_low)]
        flows = np.where(line, amperes, power)
        return np.concatenate([c.w_low[..., 1:], c.w_high[..., 1:], flows, *active], axis=-1)

    def _squared_currents(self, c: Certificate) -> tuple[FloatArray, FloatArray]:
        """(..., n_buses) the most at the sending end of every branch, behind its tap, and at the receiving end."""
        half, w_above = self._half, c.w_high[..., self._branches.up]
        sent = self.feeder.tap**-2.0 * c.current - 2.0 * half * c.q_low + half**2 * w_above
        return sent, c.current + 2.0 * half * (c.q_high - self._x * c.current) + half**2 * c.w_high

    def tangents(self, p_kw: FloatArray, q_kvar: FloatArray, k: IntArray) -> Tangents:
        """Tangents of limited quantities at one box: convex or concave, no quantity is better than its tangent.

        Args:
            p_kw, q_kvar: (2 n_buses,) the lowest corner, then the highest; bounds must exist.
            k: (K,) which quantities.
        """
        c = self.certificate(p_kw, q_kvar)
        return Tangents(self.bounded(c)[k], *gradients(c, self._weights(c, k)))

    def _weights(self, c: Certificate, k: IntArray) -> Weights:
        """How limited quantities depend on the bounds; at a kink by the larger side."""
        n, rated, of = self.feeder.n_buses - 1, len(self._rated), Weights.none(len(k), self.feeder.n_buses)
        ends = np.cumsum([n, n, rated, len(self.metered), len(self.metered)])
        for row, at in enumerate(k.tolist()):
            block = int(np.searchsorted(ends, at, side="right"))
            place = at - int(np.append(0, ends)[block])
            if block < 2:
                (of.w_low, of.w_high)[block][row, place + 1] = 1.0
            elif block == 2:
                self._weigh_rated(c, of, row, place)
            else:
                (of.p_high, of.p_low)[block - 3][row] = self._metered_rows[place]
        return of

    @cached_property
    def _metered_rows(self) -> FloatArray:
        return np.asarray(self.metered.matrix(self.feeder.n_buses).toarray())

    def _weigh_rated(self, c: Certificate, of: Weights, row: int, place: int) -> None:
        """The weights of one rating: of a line's squared current, or of a transformer's apparent power."""
        b, rating = int(self._rated[place]), float(self._rating[place])
        a, half = int(self._branches.up[b]), float(self._half[b])
        if self._by_current[place]:
            sent, received = (float(end[b]) for end in self._squared_currents(c))
            upper, square = sent >= received, rating**2
            of.current[row, b] = (self.feeder.tap[b] ** -2.0 if upper else 1.0 - 2.0 * half * self._x[b]) / square
            (of.q_low if upper else of.q_high)[row, b] = (-2.0 if upper else 2.0) * half / square
            of.w_high[row, a if upper else b] = half**2 / square
            return
        end = a if c.w_high[a] >= c.w_high[b] else b
        p, q = float(c.p_most[b]), float(c.q_most[b] + half * c.w_high[end])
        if (size := float(np.hypot(p, q)) * rating) > 0:
            larger = (c.p_high[b] >= -c.p_low[b], c.q_high[b] >= -c.q_low[b])
            for up, high, low, share in zip(larger, (of.p_high, of.q_high), (of.p_low, of.q_low), (p, q), strict=True):
                (high if up else low)[row, b] = (share if up else -share) / size
            of.w_high[row, end] = q / size * half

    def use(self, c: Certificate) -> FloatArray:
        """How much of each limit the bounds use, (..., m): 1 at the limit; of a voltage, the way to it from the other.

        Currents and powers are fractions of their limits.
        """
        f, of, u = self.feeder, self.quantities, self.bounded(c)
        band = f.v_max_pu[1:] - f.v_min_pu[1:]
        low = (f.v_max_pu[1:] - np.sqrt(c.w_low[..., 1:])) / band
        high = (np.sqrt(c.w_high[..., 1:]) - f.v_min_pu[1:]) / band
        flows = u[..., 2 * len(band) :]
        rated = flows[..., : len(self._rated)]
        thermal = np.where(self._by_current, np.sqrt(np.maximum(rated, 0.0)), rated)
        limit = np.where(np.isfinite(of.upper), of.upper, of.lower)[2 * len(band) + len(self._rated) :]
        return np.concatenate([low, high, thermal, flows[..., len(self._rated) :] / limit], axis=-1)

    @cached_property
    def form(self) -> BoxForm:
        """The bounds as matrices; branches without a rating are per unit of the largest one."""
        f, n = self.feeder, self.feeder.n_buses - 1
        base = np.where(np.isfinite(f.rating_kva), f.rating_kva, max([UNRATED_BASE_KVA, *self._rating]))[1:]
        impedance = np.hypot(self._r, self._x)[1:] > 0
        lossy = np.flatnonzero(impedance | (self._ends.by_current & np.isfinite(f.rating_kva))[1:])
        r, x, below = self._r[1:] * base, self._x[1:] * base, np.flatnonzero(f.parent[1:] > 0)
        above, ratio, count = f.parent[1:][below] - 1, f.tap[1:] ** -2.0, len(lossy)
        source = np.where(f.parent[1:] == 0, f.v_source_pu**2 * ratio, 0.0)
        diagonal, eye = sp.diags_array, sp.eye_array(n, format="csr")
        at, sum_up = eye[:, lossy], eye - sp.csr_array((base[below] / base[above], (above, below)), shape=(n, n))
        upstream = sp.csr_array((ratio[below], (below, above)), shape=(n, n))
        give, take = zip(*(self._admittance(shunt[1:] / base) for shunt in (self._p_shunt, self._q_shunt)), strict=True)
        loss_p, loss_q, drop = -diagonal(r) @ at, -diagonal(x) @ at, eye - upstream
        dp, dq, square = 2.0 * diagonal(r), 2.0 * diagonal(x), -diagonal(r**2 + x**2) @ at
        no, nothing = None, sp.csr_array((n, n))
        equality = stacked(
            [  # PU, PL, QU, QL, wL, wU, l, s, t
                [sum_up, no, no, no, give[0], take[0], loss_p, nothing, nothing],
                [no, sum_up, no, no, take[0], give[0], no, no, no],
                [no, no, sum_up, no, give[1], take[1], loss_q, no, no],
                [no, no, no, sum_up, take[1], give[1], no, no, no],
                [dp, no, dq, no, drop, no, square, no, no],
                [no, dp, no, dq, no, drop, no, no, no],
            ]
        )
        sizes = np.cumsum([0, n, n, n, n, n, n, count, n, n])
        every = sp.eye_array(int(sizes[-1]), format="csr")
        p, p_least, q, q_least, w, w_high, current, s, t = (every[i:j] for i, j in pairwise(sizes))
        bus = sp.csr_array((1.0 / base, (np.arange(n), np.arange(1, n + 1))), shape=(n, n + 1))
        v, w_above, above_base = upstream[lossy] @ w, diagonal(1.0 / ratio) @ upstream @ w_high, source / ratio
        lengths = np.outer(source[lossy], [1.0, 0.0, 0.0, -1.0]).ravel()
        own, half = self._rated[~self._by_current] - 1, diagonal(self._half[1:] / base)
        squared, none = at @ current, sp.csr_array((len(own), every.shape[1]))
        ends = ((w_above, above_base), (w_high, np.zeros(n)))
        charged = [(t + half @ high, half @ constant) for high, constant in ends]
        metered = self.metered.matrix(n + 1)[:, 1:] @ diagonal(base)
        return BoxForm(
            equality=equality,
            active=_corners(bus, (0, 1), 6),
            reactive=_corners(bus, (2, 3), 6),
            rhs=np.concatenate([np.zeros(4 * n), source, source]),
            voltage=slice(4 * n, 5 * n),
            high=slice(5 * n, 6 * n),
            current=slice(6 * n, 6 * n + count),
            currents=interleaved([current + v, 2.0 * s[lossy], 2.0 * t[lossy], current - v]),
            currents_base=lengths,
            powers=sp.csr_array(sp.vstack([interleaved([none, s[own], kvar[own]]) for kvar, _ in charged])),
            powers_base=np.concatenate([np.column_stack([0 * c[own], 0 * c[own], c[own]]).ravel() for _, c in charged]),
            of_powers=np.tile(np.flatnonzero(~self._by_current), 2),
            **self._amperes(base, (q_least, q - diagonal(x) @ squared), (w_above, w_high), squared, above_base),
            metered=metered @ p,
            least=metered @ p_least,
            covers=sp.csr_array(sp.vstack([current, s - p, s + p_least, t - q, t + q_least])),
            loss_kw=(r * base) @ squared,
            branches=lossy + 1,
            lossy=impedance[lossy],
            rated=len(self._rated),
        )

    @staticmethod
    def _admittance(shunt: FloatArray) -> tuple[sp.csr_array, sp.csr_array]:
        """What admittances add to the balance of the most a branch carries: by the lowest and the highest voltage."""
        return sp.diags_array(np.maximum(shunt, 0.0)).tocsr(), sp.diags_array(np.minimum(shunt, 0.0)).tocsr()

    def relaxation(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> Relaxation:
        """The bounds in cvxpy, which hold for every point of the box.

        Args:
            p_kw, q_kvar: affine expressions of shape (2 n_buses,), the lowest and then the highest corner; or
                (n_buses,), a point.
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        form = self.form
        if p_kw.size == self.feeder.n_buses:
            p_kw, q_kvar = cp.hstack([p_kw, p_kw]), cp.hstack([q_kvar, q_kvar])
        u = cp.Variable(form.size)
        cones = cp.reshape(form.currents @ u + form.currents_base, (4, len(form.branches)), order="F")
        place = form.rated_from
        constraints = [
            form.equality @ u + form.active @ p_kw + form.reactive @ q_kvar == form.rhs,
            *form.limited(u, lower, upper),
            cp.SOC(cones[0], cones[1:], axis=0),
        ]
        if len(form.of_powers):
            flows = cp.reshape(form.powers @ u + form.powers_base, (3, len(form.of_powers)), order="F")
            constraints.append(cp.SOC(flows[0] + upper[place + form.of_powers], flows[1:], axis=0))
        return Relaxation(u, constraints, form.loss_kw @ u)


def _corners(bus: sp.csr_array, rows: tuple[int, int], count: int) -> sp.csr_array:
    """Blocks of rows in which the lowest and the highest corner stand."""
    blocks: list[list[sp.csr_array | None]] = [[sp.csr_array(bus.shape), sp.csr_array(bus.shape)] for _ in range(count)]
    for corner, row in enumerate(rows):
        blocks[row][corner] = bus
    return stacked(blocks)
