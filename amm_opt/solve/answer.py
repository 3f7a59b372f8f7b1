"""No answer: a program that has no solution, or none that was found, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amm_opt.errors import one_line

FAILED, INFEASIBLE, UNBOUNDED = "failed", "infeasible", "unbounded"
LONGEST = 200
"""What is said of an exception has at most so many characters."""


class NoAnswerError(Exception):
    """There is no solution, or none was found.

    Attributes:
        reason: why, in words.
        status: ``infeasible`` or ``unbounded`` where that is proved, else ``failed``.
    """

    def __init__(self, reason: str, status: str = FAILED) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


@contextmanager
def no_answer_from_errors() -> Iterator[None]:
    """Raise NoAnswerError for whatever is raised, but for an interrupt by the user.

    Solvers in Rust panic with exceptions that are no ``Exception``, and some libraries leave by ``SystemExit``.
    """
    try:
        yield
    except (KeyboardInterrupt, NoAnswerError):
        raise
    except BaseException as error:
        raise NoAnswerError(one_line(error, LONGEST)) from error
