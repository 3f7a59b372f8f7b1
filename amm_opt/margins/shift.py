"""How far every limit of a network model shifts, interval by interval: one product of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.margins.margin import MOST_DRAWS, Margin, draws_needed
from amm_opt.network import NetworkModel

Limits = tuple[FloatArray, FloatArray]
ROWS_AT_ONCE = 256
DENSE = 0.2
"""Rows with more than this share of entries are kept as a full matrix, which is faster to multiply."""
SEEN = 1000
"""So many intervals say how load differs from the day before; of a scenario margin as many as it needs."""
DRAWN_AT_ONCE = 64
REACH = 6.0


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
        have = self._draws if self.errors.samples is None else len(self.errors.samples)
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
        load_kw = requests.inflexible_kw
        each = [self._worst(load) for load in load_kw.reshape(-1, load_kw.shape[-1])]
        low, high = (np.stack(side).reshape(*load_kw.shape[:-1], -1) for side in zip(*each, strict=True))
        return low, high

    @cached_property
    def _alike(self) -> Limits:
        return self._worst(np.zeros(0))

    def _worst(self, load_kw: FloatArray) -> Limits:
        """(m,) each: the worst of all draws at the lower and at the upper end."""
        m = len(self._network.quantities.lower)
        low, high = np.zeros(m), np.zeros(m)
        for use in self.errors.drawn(load_kw, self._draws, self._margin.seed):
            low, high = np.maximum(low, -use.min(axis=0)), np.maximum(high, use.max(axis=0))
        return self._factor * low, self._factor * high


class LoadErrors:
    """Errors of inflexible load, and what limited quantities make of them.

    Reactive power follows active power by the power factor; what has a series of its own has no errors.

    Attributes:
        samples: (K, n) errors in kW that were seen; None where errors are drawn.
    """

    def __init__(self, margin: Margin, case: Case, network: NetworkModel, seen: int = SEEN) -> None:
        self._margin, self._case, self._network = margin, case, network
        for name in ("covariance", "samples"):
            given = getattr(margin, name)
            if given is not None and given.shape[1] != case.n_participants:
                raise InputError(
                    f"{name} of shape {given.shape} is not of the {case.n_participants} participants of {case.name}",
                    subject=f"margin {margin.kind}",
                )
        self.samples: FloatArray | None = margin.samples
        if margin.errors == "persistence" and margin.samples is None and margin.covariance is None:
            self.samples = _against_the_day_before(case, seen, margin.seed)

    @property
    def drawn_alike(self) -> bool:
        """Whether draws are the same in every interval."""
        return self.samples is not None or self._margin.covariance is not None

    def use(self, errors_kw: FloatArray) -> FloatArray:
        """(K, m) change of every limited quantity by (K, n) more load."""
        zero = np.zeros(self._case.n_participants)
        incidence = self._network.incidence(self._case.bus, self._case.phases)
        nothing, more = (
            self._network.evaluate(*self._case.bus_injections(kw, 0.0, 0.0, incidence, self._case.inflexible_kvar))
            for kw in (zero, errors_kw)
        )
        return np.asarray(more - nothing)

    def deviation(self, requests: Requests) -> FloatArray:
        """(..., m) standard deviations."""
        if not self.drawn_alike:
            return np.sqrt(self._squares.times((self._margin.sigma * requests.inflexible_kw) ** 2))
        return np.broadcast_to(self._constant, (*requests.inflexible_kw.shape[:-1], len(self._constant)))

    @cached_property
    def mean(self) -> FloatArray:
        """(m,) what errors that were seen make on average; nothing of others, which are as often up as down."""
        seen = self._margin.samples
        return np.zeros(len(self._network.quantities.lower)) if seen is None else self.use(seen).mean(axis=0)

    def largest(self, requests: Requests) -> FloatArray:
        """(..., m) the most that errors within a box can make."""
        if self.samples is None:
            return self._sizes.times(self._margin.sigma * np.abs(requests.inflexible_kw))
        most = self._sizes.times(np.abs(self.samples).max(axis=0))
        return np.broadcast_to(most, (*requests.inflexible_kw.shape[:-1], len(most)))

    def reach(self, requests: Requests) -> FloatArray:
        """(..., m) how far draws can move a quantity: the most that was seen, or ``REACH`` standard deviations."""
        if self.samples is None:
            return REACH * self.deviation(requests)
        return np.broadcast_to(self._most_seen, (*requests.inflexible_kw.shape[:-1], len(self._most_seen)))

    @cached_property
    def _most_seen(self) -> FloatArray:
        assert self.samples is not None
        parts = (self.samples[k : k + DRAWN_AT_ONCE] for k in range(0, len(self.samples), DRAWN_AT_ONCE))
        return np.asarray(np.max([np.abs(self.use(part)).max(axis=0) for part in parts], axis=0))

    def drawn(self, load_kw: FloatArray, count: int, seed: int) -> Iterator[FloatArray]:
        """What draws of one interval, with (n,) load, make of every quantity: (some, m) at a time."""
        if self.samples is not None:
            yield from (
                self.use(self.samples[k : k + DRAWN_AT_ONCE]) for k in range(0, len(self.samples), DRAWN_AT_ONCE)
            )
            return
        rng = np.random.default_rng(seed)
        for first in range(0, count, DRAWN_AT_ONCE):
            normal = rng.standard_normal((min(DRAWN_AT_ONCE, count - first), self._case.n_participants))
            yield self.use(self.realised(normal, load_kw))

    def sampled(self, rng: np.random.Generator, count: int, load_kw: FloatArray) -> FloatArray:
        """(K, n) errors in kW of an interval with (n,) load, at random."""
        if self.samples is not None:
            return np.asarray(self.samples[rng.integers(len(self.samples), size=count)])
        return self.realised(rng.standard_normal((count, self._case.n_participants)), load_kw)

    def at(self, rows: IntArray) -> FloatArray:
        """(K, n) change of these limited quantities by a kW more of everybody's load."""
        known = self._at
        if new := [k for k in rows.tolist() if k not in known]:
            known.update(zip(new, _answers(self._network, self._case, np.array(new)), strict=True))
        return np.array([known[k] for k in rows.tolist()]).reshape(len(rows), self._case.n_participants)

    @cached_property
    def _at(self) -> dict[int, FloatArray]:
        return {}

    def realised(self, normal: FloatArray, load_kw: FloatArray) -> FloatArray:
        """(K, n) errors from as many standard normal numbers, where load is (n,)."""
        if self._margin.covariance is None:
            return np.asarray(normal * self._margin.sigma * np.abs(load_kw))
        return np.asarray(normal @ self._root.T)

    @cached_property
    def _constant(self) -> FloatArray:
        """(m,) standard deviations by samples or a covariance, which no interval changes."""
        if self.samples is not None:
            return np.asarray(self.use(self.samples - self.samples.mean(axis=0)).std(axis=0))
        return np.asarray(np.sqrt((self.use(self._root.T) ** 2).sum(axis=0)))

    @cached_property
    def _root(self) -> FloatArray:
        """(n, n) a root R of the covariance, R R' = S."""
        values, vectors = np.linalg.eigh(self._margin.covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    @cached_property
    def _squares(self) -> _Rows:
        return _Rows(self._network, self._case, squared=True)

    @cached_property
    def _sizes(self) -> _Rows:
        return _Rows(self._network, self._case, squared=False)


def _answers(network: NetworkModel, case: Case, rows: IntArray) -> FloatArray:
    """(K, n) change of limited quantities by a kW more of everybody's load and its reactive power."""
    a_p, a_q, _ = network.rows(rows)
    incidence = network.incidence(case.bus, case.phases)
    return -np.asarray(a_p @ incidence + (a_q @ incidence) * case.kvar_per_kw[0])


class _Rows:
    """(m, n) how every limited quantity answers to a kW of everybody's load, without sign, or squared."""

    def __init__(self, network: NetworkModel, case: Case, *, squared: bool) -> None:
        self._m = len(network.quantities.lower)
        places: tuple[list[IntArray], list[IntArray]] = ([], [])
        full, sparse = [np.zeros((0, case.n_participants))], [sp.csr_array((0, case.n_participants))]
        together = np.argsort(network.quantities.element, kind="stable")  # what limits one branch is found faster so
        for first in range(0, self._m, ROWS_AT_ONCE):
            index = together[first : first + ROWS_AT_ONCE]
            row = np.abs(_answers(network, case, index))
            row = row**2 if squared else row
            many = np.count_nonzero(row, axis=1) > DENSE * row.shape[1]
            places[0].append(index[many])
            places[1].append(index[~many])
            full.append(row[many])
            sparse.append(sp.csr_array(row[~many]))
        self._places = [np.concatenate(some) for some in places]
        self._matrices = np.concatenate(full), sp.csr_array(sp.vstack(sparse))

    def times(self, load: FloatArray) -> FloatArray:
        """(..., m) of (..., n)."""
        out = np.zeros((*load.shape[:-1], self._m))
        for at, matrix in zip(self._places, self._matrices, strict=True):
            out[..., at] = (matrix @ load.T).T
        return out


def _against_the_day_before(case: Case, count: int, seed: int) -> FloatArray:
    """(K, n) what inflexible load was more than 24 hours before, of ``count`` intervals spread over the case.

    Raises:
        InputError: where the case is not two days long, or a scenario margin needs more than it has.
    """
    day = round(24 / case.dt_h)
    if case.n_steps < 2 * day:
        raise InputError(f"errors = persistence needs two days, and {case.name} has {case.n_steps} intervals")
    chosen = np.arange(day, case.n_steps)
    if len(chosen) > count:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, count, replace=False))
    found = []
    for k in chosen.tolist():
        now, before = (case.requests(t, t + 1).inflexible_kw[0] for t in (k, k - day))
        found.append(now - before)
    return np.array(found)
