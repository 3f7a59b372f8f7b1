"""Errors of inflexible load, active and reactive, and what limited quantities make of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.case import kvar_ratio
from amm_opt.errors import InputError
from amm_opt.margins.margin import Margin
from amm_opt.network import NetworkModel

ROWS_AT_ONCE = 256
DENSE = 0.2
"""Rows with more than this share of entries are kept as a full matrix, which is faster to multiply."""
SEEN = 1000
"""So many intervals say how load differs from the day before; of a scenario margin as many as it needs."""
DRAWN_AT_ONCE = 64
REACH = 6.0


class Drawn(NamedTuple):
    """(K, n) errors in kW, and in kvar what they have beside what goes with kW by a power factor."""

    kw: FloatArray
    kvar: FloatArray

    def parts(self) -> Iterator[Drawn]:
        """Some at a time."""
        for k in range(0, len(self.kw), DRAWN_AT_ONCE):
            yield Drawn(self.kw[k : k + DRAWN_AT_ONCE], self.kvar[k : k + DRAWN_AT_ONCE])


class LoadErrors:
    """Errors of inflexible load, and what limited quantities make of them.

    The reactive part of an error is to its active part as that of the load itself is in the interval, by the power
    factor and by a series of reactive power where the case has one; a constant part of reactive power has no error.
    Where the margin states a power factor of errors, it is that.

    Attributes:
        samples: errors that were seen; None where errors are drawn.

    Raises:
        InputError: arrays of the margin that do not fit the case; errors in kW where reactive power has a series and
            the margin states no power factor.
    """

    def __init__(self, margin: Margin, case: Case, network: NetworkModel, seen: int = SEEN) -> None:
        self._margin, self._case, self._network = margin, case, network
        own = case.kvar_per_kw[0]
        self._kvar_per_kw = own if margin.pf is None else np.full(len(own), kvar_ratio(margin.pf))
        self._varies = case.profiles.has_kvar and margin.pf is None
        for name in ("covariance", "samples"):
            given = getattr(margin, name)
            if given is None:
                continue
            if given.shape[1] != case.n_participants:
                raise InputError(
                    f"{name} of shape {given.shape} is not of the {case.n_participants} participants of {case.name}",
                    subject=f"margin {margin.kind}",
                )
            if self._varies:
                raise InputError(
                    f"{name} are errors in kW, and the reactive power of case {case.name} has series: say which power"
                    " factor the errors have (pf=)",
                    subject=f"margin {margin.kind}",
                )
        self.samples: Drawn | None = None
        if margin.samples is not None:
            self.samples = Drawn(margin.samples, np.zeros_like(margin.samples))
        elif margin.errors == "persistence" and margin.covariance is None:
            self.samples = self._against_the_day_before(seen)

    @property
    def drawn_alike(self) -> bool:
        """Whether draws are the same in every interval."""
        return self.samples is not None or self._margin.covariance is not None

    def series_kvar(self, requests: Requests) -> FloatArray:
        """(..., n) reactive power by series, which errs as load does; 0 where errors have a power factor of their own.

        Negative load errs with the sign of the load: as many per cent of both.
        """
        if not self._varies or requests.inflexible_kvar is None:
            return np.zeros_like(requests.inflexible_kw)
        return np.asarray(requests.inflexible_kvar - self._case.inflexible_kvar)

    def use(self, errors: Drawn) -> FloatArray:
        """(K, m) change of every limited quantity by more load."""
        incidence = self._network.incidence(self._case.bus, self._case.phases)
        p, q = errors.kw, errors.kw * self._kvar_per_kw + errors.kvar
        more = self._network.evaluate(-np.asarray((incidence @ p.T).T), -np.asarray((incidence @ q.T).T))
        nothing = np.zeros((1, incidence.shape[0]))
        return np.asarray(more - self._network.evaluate(nothing, nothing))

    def deviation(self, requests: Requests) -> FloatArray:
        """(..., m) standard deviations."""
        if not self.drawn_alike:
            load, kvar = (self._margin.sigma * s for s in (requests.inflexible_kw, self.series_kvar(requests)))
            return np.sqrt(self._rows.squares(load, kvar))
        return np.broadcast_to(self._constant, (*requests.inflexible_kw.shape[:-1], len(self._constant)))

    @cached_property
    def mean(self) -> FloatArray:
        """(m,) what errors that were given make on average; nothing of others, which are as often up as down."""
        seen = self._margin.samples
        if seen is None or self.samples is None:
            return np.zeros(len(self._network.quantities.lower))
        return np.asarray(self.use(self.samples).mean(axis=0))

    def largest(self, requests: Requests) -> FloatArray:
        """(..., m) the most that errors within a box can make."""
        if self.samples is None:
            load, kvar = (self._margin.sigma * s for s in (requests.inflexible_kw, self.series_kvar(requests)))
            return self._rows.together(load, kvar)
        most = self._rows.separate(*(np.abs(s).max(axis=0) for s in self.samples))
        return np.broadcast_to(most, (*requests.inflexible_kw.shape[:-1], len(most)))

    def reach(self, requests: Requests) -> FloatArray:
        """(..., m) how far draws can move a quantity: the most that was seen, or ``REACH`` standard deviations."""
        if self.samples is None:
            return REACH * self.deviation(requests)
        return np.broadcast_to(self._most_seen, (*requests.inflexible_kw.shape[:-1], len(self._most_seen)))

    @cached_property
    def _most_seen(self) -> FloatArray:
        assert self.samples is not None
        return np.asarray(np.max([np.abs(self.use(part)).max(axis=0) for part in self.samples.parts()], axis=0))

    def drawn(self, load_kw: FloatArray, kvar: FloatArray, count: int, seed: int) -> Iterator[FloatArray]:
        """What draws of one interval, with (n,) load and kvar by series, make of quantities: (some, m) at a time."""
        if self.samples is not None:
            yield from map(self.use, self.samples.parts())
            return
        rng = np.random.default_rng(seed)
        for first in range(0, count, DRAWN_AT_ONCE):
            normal = rng.standard_normal((min(DRAWN_AT_ONCE, count - first), self._case.n_participants))
            yield self.use(self._realised(normal, load_kw, kvar))

    def sampled(self, rng: np.random.Generator, count: int, load_kw: FloatArray, kvar: FloatArray) -> Drawn:
        """Errors of an interval with (n,) load and kvar by series, at random."""
        if self.samples is not None:
            which = rng.integers(len(self.samples.kw), size=count)
            return Drawn(self.samples.kw[which], self.samples.kvar[which])
        return self._realised(rng.standard_normal((count, self._case.n_participants)), load_kw, kvar)

    def at(self, rows: IntArray, errors: Drawn) -> FloatArray:
        """(rows, K) change of these limited quantities by more load."""
        known = self._at
        if new := [k for k in rows.tolist() if k not in known]:
            known.update(zip(new, zip(*self.answers(np.array(new)), strict=True), strict=True))
        shape = (len(rows), self._case.n_participants)
        by_kw, by_kvar = (np.array([known[k][i] for k in rows.tolist()]).reshape(shape) for i in (0, 1))
        moved = by_kw @ errors.kw.T
        return np.asarray(moved + by_kvar @ errors.kvar.T if self._varies else moved)

    @cached_property
    def _at(self) -> dict[int, tuple[FloatArray, FloatArray]]:
        return {}

    def _realised(self, normal: FloatArray, load_kw: FloatArray, kvar: FloatArray) -> Drawn:
        """Errors from (K, n) standard normal numbers, where load and kvar by series are (n,)."""
        if self._margin.covariance is None:
            share = self._margin.sigma * np.where(load_kw < 0, -normal, normal)
            return Drawn(share * load_kw, share * kvar)
        return Drawn(np.asarray(normal @ self._root.T), np.zeros_like(normal))

    @cached_property
    def _constant(self) -> FloatArray:
        """(m,) standard deviations by samples or a covariance, which no interval changes."""
        if self.samples is not None:
            return np.asarray(self.use(Drawn(*(s - s.mean(axis=0) for s in self.samples))).std(axis=0))
        return np.asarray(np.sqrt((self.use(Drawn(self._root.T, np.zeros_like(self._root))) ** 2).sum(axis=0)))

    @cached_property
    def _root(self) -> FloatArray:
        """(n, n) a root R of the covariance, R R' = S."""
        values, vectors = np.linalg.eigh(self._margin.covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def answers(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """(K, n) each: change of limited quantities by a kW more of everybody's load, and by a kvar beside it."""
        a_p, a_q, _ = self._network.rows(rows)
        incidence = self._network.incidence(self._case.bus, self._case.phases)
        by_kvar = -np.asarray(a_q @ incidence)
        return -np.asarray(a_p @ incidence) + by_kvar * self._kvar_per_kw, by_kvar

    @cached_property
    def _rows(self) -> _Rows:
        return _Rows(self, self._network, self._case.n_participants, varies=self._varies)

    def _against_the_day_before(self, count: int) -> Drawn:
        """What inflexible load was more than 24 hours before, of ``count`` intervals spread over the case.

        Raises:
            InputError: where the case is not two days long.
        """
        case = self._case
        day = round(24 / case.dt_h)
        if case.n_steps < 2 * day:
            raise InputError(f"errors = persistence needs two days, and {case.name} has {case.n_steps} intervals")
        chosen = np.arange(day, case.n_steps)
        if len(chosen) > count:
            chosen = np.sort(np.random.default_rng(self._margin.seed).choice(chosen, count, replace=False))
        found = []
        for k in chosen.tolist():
            both = [case.requests(t, t + 1).interval(0) for t in (k, k - day)]
            now, before = ((w.inflexible_kw, self.series_kvar(w)) for w in both)
            found.append([a - b for a, b in zip(now, before, strict=True)])
        return Drawn(*np.swapaxes(np.array(found), 0, 1))


Pair = tuple[FloatArray, sp.csr_array]


class _Rows:
    """How every limited quantity answers to everybody's load, a, and to kvar beside it, b: (m, n) each.

    Rows are full or sparse, in pairs; b counts only where there are kvar that err (``varies``).
    """

    def __init__(self, errors: LoadErrors, network: NetworkModel, n: int, *, varies: bool) -> None:
        self._m, self._n, self._varies = len(network.quantities.lower), n, varies
        places: tuple[list[IntArray], list[IntArray]] = ([], [])
        kept = 2 if varies else 1
        full: list[list[FloatArray]] = [[np.zeros((0, n))] for _ in range(kept)]
        sparse = [[sp.csr_array((0, n))] for _ in range(kept)]
        together = np.argsort(network.quantities.element, kind="stable")  # what limits one branch is found faster so
        for first in range(0, self._m, ROWS_AT_ONCE):
            index = together[first : first + ROWS_AT_ONCE]
            both = errors.answers(index)
            many = np.count_nonzero(both[0], axis=1) > DENSE * n
            places[0].append(index[many])
            places[1].append(index[~many])
            for row, filled, thin in zip(both[:kept], full, sparse, strict=True):
                filled.append(row[many])
                thin.append(sp.csr_array(row[~many]))
        self._places = [np.concatenate(some) for some in places]
        self._ab = [
            (np.concatenate(filled), sp.csr_array(sp.vstack(thin))) for filled, thin in zip(full, sparse, strict=True)
        ]

    def squares(self, load: FloatArray, kvar: FloatArray) -> FloatArray:
        """(..., m) sums over participants of (a load + b kvar)^2, with (..., n) of both."""
        aa, *with_b = self._products
        out = self._times(aa, load**2)
        if self._varies:
            ab, bb = with_b
            out += 2.0 * self._times(ab, load * kvar) + self._times(bb, kvar**2)
        return np.maximum(out, 0.0)

    def separate(self, load: FloatArray, kvar: FloatArray) -> FloatArray:
        """(..., m) sums of abs(a load) + abs(b kvar): where both parts err apart."""
        parts = zip(self._sizes, (load, kvar), strict=False)
        return np.asarray(np.sum([self._times(rows, np.abs(part)) for rows, part in parts], axis=0))

    def together(self, load: FloatArray, kvar: FloatArray) -> FloatArray:
        """(..., m) sums of abs(a load + b kvar): where both parts err alike."""
        if not self._varies:
            return self.separate(load, kvar)
        each = [self._sum(*both) for both in zip(load.reshape(-1, self._n), kvar.reshape(-1, self._n), strict=True)]
        return np.array(each).reshape(*load.shape[:-1], self._m)

    def _sum(self, load: FloatArray, kvar: FloatArray) -> FloatArray:
        out = np.zeros(self._m)
        for at, a, b in zip(self._places, *self._ab, strict=True):
            if len(at):
                out[at] = abs(a * load + b * kvar).sum(axis=1)
        return out

    @cached_property
    def _products(self) -> list[Pair]:
        """a a, and a b and b b."""
        pairs = ((i, k) for i in range(len(self._ab)) for k in range(i, len(self._ab)))
        return [tuple(x * y for x, y in zip(self._ab[i], self._ab[k], strict=True)) for i, k in pairs]

    @cached_property
    def _sizes(self) -> list[Pair]:
        return [(np.abs(filled), abs(thin)) for filled, thin in self._ab]

    def _times(self, matrices: Pair, load: FloatArray) -> FloatArray:
        """(..., m) of (..., n)."""
        out = np.zeros((*load.shape[:-1], self._m))
        for at, matrix in zip(self._places, matrices, strict=True):
            out[..., at] = (matrix @ load.T).T
        return out
