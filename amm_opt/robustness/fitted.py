"""A fitted network against the true one: levels of equal envelopes, sensitivities, and limits that break on AC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, SIGN, BoolArray, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.fields import checked_kind, is_number, shortened
from amm_opt.grid import Grid
from amm_opt.meters import FittedNetwork
from amm_opt.network import ACNetwork
from amm_opt.network.default import default_model
from amm_opt.network.excess import excesses
from amm_opt.simulation import Run
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU
from amm_opt.verification.replay import ReplayTotals

HALVINGS = 30


@dataclass(frozen=True, eq=False)
class FitReport:
    """What a fitted network is worth where the true one is known.

    Attributes:
        levels: (T, 6) kW that everybody may draw or feed in at its connection at once, columns (direction, by): by the
            ``fit``, the ``model`` and ``ac`` power flow.
        table: a row per direction: means of the three in kW (``fit_kw``, ``model_kw``, ``ac_kw``); how far the first
            two are off the last, ``fit_error_pct``, ``model_error_pct``; ``seen_kw``, the most that any meter read in
            this direction when the network was fitted, and ``never``, how many never read any; ``extrapolation``, the
            highest level over ``seen_kw``; and with everybody at the fit's level on AC: ``broken_pct`` of intervals in
            which a limit breaks, ``worst_pu`` and ``worst_rating_pct`` beyond a band and a rating.
        sensitivity_error: of squared voltages to active powers, against the model's: Frobenius norm of the difference
            over that of the model's.
        together_pct: how far what all powers together do to a voltage is off the model's, on average over meters.
        errors: of voltages, see ``Fit``.
        margin_v: how far the upper limits moved in, in volts, the mean over meters; ``eps`` whose quantile that is.
        missing: which inputs there were none of.
    """

    levels: pd.DataFrame
    table: pd.DataFrame
    sensitivity_error: float
    together_pct: float
    errors: pd.DataFrame
    margin_v: float
    eps: float
    missing: tuple[str, ...]


def fit_report(
    case: Case,
    fitted: FittedNetwork,
    steps: int | str | slice | None = None,
    *,
    source_pu: tuple[float, float] | None = None,
) -> FitReport:
    """Hold a fitted network against the network that its meters were read on.

    Levels: everybody draws, or feeds in, the same at its connection (flexible power is that less its load, at least 0
    and at most the connection limit), and the highest level that keeps every limit is found by bisection, on the fit's
    rows, on the linear model of the true feeder and on its AC power flow.

    Args:
        case: the true one; its participants are the meters.
        steps: as for ``simulate``.
        source_pu: lowest and highest voltage of the source at which limits must hold on the true feeder, since a fit
            knows nothing of where it will be; the case's own where None.

    Raises:
        InputError: for wrong arguments, and where the participants are not the meters.
    """
    checked_kind(case, Case, "case")
    checked_kind(fitted, FittedNetwork, "fitted")
    ends = (case.feeder.v_source_pu,) * 2 if source_pu is None else source_pu
    pair = isinstance(ends, tuple | list) and len(ends) == 2 and all(is_number(v) and 0.5 <= v <= 1.5 for v in ends)
    if not (pair and ends[0] <= ends[1]):
        raise InputError(f"source_pu = {shortened(source_pu)} must be the lowest and the highest voltage in pu")
    feeders = [replace(case.feeder, v_source_pu=float(v)) for v in dict.fromkeys(ends)]
    requests = case.requests(*case.span(steps))
    mine = Grid(fitted.case_of(case), fitted)
    true = [Grid(case, default_model(f)(f)) for f in feeders]
    wires = [_Wires(grid, ACNetwork(f)) for grid, f in zip(true, feeders, strict=True)]
    levels, rows = {}, {}
    for d in DIRECTIONS:
        keeps = {"fit": _keeping([mine], requests), "model": _keeping(true, requests), "ac": _wired(wires, requests)}
        for by, keep in keeps.items():
            levels[d, by] = _level(case, requests, d, keep)
        broken, volts, rating = _broken(wires, requests, _powers(case, requests, d, levels[d, "fit"]))
        seen = fitted.fit.seen_kw[DIRECTIONS.index(d)]
        fit, model, ac = (levels[d, by] for by in ("fit", "model", "ac"))
        rows[d] = {
            "fit_kw": fit.mean(),
            "model_kw": model.mean(),
            "ac_kw": ac.mean(),
            "fit_error_pct": _off(fit, ac),
            "model_error_pct": _off(model, ac),
            "seen_kw": seen.max(),
            "never": int((seen <= 0).sum()),
            "extrapolation": fit.max() / seen.max() if seen.max() > 0 else np.inf,
            "broken_pct": 100.0 * broken.mean(),
            "worst_pu": volts,
            "worst_rating_pct": 100.0 * rating,
        }
    theirs, ours = _slopes(true[0]), fitted.rows_of_meters.a_p
    order = [fitted.fit.data.meters.index(name) for name in case.participant_names]
    ours, together = ours[np.ix_(order, order)], theirs.sum(axis=1)
    return FitReport(
        pd.DataFrame(levels, index=requests.times),
        pd.DataFrame(rows).T,
        float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
        float(100.0 * np.mean(ours.sum(axis=1) / together - 1.0)),
        fitted.fit.errors,
        float(fitted.fit.data.nominal_v * np.mean(fitted.rows_of_meters.above) / 2.0),
        fitted.fit.eps,
        fitted.fit.missing,
    )


def replay_on(case: Case, run: Run) -> ReplayTotals:
    """What a run on another network does on a case's own, by AC power flow: limits that break, losses, wrong voltages.

    Args:
        case: the true one, with the run's participants and intervals.
        run: such as one on ``fitted.case_of(case)``.

    Raises:
        InputError: where participants or intervals differ, or power-grid-model is not installed.
    """
    checked_kind(case, Case, "case")
    checked_kind(run, Run, "run")
    start = run.first
    same = case.participant_names == run.case.participant_names and case.n_steps >= start + len(run.times)
    if not (same and case.times[start] == run.times[0] and case.dt_h == run.case.dt_h):
        raise InputError(f"the run on {run.case.name!r} has other participants or intervals than case {case.name!r}")
    grid, wires, totals = Grid(case, default_model(case.feeder)(case.feeder)), ACNetwork(case.feeder), ReplayTotals()
    requests = case.requests(start, start + len(run.times), waits=run.waits)
    for first in range(0, requests.n_steps, grid.block_steps):
        block = slice(first, first + grid.block_steps)
        totals.add(grid, wires, requests.select(block), run.allocation.select(block))
    return totals


@dataclass(frozen=True)
class _Wires:
    """A feeder's AC power flow, its limits, and participants at its nodes."""

    grid: Grid
    ac: ACNetwork

    def excess(self, requests: Requests, powers: tuple[Any, Any]) -> tuple[FloatArray, FloatArray]:
        """(T,) the furthest beyond a rating and beyond a band; infinite where there is no power flow."""
        p, q = self.grid.at_nodes(requests, *powers)
        with np.errstate(over="ignore", invalid="ignore"):  # far beyond what the network carries
            state = self.ac.flow(p, q)
        thermal, voltage = (np.where(state.solved, e.max(axis=1), np.inf) for e in excesses(self.grid.network, state))
        return thermal, voltage


