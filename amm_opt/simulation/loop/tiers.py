"""Two tiers: LV feeders offer what they can host, the upper tier grants, each feeder matches inside its grant.

The same mechanism matches every part: each LV feeder is a case of its own, and so is the upper tier, in which an LV
feeder is one participant with the sum of its customers' requests and the aggregate of their states.

1. Offer: a feeder matches its customers with everybody else at inflexible load only.
2. Grant: the upper tier matches the feeders. None gets more than its offer; granted a share of it, its customers count
   as having that share each, in the limits of the upper tier and in its own, whose voltages others move.
3. Match: a feeder that was not granted its whole offer matches its customers again, at most the grant in sum of each
   direction, with the voltages that result from everybody else at the share granted.

An LV feeder's case keeps the path to the source, so that its own use moves its voltages too. Others come in through the
limits: both the whole network's quantities u and those of the part are affine in use, so at an allocation z of all

    u with others as in z = u_part + D,   D = u(z) - u_part(z),   limits of the part = limits - D.

What comes out is checked on the whole network, and cut back where it breaks a limit there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.cases.tiers import Tier, split
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.network import NetworkModel
from amm_opt.program import Injection, Leximin, Program, Solution
from amm_opt.simulation.loop.guard import Limits, Repair
from amm_opt.simulation.loop.matching import programs_of
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.compile import Known
from amm_opt.solve.solver import ProgramSolver
from amm_opt.tolerances import WHOLE_GRANT

FREE = 1e3
"""Added to limits that are not to count, in multiples of a rating or pu^2."""
GRANT = {direction: f"grant_{direction}_kw" for direction in DIRECTIONS}
SHARE = {direction: f"share_{direction}" for direction in DIRECTIONS}


class _Feeder:
    """A mechanism on one LV feeder, with a grant that import and export must not exceed in sum."""

    def __init__(self, whole: Grid, tier: Tier, mechanism: Mechanism[Any]) -> None:
        self.tier, self.name, self._mechanism = tier, tier.case.name, mechanism
        self.grid = Grid(tier.case, type(whole.network)(tier.case.feeder))
        self.rows = _rows(whole.network, self.grid.network, tier.bus)
        upstream = tier.case.feeder.lv_feeder[self.grid.network.quantities.element] < 0
        self._free = np.where(upstream, FREE, 0.0)

    def solver(self, solvers: SolverOrder, known: Known) -> ProgramSolver:
        """The mechanism's program with grants, compiled once for all feeders of a form."""
        (program,) = programs_of(self._mechanism, self.grid).values()
        assert isinstance(program, Program)
        grants = [cp.sum(program.values[d]) <= cp.Parameter(nonneg=True, name=GRANT[d]) for d in DIRECTIONS]
        return ProgramSolver(replace(program, constraints=[*program.constraints, *grants]), self.grid, solvers, known)

    def limits(self, limits: Limits, elsewhere: FloatArray, used: FloatArray) -> Limits:
        """The whole network's limits for the feeder's own quantities, which are ``elsewhere`` lower than the whole's.

        Relaxed to ``used``, what the feeder uses anyway.
        """
        lower, upper = limits[0][self.rows] - elsewhere, limits[1][self.rows] - elsewhere
        return np.minimum(lower, used), np.maximum(upper, used)

    def own_limits(self, limits: Limits, elsewhere: FloatArray, used: FloatArray) -> Limits:
        """The same without those of the path from the source, which are for the upper tier to keep."""
        lower, upper = self.limits(limits, elsewhere, used)
        return lower - self._free, upper + self._free

    def serves_all(self, requests: Requests, limits: Limits) -> bool:
        """Whether full service is optimal and within limits."""
        _, asked = self.grid.usage(requests)
        return self._mechanism.full_service_optimal and bool(self.grid.within(asked, limits))


