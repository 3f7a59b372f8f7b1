"""What a mechanism carries from one interval to the next: explicit, typed, immutable, serialisable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases.profiles import requested as requested


@dataclass(frozen=True, eq=False)
class State:
    """Base of every state; subclasses are frozen dataclasses whose fields are arrays, made read-only here.

    Attributes:
        summed: names of fields that add up over participants, such as energies; others are averaged.
    """

    summed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            array = np.array(getattr(self, item.name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, item.name, array)

    def arrays(self) -> dict[str, FloatArray]:
        """Field names and arrays: all there is to store."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def select(self, who: IntArray) -> Self:
        """The state of some participants alone; the last axis of every array but single numbers is the participant."""
        return self.from_arrays({name: a[..., who] if a.ndim else a for name, a in self.arrays().items()})

    def aggregated(self, member: sp.csr_array, weight: FloatArray, spread: sp.csr_array | None = None) -> Self:
        """One state for each group of participants: fields in ``summed`` added up, others a weighted mean.

        Args:
            member: (groups, n) matrix of ones: who belongs to which group.
            weight: (2, n) weights, import and export, such as requests; their sum counts for arrays of shape (n,). In
                a group without any weight everybody counts the same.
            spread: ``member.T``, where it is known.
        """
        spread = sp.csr_array(member.T) if spread is None else spread
        arrays = self.arrays()
        summed = {name: a for name, a in arrays.items() if name in self.summed and a.ndim}
        arrays |= zip(summed, _added_up(member, list(summed.values())), strict=True)
        for name, a in self.arrays().items():
            if name in self.summed or not a.ndim:
                continue
            w = weight if a.shape == weight.shape else weight.sum(axis=0)
            nobody = (member @ w.T).T <= 0
            w = w + (spread @ nobody.T.astype(float)).T
            above, below = _added_up(member, [w * a, w])
            arrays[name] = above / below
        return self.from_arrays(arrays)

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> Self:
        """The inverse of :meth:`arrays`."""
        return cls(**arrays)


@dataclass(frozen=True, eq=False)
class FairnessState(State):
    """The AMM's dual fairness state; every array has shape (2, n): row 0 import, row 1 export.

    Attributes:
        shortage: shortage memory s in [0, 1].
        served_kwh, requested_kwh: cumulative energy, from which the delivery ratio F follows.
        requested_h: cumulative time in which something was requested.
    """

    summed: ClassVar[tuple[str, ...]] = ("served_kwh", "requested_kwh", "requested_h")

    shortage: FloatArray
    served_kwh: FloatArray
    requested_kwh: FloatArray
    requested_h: FloatArray

    @classmethod
    def fresh(cls, n: int) -> Self:
        """No shortage and nothing requested yet."""
        return cls(*np.zeros((4, 2, n)))

    @property
    def delivery_ratio(self) -> FloatArray:
        """(2, n) served over requested energy so far, 1 where nothing was requested."""
        return served_ratio(self.served_kwh, self.requested_kwh)

    def delivery_ratio_after(self, prior_h: float) -> FloatArray:
        """(2, n) the delivery ratio as if ``prior_h`` hours of requests had been served in full before the first one.

        These requests are as large as those that followed, so that the ratio is a mean of 1 and F by hours: it starts
        at 1, whatever the size of a participant, and a short history moves it little. Our reading.
        """
        hours = prior_h + self.requested_h
        return np.where(
            hours > 0, (prior_h + self.requested_h * self.delivery_ratio) / np.where(hours > 0, hours, 1.0), 1.0
        )

    def advanced(
        self,
        served_kw: FloatArray,
        requested_kw: FloatArray,
        dt_h: float,
        beta: float,
        idle: str,
        kept: float = 1.0,
    ) -> Self:
        """The state after one interval.

        ``s+ = sat((1 - beta) s + beta u)`` with u = 1 - served/requested where something was requested (our reading of
        arXiv 2606.17217, which proves the invariance of [0, 1] and contraction without giving the formula). Without a
        request the memory holds (``idle="hold"``) or decays as with u = 0 (``idle="decay"``).

        ``kept`` is the share of earlier energies and hours that still counts, whether or not something was requested:
        without a request the delivery ratio stays, on fewer hours.
        """
        asked = np.nonzero(requested(requested_kw))
        served, wanted, before = served_kw[asked], requested_kw[asked], self.shortage[asked]
        # without a request
        shortage = (1.0 - beta if idle == "decay" else 1.0) * self.shortage
        served_kwh, requested_kwh = kept * self.served_kwh, kept * self.requested_kwh
        requested_h = kept * self.requested_h
        # with one
        shortage[asked] = _in_unit(beta * _in_unit(1.0 - served / wanted) + (1.0 - beta) * before)
        served_kwh[asked] += served * dt_h
        requested_kwh[asked] += wanted * dt_h
        requested_h[asked] += dt_h
        return replace(
            self, shortage=shortage, served_kwh=served_kwh, requested_kwh=requested_kwh, requested_h=requested_h
        )


@dataclass(frozen=True, eq=False)
class PostedState(FairnessState):
    """The same, and the prices of the last interval.

    Attributes:
        price: (2, n) in currency per kWh.
    """

    price: FloatArray


def _added_up(member: sp.csr_array, arrays: Sequence[FloatArray]) -> list[FloatArray]:
    """Sums of (..., n) arrays over groups, (..., groups) each, by one product."""
    rows = [a.reshape(-1, a.shape[-1]) for a in arrays]
    total = (member @ np.concatenate(rows).T).T if rows else np.zeros((0, member.shape[0]))
    parts = np.split(total, np.cumsum([len(part) for part in rows])[:-1]) if rows else []
    return [part.reshape(*a.shape[:-1], -1) for part, a in zip(parts, arrays, strict=True)]


def _in_unit(values: FloatArray) -> FloatArray:
    """The array itself, put into [0, 1]."""
    return np.minimum(np.maximum(values, 0.0, out=values), 1.0, out=values)


@dataclass(frozen=True, eq=False)
class ServedState(State):
    """Energy served and requested so far; every array has shape (2, n): row 0 import, row 1 export."""

    summed: ClassVar[tuple[str, ...]] = ("served_kwh", "requested_kwh")

    served_kwh: FloatArray
    requested_kwh: FloatArray

    @classmethod
    def fresh(cls, n: int) -> Self:
        """Nothing requested yet."""
        return cls(np.zeros((2, n)), np.zeros((2, n)))

    def advanced(self, served_kw: FloatArray, requested_kw: FloatArray, dt_h: float) -> Self:
        """The state after one interval of (2, n) powers."""
        return type(self)(self.served_kwh + served_kw * dt_h, self.requested_kwh + requested_kw * dt_h)


def served_ratio(served_kwh: FloatArray, requested_kwh: FloatArray) -> FloatArray:
    """Served over requested energy, 1 where nothing was requested."""
    asked = requested_kwh > 0
    return np.where(asked, served_kwh / np.where(asked, requested_kwh, 1.0), 1.0)
