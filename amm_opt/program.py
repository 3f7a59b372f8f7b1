"""The contract between a mechanism and the solve engine: what a program is, and what it is built from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.cases.case import Case
from amm_opt.tolerances import AUDIT_TOLERANCE


@dataclass(frozen=True, eq=False)
class Injection:
    """Net injections that must be feasible on the network, as flexible power on top of inflexible load.

    Each is an affine cvxpy expression of shape (n,) in kW. An allocation has import and export at once; an
    envelope has everyone at its limit.
    """

    import_kw: cp.Expression
    export_kw: cp.Expression


class IntervalParameters:
    """The cvxpy parameters of one interval, (n,) each in kW: a program is declared in them and built once.

    Attributes:
        inflexible_kw: inflexible net load d.
        import_request_kw: flexible import requests r.
        export_request_kw: export requests g.
        inflexible_kvar: reactive power that is drawn beside what goes with active power; a constant unless a case has
            series of it.
    """

    def __init__(self, case: Case) -> None:
        n = case.n_participants
        self.inflexible_kw = cp.Parameter(n, name="inflexible_kw")
        self.import_request_kw = cp.Parameter(n, nonneg=True, name="import_request_kw")
        self.export_request_kw = cp.Parameter(n, nonneg=True, name="export_request_kw")
        varies = case.profiles.has_kvar
        self.inflexible_kvar = cp.Parameter(n, name="inflexible_kvar") if varies else cp.Constant(case.inflexible_kvar)

    def __iter__(self) -> Iterator[cp.Parameter]:
        yield from (self.inflexible_kw, self.import_request_kw, self.export_request_kw)
        if isinstance(self.inflexible_kvar, cp.Parameter):
            yield self.inflexible_kvar


@dataclass(frozen=True, eq=False)
class Points:
    """An injection as one point: all use what it says, by their shares ``incidence`` (nodes, n)."""

    case: Case
    incidence: sp.csr_array

    def gains(self, imports: sp.csr_array, exports: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
        """(nodes, variables) of net injections by the gains of flexible powers, (n, variables), kW and kvar."""
        _, k_import, k_export = map(sp.diags_array, self.case.kvar_per_kw)
        return self.incidence @ (exports - imports), self.incidence @ (k_export @ exports - k_import @ imports)

    def power(self, injection: Injection, given: IntervalParameters) -> tuple[cp.Expression, cp.Expression]:
        """Expressions (nodes,) of net active (kW) and reactive (kvar) injection."""
        load, imports, exports = self.case.kvar_per_kw
        x, y, d = injection.import_kw, injection.export_kw, given.inflexible_kw
        reactive = cp.multiply(exports, y) - cp.multiply(imports, x) - cp.multiply(load, d)
        reactive -= given.inflexible_kvar
        return self.incidence @ (y - x - d), self.incidence @ reactive


@dataclass(frozen=True, eq=False)
class Corners:
    """An injection as a box: flexible import anywhere between nothing and ``import_kw``, flexible export likewise.

    Net injections of nodes then lie between those of its lowest and of its highest corner. Import lowers active power
    and export raises it; which of them lowers reactive power is a matter of power factors' signs.

    Args:
        incidence: (nodes, n) everybody's share of every node.
    """

    case: Case
    incidence: sp.csr_array

    @cached_property
    def _shares(self) -> tuple[tuple[sp.csr_array, sp.csr_array], ...]:
        """What a kW of import and one of export add: active power of both corners, then reactive power."""
        at, (_, k_import, k_export) = self.incidence, self.case.kvar_per_kw
        nothing = sp.csr_array(at.shape)

        def both(low: sp.csr_array, high: sp.csr_array) -> sp.csr_array:
            return sp.csr_array(sp.vstack([low, high]))

        def kvar(factor: FloatArray) -> sp.csr_array:
            return both(at @ sp.diags_array(np.minimum(factor, 0.0)), at @ sp.diags_array(np.maximum(factor, 0.0)))

        return (both(-at, nothing), both(nothing, at)), (kvar(-k_import), kvar(k_export))

    def gains(self, imports: sp.csr_array, exports: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
        """(2 nodes, variables) by the gains of flexible powers, (n, variables), kW and kvar."""
        p, q = (of_import @ imports + of_export @ exports for of_import, of_export in self._shares)
        return p, q

    def power(self, injection: Injection, given: IntervalParameters) -> tuple[cp.Expression, cp.Expression]:
        """Expressions of (2 nodes,): net active (kW) and reactive (kvar) injection of the lowest, then the highest."""
        load = -cp.multiply(self.case.kvar_per_kw[0], given.inflexible_kw) - given.inflexible_kvar
        base = (self.incidence @ -given.inflexible_kw, self.incidence @ load)
        p, q = (
            of_import @ injection.import_kw + of_export @ injection.export_kw + cp.hstack([alone, alone])
            for (of_import, of_export), alone in zip(self._shares, base, strict=True)
        )
        return p, q

    def injections(
        self,
        inflexible_kw: FloatArray,
        import_kw: FloatArray | float,
        export_kw: FloatArray | float,
        inflexible_kvar: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """(..., 2 nodes) numbers of the same, for (..., n) powers."""
        base = self.case.bus_injections(inflexible_kw, 0.0, 0.0, self.incidence, inflexible_kvar)
        x, y = (np.broadcast_to(power, np.shape(inflexible_kw)) for power in (import_kw, export_kw))
        p, q = (
            np.concatenate([alone, alone], axis=-1) + (of_import @ x.T + of_export @ y.T).T
            for (of_import, of_export), alone in zip(self._shares, base, strict=True)
        )
        return p, q


@dataclass(frozen=True, eq=False)
class Leximin:
    """An objective: maximise the smallest element of ``level`` (a cvxpy Variable), then the next smallest, ..."""

    level: cp.Variable


@dataclass(frozen=True, eq=False)
class Program:
    """A convex program without its network: the engine makes ``injections`` feasible on whatever network is chosen.

    Attributes:
        objective: cvxpy Minimize or Maximize, parametrised (DPP), or Leximin.
        constraints: the mechanism's own constraints.
        injections: every net injection that must be feasible.
        values: named expressions whose numbers the mechanism reads from the solution.
        duals: named constraints whose multipliers it reads.
    """

    objective: cp.Minimize | cp.Maximize | Leximin
    constraints: Sequence[cp.Constraint]
    injections: Sequence[Injection]
    values: Mapping[str, cp.Expression]
    duals: Mapping[str, cp.Constraint] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HorizonProgram:
    """The program of one interval, repeated over a horizon of any length, and what couples the intervals.

    Attributes:
        interval: its objective is summed over the intervals. Its own parameters get one value per interval.
        objective: added to it, in variables of the coupling; or Leximin of one of them.
        totals: by the name of a value of ``interval``, the variable that stands for its sum over the horizon times the
            length of an interval (kW become kWh). Variables need names of their own.
        constraints: on totals and other variables of the coupling.
        values: further named expressions of the coupling whose numbers the mechanism reads.
        even: values of ``interval``, each a vector variable that is at least 0. Of several answers that are equally
            good it is the one in which these have the least sum of v^2 / upper bound: everybody the same share of what
            it can have, as far as that costs nothing. The objective must then have squares of single variables only.
        stores: by a name of its own, the value of ``interval`` that fills a store: its level after interval k is that
            before plus the value times the length of the interval, within bounds given with the parameters' numbers.
    """

    interval: Program
    objective: cp.Minimize | cp.Maximize | Leximin
    totals: Mapping[str, cp.Variable] = field(default_factory=dict)
    constraints: Sequence[cp.Constraint] = ()
    values: Mapping[str, cp.Expression] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    duals: Mapping[str, cp.Constraint] = field(default_factory=dict)
    even: Sequence[str] = ()

    @property
    def coupling(self) -> Program:
        """What couples the intervals, as a program without injections."""
        totals = {total.name(): total for total in self.totals.values()}
        return Program(self.objective, self.constraints, (), {**totals, **self.values}, self.duals)


@dataclass(frozen=True)
class Audit:
    """Optimality conditions of one solve; each number is relative and 0 for an exact optimum.

    Attributes:
        primal: worst violation of a bound or row, over the size of its limit.
        dual: worst violation of stationarity or of a multiplier's sign, over the size of the cost; without what the
            rounding of a sum of large multipliers that cancel can amount to.
        gap: duality gap, the sum of all complementarity products, over the size of the objective.
    """

    primal: float
    dual: float
    gap: float

    @property
    def passed(self) -> bool:
        """Whether every number is within the tolerance."""
        return all(number <= AUDIT_TOLERANCE for number in (self.primal, self.dual, self.gap))

    def worst(self, other: Audit | None) -> Audit:
        """Number by number the worse of two audits."""
        if other is None:
            return self
        return Audit(max(self.primal, other.primal), max(self.dual, other.dual), max(self.gap, other.gap))

    def __str__(self) -> str:
        return f"primal residual {self.primal:.1e}, dual residual {self.dual:.1e}, gap {self.gap:.1e}"


@dataclass(frozen=True, eq=False)
class Solution:
    """Numbers of a solved program: named values and duals, objective, which solver found it, and its audit.

    ``fallback`` says what failed where it was not found at the first try.
    ``gap``: on a conic network model, (n_buses,) how far each branch's relaxation is from being exact.
    ``limit_duals``: of one interval on a linear network model, how fast the minimised objective rises with each limited
    quantity that binds: negative at an upper limit, positive at a lower one; others are left out.
    ``limit_duals_by_step``: over a horizon, the same for each of its intervals. The multipliers of constraints of an
    interval are then (H, ...).
    """

    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]
    objective: float
    solver: str
    audit: Audit | None = None
    fallback: str = ""
    gap: FloatArray | None = None
    limit_duals: Mapping[int, float] = field(default_factory=dict)
    limit_duals_by_step: Sequence[Mapping[int, float]] = ()

    def __getitem__(self, name: str) -> FloatArray:
        return self.values[name]

    def at_step(self, k: int) -> Solution:
        """Of a solution over a horizon, the multipliers of the limits of interval k alone; all else as it is."""
        return replace(self, limit_duals=self.limit_duals_by_step[k], limit_duals_by_step=())

    def as_fallback(self, reason: str) -> Solution:
        """The same solution, marked as not found at the first try, for this reason."""
        return replace(self, fallback=reason)
