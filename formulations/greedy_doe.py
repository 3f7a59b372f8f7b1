"""Greedy operating envelopes: as much as possible in total, or by one of two sequential rules; without memory.

Our reading: no source defines greedy envelopes. ``throughput`` is a program; the sequential rules need only sweeps of
the network. All hand out limits in kW up to the connection limit, hosted with everyone at its limit at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.errors import InputError
from amm_opt.market.mechanism import FloatArray, Solve
from amm_opt.solve import Program, Solution, Step
from amm_opt.solve.program import ROUNDING
from formulations.doe import Envelope, hosted_at

RULES = ("throughput", "largest_request_first", "worst_bus_first")
TIE = 1e-3
CUT = 0.02
"""Step of ``worst_bus_first``, as a fraction of the connection limit."""
SLACK = 0.01
"""How far beyond a limit the sequential rules may be, as a fraction of the audit's tolerance."""

Use = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class GreedyDOE(Envelope):
    """Envelopes that hand out as much as possible, by one of three rules.

    ``throughput``: max sum L_i - tie/2 sum L_i^2 / mean connection limit over the enrolled, subject to the limits
    L_i = x_i - base_i hosted and 0 <= x_i <= most_i. With a small enough tie this is the least-squares choice among
    the optima of the linear program (Mangasarian and Meyer 1979, doi 10.1137/0317052); tie = 1e-3 also levels limits
    whose use of scarce capacity differs by less than about 0.1 %, which makes the result the same for every solver.

    ``largest_request_first``: in the order of their requests, everyone gets as much as is still hosted. Equal requests
    rise together, in proportion to what their connections allow.

    ``worst_bus_first``: everyone starts at its connection limit. While a branch is overloaded, everyone below it is cut
    by a step; while a voltage is beyond its band, those at the most affected bus of each LV feeder.

    Args:
        enrolled: ``all`` or ``requesting``: who is assumed to be at its limit.
        rule: ``throughput``, ``largest_request_first`` or ``worst_bus_first``.
    """

    name: ClassVar[str] = "greedy_doe"

    rule: str = "throughput"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule not in RULES:
            raise InputError(f"{self.name}: rule = {self.rule!r}; valid choices: {', '.join(RULES)}")

    def program(self, step: Step) -> Mapping[str, Program] | None:
        return super().program(step) if self.rule == "throughput" else None

    def _program(self, step: Step, direction: str) -> Program:
        x = cp.Variable(step.n, name="envelope_kw")
        gain, most = cp.Parameter(step.n, name="gain"), cp.Parameter(step.n, nonneg=True, name="most")
        root = cp.Parameter(nonneg=True, name="root_curvature")
        objective = gain @ x - 0.5 * cp.sum_squares(root * x)
        return Program(cp.Maximize(objective), [x >= 0, x <= most], [hosted_at(step, direction, x)], {"envelope": x})

    def _envelope(self, step: Step, solve: Solve, direction: str, window: Window) -> Solution:
        """The square of x - base expanded: (1 + c base) x - c x^2 / 2 + constant."""
        base, most = self._reach(step, direction, window)
        if self.rule == "throughput":
            curvature = TIE / max(float(np.mean((most - base)[most > 0])) if np.any(most > 0) else 1.0, 1e-3)
            return solve({"gain": 1.0 + curvature * base, "root_curvature": np.sqrt(curvature), "most": most})
        find = _largest_request_first if self.rule == "largest_request_first" else _worst_bus_first
        x = find(step, direction, window, most)
        return Solution({"envelope": x}, {}, float((x - base)[most > 0].sum()), "-")


def _use(step: Step, direction: str, window: Window) -> Use:
    """Every limited quantity with everyone at x."""
    if direction == "import":
        return lambda x: step.quantities(window, x, 0.0)
    return lambda x: step.quantities(window, 0.0, x)


