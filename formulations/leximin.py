r"""Leximin service: raise the lowest served ratio as far as the network hosts, then the next lowest, and so on.

Levels are the served ratios x_i / r_i and y_i / g_i of everybody who asks, import and export together, so that what is
imported may make room for exports. Their lexicographic maximum over all hosted services is unique; it is the limit of
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
import scipy.sparse as sp

from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Leximin as LeximinObjective
from amm_opt.program import Program, Solution
from formulations.parts.matching import TIE, matching, matching_values

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
        if self.per not in PER:
            raise InputError(f"{self.name}: per = {self.per!r}; valid choices: {', '.join(PER)}")

    def program(self, grid: Grid) -> Program | Mapping[str, Program]:
        n, requests = grid.n, (grid.import_request_kw, grid.export_request_kw)
        if self.per == "participant":
            level = cp.Variable(2 * n, name="level")
            x, y = cp.multiply(requests[0], level[:n]), cp.multiply(requests[1], level[n:])
            hosted = grid.injection(import_kw=x, export_kw=y)
            limits = [level >= 0, level <= 1]
            return Program(LeximinObjective(level), limits, [hosted], {"import": x, "export": y})
        share, members = matching(grid), _members(grid)
        level = cp.Variable(2 * members.shape[0], name="level")
        total = cp.hstack([members @ share.values["import"], members @ share.values["export"]])
        asked = cp.hstack([members @ request for request in requests])
        enough = [total >= cp.Parameter(level.size, nonneg=True, name="least_kw")]
        reached = [total >= cp.multiply(asked, level), level >= 0, level <= 1]
        return {
            "levels": replace(
                share,
                objective=LeximinObjective(level),
                constraints=[*share.constraints, *reached],
                values={"level": level},
            ),
            "share": replace(share, constraints=[*share.constraints, *enough]),
        }

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        if self.per == "participant":
            return solve({})
        request = np.stack([requests.import_request_kw, requests.export_request_kw])
        least = np.maximum(solve({}, "levels")["level"] - GIVE, 0.0) * (request @ _members(grid).T).ravel()
        asked = requested(request)
        curvature = np.where(asked, TIE / np.where(asked, request, 1.0), 0.0)
        gain = np.where(asked, 1.0 + TIE, 0.0)
        return solve({**matching_values(gain, curvature), "least_kw": least}, "share")


def _members(grid: Grid) -> sp.csr_array:
    """(groups, n) who belongs to which LV feeder; the last group is the upper tier."""
    feeder, count = grid.case.lv_feeder, len(grid.case.feeder.lv_feeders) + 1
    group = np.where(feeder >= 0, feeder, count - 1)
    return sp.csr_array((np.ones(grid.n), (group, np.arange(grid.n))), shape=(count, grid.n))