def _powers(case: Case, requests: Requests, direction: str, level: FloatArray) -> tuple[Any, Any]:
    """Flexible import and export, (T, n), with everybody at (T,) levels at its connection."""
    load = SIGN[direction] * requests.inflexible_kw
    x = np.clip(level[:, None] - load, 0.0, np.maximum(case.connection_kw(direction) - load, 0.0))
    return (x, 0.0) if direction == "import" else (0.0, x)


def _keeping(grids: list[Grid], requests: Requests) -> Callable[[tuple[Any, Any]], BoolArray]:
    """(T,) where limits are kept on all of some models."""

    def keep(powers: tuple[Any, Any]) -> BoolArray:
        kept = np.ones(requests.n_steps, dtype=bool)
        for grid in grids:
            q = grid.network.quantities
            kept &= grid.within(grid.quantities(requests, *powers), (q.lower, q.upper))
        return kept

    return keep


def _wired(wires: list[_Wires], requests: Requests) -> Callable[[tuple[Any, Any]], BoolArray]:
    """(T,) where limits are kept by AC power flow."""

    def keep(powers: tuple[Any, Any]) -> BoolArray:
        kept = np.ones(requests.n_steps, dtype=bool)
        for one in wires:
            thermal, voltage = one.excess(requests, powers)
            kept &= (thermal <= 0.0) & (voltage <= 0.0)
        return kept

    return keep


def _level(case: Case, requests: Requests, direction: str, keep: Callable[[tuple[Any, Any]], BoolArray]) -> FloatArray:
    """(T,) the highest level that keeps limits, by bisection; 0 where none does."""
    low = np.zeros(requests.n_steps)
    limit = case.connection_kw(direction)
    high = np.full(requests.n_steps, float(np.max(limit[np.isfinite(limit)], initial=0.0)) or 100.0)
    open_ = ~keep(_powers(case, requests, direction, high))
    low[~open_] = high[~open_]
    for _ in range(HALVINGS if open_.any() else 0):
        middle = (low + high) / 2.0
        kept = keep(_powers(case, requests, direction, middle))
        low, high = np.where(kept, middle, low), np.where(kept, high, middle)
    return low


def _broken(wires: list[_Wires], requests: Requests, powers: tuple[Any, Any]) -> tuple[BoolArray, float, float]:
    """(T,) where a limit breaks on AC, and the furthest beyond a band (pu) and a rating (share)."""
    broken, volts, rating = np.zeros(requests.n_steps, dtype=bool), 0.0, 0.0
    for one in wires:
        thermal, voltage = one.excess(requests, powers)
        broken |= (thermal > THERMAL_VIOLATION) | (voltage > VOLTAGE_VIOLATION_PU)
        volts, rating = max(volts, float(voltage.max())), max(rating, float(thermal.max()))
    return broken, volts, rating


def _off(level: FloatArray, truth: FloatArray) -> float:
    """Per cent that levels are off the truth, on average over intervals in which there is any."""
    some = truth > 0
    return float(100.0 * np.mean(level[some] / truth[some] - 1.0)) if some.any() else float("nan")


def _slopes(grid: Grid) -> FloatArray:
    """(n, n) what 1 kW fed in by each participant adds to each one's squared voltage, the mean of its phases."""
    at, nothing = grid.incidence, np.zeros(grid.network.n_nodes)
    units = np.asarray(at.T.toarray())
    w = grid.network.state(units, 0.0 * units).v_pu ** 2 - grid.network.state(nothing, nothing).v_pu ** 2
    return np.asarray(w @ at).T
