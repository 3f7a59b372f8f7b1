"""What every way to solve a program takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.program import Solution
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.watch import Watch

Solve = Callable[[Mapping[str, Any]], Solution]
"""Solves a program, given the values of its parameters, or raises NoAnswerError."""
RISING, HELD, REACHED, LEVEL, AT_LEAST = (f"leximin_{what}" for what in ("rising", "held", "t", "level", "at_least"))
"""Names in the stage of a leximin program: ``level >= rising * t + held``."""


@dataclass(frozen=True, eq=False)
class Task:
    """One interval to solve, or one window of a program over a horizon.

    Attributes:
        values: numbers of the mechanism's own parameters.
        requests: of the interval, arrays of shape (n,), or of the window, (H, n).
        lower, upper: (m,) limits of the interval; of no length for a window, whose limits are the grid's.
        time_limit_s: seconds that one call of a solver may take.
        watch: is told of every call.
    """

    values: Mapping[str, Any]
    requests: Requests
    lower: FloatArray
    upper: FloatArray
    time_limit_s: float = np.inf
    watch: Watch | None = None


class Route(Protocol):
    """A way to solve one program on one network.

    Attributes:
        needs: what a solver must be able to solve (``lp``, ``qp``, ``socp``, ``exp``).
        reason: why the program is not solved in compiled form with lazy network rows, or an empty text.
    """

    needs: frozenset[str]
    reason: str

    def reset(self) -> None:
        """What follows depends on nothing solved before."""

    def solve(self, solver: Choice, task: Task) -> Solution:
        """The audited solution; None stands for the solver that suits the route.

        Raises:
            NoAnswerError: where there is none.
        """