class _Upper:
    """A mechanism on the upper tier, with a grant for each participant, within the limits of the whole network.

    Every participant stands for customers of the whole, each with a given share of its import and of its export.
    """

    def __init__(self, whole: Grid, tier: Tier, mechanism: Mechanism[Any]) -> None:
        self.tier, self.name, self._whole, self._mechanism = tier, tier.case.name, whole, mechanism
        self.grid = Grid(tier.case, type(whole.network)(tier.case.feeder))
        self._own: list[str] = []

    def solver(self, solvers: SolverOrder, _: Known) -> ProgramSolver:
        """The mechanism's program with grants and shares, compiled for the whole network."""
        (program,) = programs_of(self._mechanism, self.grid).values()
        assert isinstance(program, Program)
        grants = {d: cp.Parameter(self.grid.n, nonneg=True, name=GRANT[d]) for d in DIRECTIONS}
        limits: list[cp.Constraint] = [*program.constraints]
        limits += [program.values[d] <= grant for d, grant in grants.items()]
        share = {d: cp.Parameter(self._whole.n, nonneg=True, name=SHARE[d]) for d in DIRECTIONS}
        injections = []
        for injection in program.injections:
            powers = []
            for d, power in zip(DIRECTIONS, (injection.import_kw, injection.export_kw), strict=True):
                if power.parameters():
                    own = cp.Variable(self.grid.n)
                    limits.append(own == power)
                    power = own
                powers.append(cp.multiply(share[d], self.tier.member.T @ power))
            injections.append(Injection(*powers))
        program = replace(program, constraints=limits, injections=injections)
        parts = limits if isinstance(program.objective, Leximin) else [*limits, program.objective]
        used = {p.id for part in parts for p in part.parameters()}
        self._own = [p.name() for p in self.grid.parameters if p.id in used]
        return ProgramSolver(program, self._whole, solvers)

    def values(self, requests: Requests, offered: FloatArray, offers: FloatArray) -> dict[str, FloatArray]:
        """Numbers of the parameters that :meth:`solver` added; what customers (2, n) and their feeders offer."""
        total = offers[:, self.tier.participant]
        shares = np.where(total > 0, offered / np.where(total > 0, total, 1.0), 0.0)
        own = {name: getattr(requests, name) for name in self._own}
        grants = {GRANT[d]: offer for d, offer in zip(DIRECTIONS, offers, strict=True)}
        return {**own, **grants, **{SHARE[d]: share for d, share in zip(DIRECTIONS, shares, strict=True)}}


def _rows(whole: NetworkModel, part: NetworkModel, bus: IntArray) -> IntArray:
    """Which limited quantity of the whole each of a part's is: same kind and element, in the same order."""
    q, own = whole.quantities, part.quantities
    of_whole, of_part = 2 * q.element + (q.kind == "voltage"), 2 * bus[own.element] + (own.kind == "voltage")
    order = np.argsort(of_whole, kind="stable")
    rows = np.empty(len(of_part), dtype=np.intp)
    rows[np.argsort(of_part, kind="stable")] = order[np.isin(of_whole[order], of_part)]
    return rows


@dataclass(frozen=True, eq=False)
class _Now:
    """The interval that is being cleared.

    Attributes:
        limits: the whole network's.
        asked: by LV feeder, what it asks for.
        elsewhere: by LV feeder, how much higher its quantities are in the whole network under inflexible load only.
    """

    interval: Requests
    limits: Limits
    state: State
    asked: list[Requests]
    elsewhere: list[FloatArray]
    notes: Notes


