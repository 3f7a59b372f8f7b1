r"""How an optimum moves when the numbers of its program do: an implicit solve of the optimality conditions.

At an optimum v with multipliers z of rows A and w of bounds,

    P v + q - A'z - w = 0,      A_a v = b_a  (rows that bind),      v_B = bounds  (variables at a bound).

Let all numbers depend on one parameter. While the same limits bind, the derivative of these equations gives

    [ P_FF  -A_aF' ] [ dv_F ]     [ d(P v + q - A'z)_F  + P_FB dv_B  ]
    [ A_aF     0   ] [ dz_a ] = - [ d(A_a v - b_a)      + A_aB dv_B  ],     dv_B = d bounds,

the differentials on the right at fixed v and z (A. V. Fiacco, "Introduction to Sensitivity and Stability Analysis in
Nonlinear Programming", 1983, theorem 3.2.2). They are central differences of the program's own numbers, which are
smooth where the program is: an error of the second order in a step that may be small, because nothing is solved.

How far the same limits go on binding is a ratio test: slacks of what does not bind, and multipliers of what does, over
their rates. Where that is nothing, the derivatives to both sides may differ: a kink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from scipy.linalg import qr

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.compile import stacked
from amm_opt.solve.route import Task
from amm_opt.solve.routes.interval import IntervalRoute, Optimum, Posed

FIXED = 1e-12
"""A variable whose bounds are closer than this does not move by itself."""
DEPENDENT = 1e-9
"""Equations whose pivots span more than this are taken to depend on each other."""
BENT, BENT_OF_ALL = 1e-2, 1e-6
"""Numbers whose one-sided differences differ by more than this share, and than this share of the largest of their kind,
have a kink within the step."""
STILL, SETTLED = 1e-9, 1e-6
"""A rate below this share of the largest of its kind is none; of quantities found by sweeps."""

OFF = 1e-6
"""A row that depends on others and is off by more than this share has another derivative to each side."""

DEPEND = "limits that bind depend on each other"
SINGULAR = "more than one outcome is optimal"
BEND = "numbers of the program have a kink"


@dataclass(frozen=True, eq=False)
class Response:
    """Derivatives of one optimum.

    Attributes:
        v: (N,) of the variables.
        row_dual: of the multipliers of the program's own rows.
        until_kink: by how much the parameter may move, to either side, before other limits bind; to first order.
        problem: why there is a kink at the optimum itself, or an empty text; the derivative is then that of one side,
            or, where it is ``SINGULAR``, none.
    """

    v: FloatArray
    row_dual: FloatArray
    until_kink: float
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Placed:
    """A program at one value of the parameter: its route, the interval, and its numbers with the optimum's rows."""

    route: IntervalRoute
    task: Task
    posed: Posed

    def used(self, j: int, v: FloatArray) -> FloatArray:
        """(m,) every limited quantity under injection j with these variables."""
        imports, exports = (power.at(self.posed.theta, v) for power in self.route.compiled.powers[j])
        return self.route.grid.quantities(self.task.requests, imports, exports)


@dataclass(frozen=True, eq=False)
class _Conditions:
    """Left sides of the optimality conditions at fixed variables and multipliers, and bounds and limits."""

    gradient: FloatArray
    use: FloatArray
    lower: FloatArray
    upper: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray

    @classmethod
    def of(cls, posed: Posed, v: FloatArray, dual: FloatArray) -> _Conditions:
        numbers, rows = posed.numbers, stacked(posed.numbers.rows, posed.network)
        return cls(
            numbers.gradient(v) - dual @ rows,
            rows @ v,
            numbers.lower,
            numbers.upper,
            np.concatenate([numbers.row_lower, posed.lower]),
            np.concatenate([numbers.row_upper, posed.upper]),
        )

    def fields(self) -> tuple[FloatArray, ...]:
        return (self.gradient, self.use, self.lower, self.upper, self.row_lower, self.row_upper)


