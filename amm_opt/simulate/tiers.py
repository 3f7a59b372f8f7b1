"""Two tiers: LV feeders offer what they can host, the upper tier matches them, each feeder matches inside its grant.

Every part is a case of its own, matched by the same mechanism. Others are seen through the limits: a part's own model
gives u_part for its own use, the whole network u(z) for an allocation z of everybody, both affine, so that

    u with others as in z = u_part + D,   D = u(z) - u_part(z),   limits of the part = limits - D.

1. Offer: a feeder matches its customers with everybody else at inflexible load alone. It reports what comes out in sum,
   its requests and its aggregate state.
2. Grant: the upper tier matches the feeders' aggregate requests, none of them above its offer.
3. Match: a feeder that was not granted its whole offer, or whose limits do not host it with everybody else at the grant,
   matches its customers again: at most the grant in sum of each direction, others at theirs.

What comes out is checked on the whole network, and cut back where that does not host it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.cases.tiers import Tier, split
from amm_opt.errors import InputError
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.network import LinDistFlow
from amm_opt.simulate.job import Job, Limits, Part, programs_of
from amm_opt.simulate.rolling import Repair
from amm_opt.simulate.store import Block
from amm_opt.solve.program import DIRECTIONS, Program, Solution, Step
from amm_opt.solve.solver import ProgramSolver
from amm_opt.solve.solvers import Choice

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

GRANTED = 1e-7
"""A grant this fraction below the offer counts as the whole offer."""
GRANT = {direction: f"grant_{direction}_kw" for direction in DIRECTIONS}


def why_not_two_tiers(mechanism: Mechanism[Any], step: Step) -> str:
    """Why a mechanism cannot be matched in two tiers; empty where it can."""
    programs = programs_of(mechanism, step)
    if len(programs) > 1:
        return f"{mechanism} has {len(programs)} programs; two tiers need one"
    for program in programs.values():
        if not isinstance(program, Program):
            return f"{mechanism} has a program over a horizon; two tiers need one of a single interval"
        if set(program.values) != set(DIRECTIONS) or program.duals:
            given = ", ".join([*program.values, *program.duals]) or "nothing"
            return f"{mechanism} reads {given} from its program; two tiers give import and export only"
    return ""


class _Match:
    """A mechanism on one part of the network, with grants that its import and export must not exceed.

    Participants of the upper tier have one grant each, those of an LV feeder one together.
    """

    def __init__(self, whole: Step, tier: Tier, mechanism: Mechanism[Any]) -> None:
        self.tier, self._mechanism = tier, mechanism
        self.name = tier.case.name
        self.step = Step(tier.case, type(whole.network)(tier.case.feeder))
        self.rows = _rows(whole.network, self.step.network, tier.bus)

    def solver(self, solvers: tuple[Choice, ...]) -> ProgramSolver:
        """The mechanism's program with grants, compiled."""
        (program,) = programs_of(self._mechanism, self.step).values()
        assert isinstance(program, Program)
        grants: list[cp.Constraint] = []
        for d in DIRECTIONS:
            power = program.values[d] if self.tier.upper else cp.sum(program.values[d])
            grants.append(power <= cp.Parameter(power.shape, nonneg=True, name=GRANT[d]))
        return ProgramSolver(replace(program, constraints=[*program.constraints, *grants]), self.step, solvers)

    def window(self, window: Window) -> Window:
        """What the part asks for, with its own usage."""
        own = self.tier.window(window)
        return replace(own, usage=self.step.usage(own))

    def state(self, state: State, asked: FloatArray) -> State:
        """The state of the part's participants; (2, n) requests of the whole weigh what is averaged."""
        tier = self.tier
        return state.aggregated(tier.member, asked) if tier.upper else state.part(tier.who)

    def limits(self, window: Window, limits: Limits, elsewhere: FloatArray) -> Limits:
        """The whole's limits for this part's own quantities, which are ``elsewhere`` lower than those of the whole.

        Inflexible load comes first, as in ``Step.limits``.
        """
        alone, _ = self.step.usage(window)
        lower, upper = limits[0][self.rows] - elsewhere, limits[1][self.rows] - elsewhere
        return np.minimum(lower, alone), np.maximum(upper, alone)

    def hosts(self, window: Window, limits: Limits) -> bool:
        """Whether full service is optimal and hosted."""
        _, asked = self.step.usage(window)
        inside = np.all((asked >= limits[0]) & (asked <= limits[1]))
        return self._mechanism.full_service_optimal and bool(inside)


