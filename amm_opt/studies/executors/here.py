"""Variants in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from amm_opt.studies.executors.schedule import Queue
from amm_opt.studies.variant import Plan, Row, Variant, Workplace


class Here:
    """Runs variants in this process.

    Args:
        workplace: where the plan was checked.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def rows(self, plan: Plan, variants: list[Variant]) -> Iterator[Row]:
        """See ``Executor``."""
        self._workplace.plan = plan
        for variant in Queue(variants).ordered():
            yield self._workplace.row(variant)
