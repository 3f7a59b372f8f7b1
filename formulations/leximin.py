r"""Leximin service: raise the lowest served ratio as far as is feasible, then the next lowest, and so on.

Levels are the served ratios x_i / r_i and y_i / g_i of everybody who asks, import and export together, so that what is
imported may make room for exports. Their lexicographic maximum over all feasible services is unique; it is the limit of
alpha-fairness as alpha grows (J. Mo and J. Walrand 2000, doi 10.1109/90.879343). The engine finds it by progressive
filling (``amm_opt.Leximin``). A participant who cannot be served stays at 0 and holds nobody else back.

``per="feeder"``: the levels are the served ratios of whole LV feeders, sum x / sum r per direction (customers of the
upper tier form one more group); then the largest service that leaves every level at least L - 1e-6 (our reading).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Leximin as LeximinObjective
from amm_opt.program import Program, Solution
from formulations.parts.matching import TIE, matching, matching_values, per_request

PER = ("participant", "feeder")
GIVE = 1e-6
"""By how much a level may be missed for the sake of the total."""


@dataclass(frozen=True)
class Leximin(Mechanism[NoState]):
    """Lexicographic max-min of the served ratios in each interval, both directions together.

    Args:
        per: whose served ratio is a level: ``participant`` or ``feeder``.
    """

    name: ClassVar[str] = "leximin"
    full_service_optimal: ClassVar[bool] = True

    per: str = "participant"

    def __post_init__(self) -> None:
        if problems := wrong_choices(self, per=PER):
            raise InputError(problems, subject=self.name)

    def program(self, grid: Grid) -> Program | Mapping[str, Program]:
        if self.per == "feeder":
            return self._of_feeders(grid)
        level = cp.Variable(2 * grid.n, name="level")
        x, y = (
            cp.multiply(grid.import_request_kw, level[: grid.n]),
            cp.multiply(grid.export_request_kw, level[grid.n :]),
        )
        injection = grid.injection(import_kw=x, export_kw=y)
        return Program(LeximinObjective(level), [level >= 0, level <= 1], [injection], {"import": x, "export": y})

    def _of_feeders(self, grid: Grid) -> Mapping[str, Program]:
        """Levels first, then the largest service that reaches them."""
        share, members = matching(grid), grid.case.groups("feeder").members
        level = cp.Variable(2 * members.shape[0], name="level")
        total = cp.hstack([members @ share.values[d] for d in DIRECTIONS])
        asked = cp.hstack([members @ grid.request_kw(d) for d in DIRECTIONS])
        reached = [total >= cp.multiply(asked, level), level >= 0, level <= 1]
        enough = [total >= cp.Parameter(level.size, nonneg=True, name="floor_kw")]
        levels = Program(LeximinObjective(level), [*share.constraints, *reached], share.injections, {"level": level})
        return {"levels": levels, "share": replace(share, constraints=[*share.constraints, *enough])}

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        if self.per == "participant":
            return solve({})
        request, members = requests.both_kw, grid.case.groups("feeder").members
        floor = np.maximum(solve({}, "levels")["level"] - GIVE, 0.0) * (request @ members.T).ravel()
        gain = np.where(requested(request), 1.0 + TIE, 0.0)
        return solve({**matching_values(gain, per_request(TIE, request)), "floor_kw": floor}, "share")
