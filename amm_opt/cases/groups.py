"""Participants in groups: all together, by LV feeder, or each alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import IntArray

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
