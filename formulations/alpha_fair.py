r"""Alpha-fair service in each interval: throughput, proportional fairness, and what lies beyond, without memory.

    max  sum_i w_i u_alpha(x_i / r_i)  over import and export together,  0 <= x <= r, injections feasible,
    u_alpha(s) = s^(1 - alpha) / (1 - alpha),   log s where alpha = 1

(F. P. Kelly, A. K. Maulloo, D. K. H. Tan, J. Oper. Res. Soc. 49(3), 1998, doi 10.1057/palgrave.jors.2600523, for
alpha = 1; J. Mo and J. Walrand, IEEE/ACM Trans. Networking 8(5), 2000, doi 10.1109/90.879343, for any alpha). With
w_i = r_i the marginal worth of a kW is (x_i / r_i)^-alpha: alpha = 0 is the largest total service in kW.

The utility is separable, so the optimum is found by quadratic programs (Newton's method). At the price p_i of what a kW
of participant i uses, i wants x_i(p) = r_i (p_i r_i / w_i)^(-1/alpha); each program expands the utility where
participants want to be at the prices of the one before, until everybody is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from amm_opt.cases import Requests
from amm_opt.errors import InputError, SolveError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Program, Solution
from formulations.parts.matching import TIE, matching, matching_values

WEIGHTS = ("request", "equal")
STEEPEST = 1e6
"""Below the service at which a kW is worth this many times what it is at full service, the utility is quadratic."""
FLOOR_KW = 1e-3
"""Requests below this count by their size where weights are equal: one of a milliwatt would outweigh all others."""
CONVERGED, CONVERGED_KW = 1e-9, 1e-6
"""How far service may be from what is wanted at the prices: relative to the request, and in kW on top."""
MAX_PROGRAMS = 100


@dataclass(frozen=True)
class AlphaFair(Mechanism[NoState]):
    """Maximises the alpha-fair utility of the served ratios of each interval.

    Args:
        alpha: 0 throughput, 1 proportional fairness, larger values closer to ``leximin``, its limit; >= 0 and finite.
        weight: ``request`` (w_i = r_i: the same ratio for equals, however a request is split) or ``equal`` (w_i = 1).
    """

    name: ClassVar[str] = "alpha_fair"
    full_service_optimal: ClassVar[bool] = True

    alpha: float = 1.0
    weight: str = "request"

    def __post_init__(self) -> None:
        problems = []
        if self.alpha < 0:
            problems.append(f"alpha = {self.alpha} must not be negative")
        problems += wrong_choices(self, weight=WEIGHTS)
        if problems:
            raise InputError(problems, subject=self.name)

    @property
    def throughput_bound(self) -> bool:
        """At alpha = 0 a kW is worth the same whoever uses it."""
        return self.alpha == 0 and self.weight == "request"

    def program(self, grid: Grid) -> Program:
        return matching(grid)

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        request = requests.both_kw
        asked = requested(request)
        r = np.where(asked, request, 1.0)
        unit = (
            np.where(asked, 1.0, 0.0)
            if self.weight == "request"
            else np.where(asked, 1.0 / np.maximum(r, FLOOR_KW), 0.0)
        )
        if self.alpha == 0:
            largest = float(np.max(unit, initial=1e-300))
            return in_units(solve(matching_values((1.0 + TIE) * unit / largest, TIE * unit / largest / r)), largest)
        lower = STEEPEST ** (-1.0 / self.alpha)
        wanted = np.ones_like(r)
        for _ in range(MAX_PROGRAMS):
            at = np.maximum(wanted, lower)
            worth, bend = at**-self.alpha, self.alpha * at ** (-self.alpha - 1.0)
            largest = float(np.max(unit * worth, initial=1e-300))
            scaled = unit / largest
            solution = solve(matching_values(scaled * (worth + bend * at), scaled * bend / r))
            ratio = np.where(asked, np.stack([solution["import"], solution["export"]]) / r, 1.0)
            price = np.maximum(worth + bend * (at - ratio), 1.0)
            wanted = np.minimum(price, STEEPEST) ** (-1.0 / self.alpha)
            beyond = price > STEEPEST
            wanted[beyond] = (lower + (STEEPEST - price) * lower / (self.alpha * STEEPEST))[beyond]
            if np.all(np.abs(np.maximum(wanted, 0.0) - ratio) <= CONVERGED + CONVERGED_KW / r):
                return in_units(solution, largest)
        raise SolveError(f"{self.name}: prices do not converge within {MAX_PROGRAMS} programs")


def in_units(solution: Solution, factor: float) -> Solution:
    """The same with multipliers per unit of utility, where the program was divided by a factor."""
    return replace(solution, limit_duals={k: factor * dual for k, dual in solution.limit_duals.items()})
