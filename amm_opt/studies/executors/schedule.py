"""Which variant is run next: those of one case one after the other, so that what they have in common is made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from amm_opt.studies.variant import Plan, Row, Variant

ATTEMPTS = 2
"""So often is a variant begun whose process is lost."""
LOST = "its process was lost {count} times: it was killed, as the system does when memory runs out, or it crashed"


class Executor(Protocol):
    """Runs the variants of a plan."""

    def rows(self, plan: Plan, variants: list[Variant]) -> Iterator[Row]:
        """A row for each variant, as soon as it is there, in any order.

        Closing the iterator ends all that it has begun.
        """


class Queue:
    """Variants by case. Each worker keeps to one case as long as that has any left, and then takes the fullest."""

    def __init__(self, variants: Iterable[Variant]) -> None:
        self._left: dict[object, list[Variant]] = {}
        for variant in variants:
            self._left.setdefault(variant.case_key, []).append(variant)
        for group in self._left.values():
            group.reverse()
        self._at: dict[object, object] = {}

    def next(self, worker: object) -> Variant | None:
        """The next variant of a worker; None where none is left."""
        key = self._at.get(worker)
        if not self._left.get(key):
            self._at.pop(worker, None)
            left = {k: group for k, group in self._left.items() if group}
            if not left:
                return None
            taken = set(self._at.values())
            key = max(left, key=lambda k: (k not in taken, len(left[k])))
            self._at[worker] = key
        return self._left[key].pop()

    def ordered(self) -> Iterator[Variant]:
        """All of them for one worker."""
        while (variant := self.next(0)) is not None:
            yield variant
