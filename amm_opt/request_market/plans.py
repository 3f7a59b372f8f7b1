"""Two plans of arXiv 2407.20814 beside the market: most energy, or most revenue, by mixed-integer programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError, SolveError
from amm_opt.fields import Checked, checked_kind, wrong_choices
from amm_opt.io.output import unasked
from amm_opt.request_market.outcome import RequestRun
from amm_opt.request_market.problem import RequestProblem
from amm_opt.request_market.requests import FlexibleRequest

OBJECTIVES = ("volume", "revenue")
DAY_SLOTS = 48


@dataclass(frozen=True)
class BookingPlan(Checked):
    """Accept the requests with the most energy, or with the most energy times highest price.

    For each day one program with HiGHS: binary x_rs, request r begins at slot s; sum_s x_rs <= 1; power within what
    supply leaves in every slot; maximise sum x E or sum x E maxprice. A request belongs to the day in which its window
    begins (our reading); what it books beyond midnight is not there for the next day.

    Args:
        objective: ``volume`` or ``revenue``.
        mip_gap: relative gap at which a day counts as solved.
    """

    name: ClassVar[str] = "booking_plan"

    objective: str = "volume"
    mip_gap: float = 1e-4

    def __post_init__(self) -> None:
        problems = wrong_choices(self, objective=OBJECTIVES)
        if not 0 <= self.mip_gap < 1:
            problems.append(f"mip_gap = {self.mip_gap} must be in [0, 1)")
        if problems:
            raise InputError(problems, subject=self.name)

    def run(self, problem: RequestProblem) -> RequestRun:
        """Plan day by day.

        Raises:
            SolveError: where HiGHS finds no plan.
        """
        checked_kind(problem, RequestProblem, "problem")
        left, start = problem.available_kw.copy(), {}
        days: dict[int, list[int]] = {}
        for place, request in enumerate(problem.requests):
            days.setdefault(request.earliest // DAY_SLOTS, []).append(place)
        for day in sorted(days):
            requests = [problem.requests[p] for p in days[day]]
            for k, first in self._planned(requests, left).items():
                request = requests[k]
                start[days[day][k]] = first
                left[first : first + request.slots] -= request.power_kw
            left = np.maximum(left, 0.0)
        return RequestRun(self.objective, problem, start, {})

    def _planned(self, requests: list[FlexibleRequest], left_kw: FloatArray) -> dict[int, int]:
        """First slot of each accepted request, by its place."""
        choices = [
            (k, s)
            for k, r in enumerate(requests)
            for s in range(r.earliest, r.latest - r.slots + 1)
            if left_kw[s : s + r.slots].min() >= r.power_kw
        ]
        if not choices:
            return {}
        who = np.array([k for k, _ in choices])
        gain = np.array([r.energy_kwh * (r.max_price if self.objective == "revenue" else 1.0) for r in requests])[who]
        columns = np.arange(len(choices))
        once = sparse.csr_array((np.ones(len(choices)), (who, columns)), shape=(len(requests), len(choices)))
        rows = np.concatenate([np.arange(s, s + requests[k].slots) for k, s in choices])
        lengths = [requests[k].slots for k, _ in choices]
        power = np.repeat([requests[k].power_kw for k, _ in choices], lengths)
        use = sparse.csr_array((power, (rows, np.repeat(columns, lengths))), shape=(len(left_kw), len(choices)))
        scale = max(float(gain.max()), 1e-12)
        with unasked():
            found = milp(
                -gain / scale,
                integrality=np.ones(len(choices)),
                bounds=Bounds(0, 1),
                constraints=[LinearConstraint(once, ub=1.0), LinearConstraint(use, ub=left_kw)],
                options={"mip_rel_gap": self.mip_gap},
            )
        if found.x is None:
            raise SolveError(f"{self.name}: HiGHS finds no plan: {found.message}")
        return {choices[c][0]: choices[c][1] for c in np.flatnonzero(found.x > 0.5).tolist()}