def _rows(whole: LinDistFlow, part: LinDistFlow, bus: IntArray) -> IntArray:
    """Which limited quantity of the whole each of a part's is: same kind and element, in the same order."""
    q, own = whole.quantities, part.quantities
    of_whole, of_part = 2 * q.element + (q.kind == "voltage"), 2 * bus[own.element] + (own.kind == "voltage")
    order = np.argsort(of_whole, kind="stable")
    rows = np.empty(len(of_part), dtype=np.intp)
    rows[np.argsort(of_part, kind="stable")] = order[np.isin(of_whole[order], of_part)]
    return rows


def _requests(window: Window) -> FloatArray:
    return np.stack([window.import_request_kw, window.export_request_kw])


@dataclass(frozen=True, eq=False)
class _Ahead:
    """Scarce intervals of a block: what each part asks for, with usage, and how much higher its limited quantities are
    in the whole network with inflexible load alone; ``place`` gives the row of an interval."""

    place: Mapping[int, int]
    asked: list[Window]
    elsewhere: list[FloatArray]


@dataclass(frozen=True, eq=False)
class _Now:
    """One interval that is being cleared; lists have one item per part, the upper tier last."""

    interval: Window
    limits: Limits
    state: State
    asked: list[Window]
    elsewhere: list[FloatArray]
    solved: list[Solution]


