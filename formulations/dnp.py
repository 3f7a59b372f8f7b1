r"""Dynamic network prices (DNP): a bounded price is posted per interval, participants answer, limits are not enforced.

Source: dynamic network pricing as a reference point for operating envelopes (Zhang et al., arXiv 2602.12573), which is
a bilevel program with batteries and cost recovery; the response by elasticities without either, the choice of the price
and the draw of elasticities are our reading.

Response at import price p, reference price p0 (the lowest) and elasticity e; for exports p0 is the highest price and
p0 - p stands for p - p0:

    x = r clip(1 - e (p - p0) / p0, 0, 1).

The operator expects one elasticity of everybody, so each price asks for a share s of the requests, and the other way
round p = p0 (1 + (1 - s) / e), cut to its bounds. The lowest feasible prices belong to shares of which none can be
larger. Both directions, and with a price per LV feeder all feeders, count at once: each may relieve what others load:

    lex max-min (s_import, s_export)   s.t.  0 <= s <= 1,  injections s_export g - s_import r - d feasible.

Realised elasticities differ by participant and day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.program import Leximin, Program, Solution

PER = ("system", "feeder")


@dataclass(frozen=True)
class DNP(Mechanism[NoState]):
    """Posts the lowest bounded prices whose expected response is feasible; the response differs from day to day.

    Args:
        per: ``system`` (one price per direction) or ``feeder`` (one per LV feeder and direction).
        elasticity: what the operator expects of everybody, > 0.
        spread: realised elasticities are uniform within this fraction of the expected one, in [0, 1].
        seed: of the realised elasticities.
        import_price_min, import_price_max, export_price_min, export_price_max: bounds in currency per kWh; the lowest
            import price and the highest export price are the reference at which everything is asked for.
    """

    name: ClassVar[str] = "dnp"
    enforces_limits: ClassVar[bool] = False
    full_service_optimal: ClassVar[bool] = True

    per: str = "system"
    elasticity: float = 0.5
    spread: float = 0.3
    seed: int = 0
    import_price_min: float = 0.10
    import_price_max: float = 0.40
    export_price_min: float = -0.08
    export_price_max: float = 0.08

    def __post_init__(self) -> None:
        problems = wrong_choices(self, per=PER)
        if not 0 < self.elasticity < np.inf:
            problems.append(f"elasticity = {self.elasticity} must be positive: a higher price means less use")
        if not 0 <= self.spread <= 1:
            problems.append(f"spread = {self.spread} must be in [0, 1]")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            problems.append(f"seed = {self.seed!r} must be a whole number that is not negative")
        for d in DIRECTIONS:
            lowest, highest = (getattr(self, f"{d}_price_{end}") for end in ("min", "max"))
            if not (np.isfinite([lowest, highest]).all() and lowest <= highest):
                problems.append(f"{d} price from {lowest} to {highest}: the lowest must not exceed the highest")
        problems += [
            f"{name} = {getattr(self, name)}, the reference price, must be positive"
            for name in ("import_price_min", "export_price_max")
            if not getattr(self, name) > 0
        ]
        if problems:
            raise InputError(problems, subject=self.name)

    @property
    def price_bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.import_price_min, self.import_price_max), (self.export_price_min, self.export_price_max)

    def program(self, grid: Grid) -> Program:
        """The largest shares, import and export of every group, whose expected answer is feasible."""
        groups = grid.case.groups(self.per)
        share = cp.Variable(2 * groups.count, name="share")
        x = cp.multiply(grid.import_request_kw, share[: groups.count][groups.of])
        y = cp.multiply(grid.export_request_kw, share[groups.count :][groups.of])
        limits = [share >= 0, share <= 1]
        return Program(Leximin(share), limits, [grid.injection(import_kw=x, export_kw=y)], {"share": share})

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        groups, solution = grid.case.groups(self.per), solve({})
        share = np.clip(solution["share"], 0.0, 1.0).reshape(2, groups.count)
        largest = np.array(
            [self.import_price_max / self.import_price_min - 1, 1 - self.export_price_min / self.export_price_max]
        )
        change = np.minimum((1.0 - share) / self.elasticity, largest[:, None])[:, groups.of]
        prices = (self.import_price_min * (1.0 + change[0]), self.export_price_max * (1.0 - change[1]))
        answer = self._answer(grid, prices, requests)
        values = {"import": answer[0], "export": answer[1], "import_price": prices[0], "export_price": prices[1]}
        return replace(solution, values=values)

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        """At the reference prices."""
        reference = np.full((2, grid.n), [[self.import_price_min], [self.export_price_max]])
        return Allocation(requests.import_request_kw, requests.export_request_kw, *reference)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        return Allocation(*(solution[v] for v in ("import", "export", "import_price", "export_price")))

    def carry_out(self, grid: Grid, plan: Allocation, requests: Requests) -> Allocation:
        """Participants answer to the posted prices with what they really want."""
        assert plan.import_price is not None
        assert plan.export_price is not None
        prices = (plan.import_price, plan.export_price)
        return Allocation(*self._answer(grid, prices, requests), *prices)

    def _answer(
        self, grid: Grid, prices: tuple[FloatArray, FloatArray], requests: Requests
    ) -> tuple[FloatArray, FloatArray]:
        elasticity = self._realised(grid, requests)
        less = prices[0] / self.import_price_min - 1.0, 1.0 - prices[1] / self.export_price_max
        shares = [np.clip(1.0 - elasticity * change, 0.0, 1.0) for change in less]
        return shares[0] * requests.import_request_kw, shares[1] * requests.export_request_kw

    def _realised(self, grid: Grid, requests: Requests) -> FloatArray:
        """(n,) today's elasticities, the same whatever the order of participants."""
        draw = np.random.default_rng([self.seed, requests.times[0].toordinal()]).uniform(-1.0, 1.0, grid.n)
        return np.asarray(self.elasticity * (1.0 + self.spread * draw[_rank(grid.case.participant_names)]))


@lru_cache(maxsize=4)
def _rank(names: tuple[str, ...]) -> IntArray:
    """Place of everyone in alphabetical order."""
    return np.argsort(np.argsort(np.array(names)))
