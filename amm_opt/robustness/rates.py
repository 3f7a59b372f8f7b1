"""How often limits are broken when inflexible load turns out otherwise, and the smallest margin that is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests, as_case
from amm_opt.errors import InputError
from amm_opt.fields import is_number, is_whole, shortened
from amm_opt.grid import Grid
from amm_opt.margins import CLOSE, LARGEST_SCALE, LoadErrors, Margin, as_margin, smallest_scale
from amm_opt.market import Mechanism
from amm_opt.simulation import Run, simulate
from amm_opt.tolerances import BINDING


@dataclass(frozen=True)
class ViolationRates:
    """Limits that errors break, over the intervals of a run and as many draws of each.

    Attributes:
        intervals, draws: how many.
        any_pct: draws of an interval in which any limit is broken, per cent of all.
        unavoidable_pct: the same with nobody flexible served.
        binding_pct: of limits that bind (with their margin), how often each is broken: the mean. That is what a
            margin's eps is about.
        worst_pct: the largest rate of one limit in one interval.
        worst: its branch or bus, and the interval's time; empty where nothing is broken.
        excess_pct: the furthest beyond a rating, per cent of it; ``excess_pu`` beyond a voltage.
    """

    intervals: int
    draws: int
    any_pct: float
    unavoidable_pct: float
    binding_pct: float
    worst_pct: float
    worst: str
    excess_pct: float
    excess_pu: float


def violation_rates(
    run: Run, margin: Margin | str | None = None, *, draws: int = 1000, seed: int = 1, network: Any = None
) -> ViolationRates:
    """How often a run would break limits of its network model if inflexible load were what draws say.

    What is served stays as it is. Draws are new ones: those of a ``scenario`` margin have another seed. Errors that
    were seen (``samples``, ``persistence``) are drawn from with replacement.

    Args:
        margin: whose errors are drawn; the run's own where None, and a standard deviation of 20 % where it has none.
        draws: of each interval.
        seed: of draws; the same draws in every run with the same seed and case.
        network: as for ``verify``.

    Raises:
        InputError: for wrong arguments, or a conic network model.
    """
    problems = [
        f"{name} = {shortened(value)} must be a whole number of at least {least}"
        for name, value, least in (("draws", draws, 1), ("seed", seed, 0))
        if not (is_whole(value) and value >= least)
    ]
    if problems:
        raise InputError(problems, subject="violation rates")
    grid = Grid(run.case, run.network_model(network), run.known_margin)
    if grid.conic:
        raise InputError(f"errors move linear limits, and the network model {grid.network.name!r} has none")
    errors = LoadErrors(as_margin(margin) or grid.margin or Margin(), run.case, grid.network)
    tally = _Tally(draws)
    requests = run.requests
    for start in range(0, requests.n_steps, grid.block_steps):
        block = requests.select(slice(start, start + grid.block_steps))
        served = run.allocation.select(slice(start, start + grid.block_steps))
        drawn, injected = served.drawn_kw, served.injected_kw
        reach = errors.reach(block)
        for k, interval in enumerate(grid.intervals(block)):
            rng = np.random.default_rng([seed, run.first + start + k])
            moved = _Moved(grid, errors, reach[k], draws, rng, interval)
            tally.add(
                grid, interval.times[0], moved, grid.bounds(interval), grid.quantities(interval, drawn[k], injected[k])
            )
            tally.unavoidable += moved.broken(grid.usage(interval)[0])[1].any(axis=0).sum() / draws
    return tally.rates()


class _Moved:
    """Limits that errors may reach in an interval, and where they are in every draw."""

    def __init__(
        self,
        grid: Grid,
        errors: LoadErrors,
        reach: FloatArray,
        draws: int,
        rng: np.random.Generator,
        requests: Requests,
    ) -> None:
        self._grid, self._errors, self._reach = grid, errors, reach
        self._drawn = errors.sampled(rng, draws, requests.inflexible_kw, errors.series_kvar(requests))

    def broken(self, u: FloatArray) -> tuple[IntArray, FloatArray]:
        """Rows within reach, and (rows, draws) how far beyond their limit they are in multiples of a tolerance."""
        q = self._grid.network.quantities
        rows = np.flatnonzero((u + self._reach > q.upper) | (u - self._reach < q.lower))
        moved = u[rows, None] + self._errors.at(rows, self._drawn)
        beyond = np.maximum(moved - q.upper[rows, None], q.lower[rows, None] - moved)
        return rows, np.where(beyond > BINDING * q.tolerance[rows, None], beyond, 0.0)


class _Tally:
    """What was counted so far."""

    def __init__(self, draws: int) -> None:
        self._draws, self._intervals, self._any = draws, 0, 0.0
        self.unavoidable, self._binding = 0.0, [0.0, 0]
        self._worst, self._where, self._excess = 0.0, "", {"voltage": 0.0, "thermal": 0.0}

    def add(
        self, grid: Grid, time: pd.Timestamp, moved: _Moved, bounds: tuple[FloatArray, FloatArray], u: FloatArray
    ) -> None:
        q, feeder = grid.network.quantities, grid.case.feeder
        rows, beyond = moved.broken(u)
        often = (beyond > 0).mean(axis=1)
        self._intervals += 1
        self._any += (beyond > 0).any(axis=0).mean()
        slack = BINDING * q.tolerance[rows]
        binds = (u[rows] >= bounds[1][rows] - slack) | (u[rows] <= bounds[0][rows] + slack)
        self._binding[0] += often[binds].sum()
        self._binding[1] += int(binds.sum())
        if len(rows) and often.max() > self._worst:
            worst = rows[np.argmax(often)]
            names = feeder.bus_names if q.kind[worst] == "voltage" else feeder.branch_names
            self._worst, self._where = float(often.max()), f"{names[q.element[worst]]} at {time:%Y-%m-%d %H:%M}"
        for kind in self._excess:
            mine = beyond[(q.kind[rows] == "voltage") == (kind == "voltage")]
            self._excess[kind] = max(self._excess[kind], float(mine.max(initial=0.0)))

    def rates(self) -> ViolationRates:
        """Rates in per cent; squared voltages become voltages near 1 pu."""
        per, (sum_, count) = 100.0 / max(1, self._intervals), self._binding
        return ViolationRates(
            self._intervals,
            self._draws,
            float(per * self._any),
            float(per * self.unavoidable),
            float(100.0 * sum_ / count) if count else 0.0,
            100.0 * self._worst,
            self._where,
            100.0 * self._excess["thermal"],
            self._excess["voltage"] / 2.0,
        )


@dataclass(frozen=True, eq=False)
class SmallestMargin:
    """The smallest multiple of a margin that is enough.

    Attributes:
        margin: with that ``scale``.
        table: a row per run: ``span`` (``train`` or ``held out``), ``scale``, ``any_pct``, ``unavoidable_pct``,
            ``binding_pct``, ``excess_pct``, ``excess_pu`` and the energy served in both directions, ``served_mwh``.
    """

    margin: Margin
    table: pd.DataFrame


def smallest_margin(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    train: int | str | slice,
    held_out: int | str | slice,
    margin: Margin | str = "gaussian",
    rate_pct: float = 1.0,
    draws: int = 500,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> SmallestMargin:
    """The smallest multiple of a margin with which errors break a limit in at most ``rate_pct`` of all draws.

    Found by bisection on the intervals ``train``, beyond what errors break with nobody flexible served, and then held
    against other draws on the intervals ``held_out``, beside no margin.

    Args:
        case, mechanism, options: as for ``simulate``.
        train, held_out: intervals, as ``steps`` of ``simulate``.
        rate_pct: above 0 and below 100.
        draws, seed: as for :func:`violation_rates`; on ``held_out`` the seed is the next one.
        progress: called with (runs done, most runs).

    Raises:
        InputError: for wrong arguments, and where not even the largest multiple is enough.
    """
    chosen = as_margin(margin)
    if chosen is None or not (is_number(rate_pct) and 0 < rate_pct < 100):
        raise InputError(f"rate_pct = {shortened(rate_pct)} must be between 0 and 100, and a margin be given")
    the_case, rows = as_case(case), []
    most = 3 + int(np.ceil(np.log2(LARGEST_SCALE / CLOSE)))

    def tried(scale: float, span: str, steps: Any, seed: int) -> float:
        scaled = replace(chosen, scale=scale)
        run = simulate(the_case, mechanism, steps=steps, margin=scaled if scale else None, **options)
        rates = violation_rates(run, chosen, draws=draws, seed=seed)
        energy = run.allocation.both_kw.sum() * the_case.dt_h / 1000.0
        told = {
            name: getattr(rates, name)
            for name in ("any_pct", "unavoidable_pct", "binding_pct", "excess_pct", "excess_pu")
        }
        rows.append({"span": span, "scale": scale, **told, "served_mwh": float(energy)})
        if progress is not None:
            progress(len(rows), most)
        return rates.any_pct - rates.unavoidable_pct

    found = smallest_scale(lambda scale: tried(scale, "train", train, seed) <= rate_pct)
    if found is None:
        raise InputError(
            f"not even {LARGEST_SCALE:g} times the margin {chosen} breaks limits in {rate_pct:g} % at most"
        )
    for scale in dict.fromkeys((0.0, found)):
        tried(scale, "held out", held_out, seed + 1)
    return SmallestMargin(replace(chosen, scale=found), pd.DataFrame(rows))
