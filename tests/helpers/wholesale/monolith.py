"""The window of a wholesale system as one program, another way round: angles, flows and reserve by each plant."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy.optimize import linprog

from amm_opt.cases import Case


@dataclass
class Monolith:
    """One window as one program in angles, a variable per line, with reserve held by each plant and battery.

    Columns by interval: served, output, charge, discharge, content, reserve of each, lacking, missed, angles, flows;
    then what batteries lack at the end.
    """

    case: Case
    reserve: float = 0.1
    more_kw: tuple[int, str, float] = (0, "", 0.0)
    """Interval, bus, and what is drawn there beside everything else."""

    def __post_init__(self) -> None:
        case = self.case
        people, feeder = case.participants, case.feeder
        self.req = case.requests(0, case.n_steps)
        self.at = people["bus"].map({b: i for i, b in enumerate(feeder.bus_names)}).to_numpy()
        self.bat = np.flatnonzero(people["battery_kwh"] > 0)
        n, m, lines = len(people), len(self.bat), feeder.ends.shape[1] - 1
        sizes = [n, n, m, m, m, n, m, 1, n, feeder.n_buses, lines]
        self.start = np.concatenate([[0], np.cumsum(sizes)])
        self.width, self.steps = int(self.start[-1]), case.n_steps
        self.total = self.width * self.steps + m
        self.rows: list[tuple[dict[int, float], float, float]] = []
        self.bounds = [(None, None)] * self.total
        for k in range(self.steps):
            self._interval(k)
        size = people["battery_kwh"].to_numpy()[self.bat]
        for j in range(m):
            last = self.width * self.steps + j
            self.bounds[last] = (0.0, None)
            self.rows.append(({last: 1.0, self._col(self.steps - 1, 4, j): 1.0}, 0.5 * size[j], np.inf))

    def _col(self, k: int, what: int, i: int) -> int:
        return int(k * self.width + self.start[what] + i)

    def _interval(self, k: int) -> None:
        case, people, feeder = self.case, self.case.participants, self.case.feeder
        asked, can = self.req.import_request_kw[k], self.req.export_request_kw[k]
        must = np.minimum(people["must_run_kw"].to_numpy(), can)
        col, dt = self._col, case.dt_h
        held: dict[int, float] = {}
        for i in range(len(people)):
            for what, high in ((0, asked[i]), (1, can[i]), (5, None), (8, None)):
                self.bounds[col(k, what, i)] = (0.0, high)
            self.rows.append(({col(k, 5, i): 1.0, col(k, 1, i): 1.0}, -np.inf, can[i]))
            self.rows.append(({col(k, 1, i): 1.0, col(k, 8, i): 1.0}, must[i], np.inf))
            held |= {col(k, 5, i): 1.0, col(k, 0, i): -self.reserve}
        for j, i in enumerate(self.bat):
            size, power = people["battery_kwh"][i], people["battery_kw"][i]
            eta, first = people["battery_efficiency"][i], people["battery_initial"][i] * size
            for what, ends in ((2, (0, power)), (3, (0, power)), (4, (0.05 * size, 0.95 * size)), (6, (0, None))):
                self.bounds[col(k, what, j)] = ends
            content = {col(k, 4, j): 1.0, col(k, 2, j): -eta * dt, col(k, 3, j): dt / eta}
            if k:
                content[col(k - 1, 4, j)] = -1.0
            self.rows.append((content, 0.0 if k else first, 0.0 if k else first))
            self.rows.append(({col(k, 6, j): 1.0, col(k, 3, j): 1.0, col(k, 2, j): -1.0}, -np.inf, power))
            held[col(k, 6, j)] = 1.0
        self.bounds[col(k, 7, 0)] = (0.0, None)
        self.rows.append(({**held, col(k, 7, 0): 1.0}, 0.0, np.inf))
        self.bounds[col(k, 9, 0)] = (0.0, 0.0)
        leaving: list[dict[int, float]] = [{} for _ in range(feeder.n_buses)]
        for line in range(feeder.ends.shape[1] - 1):
            a, b = feeder.ends[:, line + 1]
            susceptance = 1000.0 * feeder.vn_kv[b] ** 2 / feeder.z_ohm[line + 1][0, 0].imag
            flow, rating = col(k, 10, line), feeder.rating_kva[line + 1]
            self.bounds[flow] = (-rating, rating)
            self.rows.append(({flow: 1.0, col(k, 9, a): -susceptance, col(k, 9, b): susceptance}, 0.0, 0.0))
            leaving[a][flow], leaving[b][flow] = 1.0, -1.0
        for i, bus in enumerate(self.at):
            leaving[bus] |= {col(k, 0, i): 1.0, col(k, 1, i): -1.0}
        for j, i in enumerate(self.bat):
            leaving[self.at[i]] |= {col(k, 2, j): 1.0, col(k, 3, j): -1.0}
        at, where, kw = self.more_kw
        more = [-kw if k == at and bus == where else 0.0 for bus in feeder.bus_names]
        self.rows += [(balance, one, one) for balance, one in zip(leaving, more, strict=True)]

    def cost(self) -> np.ndarray:
        offers = self.case.own_prices[0][1]
        offers = np.where(np.isnan(offers), 0.0, offers)
        cost = np.zeros(self.total)
        for k in range(self.steps):
            for i in range(len(offers)):
                cost[self._col(k, 1, i)] = offers[i] * self.case.dt_h
                cost[self._col(k, 8, i)] = 10 * offers.max() * self.case.dt_h
            for j, i in enumerate(self.bat):
                cost[self._col(k, 3, j)] = offers[i] * self.case.dt_h
        cost[self.width * self.steps :] = 0.005
        return cost

    def least_cost(self, value: float, shortfall_price: float) -> float:
        """With a price on load that is not served and on reserve that lacks."""
        cost = self.cost()
        for k in range(self.steps):
            cost[self._col(k, 0, 0) : self._col(k, 0, len(self.at))] = -value * self.case.dt_h
            cost[self._col(k, 7, 0)] = shortfall_price * self.case.dt_h
        return self._solve(cost, []) + value * self.req.import_request_kw.sum() * self.case.dt_h

    def solved(self) -> tuple[float, float, float]:
        """Shed energy, lacking reserve (kWh) and cost, one after the other held."""
        shed, lacking = np.zeros(self.total), np.zeros(self.total)
        for k in range(self.steps):
            shed[self._col(k, 0, 0) : self._col(k, 0, len(self.at))] = -self.case.dt_h
            lacking[self._col(k, 7, 0)] = self.case.dt_h
        reached: list[float] = []
        extra: list[tuple[np.ndarray, float]] = []
        for objective in (shed, lacking, self.cost()):
            value = self._solve(objective, extra)
            extra.append((objective, value + 1e-3))
            reached.append(value)
        return self.req.import_request_kw.sum() * self.case.dt_h + reached[0], reached[1], reached[2]

    def least_rising_cost(self, value: float | None = None, shortfall_price: float = 0.0) -> float:
        """Least cost where offers rise and worth falls by their slopes, nothing being shed or lacking without a value.

        With a value, it stands for the worth of those without one, and shed and lacking cost; solved by Clarabel.
        """
        own, slope = self.case.own_prices
        linear, square, matrix, ends = self.cost(), [], *self._matrix([])
        lower, upper = (np.array([np.nan if b[e] is None else b[e] for b in self.bounds], float) for e in (0, 1))
        worth = np.where(np.isnan(own[0]), 0.0 if value is None else value, own[0])
        for k in range(self.steps):
            for i in range(len(self.at)):
                given = np.zeros(self.total)
                given[[self._col(k, 1, i), *(self._col(k, 3, j) for j in np.flatnonzero(self.bat == i))]] = 1.0
                square.append(np.sqrt(slope[1, i] * self.case.dt_h) * given)
                if value is None:
                    lower[self._col(k, 0, i)] = upper[self._col(k, 0, i)]
                    continue
                linear[self._col(k, 0, i)] = -worth[i] * self.case.dt_h
                taken = np.zeros(self.total)
                taken[self._col(k, 0, i)] = np.sqrt(slope[0, i] * self.case.dt_h)
                square.append(taken)
            linear[self._col(k, 7, 0)] = shortfall_price * self.case.dt_h
            if value is None:
                upper[self._col(k, 7, 0)] = 0.0
        unit = 1e3  # MW, so that numbers are of one size
        x = cp.Variable(self.total)
        squares = 0.5 * unit * cp.sum_squares(np.array([row for row in square if row.any()]) @ x)
        same, low, high = ends[:, 0] == ends[:, 1], np.isfinite(ends[:, 0]), np.isfinite(ends[:, 1])
        limits = [matrix[same] @ x == ends[same, 0] / unit]
        for rows, side, sign in ((low & ~same, 0, 1.0), (high & ~same, 1, -1.0)):
            limits.append(sign * (matrix[rows] @ x) >= sign * ends[rows, side] / unit)
        limits += [x[~np.isnan(lower)] >= lower[~np.isnan(lower)] / unit]
        limits += [x[~np.isnan(upper)] <= upper[~np.isnan(upper)] / unit]
        problem = cp.Problem(cp.Minimize(linear @ x + squares), limits)
        problem.solve(solver="CLARABEL")
        assert problem.status == "optimal", problem.status
        asked = self.req.import_request_kw
        lost = 0.0 if value is None else self.case.dt_h * float((worth * asked).sum())
        return unit * float(problem.value) + lost

    def _matrix(self, extra: list[tuple[np.ndarray, float]]) -> tuple[np.ndarray, np.ndarray]:
        """All rows, and their lower and upper limits."""
        matrix = np.zeros((len(self.rows) + len(extra), self.total))
        ends = np.zeros((len(matrix), 2))
        for r, (row, low, high) in enumerate(self.rows):
            matrix[r, list(row)] = list(row.values())
            ends[r] = low, high
        for r, (row, high) in enumerate(extra, len(self.rows)):
            matrix[r], ends[r] = row, (-np.inf, high)
        return matrix, ends

    def _solve(self, objective: np.ndarray, extra: list[tuple[np.ndarray, float]]) -> float:
        matrix, ends = self._matrix(extra)
        same = ends[:, 0] == ends[:, 1]
        sides = [(matrix[~same], ends[~same, 1]), (-matrix[~same], -ends[~same, 0])]
        less = np.concatenate([a for a, _ in sides]), np.concatenate([b for _, b in sides])
        real = np.isfinite(less[1])
        found = linprog(objective, less[0][real], less[1][real], matrix[same], ends[same, 0], self.bounds, "highs")
        assert found.status == 0, found.message
        return float(found.fun)