def response(
    optimum: Optimum,
    ahead: Posed,
    behind: Posed,
    step: float,
) -> Response:
    """The derivatives of an optimum in one parameter.

    Args:
        ahead, behind: the same program with the parameter ``step`` higher and lower, and the optimum's network rows.
    """
    point, here = optimum.point, optimum.posed
    v, dual = point.v, np.concatenate([point.row_dual, point.network_dual])
    now, above, below = (_Conditions.of(posed, v, dual) for posed in (here, ahead, behind))
    at_lower, at_upper = _bound(v, now.lower, now.upper, now.gradient, _cost(here))
    row_low, row_high = _bound(now.use, now.row_lower, now.row_upper, dual, 1.0)
    held, active = at_lower | at_upper, row_low | row_high
    free = ~held
    hessian, matrix = _hessian(here), stacked(here.numbers.rows, here.network).sparse()
    equations = _Equations.of(hessian[free][:, free], matrix[active][:, free])

    def moved(change: _Conditions) -> tuple[FloatArray, FloatArray, str]:
        dv, dz = np.where(at_lower, change.lower, np.where(at_upper, change.upper, 0.0)), np.zeros(len(dual))
        limit = np.where(row_low, change.row_lower, change.row_upper)
        bottom = (change.use - limit + matrix @ dv)[active]
        dv[free], dz[active] = equations.solve((change.gradient + hessian @ dv)[free], bottom)
        return dv, dz, equations.problem(dv[free], bottom)

    change = _difference(above, below, 2.0 * step)
    dv, dz, problem = moved(change)
    up, down = (moved(c)[0] for c in (_difference(above, now, step), _difference(now, below, step)))
    if not problem and differ(up, down, float(np.max(np.abs(v), initial=1.0)) / step):
        problem = BEND
    rate_of_gradient = change.gradient + hessian @ dv - matrix.T @ dz
    rate_of_use = change.use + matrix @ dv
    fixed, equal = now.upper - now.lower <= FIXED, now.row_lower == now.row_upper
    distances = [
        reach(np.where(held & ~fixed, now.gradient, np.inf), rate_of_gradient),
        reach(np.where(active & ~equal, dual, np.inf), dz),
        reach(np.where(free, v - now.lower, np.inf), dv - change.lower),
        reach(np.where(free, now.upper - v, np.inf), change.upper - dv),
        reach(np.where(~active, now.use - now.row_lower, np.inf), rate_of_use - change.row_lower),
        reach(np.where(~active, now.row_upper - now.use, np.inf), change.row_upper - rate_of_use),
    ]
    return Response(dv, dz[: len(point.row_dual)], min(distances), problem)


def network_reach(
    here: Placed, ahead: Placed, behind: Placed, optimum: Optimum, moved: FloatArray, step: float
) -> float:
    """As ``until_kink``, for network rows that are not in use: one sweep for each injection.

    Args:
        moved: (N,) derivatives of the variables.
    """
    v, tolerance = optimum.point.v, here.route.grid.network.quantities.tolerance
    nearest = np.inf
    for j in range(len(here.route.compiled.powers)):
        idle = np.ones(len(tolerance), dtype=bool)
        idle[[k for injection, k in optimum.active if injection == j]] = False
        u, above, below = (
            place.used(j, v + way * moved) for place, way in ((here, 0.0), (ahead, step), (behind, -step))
        )
        rate = (above - below) / (2.0 * step)
        rate_low = (ahead.task.lower - behind.task.lower) / (2.0 * step)
        rate_high = (ahead.task.upper - behind.task.upper) / (2.0 * step)
        for slack, closing in ((here.task.upper - u, rate_high - rate), (u - here.task.lower, rate - rate_low)):
            room = np.where(idle, slack / tolerance, np.inf)
            nearest = min(nearest, reach(room, closing / tolerance, SETTLED))
    return nearest


def _difference(one: _Conditions, other: _Conditions, step: float) -> _Conditions:
    """Their difference over a step; nothing where there is no limit."""
    with np.errstate(invalid="ignore"):
        parts = [(a - b) / step for a, b in zip(one.fields(), other.fields(), strict=True)]
    return _Conditions(*(np.where(np.isfinite(part), part, 0.0) for part in parts))


def differ(up: FloatArray, down: FloatArray, size: float) -> bool:
    """Whether differences to both sides are not the same.

    Args:
        size: of the numbers, over the step: what rounding counts against.
    """
    largest = np.maximum(np.abs(up), np.abs(down))
    noise = BENT_OF_ALL * float(np.max(largest, initial=0.0)) + 1e-12 * size
    return bool(np.any(np.abs(up - down) > BENT * largest + noise))


