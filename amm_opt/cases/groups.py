"""Participants in groups: all together, by LV feeder, or each alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray

PER = ("system", "feeder", "own_feeder", "participant")
"""What :meth:`amm_opt.cases.Case.groups` knows."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Everybody's group.

    Attributes:
        of: (n,) number of each participant's group.
        count: how many groups there are; some may be empty.
    """

    of: IntArray
    count: int

    @cached_property
    def members(self) -> sp.csr_array:
        """(count, n) matrix of ones that adds participants up in their group."""
        n = len(self.of)
        return sp.csr_array((np.ones(n), (self.of, np.arange(n))), shape=(self.count, n))

    @cached_property
    def spread(self) -> sp.csr_array:
        """(n, count): its transpose, which gives everybody what the group has."""
        return sp.csr_array(self.members.T)

    def smallest(self, values: FloatArray) -> FloatArray:
        """The smallest value in each group, (..., count) of (..., n); infinite in empty ones."""
        order, first, present = self._sorted
        least = np.full((*values.shape[:-1], self.count), np.inf)
        if len(order):
            least[..., present] = np.minimum.reduceat(values[..., order], first, axis=-1)
        return least

    @cached_property
    def _sorted(self) -> tuple[IntArray, IntArray, IntArray]:
        """Participants by group, where each group that has any begins among them, and which groups these are."""
        order = np.argsort(self.of, kind="stable")
        present, first = np.unique(self.of[order], return_index=True)
        return order, first, present
