"""A linear network model without the buses whose voltages follow from those of others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.base import Answering, NetworkModel
from amm_opt.network.series.skeleton import skeleton_of


class Merged(Answering):
    """Another model's limited quantities as far as none of them follows from the others.

    Between two kept buses i and j the merged ones pass on one flow through impedances in proportion, so their squared
    voltages are w_k = (1 - t) w_i + t w_j with t from 0 to 1, and a band that i and j keep is kept by k. The flow has
    to keep the smallest of the ratings. A dead end has the voltage of the bus that it hangs on. Nodes, and
    participants' places among them, are those of the kept buses; ``bus`` and ``branch`` count as in the whole feeder.

    Where inflexible load alone breaks a limit at i and not at j, it is relaxed at i, and on the way to j it is not: a
    bus between them could be worse than both demand. Then j is held to what inflexible load leaves it. That is on
    the safe side; :meth:`crossed` names the buses that have to be kept for the exact limits.

    Args:
        whole: a model with ``merges``.
        used: buses at which participants are.
        apart: buses that are kept in any case.
    """

    def __init__(self, whole: NetworkModel, used: IntArray, apart: IntArray | None = None) -> None:
        super().__init__(whole.feeder)
        self.whole, self.name = whole, whole.name
        none = np.empty(0, dtype=np.intp)
        self._kept = skeleton_of(whole.feeder, used, none if apart is None else apart)
        self._inner = type(whole)(self._kept.feeder)  # what merges takes a feeder and nothing else
        self.phase = self._inner.phase
        self.bus = self._kept.bus[self._inner.bus]
        self.branch = self._kept.branch[self._inner.branch]

    @property
    def of_nodes(self) -> Feeder:
        """The feeder of the kept buses."""
        return self._kept.feeder

    def incidence(self, bus: IntArray, phases: tuple[str, ...]) -> sp.csr_array:
        """(n_nodes, n) share of n participants' power at each node; ``bus`` are kept buses of the whole feeder."""
        return self._inner.incidence(np.searchsorted(self._kept.bus, bus), phases)

    def relaxed(self, lower: FloatArray, upper: FloatArray, inflexible: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As for other models; and what stands at the other end of merged buses is no worse than without flexible use.

        See the class.
        """
        low, high = super().relaxed(lower, upper, inflexible)
        for limit, broken in ((low, inflexible < lower), (high, inflexible > upper)):
            for at, there in self._crossings(broken):
                place = (*at[:-1], there[at[-1]])
                limit[place] = inflexible[place]
        return low, high

    def crossed(self, lower: FloatArray, upper: FloatArray, inflexible: FloatArray) -> IntArray:
        """Merged buses on whose way a limit begins to be broken by inflexible load alone, in any interval.

        Args:
            lower, upper, inflexible: as in :meth:`relaxed`.
        """
        found = {
            int(chain)
            for broken in (inflexible < lower, inflexible > upper)
            for at, _ in self._crossings(broken)
            for chain in np.unique(self._ends[2][at[-1]])
        }
        between = [self._kept.between[chain] for chain in sorted(found)]
        return np.concatenate([np.empty(0, dtype=np.intp), *between])

    def _crossings(self, broken: BoolArray) -> Iterator[tuple[tuple[IntArray, ...], IntArray]]:
        """Where one end of merged buses is broken and the other is not: places (..., pair), and the other ends."""
        above, below, _ = self._ends
        for here, there in ((above, below), (below, above)):
            yield np.nonzero(broken[..., here] & ~broken[..., there]), there

    @cached_property
    def _ends(self) -> tuple[IntArray, IntArray, IntArray]:
        """(pairs,) each: quantities of the voltages at both ends of merged buses, one pair for each phase, and the bus
        of the lower end."""
        feeder, limited = self._kept.feeder, np.full(self.n_nodes, -1)
        limited[self.limits.node] = np.arange(len(self.limits.node))
        end = np.array([b in self._kept.between for b in self._kept.bus.tolist()])[self._inner.bus]
        phase = np.zeros(self.n_nodes, dtype=np.intp) if self.phase is None else self.phase
        place = np.full((int(phase.max()) + 1, feeder.n_buses), -1)
        place[phase, self._inner.bus] = np.arange(self.n_nodes)
        low = np.flatnonzero(end)
        high = place[phase[low], feeder.parent[self._inner.bus[low]]]
        both = (limited[low] >= 0) & (limited[high] >= 0)
        return limited[high[both]], limited[low[both]], self.bus[low[both]]
