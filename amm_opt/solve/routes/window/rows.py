"""Network rows of a window: which are in use, and how others are found.

Rows that bound in the windows before are known: where one of them is violated it joins at once; of the others the most
violated of each group. A second stage of the same window starts from the rows of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray, largest_of_each
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.reduced import Point
from amm_opt.solve.compile import CompiledProgram, Powers, Rows
from amm_opt.solve.routes.network_rows import Gradients, SparseRow
from amm_opt.solve.routes.window.assembly import Assembled
from amm_opt.tolerances import SEARCH_SLACK, SOLVED_SLACK

BLOCK = 96
"""At most so many intervals are swept at once."""
KEPT_NUMBERS = 8_000_000
"""Limits and use of a window with at most so many numbers are kept from round to round."""
STALE_AFTER = 12
"""Windows without a multiplier after which a limit is no longer known."""
PATIENCE, GROWTH = 1, 1.4
"""Rounds in which one row of each group is added, and how many times more every later round adds than the last."""

Key = tuple[int, int, int]
"""(j, k, i): limit i of injection j in interval k."""


@dataclass
class Pool:
    """What is known from before.

    Attributes:
        idle: limits (j, i) that bound: windows since each had a multiplier.
        rows: rows of the last solve and their multipliers, for the next stage of the same window.
        own_dual: multipliers of the program's own rows.
    """

    idle: dict[tuple[int, int], int] = field(default_factory=dict)
    rows: dict[Key, float] = field(default_factory=dict)
    own_dual: FloatArray = field(default_factory=lambda: np.zeros(0))

    def aside(self) -> Pool:
        """For another program of the same window, which leaves nothing behind."""
        return Pool(dict(self.idle))


@dataclass(frozen=True, eq=False)
class _Block:
    """Some intervals of a window: what they use without anything flexible, and their limits, (T, m) each.

    A row joins where a quantity is not between ``inner_lower`` and ``inner_upper``.
    """

    first: int
    requests: Requests
    inflexible: FloatArray
    lower: FloatArray
    upper: FloatArray
    inner_lower: FloatArray
    inner_upper: FloatArray


class Sweep:
    """The limits of a window's intervals, block by block."""

    def __init__(self, grid: Grid, requests: Requests) -> None:
        self.grid, self.requests = grid, requests
        self._kept: list[_Block] = []
        self._small = requests.n_steps * len(grid.network.quantities.lower) <= KEPT_NUMBERS

    def blocks(self) -> Iterator[_Block]:
        """All intervals in turn."""
        if not self._small:
            yield from self._blocks()
            return
        if not self._kept:
            self._kept = list(self._blocks())
        yield from self._kept

    def _blocks(self) -> Iterator[_Block]:
        length = min(BLOCK, self.grid.block_steps)
        for first in range(0, self.requests.n_steps, length):
            requests = self.grid.select(self.requests, slice(first, first + length))
            (lower, upper), slack = self.grid.limits(requests), SEARCH_SLACK * self.grid.network.quantities.tolerance
            yield _Block(first, requests, self.grid.usage(requests)[0], lower, upper, lower - slack, upper + slack)