class TierJob(Job):
    """A job whose intervals are matched in two tiers.

    Raises:
        InputError: where the mechanism, the case or the network model cannot be split.
    """

    def __init__(
        self, step: Step, mechanism: Mechanism[Any], solvers: tuple[Choice, ...], secure: bool = False
    ) -> None:
        super().__init__(step, mechanism, {}, solvers, secure)
        if reason := why_not_two_tiers(mechanism, step):
            raise InputError(reason)
        self.clears = True
        self._solvers = solvers
        upper, lower = split(step.case)
        self._parts = [_Match(step, tier, mechanism) for tier in (*lower, upper)]
        self._mixed = _mixed(step, upper)
        feeder = step.case.feeder
        position = np.full(len(feeder.lv_feeders) + 1, len(lower))
        for g, tier in enumerate(lower):
            position[step.case.lv_feeder[tier.who[0]]] = g
        self._part_of_row = position[feeder.lv_feeder[step.network.quantities.element]]
        self._repair = Repair(step, solvers)
        self._ahead = _Ahead({}, [], [])

    def run_chunk(self, state: State, start: int, stop: int, length: int, done: Callable[[Block], None]) -> Part:
        """Intervals ``start .. stop - 1``, with solvers that remember nothing from before."""
        self._repair.reset()
        return super().run_chunk(state, start, stop, length, done)

    def look_ahead(self, window: Window, scarce: IntArray) -> None:
        """What each part asks for and uses."""
        place = {window.start + int(k): i for i, k in enumerate(scarce)}
        chosen, (alone, _) = window.part(scarce), self.step.usage(window)
        matches = self._parts if place else []
        asked = [match.window(chosen) for match in matches]
        elsewhere = [alone[np.ix_(scarce, m.rows)] - m.step.usage(w)[0] for m, w in zip(matches, asked, strict=True)]
        self._ahead = _Ahead(place, asked, elsewhere)

    def cleared(self, part: Part, interval: Window, limits: Limits, solved: list[Solution]) -> Solution:
        """Offers, grants, matches, and the repair of what the whole network does not host."""
        k = self._ahead.place[interval.start]
        asked = [replace(w.interval(k), start=interval.start, times=interval.times) for w in self._ahead.asked]
        now = _Now(interval, limits, part.state, asked, [e[k] for e in self._ahead.elsewhere], solved)
        offered = self._offers(now)
        grants = self._grants(now, offered)
        served = self._matches(now, offered, grants)
        plan, cut = self._repair(Allocation(*served), interval, limits)
        if cut and interval.start not in part.repaired[-1:]:
            part.repaired.append(interval.start)
        return Solution({"import": plan.import_kw, "export": plan.export_kw}, {}, float("nan"), "-")

    def _offers(self, now: _Now) -> FloatArray:
        """What every customer is served in its own feeder's match, everybody else at inflexible load alone: (2, n)."""
        served = _requests(now.interval)
        for at, match in enumerate(self._parts[:-1]):
            limits = match.limits(now.asked[at], now.limits, now.elsewhere[at])
            if not match.hosts(now.asked[at], limits):
                wanted = _requests(now.asked[at]).sum(axis=1)
                served[:, match.tier.who] = self._solve(now, at, limits, wanted)
        return served

    def _grants(self, now: _Now, offered: FloatArray) -> FloatArray:
        """Import and export that the upper tier grants each of its participants, (2, participants of the upper tier)."""
        upper, window = self._parts[-1], now.asked[-1]
        offers = upper.tier.added(offered)
        limits = upper.limits(window, now.limits, now.elsewhere[-1])
        if self._mixed:
            limits = self._for_mixed_use(now, offered, limits)
        if np.all(offers >= _requests(window) * (1 - GRANTED)) and upper.hosts(window, limits):
            return offers
        grants = np.minimum(self._solve(now, len(self._parts) - 1, limits, offers), offers)
        return np.where(grants < offers * (1 - GRANTED), grants, offers)

    def _for_mixed_use(self, now: _Now, offered: FloatArray, limits: Limits) -> Limits:
        """The upper tier's limits, tighter by what a feeder's one power factor understates of its customers' offers."""
        upper, window = self._parts[-1], now.asked[-1]
        u = self.step.quantities(now.interval, *offered)[upper.rows] - now.elsewhere[-1]
        alone, _ = upper.step.usage(window)
        more = u - upper.step.quantities(window, *upper.tier.added(offered))
        lower, upper_limit = limits[0] - np.minimum(more, 0.0), limits[1] - np.maximum(more, 0.0)
        return np.minimum(lower, alone), np.maximum(upper_limit, alone)

    def _matches(self, now: _Now, offered: FloatArray, grants: FloatArray) -> FloatArray:
        """What every customer is served inside the grants: (2, n)."""
        tier = self._parts[-1].tier
        offers = tier.added(offered)
        share = np.where(grants < offers, grants / np.where(offers > 0, offers, 1.0), 1.0)
        served = offered * share[:, tier.participant]
        u = self.step.quantities(now.interval, *served)
        slack = self.step.network.quantities.tolerance
        again = np.any(share < 1.0, axis=0)
        again[self._part_of_row[(u > now.limits[1] + slack) | (u < now.limits[0] - slack)]] = True
        for at, match in enumerate(self._parts[:-1]):
            if again[at]:
                window, who = now.asked[at], match.tier.who
                elsewhere = u[match.rows] - match.step.quantities(window, *served[:, who])
                limits = match.limits(window, now.limits, elsewhere)
                served[:, who] = self._solve(now, at, limits, grants[:, at])
        return served

    def _solve(self, now: _Now, at: int, limits: Limits, grants: FloatArray) -> FloatArray:
        """What the mechanism gives the participants of a part within its grants, (2, participants of the part)."""
        match, window = self._parts[at], now.asked[at]
        if match.name not in self.programs:
            self.programs[match.name] = match.solver(self._solvers)
        given = {GRANT[d]: grant for d, grant in zip(DIRECTIONS, grants, strict=True)}

        def solve_program(values: Mapping[str, Any], _: str = "") -> Solution:
            solution = self.programs[match.name].solve({**values, **given}, window, *limits)
            now.solved.append(solution)
            return solution

        state = match.state(now.state, _requests(now.interval))
        cleared = self.mechanism.clear(match.step, solve_program, state, window)
        if not isinstance(cleared, Solution):
            raise InputError(f"{self.mechanism} clears to several solutions; two tiers need one")
        return np.clip([cleared[d] for d in DIRECTIONS], 0.0, _requests(window))


def _mixed(step: Step, upper: Tier) -> bool:
    """Whether customers of one LV feeder have different power factors of flexible use."""
    _, *flexible = step.case.kvar_per_kw
    _, *mean = upper.case.kvar_per_kw
    return any(np.any(np.abs(k - m[upper.participant]) > 1e-9) for k, m in zip(flexible, mean, strict=True))
