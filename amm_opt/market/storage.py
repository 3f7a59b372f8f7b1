"""Batteries as part of any program over a horizon.

For battery j in interval k with charging c, discharging b (kW at its terminals), one-way efficiency eta, size E:

    0 <= c <= P,  0 <= b <= P,   e_k = e_(k-1) + dt (eta c_k - b_k / eta),   0 <= e_k <= E,
    -export connection <= x + c + d - y - b <= import connection        (net power of its participant),

and its participant draws x + c and injects y + b at its power factors. A program may want to charge and discharge at
once, because that burns energy and so relieves a limit; ``without_burning`` finds the best plan that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import SIGN, BoolArray, FloatArray
from amm_opt.cases import Batteries
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market.mechanism import Values
from amm_opt.program import HorizonProgram, Injection, Leximin, Program, Solution
from amm_opt.tolerances import CONNECTION_SLACK

STORE = "stored"
"""Name of the store that holds what is in batteries."""
COST = 1e-3
"""Cost of a kWh through a battery at little power, in units of the objective's kWh."""
BOTH_KW = 1e-6
"""Charging and discharging at once by more than this is not accepted; above 1 kW of power by more than this share."""
ROUNDS = 5
WORK = 4000
"""In search of the best directions at most this many windows are solved, divided by intervals times batteries."""
SAME = 2e-6
"""What plans are worth differs by more than this, relative to it where that is above 1."""

Worth = tuple[float, ...]


def with_batteries(programs: Mapping[str, HorizonProgram], grid: Grid) -> dict[str, HorizonProgram]:
    """The same programs with the case's batteries (at least one) as further variables of every interval.

    Intervals get the values ``charge``, ``discharge`` and ``stored_kw``, (H, B) each, and the store ``stored`` (kWh);
    the numbers of their parameters come from :func:`without_burning`.
    """
    b, dt = grid.case.batteries, grid.case.dt_h
    power = {name: cp.Variable(len(b), name=name) for name in ("charge", "discharge")}
    limits = [
        limit
        for name, p in power.items()
        for limit in (p >= 0, p <= cp.Parameter(len(b), nonneg=True, name=f"{name}_max"))
    ]
    spread, stored = at_home(b, grid.n), stored_kw(b, power["charge"], power["discharge"])

    used = [cp.sum(p) + cp.sum_squares(cp.multiply(b.power_kw**-0.5, p)) / 2 for p in power.values()]
    cost = COST * dt * sum(used)

    def interval(program: HorizonProgram) -> Program:
        own = program.interval
        injections = [
            Injection(i.import_kw + spread @ power["charge"], i.export_kw + spread @ power["discharge"])
            for i in own.injections
        ]
        objective = own.objective
        if not isinstance(program.objective, Leximin) and not isinstance(objective, Leximin):
            sign = -1.0 if isinstance(objective, cp.Maximize) else 1.0
            objective = type(objective)(objective.expr + sign * cost)
        connected = [limit for i in injections for limit in within_connections(i, grid)]
        values = {**own.values, **power, "stored_kw": stored}
        return replace(
            own,
            objective=objective,
            constraints=[*own.constraints, *limits, *connected],
            injections=injections,
            values=values,
        )

    return {
        name: replace(p, interval=interval(p), stores={**p.stores, STORE: "stored_kw"}) for name, p in programs.items()
    }


def at_home(batteries: Batteries, n: int) -> sp.csr_array:
    """(n, B) ones: whose battery it is."""
    count = len(batteries)
    return sp.csr_array((np.ones(count), (batteries.participant, np.arange(count))), shape=(n, count))


def stored_kw(batteries: Batteries, charge: cp.Expression, discharge: cp.Expression) -> cp.Expression:
    """(B,) how fast contents grow."""
    return cp.multiply(batteries.efficiency, charge) - cp.multiply(1.0 / batteries.efficiency, discharge)


def within_connections(injection: Injection, grid: Grid) -> list[cp.Constraint]:
    """Net power of those who have a battery is within their connection limits."""
    at, limits = grid.case.batteries.participant, []
    spread = at_home(grid.case.batteries, grid.n)
    for direction, sign in SIGN.items():
        max_kw = grid.case.connection_kw(direction)[at]
        some = np.flatnonzero(np.isfinite(max_kw))
        if len(some):
            pick = sp.csr_array(spread.T)[some]
            net = pick @ (injection.import_kw + grid.inflexible_kw - injection.export_kw)
            limits.append(sign * net <= max_kw[some] * (1 + CONNECTION_SLACK))
    return limits


