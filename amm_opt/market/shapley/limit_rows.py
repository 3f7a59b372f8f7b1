"""The limits of a network as rows of a program: those that were met so far, and how others are found."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray, largest_of_each
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.network.meshed.dc import DCFlow
from amm_opt.tolerances import ROUNDING

Rows = tuple[sp.csr_array, FloatArray, FloatArray]
"""Coefficients of all powers (imports, then exports) and of further variables, lower and upper ends."""
NO_LIMITS = np.zeros(0, dtype=np.intp)


class LimitRows(Protocol):
    """Rows of one interval's program. A limit joins when an answer breaks it, and stays."""

    def first(self) -> Rows:
        """Those of a program that is made anew, with all that were met so far."""

    def broken(self, values: FloatArray) -> Rows | None:
        """Limits that the values of an answer break and that join; None where it keeps every one."""

    def at(self, requests: Requests) -> LimitRows:
        """Those of another interval, in which the limits met so far are known."""


def limit_rows(grid: Grid, requests: Requests) -> LimitRows:
    """The limits of a network model of linear rows in one interval."""
    if isinstance(grid.network, DCFlow):
        return _ByFlows(grid, requests, grid.network)
    return _BySensitivity(grid, requests)


class _Met:
    """Which limits were met, and their ends beyond what inflexible load uses."""

    def __init__(self, grid: Grid, requests: Requests, known: IntArray = NO_LIMITS) -> None:
        self.grid, self.requests = grid, requests
        inflexible, _ = grid.usage(requests)
        lower, upper = grid.limits(requests)
        self.lower, self.upper = lower - inflexible, upper - inflexible
        self.in_use: BoolArray = np.zeros(len(lower), dtype=bool)
        self.in_use[known] = True

    def join(self, change: FloatArray) -> IntArray:
        """Of every group of limits that a change of all quantities breaks, the one that is broken most."""
        excess = np.where(self.in_use, 0.0, np.maximum(change - self.upper, self.lower - change))
        over = np.flatnonzero(excess > ROUNDING)
        rows = over[largest_of_each(excess[over], self.grid.limit_groups[over])]
        self.in_use[rows] = True
        return rows

    def scaled(self, rows: IntArray, change: sp.csr_array) -> Rows:
        """Rows with their ends, the largest coefficient of each 1."""
        largest = np.asarray(abs(change).max(axis=1).todense()).ravel() if len(rows) else np.zeros(0)
        scale = 1.0 / np.where(largest > 0, largest, 1.0)
        return sp.csr_array(sp.diags_array(scale) @ change), self.lower[rows] * scale, self.upper[rows] * scale


class _BySensitivity:
    """Rows over all powers; a sweep finds what an answer breaks."""

    def __init__(self, grid: Grid, requests: Requests, known: IntArray = NO_LIMITS) -> None:
        self._met = _Met(grid, requests, known)

    def first(self) -> Rows:
        return self._rows(np.flatnonzero(self._met.in_use))

    def broken(self, values: FloatArray) -> Rows | None:
        grid, requests = self._met.grid, self._met.requests
        rows = self._met.join(grid.quantities(requests, *np.split(values, 2)) - grid.usage(requests)[0])
        return self._rows(rows) if len(rows) else None

    def at(self, requests: Requests) -> LimitRows:
        return _BySensitivity(self._met.grid, requests, np.flatnonzero(self._met.in_use))

    def _rows(self, rows: IntArray) -> Rows:
        change = np.concatenate(list(self._met.grid.kept_sensitivity(rows)), axis=1)
        return self._met.scaled(rows, sp.csr_array(change))


class _ByFlows:
    """Rows over powers and flows: Kirchhoff's two laws, and all limits, which are bounds of flows."""

    def __init__(self, grid: Grid, requests: Requests, network: DCFlow) -> None:
        self._met, self._network = _Met(grid, requests), network

    def first(self) -> Rows:
        leaving, loops, of_flows = self._network.by_flows
        at_bus, grid = self._met.grid.incidence[1:], self._met.grid
        balance = sp.hstack([-at_bus, at_bus, -leaving])
        around, limits = (sp.hstack([sp.csr_array((rows.shape[0], 2 * grid.n)), rows]) for rows in (loops, of_flows))
        kept = sp.csr_array(sp.vstack([balance, around]))
        zero = np.zeros(kept.shape[0])
        rows, lower, upper = self._met.scaled(np.arange(of_flows.shape[0]), sp.csr_array(limits))
        return sp.csr_array(sp.vstack([kept, rows])), np.append(zero, lower), np.append(zero, upper)

    def broken(self, values: FloatArray) -> Rows | None:
        """None: every limit is there from the start."""
        return None

    def at(self, requests: Requests) -> LimitRows:
        return _ByFlows(self._met.grid, requests, self._network)


class Transport:
    """Power is kept at every bus, the source's aside, with one flow per branch within its limits: [x, y, flows]."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def first(self) -> Rows:
        """All rows."""
        feeder, n = self._case.feeder, self._case.n_participants
        start, stop = feeder.ends[:, 1:]
        branch, count = np.arange(len(start)), len(start)
        leaving = sp.csr_array((np.ones(count), (start, branch)), shape=(feeder.n_buses, count))
        leaving -= sp.csr_array((np.ones(count), (stop, branch)), shape=(feeder.n_buses, count))
        at_bus = self._case.incidence
        kept = sp.csr_array(sp.hstack([-at_bus, at_bus, -leaving]))[1:]
        free = sp.csr_array((count, 2 * n))
        flows = sp.csr_array(sp.hstack([free, sp.eye_array(count)]))
        least = -np.minimum(feeder.rating_kva, feeder.export_limit_kw)[1:]
        most = np.minimum(feeder.rating_kva, feeder.import_limit_kw)[1:]
        zero = np.zeros(kept.shape[0])
        return sp.csr_array(sp.vstack([kept, flows])), np.append(zero, least), np.append(zero, most)

    def broken(self, values: FloatArray) -> Rows | None:
        """None: every row is there from the start."""
        return None

    def at(self, requests: Requests) -> LimitRows:
        """The same: they do not depend on what is asked for."""
        return self
