"""Profiles: per-unit columns, series that scale them, and charging sessions; expanded block by block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.tolerances import REQUEST_TOLERANCE_KW

QUANTITIES = ("inflexible", "import", "export", "inflexible_kvar")
"""What a series may be of: active power, the last one reactive power."""
REQUESTS = ("import", "export")
"""Those that are asked for and may be refused; never negative."""
REACTIVE = QUANTITIES.index("inflexible_kvar")


def requested(power_kw: FloatArray) -> BoolArray:
    """Where a power is large enough to count as a request."""
    return np.asarray(power_kw > REQUEST_TOLERANCE_KW)


def draws(
    first: IntArray, late: FloatArray, power_kw: FloatArray, energy_kwh: FloatArray, dt_h: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Full power from interval ``first`` on until the energy is drawn: session, interval and mean kW of every draw.

    The first interval lacks a share ``late`` of its length. What a last draw too small to be a request would bring is
    discarded.
    """
    missed = late * power_kw
    wanted = energy_kwh / dt_h
    some = wanted > REQUEST_TOLERANCE_KW
    count = np.where(some, np.ceil((wanted + missed - REQUEST_TOLERANCE_KW) / power_kw), 0.0).astype(np.intp)
    which = np.repeat(np.arange(len(first)), count)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    full = power_kw[which] - np.where(offset == 0, missed[which], 0.0)
    before = np.where(offset > 0, offset * power_kw[which] - missed[which], 0.0)
    return which, first[which] + offset, np.minimum(wanted[which] - before, full)


@dataclass(frozen=True, eq=False)
class Profiles:
    """Everything that varies in time, kept small: a block of intervals is expanded when it is asked for.

    Attributes:
        times: T interval starts, regular.
        columns: names of the P profile columns.
        values: (T, P) profile values.
        series: one row per term: integer ``participant``, ``quantity`` (position in QUANTITIES), ``profile`` and
            ``shift_steps``, and ``scale_kw`` (kvar for reactive power). A term is
            ``scale_kw * values[(k - shift_steps) mod T, profile]``.
        sessions: one row per charging session: integer ``participant``, ``first`` and ``last`` interval (inclusive),
            the shares of these two before its arrival and after its departure, ``late`` and ``early``, ``power_kw`` and
            ``energy_kwh``. It asks for its power from its arrival until its energy is drawn.
    """

    times: pd.DatetimeIndex
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    series: pd.DataFrame
    sessions: pd.DataFrame

    @property
    def dt_h(self) -> float:
        """Length of an interval in hours."""
        return float((self.times[1] - self.times[0]) / pd.Timedelta(hours=1))

    def assigned(self, to: IntArray) -> Profiles:
        """The same profiles with participant i's part of them given to participant ``to[i]``, or discarded where -1."""

        def moved(table: pd.DataFrame) -> pd.DataFrame:
            new = to[table["participant"].to_numpy(np.intp)]
            return table.assign(participant=new)[new >= 0]

        return replace(self, series=moved(self.series), sessions=moved(self.sessions))

    @cached_property
    def _session_kw(self) -> sp.csr_array:
        """(T, participants) mean power that sessions ask for in each interval."""
        s = self.sessions
        first, who = (s[name].to_numpy(np.intp) for name in ("first", "participant"))
        late, power, energy = (s[name].to_numpy(float) for name in ("late", "power_kw", "energy_kwh"))
        which, k, kw = draws(first, late, power, energy, self.dt_h)
        n = int(who.max()) + 1 if len(s) else 0
        inside = k < len(self.times)
        return sp.csr_array((kw[inside], (k[inside], who[which[inside]])), shape=(len(self.times), n))

    def block(self, start: int, stop: int, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Inflexible load, import and export requests of intervals ``start .. stop - 1``: three (T, n) arrays in kW."""
        load, imports, exports = (self._sum(code, start, stop, n) for code in range(REACTIVE))
        sessions = self._session_kw[start:stop].tocoo()
        imports[sessions.row, sessions.col] += sessions.data
        return load, imports, exports

    @cached_property
    def has_kvar(self) -> bool:
        """Whether there are series of reactive power."""
        return bool((self.series["quantity"] == REACTIVE).any())

    def kvar(self, start: int, stop: int, n: int) -> FloatArray:
        """Inflexible reactive power of intervals ``start .. stop - 1`` by its series, (T, n)."""
        return self._sum(REACTIVE, start, stop, n)

    def _sum(self, code: int, start: int, stop: int, n: int) -> FloatArray:
        """(T, n) all terms of a quantity."""
        block = np.zeros((stop - start, n))
        for shift, gain in self._gains(n)[code]:
            rows = np.arange(start - shift, stop - shift) % len(self.times)
            block += self.values[rows].astype(float) @ gain
        return block

    def largest_kw(self, quantity: str, n: int) -> FloatArray:
        """(n,) a bound of what everyone ever asks for: the peaks of all its series and sessions, added up.

        Args:
            quantity: ``"import"`` or ``"export"``, which are never negative.
        """
        terms, s = self.series[self.series["quantity"] == QUANTITIES.index(quantity)], self.sessions
        who, kw = terms["participant"], terms["scale_kw"].to_numpy(float) * self._peaks[terms["profile"]]
        if quantity == "import":
            power, energy = s["power_kw"].to_numpy(float), s["energy_kwh"].to_numpy(float)
            who, kw = np.append(who, s["participant"]), np.append(kw, np.minimum(power, energy / self.dt_h))
        largest: FloatArray = np.bincount(np.asarray(who, dtype=np.intp), weights=kw, minlength=n).astype(float)
        return largest

    @cached_property
    def _peaks(self) -> FloatArray:
        """(P,) the largest value of each profile."""
        return np.asarray(self.values.max(axis=0, initial=0.0), dtype=float)

    def _gains(self, n: int) -> list[list[tuple[int, sp.csr_array]]]:
        """Of each quantity: shifts in intervals, and with each shift the kW of every participant per profile."""
        if n not in self._known_gains:
            gains: list[list[tuple[int, sp.csr_array]]] = [[] for _ in QUANTITIES]
            for (code, shift), terms in self.series.groupby(["quantity", "shift_steps"], sort=True):
                place = (terms["profile"], terms["participant"])
                gain = sp.csr_array((terms["scale_kw"], place), shape=(len(self.columns), n))
                gains[int(code)].append((int(shift), gain))
            self._known_gains[n] = gains
        return self._known_gains[n]

    @cached_property
    def _known_gains(self) -> dict[int, list[list[tuple[int, sp.csr_array]]]]:
        return {}