@dataclass(frozen=True, eq=False)
class _Node:
    """An answer within powers ``max_kw``, (steps, B) by direction, and what it is worth."""

    max_kw: Mapping[str, FloatArray]
    solution: Solution
    worth: Worth

    @property
    def burnt_kw(self) -> FloatArray:
        """(steps, B) power that charges and discharges at once, 0 where that is rounding."""
        both = np.minimum(self.solution["charge"], self.solution["discharge"])
        most = np.maximum(self.max_kw["charge"], self.max_kw["discharge"])
        return np.where(both > BOTH_KW * np.maximum(1.0, most), both, 0.0)

    def without(self, **forbidden: BoolArray) -> dict[str, FloatArray]:
        """The same powers but for those of a direction."""
        return {name: np.where(forbidden.get(name, False), 0.0, power) for name, power in self.max_kw.items()}


def without_burning(
    solve: Callable[[Values], tuple[Solution, Worth]],
    batteries: Batteries,
    stored_kwh: FloatArray,
    steps: int,
    work: int | None = None,
) -> Solution:
    """The best plan of a window in which no battery charges and discharges at once.

    Branch and bound: where an answer does both, one of the two is forbidden there, in turn; an answer that may still do
    both elsewhere bounds what follows from it. The plan is the best there is where the search ends by itself, before
    ``work`` is used up; the best that was found otherwise. It is not begun where that would not last for deciding every
    place once: there the direction with less power is forbidden everywhere.

    Args:
        solve: solves the window, all its stages, with these further numbers; the answer, and what it is worth: numbers
            to be made large, of which the first counts most.
        stored_kwh: (B,) content before the window.
        steps: intervals H of the window.
        work: how many windows may be solved, times intervals and batteries (``WORK`` by default); with 0 what
            answers are worth is not read.

    Raises:
        SolveError: where not even a first plan is found.
    """
    values: Values = {
        f"{STORE}_initial": np.clip(stored_kwh, 0.0, batteries.size_kwh),
        f"{STORE}_lower": np.zeros(len(batteries)),
        f"{STORE}_upper": batteries.size_kwh,
    }

    def within(max_kw: Mapping[str, FloatArray]) -> _Node:
        return _Node(max_kw, *solve({**values, **{f"{name}_max": power for name, power in max_kw.items()}}))

    free = np.tile(batteries.power_kw, (steps, 1))
    root = within({"charge": free, "discharge": free})
    if not root.burnt_kw.any():
        return root.solution
    best = _first_plan(root, within)
    promising, answers = [root], (WORK if work is None else work) // free.size
    if answers < 2 * np.count_nonzero(root.burnt_kw):
        return best.solution
    while promising and answers > 0:
        node = promising.pop(max(range(len(promising)), key=lambda j: promising[j].worth))
        if not _better(node.worth, best.worth):
            continue
        here = node.burnt_kw
        largest = np.zeros(here.shape, dtype=bool)
        largest.flat[np.argmax(here)] = True
        for direction in ("charge", "discharge"):
            answers -= 1
            try:
                child = within(node.without(**{direction: largest}))
            except SolveError:
                continue
            if not _better(child.worth, best.worth):
                continue
            if child.burnt_kw.any():
                promising.append(child)
            else:
                best = child
    return best.solution


def _first_plan(node: _Node, within: Callable[[Mapping[str, FloatArray]], _Node]) -> _Node:
    """A plan that burns nothing: wherever one does both, the direction with less power goes, at last everywhere."""
    for decided in (False,) * (ROUNDS - 1) + (True,):
        both = (node.burnt_kw > 0) | decided
        less = node.solution["charge"] < node.solution["discharge"]
        node = within(node.without(charge=both & less, discharge=both & ~less))
        if not node.burnt_kw.any():
            break
    return node


def _better(worth: Worth, other: Worth) -> bool:
    """Whether the first number that differs is larger."""
    for one, two in zip(worth, other, strict=True):
        if abs(one - two) > SAME * max(1.0, abs(two)):
            return one > two
    return False


def battery_kw(solution: Solution, batteries: Batteries, n: int) -> FloatArray:
    """(H, n) power at the terminals of batteries, positive where they discharge."""
    power = solution["discharge"] - solution["charge"]
    whole = np.zeros((len(power), n))
    whole[:, batteries.participant] = np.clip(power, -batteries.power_kw, batteries.power_kw)
    return whole


def stored_after(stored_kwh: FloatArray, efficiency: FloatArray, battery_kw: FloatArray, dt_h: float) -> FloatArray:
    """Content after an interval, all of one shape; ``battery_kw`` is positive where a battery discharges."""
    gained = efficiency * np.maximum(-battery_kw, 0.0) - np.maximum(battery_kw, 0.0) / efficiency
    return np.asarray(stored_kwh + dt_h * gained)
