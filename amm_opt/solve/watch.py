"""What is noted of solvers while a run goes on: time, iterations, and how good their answers are as they give them."""

from __future__ import annotations

from typing import Any, Protocol


class Watch(Protocol):
    """Is told of every call of a solver; what it does is no part of the solver's time."""

    def called(self, problem: Any, solver: Any, point: Any, seconds: float) -> None:
        """A backend was called.

        Args:
            problem: the ``Reduced`` problem that it got.
            solver: which; None for who suits the problem.
            point: its answer, a ``Point``; None where there was none.
        """

    def solved(self, start: int, solution: Any) -> None:
        """A program was solved in the interval, or in the window that begins with it."""
