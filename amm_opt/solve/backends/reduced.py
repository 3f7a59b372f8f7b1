"""One interval's problem with only the variables that can move: what solvers get, and the point they answer with."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.answer import FAILED, INFEASIBLE, UNBOUNDED
from amm_opt.solve.compile import Numbers, Rows, stacked

FIXED = 1e-12
"""A variable whose bounds are closer than this is taken out of the problem."""
FEW_ROWS = 20_000
"""The dual Newton method is meant for at most this many rows."""
ROUNDING = 1e-12
"""Rows whose entries are all smaller, relative to the largest of all, are rounding."""
BEYOND = 1e-6
"""An answer that is further outside a variable's bounds, relative to the bound's size, is no answer."""


@dataclass(frozen=True, eq=False)
class Point:
    """What a solver answers: variables, multipliers of own rows and of network rows, or why there is no solution.

    Multipliers follow stationarity P v + q = rows' y + network' z + (bound multipliers): at a minimum those of rows at
    their lower limit are >= 0, at their upper limit <= 0.

    ``x`` is the solver's answer as it gave it, before values outside their bounds were put on them, and ``steps`` the
    number of its iterations where it says so.

    ``problem`` says in words why there is no solution, and is empty where there is one; ``status`` is then ``failed``,
    or ``infeasible`` or ``unbounded`` where the solver has proved that. ``solver`` is who was called.
    """

    v: FloatArray
    row_dual: FloatArray
    network_dual: FloatArray
    solver: str = ""
    problem: str = ""
    status: str = ""
    x: FloatArray | None = None
    steps: int | None = None


def failed(reason: str, status: str = FAILED) -> Point:
    """No solution, for this reason; another solver may find one."""
    nothing = np.zeros(0)
    return Point(nothing, nothing, nothing, problem=reason or status, status=status)


def infeasible(reason: str = INFEASIBLE) -> Point:
    """No solution, because no values of the variables keep all rows and bounds."""
    return failed(reason, INFEASIBLE)


def unbounded(reason: str = UNBOUNDED) -> Point:
    """No solution, because the objective falls without end."""
    return failed(reason, UNBOUNDED)


class Backend(Protocol):
    """A solver of small problems: one of the toolkit's, or a user's own as an object or class (``solver=``).

    ``lp`` and ``qp`` say whether it solves linear and quadratic problems. docs/writing-a-solver.md has an example.
    """

    name: str
    lp: bool
    qp: bool

    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """The solution of one problem.

        Args:
            problem: a user's own solver gets a copy whose arrays cannot be written to.
            start: multipliers of the rows of the last problem of the program, own rows and then all network rows.

        Returns:
            ``problem.point(x, duals)``, or ``failed(reason)``, ``infeasible(reason)`` or ``unbounded(reason)``.
            Anything else, and any exception, counts as failed.
        """


@dataclass(frozen=True, eq=False)
class OneSided:
    """Rows and bounds as A x = b in the first ``n_equal`` rows, then A x <= b.

    The order is: equalities, upper limits, lower limits, upper bounds, lower bounds.

    Attributes:
        equal, above, below: (m,) which rows are equalities, and which of the others have an upper and a lower limit.
    """

    matrix: sp.csc_matrix
    rhs: FloatArray
    equal: BoolArray
    above: BoolArray
    below: BoolArray

    @classmethod
    def of(
        cls, rows: Rows, row_lower: FloatArray, row_upper: FloatArray, lower: FloatArray, upper: FloatArray
    ) -> OneSided:
        """From m rows and n bounds."""
        equal = row_lower == row_upper
        above, below = np.isfinite(row_upper) & ~equal, np.isfinite(row_lower) & ~equal
        parts: list[tuple[IntArray, IntArray, FloatArray]] = []
        ends, first = [row_upper[equal], row_upper[above], -row_lower[below]], 0
        for mask, sign in ((equal, 1.0), (above, 1.0), (below, -1.0)):
            number = np.cumsum(mask) - 1
            inside = np.flatnonzero(mask[rows.row]) if not mask.all() else slice(None)
            parts.append((number[rows.row[inside]] + first, rows.col[inside], sign * rows.data[inside]))
            first += int(mask.sum())
        for limit, sign in ((upper, 1.0), (lower, -1.0)):
            at = np.flatnonzero(np.isfinite(limit))
            parts.append((np.arange(len(at)) + first, at, np.full(len(at), sign)))
            ends.append(sign * limit[at])
            first += len(at)
        row, col, data = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = sp.csc_matrix(sp.coo_matrix((data, (row, col)), shape=(first, rows.width)))
        return cls(matrix, np.concatenate(ends), equal, above, below)

    @property
    def n_equal(self) -> int:
        """Number of equalities."""
        return int(self.equal.sum())

    def row_dual(self, multipliers: FloatArray) -> FloatArray:
        """(m,) multipliers of the rows, with the sign of ``Point``.

        Args:
            multipliers: of A x - b, those of inequalities >= 0.
        """
        cuts = np.cumsum([self.n_equal, int(self.above.sum()), int(self.below.sum())])
        on_equal, on_above, on_below, _ = np.split(multipliers, cuts)
        dual = np.zeros(len(self.equal))
        dual[self.equal] = -on_equal
        dual[self.above] -= on_above
        dual[self.below] += on_below
        return dual


@dataclass(frozen=True, eq=False)
class Alike:
    """Variables that are alike stand for one another: each is ``offset + share *`` the variable of its ``group``."""

    group: IntArray
    share: FloatArray
    offset: FloatArray


@dataclass(frozen=True, eq=False)
class Reduced:
    """The problem that a solver gets, over the n variables that are free to move:

        min 1/2 x'Hx + q'x   subject to   row_lower <= rows x <= row_upper,   lower <= x <= upper

    Attributes:
        q: (n,) cost.
        hessian: (n,) the diagonal of H where H is diagonal, (n, n) sparse H else, None where the problem is linear.
        rows: (m, n) sparse; the program's own rows first, then network rows.
        row_lower, row_upper: (m,) their limits, infinite where there is none, the same for equalities.
        lower, upper: (n,) bounds, infinite where there is none.
        time_limit_s: how long a solver may take.
        numbers, free, base, own, network, live, n_network, alike, row_unit: of what it was made, for :meth:`point`.
        contradiction: why it has no solution where that shows without a solver, else empty.
    """

    numbers: Numbers
    free: IntArray
    base: FloatArray
    q: FloatArray
    hessian: FloatArray | sp.csc_array | None
    own: Rows
    network: Rows
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    live: IntArray
    n_network: int
    contradiction: str = ""
    time_limit_s: float = np.inf
    alike: Alike | None = None
    row_unit: FloatArray | None = None

    @property
    def separable(self) -> bool:
        """Whether the dual Newton method applies: strictly convex in every variable, few rows."""
        strict = isinstance(self.hessian, np.ndarray) and bool(np.all(self.hessian > 0))
        return strict and len(self.row_lower) <= FEW_ROWS

    @property
    def rows(self) -> sp.csr_array:
        """All rows, sparse."""
        return self.all_rows.sparse()

    @cached_property
    def all_rows(self) -> Rows:
        """All rows, light."""
        return stacked(self.own, self.network)

    @property
    def n_own(self) -> int:
        """Number of the program's own rows."""
        return len(self.own)

    @property
    def one_sided(self) -> OneSided:
        """All rows and bounds."""
        return OneSided.of(self.all_rows, self.row_lower, self.row_upper, self.lower, self.upper)

    def in_unit(self, unit: float, room: float = 0.0) -> Reduced:
        """The same problem with x = unit x', its objective over the unit, and 1 as the largest entry of every row.

        Solvers' tolerances are the same for all variables and rows; so they are shares of the unit.

        Args:
            room: by this share of bounds' width, and of the unit, bounds and limits are wider than they are.
        """
        rows, count = self.all_rows, len(self.q)
        largest = np.zeros(len(rows))
        np.maximum.at(largest, rows.row, np.abs(rows.data))
        of_row = np.where(largest > ROUNDING * np.max(largest, initial=0.0), largest, 1.0)
        own, network = (
            Rows(r.start, r.col, r.data / of_row[first + r.row], r.width)
            for r, first in ((self.own, 0), (self.network, self.n_own))
        )
        width = self.upper - self.lower
        of_bound = room * np.where(np.isfinite(width), width / unit, 1.0)
        of_limit = np.where(self.row_lower < self.row_upper, room, 0.0)
        alike = self.alike or Alike(np.arange(count), np.ones(count), np.zeros(count))
        return replace(
            self,
            hessian=None if self.hessian is None else self.hessian * unit,
            own=own,
            network=network,
            row_lower=self.row_lower / (of_row * unit) - of_limit,
            row_upper=self.row_upper / (of_row * unit) + of_limit,
            lower=self.lower / unit - of_bound,
            upper=self.upper / unit + of_bound,
            alike=replace(alike, share=alike.share * unit),
            row_unit=of_row,
        )

    def point(self, x: ArrayLike, dual: ArrayLike, steps: int | None = None) -> Point:
        """A solution in terms of all variables and rows.

        Args:
            x: (n,) values; where they are outside their bounds by rounding, they are put on them.
            dual: (m,) multipliers of the rows; see ``Point`` for their sign.
            steps: iterations, where they are known.

        Raises:
            ValueError: where their shapes are others.
        """
        x, dual = np.asarray(x, dtype=float), np.asarray(dual, dtype=float)
        if x.shape != self.q.shape:
            raise ValueError(f"the answer has values of shape {x.shape}, not {self.q.shape}")
        if dual.shape != self.row_lower.shape:
            raise ValueError(f"the answer has multipliers of shape {dual.shape}, not {self.row_lower.shape}")
        inside = np.minimum(np.maximum(x, self.lower), self.upper)
        if np.any(np.abs(inside - x) > BEYOND * (1.0 + np.abs(inside))):
            return failed(f"the answer is {np.max(np.abs(inside - x)):.2g} outside a variable's bounds")
        v = self.base.copy()
        v[self.free] = inside if self.alike is None else self.alike.offset + self.alike.share * inside[self.alike.group]
        dual = dual if self.row_unit is None else dual / self.row_unit
        network_dual = np.zeros(self.n_network)
        network_dual[self.live] = dual[self.n_own :]
        return Point(v, dual[: self.n_own], network_dual, x=x, steps=steps)

    def sealed(self) -> Reduced:
        """A copy that shares nothing with this one, and whose arrays cannot be written to."""
        copy: Reduced = _sealed(self)
        return copy


