"""Branches whose active power is limited by direction, as by a contract or a meter with two limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder


@dataclass(frozen=True, eq=False)
class Metered:
    """A branches with a limit of their active power, all phases of each together.

    As a limited quantity it is a fraction of the larger of the branch's two limits.

    Attributes:
        branch: (A,) the branches.
        flow: places among a model's flows, those of one branch together; ``first`` (A,) where each begins.
        import_kw, export_kw: (A,) limits away from the source and towards it; inf where there is none.
    """

    branch: IntArray
    flow: IntArray
    first: IntArray
    import_kw: FloatArray
    export_kw: FloatArray

    @classmethod
    def of(cls, feeder: Feeder, branch: IntArray) -> Metered:
        """Those of a feeder.

        Args:
            branch: (flows,) branch of each flow of the model.
        """
        limited = np.isfinite(feeder.import_limit_kw) | np.isfinite(feeder.export_limit_kw)
        order = np.argsort(branch, kind="stable")
        flow = order[limited[branch[order]]]
        found, first = np.unique(branch[flow], return_index=True)
        return cls(found, flow, first, feeder.import_limit_kw[found], feeder.export_limit_kw[found])

    def __len__(self) -> int:
        return len(self.branch)

    @property
    def base_kw(self) -> FloatArray:
        """(A,) the larger limit of each."""
        both = np.stack([self.import_kw, self.export_kw])
        return np.asarray(np.max(both, axis=0, where=np.isfinite(both), initial=0.0))

    @property
    def of_flow(self) -> IntArray:
        """Number of the metered branch of every place in ``flow``."""
        return np.repeat(np.arange(len(self)), np.diff(np.append(self.first, len(self.flow))))

    def power_kw(self, p_flow_kw: FloatArray) -> FloatArray:
        """(..., A) active power away from the source, of flows (..., flows)."""
        if len(self) == 0:
            return np.zeros((*p_flow_kw.shape[:-1], 0))
        return np.asarray(np.add.reduceat(p_flow_kw[..., self.flow], self.first, axis=-1))

    def loading(self, p_flow_kw: FloatArray) -> FloatArray:
        """(..., A) as a fraction of the limit of its direction."""
        power = self.power_kw(p_flow_kw)
        return np.maximum(power / self.import_kw, -power / self.export_kw)

    def matrix(self, flows: int) -> sp.csr_array:
        """(A, flows) that makes limited quantities of flows."""
        at = (self.of_flow, self.flow)
        return sp.csr_array((1.0 / self.base_kw[self.of_flow], at), shape=(len(self), flows))
