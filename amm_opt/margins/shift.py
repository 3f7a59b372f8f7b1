"""How far every limit of a network model shifts, interval by interval: one product of matrices."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.margins.errors import SEEN, LoadErrors
from amm_opt.margins.margin import MOST_DRAWS, Margin, draws_needed
from amm_opt.network import NetworkModel

Limits = tuple[FloatArray, FloatArray]


class Shift:
    """The margin of one case on one linear network model.

    Raises:
        InputError: where the margin's arrays do not fit the case, or the case is too short for ``persistence``.
    """

    def __init__(self, margin: Margin, case: Case, network: NetworkModel) -> None:
        self._margin, self._network = margin, network
        limits = len(network.quantities.lower)
        self._draws = SEEN
        if margin.kind == "scenario":
            needed = draws_needed(margin.eps, 1.0 - margin.confidence, limits if margin.joint else 1)
            if needed > MOST_DRAWS:
                raise InputError(
                    f"{margin} needs {needed:,} draws, and {MOST_DRAWS:,} are the most: give a larger eps or a smaller"
                    " confidence",
                    subject="margin",
                )
            self._draws = needed if margin.draws is None else margin.draws
        self.errors = LoadErrors(margin, case, network, self._draws)
        have = self._draws if self.errors.samples is None else len(self.errors.samples.kw)
        if margin.kind == "scenario" and have < needed:
            raise InputError(f"{have} draws are too few for {margin}, which needs {needed}", subject="margin")
        self._factor = margin.scale * margin.factor(limits)

    def of(self, requests: Requests) -> Limits:
        """(..., m) by how much lower limits rise and upper ones fall, both at least 0."""
        if self._margin.kind == "scenario":
            return self._by_draws(requests)
        if self._margin.kind == "box":
            shift = self._factor * self.errors.largest(requests)
            return shift, shift
        spread, mean = self._factor * self.errors.deviation(requests), self._margin.scale * self.errors.mean
        return np.maximum(spread - mean, 0.0), np.maximum(spread + mean, 0.0)

    def _by_draws(self, requests: Requests) -> Limits:
        if self.errors.drawn_alike:
            low, high = self._alike
            shape = (*requests.inflexible_kw.shape[:-1], len(low))
            return np.broadcast_to(low, shape), np.broadcast_to(high, shape)
        load_kw, kvar = requests.inflexible_kw, self.errors.series_kvar(requests)
        flat = (load_kw.reshape(-1, load_kw.shape[-1]), kvar.reshape(-1, load_kw.shape[-1]))
        each = [self._worst(*both) for both in zip(*flat, strict=True)]
        low, high = (np.stack(side).reshape(*load_kw.shape[:-1], -1) for side in zip(*each, strict=True))
        return low, high

    @cached_property
    def _alike(self) -> Limits:
        return self._worst(np.zeros(0), np.zeros(0))

    def _worst(self, load_kw: FloatArray, kvar: FloatArray) -> Limits:
        """(m,) each: the worst of all draws at the lower and at the upper end."""
        m = len(self._network.quantities.lower)
        low, high = np.zeros(m), np.zeros(m)
        for use in self.errors.drawn(load_kw, kvar, self._draws, self._margin.seed):
            low, high = np.maximum(low, -use.min(axis=0)), np.maximum(high, use.max(axis=0))
        return self._factor * low, self._factor * high