def _sealed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    elif sp.issparse(value):
        value = value.copy()
        for array in (value.data, value.indices, value.indptr):
            array.flags.writeable = False
    elif is_dataclass(value):
        return replace(value, **{f.name: _sealed(getattr(value, f.name)) for f in fields(value)})  # type: ignore[type-var]
    return value


def _crossing(lower: FloatArray, upper: FloatArray) -> str:
    """A variable whose bounds contradict each other."""
    crossed = np.where(lower > upper, (lower - upper) / (1.0 + np.minimum(np.abs(lower), np.abs(upper))), 0.0)
    i = int(np.argmax(crossed))
    return f"a variable must be at least {lower[i]:g} and at most {upper[i]:g}" if crossed[i] > BEYOND else ""


def _stuck(use: FloatArray, low: FloatArray, high: FloatArray) -> str:
    """A row without moving variables that is outside its limits."""
    size = np.minimum(np.abs(low), np.abs(high))
    off = np.maximum(low - use, use - high) / (1.0 + np.where(np.isfinite(size), size, 0.0))
    i = int(np.argmax(off))
    return f"what is fixed adds up to {use[i]:g} of what must be {low[i]:g} to {high[i]:g}" if off[i] > BEYOND else ""


@dataclass(frozen=True, eq=False)
class Movable:
    """What of a program's numbers does not depend on the network rows in use: its free variables, own rows and cost."""

    numbers: Numbers
    free: IntArray
    base: FloatArray
    q: FloatArray
    hessian: FloatArray | sp.csc_array | None
    own: Rows
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    contradiction: str

    @classmethod
    def of(cls, numbers: Numbers) -> Movable:
        """Take out fixed variables."""
        width = numbers.upper - numbers.lower
        moving = width > FIXED
        free = np.flatnonzero(moving)
        base = np.where(moving, 0.0, numbers.lower)
        own = numbers.rows.columns(free)
        use = numbers.rows @ base if len(own) and base.any() else np.zeros(len(own))
        contradiction = _crossing(numbers.lower, numbers.upper) if len(width) and width.min() < 0 else ""
        if not contradiction and len(empty := np.flatnonzero(np.diff(own.start) == 0)):
            contradiction = _stuck(use[empty], numbers.row_lower[empty], numbers.row_upper[empty])
        hessian: FloatArray | sp.csc_array | None
        q = numbers.q
        if numbers.matrix is not None:
            q = q + numbers.matrix @ base
            hessian = sp.csc_array(numbers.matrix[free][:, free])
        else:
            assert numbers.hessian is not None
            hessian = numbers.hessian[free]
            hessian = hessian if hessian.any() else None
        rows = (numbers.row_lower - use, numbers.row_upper - use)
        bounds = (numbers.lower[free], numbers.upper[free])
        return cls(numbers, free, base, q[free], hessian, own, *rows, *bounds, contradiction)


def reduced(
    numbers: Numbers | Movable, network: Rows, lower: FloatArray, upper: FloatArray, time_limit_s: float = np.inf
) -> Reduced:
    """Take out fixed variables and empty rows; ``network`` holds the network rows (K, N), limits are (K,)."""
    of = numbers if isinstance(numbers, Movable) else Movable.of(numbers)
    inside, live = network.columns(of.free).filled()
    use = network @ of.base if len(network) and of.base.any() else np.zeros(len(network))
    contradiction = of.contradiction
    if not contradiction and len(live) < len(network):
        dead = np.setdiff1d(np.arange(len(network)), live)
        contradiction = _stuck(use[dead], lower[dead], upper[dead])
    return Reduced(
        of.numbers,
        of.free,
        of.base,
        of.q,
        of.hessian,
        of.own,
        inside,
        np.concatenate([of.row_lower, (lower - use)[live]]),
        np.concatenate([of.row_upper, (upper - use)[live]]),
        of.lower,
        of.upper,
        live,
        len(network),
        contradiction,
        time_limit_s,
    )