def _largest_request_first(step: Step, direction: str, window: Window, most: FloatArray) -> FloatArray:
    """Sequential filling. Rounds: the longest row of people who all fit, then the share of the next that does.

    Whoever presses on a limit that this share meets is done; the others go on.
    """
    use, (lower, upper) = _use(step, direction, window), step.limits(window)
    slack = SLACK * step.network.quantities.tolerance
    request = window.request_kw(direction)
    turn = np.unique(-np.round(request / max(float(request.max()), 1e-12), 9), return_inverse=True)[1]
    x, waiting = np.zeros(step.n), most > 0
    while waiting.any():
        turns = np.unique(turn[waiting])
        fit, not_fit = 0, len(turns) + 1
        while not_fit - fit > 1:
            count = (fit + not_fit) // 2
            u = use(np.where(waiting & (turn <= turns[count - 1]), most, x))
            hosted = bool(np.all((u <= upper + slack) & (u >= lower - slack)))
            fit, not_fit = (count, not_fit) if hosted else (fit, count)
            if fit == len(turns):
                break
        full = waiting & (turn <= turns[fit - 1]) if fit else np.zeros(step.n, dtype=bool)
        x = np.where(full, most, x)
        waiting &= ~full
        if not waiting.any():
            break
        group = waiting & (turn == turns[fit])
        foot = use(x)
        rise = use(np.where(group, most, x)) - foot
        reach = np.maximum(np.where(rise > 0, upper - foot, foot - lower), 0.0) / np.maximum(np.abs(rise), ROUNDING)
        reach[np.abs(rise) <= ROUNDING] = np.inf
        share = min(1.0, float(reach.min()))
        x = np.where(group, x + share * (most - x), x)
        tight = np.flatnonzero(reach <= share + ROUNDING)
        pressing = _pressing(step, direction, tight, np.sign(rise[tight]), most)
        waiting &= ~(pressing if (pressing & group).any() else group)
    return x


def _pressing(
    step: Step, direction: str, rows: NDArray[np.intp], side: FloatArray, most: FloatArray
) -> NDArray[np.bool_]:
    """(n,) who uses any of these limits, each from its side."""
    a_p, a_q, _ = step.network.rows(rows)
    _, k_import, k_export = step.case.kvar_per_kw
    at_p, at_q = a_p[:, step.case.bus], a_q[:, step.case.bus]
    slope = -(at_p + at_q * k_import) if direction == "import" else at_p + at_q * k_export
    return np.asarray((side[:, None] * slope * most > ROUNDING).any(axis=0))


def _worst_bus_first(step: Step, direction: str, window: Window, most: FloatArray) -> FloatArray:
    """Cuts in steps until every limit is kept, which no flexible use at all does."""
    use, (lower, upper) = _use(step, direction, window), step.limits(window)
    q, feeder, bus = step.network.quantities, step.case.feeder, step.case.bus
    voltage = q.kind == "voltage"
    home = np.where(step.case.lv_feeder >= 0, step.case.lv_feeder, len(feeder.lv_feeders))
    bus_home = np.where(feeder.lv_feeder >= 0, feeder.lv_feeder, len(feeder.lv_feeders))
    x = most.copy()
    while True:
        u = use(x)
        excess = np.maximum(u - upper, lower - u)
        beyond = excess > SLACK * q.tolerance
        if not beyond.any():
            return x
        cut = _below(step, np.unique(q.element[beyond & ~voltage]))[bus] & (x > 0)
        at_bus = np.full(feeder.n_buses, -np.inf)
        at_bus[q.element[voltage]] = excess[voltage]
        for place in np.unique(bus_home[q.element[beyond & voltage]]):
            here = (home == place) & (x > 0)
            if here.any() and not cut[here].any():
                cut |= here & (at_bus[bus] >= at_bus[bus[here]].max() - ROUNDING)
        x = np.maximum(x - CUT * most * (cut if cut.any() else True), 0.0)


def _below(step: Step, branches: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(n_buses,) the buses below any of these branches."""
    feeder = step.case.feeder
    ends = np.zeros(feeder.n_buses + 1, dtype=np.intp)
    np.add.at(ends, branches, 1)
    np.add.at(ends, feeder.subtree_end[branches], -1)
    return np.asarray(np.cumsum(ends)[:-1] > 0)
