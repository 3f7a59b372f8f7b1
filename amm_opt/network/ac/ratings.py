"""What the rating of a branch limits: the current of lines and switches, the power of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder

Flow = tuple[FloatArray, FloatArray]

LIMITED_BY_CURRENT = ("line", "switch")


@dataclass(frozen=True, eq=False)
class RatedEnds:
    """How the flows at both ends of each branch are compared with its rating.

    A line or a switch has its limit in amperes. Its rating in kVA is that current at nominal voltage, so that its flow
    is divided by the voltage at that end; both ends count. A transformer is limited by its apparent power. Of a
    delta-wye transformer the phases of the wye winding count: those are the phases that linear models load, and each
    carries the current of one winding, whereas a line of the delta carries that of two.

    Attributes:
        by_current: (nodes,) branches with a limit in amperes.
        wye_below, wye_above: (nodes,) delta-wye transformers with their wye downstream, or upstream.
    """

    by_current: BoolArray
    wye_below: BoolArray
    wye_above: BoolArray

    @classmethod
    def of(cls, feeder: Feeder, bus: IntArray) -> Self:
        """Of the branches that feed these buses, one for each node."""
        kinds, groups = np.array(feeder.branch_kind), np.array(feeder.vector_group)
        delta, turned = np.char.startswith(groups, "D"), np.char.endswith(groups, "reversed")
        return cls(np.isin(kinds, LIMITED_BY_CURRENT)[bus], (delta & ~turned)[bus], (delta & turned)[bus])

    def scaled(self, v_pu: FloatArray, p_kw: FloatArray, q_kvar: FloatArray) -> Flow:
        """Flows (..., nodes) at one end, those that are limited by current at nominal voltage."""
        v = np.where(self.by_current, v_pu, 1.0)
        return p_kw / v, q_kvar / v

    def chosen(self, sent: Flow, received: Flow) -> tuple[Flow, Flow]:
        """The flows that count at the upstream and the downstream end."""
        p_above, q_above = (np.where(self.wye_below, b, a) for a, b in zip(sent, received, strict=True))
        p_below, q_below = (np.where(self.wye_above, a, b) for a, b in zip(sent, received, strict=True))
        return (p_above, q_above), (p_below, q_below)


def upstream_nodes(feeder: Feeder, bus: IntArray, phase: IntArray) -> IntArray:
    """(nodes,) node of the same phase at the upstream end of each node's branch; itself at the source."""
    place = np.full((3, feeder.n_buses), -1)
    place[phase, bus] = np.arange(len(bus))
    above = place[phase, np.maximum(feeder.parent[bus], 0)]
    return np.asarray(np.where(above < 0, place[phase, bus], above))
