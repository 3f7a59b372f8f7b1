"""One program, solved by the first solver that gives an audited answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.errors import SolveError
from amm_opt.solve.compiled import NotCompilableError
from amm_opt.solve.declared import DeclaredProgram, check_program, check_values
from amm_opt.solve.lazy import LazyProgram
from amm_opt.solve.program import Program, Solution, Step

FloatArray = NDArray[np.float64]

DECLARED_DEFAULT = "CLARABEL"


class ProgramSolver:
    """Solves a program interval by interval.

    Linear and quadratic programs are solved in compiled form with lazy network rows, other convex programs as
    declared.

    Args:
        solvers: names to try in order; None stands for the choice by capability.

    Attributes:
        reason: why the program is not compiled, or an empty text.
    """

    def __init__(self, program: Program, step: Step, solvers: Sequence[str | None]) -> None:
        self._program, self._step, self._solvers = program, step, tuple(solvers)
        self._own = check_program(program, step)
        self._declared: DeclaredProgram | None = None
        self._lazy: LazyProgram | None = None
        self.reason = ""
        try:
            self._lazy = LazyProgram(program, step, self._own)
        except NotCompilableError as error:
            self.reason = str(error)

    def solve(self, values: Mapping[str, Any], window: Window, lower: FloatArray, upper: FloatArray) -> Solution:
        """Solve one interval.

        Args:
            values: numbers of the mechanism's own parameters.
            window: the interval, arrays of shape (n,).
            lower, upper: (m,) limits of the interval.

        Raises:
            SolveError: where every solver fails.
        """
        check_values(self._own, values)
        failures = []
        for position, name in enumerate(self._solvers):
            if self._lazy is not None:
                answer = self._lazy.solve(name, values, window, lower, upper)
            else:
                if self._declared is None:
                    self._declared = DeclaredProgram(self._program, self._step, self._own)
                answer = self._declared.solve(name or DECLARED_DEFAULT, values, window, lower, upper)
            if isinstance(answer, Solution):
                return answer if position == 0 else answer.as_fallback()
            failures.append(f"{(name or 'automatic').lower()}: {answer}")
        raise SolveError(f"interval {window.times[0]}: " + "; ".join(failures))
