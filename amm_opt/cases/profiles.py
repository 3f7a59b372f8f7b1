"""Profiles: per-unit columns, series that scale them, and charging sessions; expanded block by block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

QUANTITIES = ("inflexible", "import", "export")


@dataclass(frozen=True, eq=False)
class Profiles:
    """Everything that varies in time, kept small: a block of intervals is expanded when it is asked for.

    Attributes:
        times: T interval starts, regular.
        columns: names of the P profile columns.
        values: (T, P) profile values.
        series: one row per term: integer ``participant``, ``quantity`` (position in QUANTITIES), ``profile`` and
            ``shift_steps``, and ``scale_kw``. A term is ``scale_kw * values[(k - shift_steps) mod T, profile]``.
        sessions: one row per charging session: integer ``participant``, ``first`` and ``last`` interval (inclusive),
            ``power_kw`` and ``energy_kwh``. It asks for its power from its first interval until its energy is drawn.
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
        """The same profiles with participant i's part of them given to participant ``to[i]``, or dropped where -1."""

        def moved(table: pd.DataFrame) -> pd.DataFrame:
            new = to[table["participant"].to_numpy(np.intp)]
            return table.assign(participant=new)[new >= 0]

        return replace(self, series=moved(self.series), sessions=moved(self.sessions))

    @cached_property
    def _session_kw(self) -> sp.csr_array:
        """(T, participants) mean power that sessions ask for in each interval."""
        s, dt = self.sessions, self.dt_h
        power, energy = s["power_kw"].to_numpy(float), s["energy_kwh"].to_numpy(float)
        count = np.maximum(np.ceil(energy / (power * dt) - 1e-9), 0).astype(np.intp)
        which = np.repeat(np.arange(len(s)), count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        left = energy[which] / dt - offset * power[which]
        k = s["first"].to_numpy(np.intp)[which] + offset
        n = int(s["participant"].max()) + 1 if len(s) else 0
        kw = np.minimum(left, power[which])
        inside = k < len(self.times)
        who = s["participant"].to_numpy(np.intp)[which]
        return sp.csr_array((kw[inside], (k[inside], who[inside])), shape=(len(self.times), n))

    def block(self, start: int, stop: int, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Inflexible load, import and export requests of intervals ``start .. stop - 1``: three (T, n) arrays in kW."""
        result = []
        for code in range(len(QUANTITIES)):
            block = np.zeros((stop - start, n))
            for shift, terms in self._terms(code):
                rows = np.arange(start - shift, stop - shift) % len(self.times)
                gain = sp.csr_array(
                    (terms["scale_kw"], (terms["profile"], terms["participant"])), shape=(len(self.columns), n)
                )
                block += self.values[rows].astype(float) @ gain
            result.append(block)
        sessions = self._session_kw[start:stop].tocoo()
        result[QUANTITIES.index("import")][sessions.row, sessions.col] += sessions.data
        return result[0], result[1], result[2]

    def _terms(self, code: int) -> list[tuple[int, pd.DataFrame]]:
        return self._grouped[code]

    @cached_property
    def _grouped(self) -> list[list[tuple[int, pd.DataFrame]]]:
        groups: list[list[tuple[int, pd.DataFrame]]] = [[] for _ in QUANTITIES]
        for (code, shift), terms in self.series.groupby(["quantity", "shift_steps"], sort=True):
            groups[int(code)].append((int(shift), terms))
        return groups