class TwoTierMatching:
    """A mechanism of one program that gives import and export, in two tiers.

    Args:
        repair: cuts back what breaks a limit of the whole network.

    Raises:
        InputError: where the case cannot be split.
    """

    clears = True

    def __init__(self, grid: Grid, mechanism: Mechanism[Any], solvers: SolverOrder, repair: Repair) -> None:
        self._grid, self._mechanism, self._solvers, self._repair = grid, mechanism, solvers, repair
        upper, lower = split(grid.case)
        self._upper = _Upper(grid, upper, mechanism)
        self._feeders = [_Feeder(grid, tier, mechanism) for tier in lower]
        self._programs: dict[str, ProgramSolver] = {}
        self._forms: Known = {}
        self._asked: dict[int, list[Requests]] = {}

    def reset(self) -> None:
        """Forget everything that was solved."""
        for program in self._programs.values():
            program.reset()

    def prepare(self, requests: Requests, scarce: IntArray) -> None:
        """What each feeder asks for and uses."""
        feeders = self._feeders if len(scarce) else []
        asked = [feeder.grid.intervals(feeder.tier.requests(requests), scarce) for feeder in feeders]
        self._asked = {of[0].start: list(of) for of in zip(*asked, strict=True)}

    def clear(self, requests: Requests, limits: Limits | None, state: State, notes: Notes) -> Solution:
        """Offers, grants, matches, and the repair of what breaks a limit of the whole network."""
        assert limits is not None
        asked, (inflexible, _) = self._asked[requests.start], self._grid.usage(requests)
        elsewhere = [inflexible[f.rows] - f.grid.usage(own)[0] for f, own in zip(self._feeders, asked, strict=True)]
        now = _Now(requests, limits, state, asked, elsewhere, notes)
        offered = self._offered(now)
        offers = self._upper.tier.added(offered)
        served = self._matched(now, offered, offers, self._grants(now, offered, offers))
        plan = self._repair(Allocation(*served), requests, limits, notes)
        return Solution({"import": plan.import_kw, "export": plan.export_kw}, {}, float("nan"), "-")

    def _offered(self, now: _Now) -> FloatArray:
        """What every customer gets in its own feeder's match, others at inflexible load only: (2, n)."""
        served = now.interval.both_kw
        for feeder, requests, elsewhere in zip(self._feeders, now.asked, now.elsewhere, strict=True):
            limits = feeder.own_limits(now.limits, elsewhere, feeder.grid.usage(requests)[0])
            if not feeder.serves_all(requests, limits):
                everything = requests.both_kw.sum(axis=1)
                served[:, feeder.tier.who] = self._within(now, feeder, requests, limits, everything)
        return served

    def _grants(self, now: _Now, offered: FloatArray, offers: FloatArray) -> FloatArray:
        """Import and export granted to every participant of the upper tier, (2, participants there)."""
        upper = self._upper
        requests = upper.tier.requests(now.interval)
        state = now.state.aggregated(upper.tier.member, now.interval.both_kw)
        solver = self._solver(upper)
        values = upper.values(requests, offered, offers)

        def solve(given: Mapping[str, Any]) -> Solution:
            return solver.solve({**given, **values}, now.interval, *now.limits)

        grants = self._powers(now, upper.grid, solve, state, requests)
        return np.where(grants < offers * WHOLE_GRANT, grants, offers)

    def _matched(self, now: _Now, offered: FloatArray, offers: FloatArray, grants: FloatArray) -> FloatArray:
        """What every customer is served inside the grants: (2, n)."""
        tier = self._upper.tier
        share = np.where(grants < offers, grants / np.where(offers > 0, offers, 1.0), 1.0)
        served = offered * share[:, tier.participant]
        u = self._grid.quantities(now.interval, *served)
        for at, (feeder, requests) in enumerate(zip(self._feeders, now.asked, strict=True)):
            if np.any(share[:, at] < 1.0):
                who = feeder.tier.who
                own = feeder.grid.quantities(requests, *served[:, who])
                limits = feeder.limits(now.limits, u[feeder.rows] - own, own)
                served[:, who] = self._within(now, feeder, requests, limits, grants[:, at])
        return served

    def _solver(self, tier: _Feeder | _Upper) -> ProgramSolver:
        if tier.name not in self._programs:
            self._programs[tier.name] = tier.solver(self._solvers, self._forms)
        return self._programs[tier.name]

    def _within(self, now: _Now, feeder: _Feeder, requests: Requests, limits: Limits, grants: FloatArray) -> FloatArray:
        """What the customers of a feeder get within its grants, (2, its customers)."""
        solver = self._solver(feeder)
        values = {GRANT[d]: grant for d, grant in zip(DIRECTIONS, grants, strict=True)}

        def solve(given: Mapping[str, Any]) -> Solution:
            return solver.solve({**given, **values}, requests, *limits)

        return self._powers(now, feeder.grid, solve, now.state.select(feeder.tier.who), requests)

    def _powers(
        self, now: _Now, grid: Grid, solve: Callable[[Mapping[str, Any]], Solution], state: State, requests: Requests
    ) -> FloatArray:
        """Import and export that the mechanism gives the participants of a tier, (2, n of the tier)."""

        def recorded(values: Mapping[str, Any], _: str = "") -> Solution:
            now.notes.solved.append(solve(values))
            return now.notes.solved[-1]

        cleared = self._mechanism.clear(grid, recorded, state, requests)
        if not isinstance(cleared, Solution):
            raise InputError(f"{self._mechanism} clears to several solutions; two tiers need one")
        return np.clip([cleared[d] for d in DIRECTIONS], 0.0, requests.both_kw)