class WindowRows:
    """Network rows in one window, see ``LazyRows``; one in use is (j, k, i), limit i of injection j in interval k.

    Args:
        compiled, gradients: of one interval.
        group: (m,) of each limit.
        again: whether the pool's rows are of this window.
        known: a point that is to break no row: it may be beyond a limit by less than what makes a row join.
    """

    def __init__(
        self,
        sweep: Sweep,
        pool: Pool,
        compiled: CompiledProgram,
        gradients: Sequence[Gradients],
        thetas: Sequence[FloatArray],
        whole: Assembled,
        again: bool,
        known: FloatArray | None = None,
    ) -> None:
        self._known = known
        self._sweep, self._pool, self._compiled, self._gradients = sweep, pool, compiled, gradients
        self._group = sweep.grid.limit_groups
        self._thetas, self._width, self._n_own = thetas, whole.numbers.rows.width, len(whole.numbers.row_lower)
        self._rows: list[SparseRow] = []
        self._limits: list[tuple[float, float]] = []
        self._active: dict[Key, None] = {}
        self._swept: FloatArray | None = None
        self._just_added: set[int] = set()
        if not again:
            pool.rows = {}
        elif pool.rows:
            self._add_known(pool.rows)
        if len(pool.own_dual) != self._n_own:
            pool.own_dual = np.zeros(self._n_own)

    def in_use(self) -> tuple[Rows, FloatArray, FloatArray]:
        """See ``LazyRows``."""
        lower, upper = np.array(self._limits).reshape(-1, 2).T
        return Rows.of(self._rows, self._width), lower, upper

    def start(self) -> FloatArray:
        """Multipliers of the round before, of the program's own rows those of the last window."""
        known = self._pool.rows
        return np.concatenate([self._pool.own_dual, [known.get(key, 0.0) for key in self._active]])

    def solved(self, point: Point) -> None:
        """Multipliers are kept for the next round."""
        self._pool.own_dual = point.row_dual
        self._pool.rows = dict(zip(self._active, point.network_dual.tolist(), strict=True))

    def binding(self) -> list[dict[int, float]]:
        """By interval, the multipliers of limits that have one, over all injections."""
        found: list[dict[int, float]] = [{} for _ in self._thetas]
        for (_, k, i), dual in self._pool.rows.items():
            if dual:
                found[k][i] = found[k].get(i, 0.0) + dual
        return found

    def age(self) -> None:
        """Limits without a multiplier for long are no longer known."""
        idle = self._pool.idle
        for at in idle:
            idle[at] += 1
        for (j, _, i), dual in self._pool.rows.items():
            if abs(dual) > 1e-9:
                idle[j, i] = 0
        for at in [at for at, count in idle.items() if count > STALE_AFTER]:
            del idle[at]

    def add_violated(self, v: FloatArray, round_number: int) -> bool:
        """In each interval the most violated of each group, later more of them, and all that are known."""
        before, count = len(self._rows), int(GROWTH ** max(0, round_number - PATIENCE))
        moved = self._moved(v)
        for block in self._sweep.blocks():
            rows = np.flatnonzero(moved[block.first : block.first + len(block.lower)])
            if len(rows):
                self._add_in_block(block, rows, v, count)
        return len(self._rows) > before

    def _moved(self, v: FloatArray) -> BoolArray:
        """(T,) the intervals to be swept: nothing new can be violated where nothing changed since the last sweep."""
        each = v[: len(self._thetas) * self._compiled.size].reshape(len(self._thetas), -1)
        moved = np.ones(len(each), dtype=bool)
        if self._swept is not None:
            moved = (each != self._swept).any(axis=1)
            moved[list(self._just_added)] = True
        self._swept = each
        self._just_added.clear()
        return moved

    def _add_in_block(self, block: _Block, rows: IntArray, v: FloatArray, count: int) -> None:
        size, tolerance = self._compiled.size, self._sweep.grid.network.quantities.tolerance
        steps, requests = (block.first + rows).tolist(), block.requests.select(rows)
        for j, powers in enumerate(self._compiled.powers):
            imports, exports = (
                np.stack([power.at(self._thetas[k], v[k * size : (k + 1) * size]) for k in steps]) for power in powers
            )
            u = self._sweep.grid.quantities(requests, imports, exports)
            for use, row, k in zip(u, rows.tolist(), steps, strict=True):
                at = np.flatnonzero((use > block.inner_upper[row]) | (use < block.inner_lower[row]))
                if not len(at):
                    continue
                over, under = use[at] - block.upper[row, at], block.lower[row, at] - use[at]
                if new := self._violated(j, k, at, np.maximum(over, under) / tolerance[at], count):
                    self._add(j, k, new, block)

    def _violated(self, j: int, k: int, at: IntArray, excess: FloatArray, count: int) -> list[int]:
        """Limits of injection j in interval k that are now put into use, of those that are violated."""
        known, new = self._pool.idle, []
        chosen = set(largest_of_each(excess, self._group[at], count))
        for place, i in enumerate(at.tolist()):
            if (j, k, i) in self._active:
                if excess[place] > SOLVED_SLACK:
                    raise NoAnswerError(f"a network row is violated by {excess[place]:.2g} times its tolerance")
            elif place in chosen or (j, i) in known:
                new.append(i)
        return new

    def _add_known(self, keys: Iterable[Key]) -> None:
        limits: dict[tuple[int, int], list[int]] = {}
        for j, k, i in keys:
            limits.setdefault((k, j), []).append(i)
        for block in self._sweep.blocks():
            for k in range(block.first, block.first + len(block.lower)):
                for j in range(len(self._gradients)):
                    if (k, j) in limits:
                        self._add(j, k, limits[k, j], block)

    def _add(self, j: int, k: int, new: list[int], block: _Block) -> None:
        theta, first, row = self._thetas[k], k * self._compiled.size, k - block.first
        self._just_added.add(k)
        rows = [(col + first, data) for col, data in self._gradients[j].at(theta, new)]
        base = self._without_variables(self._compiled.powers[j], theta, block, row)
        limits = [(block.lower[row, i] - base[i], block.upper[row, i] - base[i]) for i in new]
        if self._known is not None:
            use = [float(data @ self._known[col]) for col, data in rows]
            limits = [(min(low, u), max(high, u)) for (low, high), u in zip(limits, use, strict=True)]
        self._rows += rows
        self._limits += limits
        self._active.update(dict.fromkeys((j, k, i) for i in new))

    def _without_variables(self, powers: Powers, theta: FloatArray, block: _Block, row: int) -> FloatArray:
        """Every limited quantity where all variables are zero."""
        imports, exports = (power.base for power in powers)
        if imports.empty and exports.empty:
            return np.asarray(block.inflexible[row])
        one = block.requests.interval(row)
        return self._sweep.grid.quantities(one, imports.vector(theta), exports.vector(theta))