def _bound(
    value: FloatArray, lower: FloatArray, upper: FloatArray, dual: FloatArray, cost: float
) -> tuple[BoolArray, BoolArray]:
    """Where a value is held by its lower, and by its upper limit: the multiplier is larger than the slack."""
    width = np.where(np.isfinite(upper - lower), np.maximum(upper - lower, FIXED), 1.0 + np.abs(value))
    size = np.abs(dual) / cost
    fixed = upper - lower <= FIXED
    low = fixed | ((dual > 0) & (size > (value - lower) / width))
    high = ~fixed & (dual < 0) & (size > (upper - value) / width)
    return low, high


@dataclass(frozen=True, eq=False)
class _Equations:
    """What derivatives of n free variables and of multipliers of m rows that bind are found from.

    Variables are scaled to a curvature of one, rows to a norm of one. Rows that depend on others are left out; they
    hold by themselves, or else there is a kink.

    Attributes:
        kept: (r,) the rows that are left.
        column, scale, bend: scales of variables, rows and multipliers.
        factor: of the equations; None where they are singular.
    """

    rows: Any
    kept: IntArray
    column: FloatArray
    scale: FloatArray
    bend: float
    factor: Any

    @classmethod
    def of(cls, hessian: Any, rows: Any) -> _Equations:
        diagonal = hessian.diagonal()
        bend = float(np.max(diagonal, initial=0.0)) or 1.0
        column = np.sqrt(bend / np.where(diagonal > 0, diagonal, bend))
        even = sp.diags_array(column)
        wide, curved = sp.csr_array(rows @ even), even @ hessian @ even / bend
        scale = np.sqrt(np.asarray(wide.multiply(wide).sum(axis=1)).ravel())
        unit = sp.csr_array(sp.diags_array(1.0 / np.where(scale > 0, scale, 1.0)) @ wide)
        kept = np.arange(rows.shape[0])
        factor = _factor(curved, unit)
        if not len(column):
            kept = kept[:0]
        elif factor is None:
            _, triangle, order = qr(unit.toarray().T, mode="economic", pivoting=True)
            size = np.abs(triangle.diagonal())
            kept = np.sort(order[: int((size > DEPENDENT).sum())])
            factor = _factor(curved, unit[kept])
        return cls(rows, kept, column, scale, bend, factor)

    def solve(self, top: FloatArray, bottom: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Derivatives of variables and multipliers."""
        dv, dz = np.zeros(len(self.column)), np.zeros(len(self.scale))
        if self.factor is None or len(dv) + len(self.kept) == 0:
            return dv, dz
        right = np.concatenate([self.column * top / self.bend, (bottom / self.scale)[self.kept]])
        found = self.factor.solve(-right)
        dv[:], dz[self.kept] = self.column * found[: len(dv)], found[len(dv) :] * self.bend / self.scale[self.kept]
        return dv, dz

    def problem(self, dv: FloatArray, bottom: FloatArray) -> str:
        """Why there is a kink where these are the derivatives of variables; empty where there is none."""
        if self.factor is None and len(dv):
            return SINGULAR
        if len(self.kept) == len(self.scale):
            return ""
        off = np.abs(self.rows @ dv + bottom)
        size = np.abs(bottom) + self.scale * float(np.max(np.abs(dv / self.column), initial=0.0))
        return DEPEND if np.any(off > OFF * size + np.finfo(float).tiny) else ""


def _factor(hessian: Any, rows: Any) -> Any:
    """The factored equations; None where they are singular, or there are none."""
    n, m = hessian.shape[0], rows.shape[0]
    if n == 0 or m > n:
        return None
    try:
        factor = spla.splu(sp.csc_matrix(sp.block_array([[hessian, -rows.T], [rows, None]]) if m else hessian))
    except RuntimeError:
        return None
    pivot = np.abs(factor.U.diagonal())
    return factor if pivot.min() > DEPENDENT * pivot.max() else None


def reach(slack: FloatArray, rate: FloatArray, still: float = STILL) -> float:
    """The smallest step, to either side, after which one of these slacks is used up; they may be of either sign."""
    known = np.isfinite(slack)
    speed = np.abs(np.where(known, rate, 0.0))
    moving = speed > still * max(float(np.max(speed, initial=0.0)), 1e-300)
    return float(np.min(np.abs(slack[moving]) / speed[moving], initial=np.inf))


def _cost(posed: Posed) -> float:
    return 1.0 + float(np.max(np.abs(posed.numbers.q), initial=0.0))


def _hessian(posed: Posed) -> Any:
    numbers = posed.numbers
    if numbers.matrix is not None:
        return sp.csr_array(numbers.matrix)
    assert numbers.hessian is not None
    return sp.csr_array(sp.diags_array(numbers.hessian))
