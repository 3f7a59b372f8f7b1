"""What a check is, and how several are run: every one that fails is reported, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from amm_opt.errors import SolveError


@dataclass(frozen=True)
class Check:
    """One promise, and the function that holds a subject to it: it raises AssertionError where the promise is broken.

    ``name`` is a sentence; pytest takes it as an id.
    """

    name: str
    run: Callable[[], None]

    def __str__(self) -> str:
        return self.name


class CheckError(AssertionError):
    """Some checks failed; ``failures`` holds the reason of each by its name."""

    def __init__(self, subject: str, failures: dict[str, str], passed: int) -> None:
        self.failures = failures
        listing = "".join(f"\n  - {name}: {reason}" for name, reason in failures.items())
        super().__init__(f"{subject}: {len(failures)} of {len(failures) + passed} checks failed{listing}")


def run_all(subject: str, checks: Iterable[Check]) -> None:
    """Run every check.

    Raises:
        CheckError: naming all that failed.
        InputError: where the subject refuses what the checks ask of it.
    """
    failures, passed = {}, 0
    for check in checks:
        try:
            check.run()
        except (AssertionError, SolveError) as error:
            failures[check.name] = str(error).strip() or type(error).__name__
        else:
            passed += 1
    if failures:
        raise CheckError(subject, failures, passed)


def claim(holds: object, reason: str) -> None:
    """Raise an AssertionError with the reason unless ``holds``; unlike ``assert`` also under ``python -O``."""
    if not holds:
        raise AssertionError(reason)
