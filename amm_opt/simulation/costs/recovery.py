"""Cost recovery of a run: its plants, what they cost, what they were paid, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.fields import checked_kind, is_number, shortened
from amm_opt.market import Allocation
from amm_opt.market.cost_recovery import OWN, WEIGHTS, CostRecovery, recover_costs
from amm_opt.market.settlement import MONEY, rates
from amm_opt.simulation.costs.worth import Worth, generator_worth
from amm_opt.simulation.explanation.price_layers import BLOCK_STEPS
from amm_opt.simulation.results.run import Run

HOURS_OF_YEAR = 8760.0


def cost_recovery(
    run: Run,
    *,
    worth: Worth | None = None,
    own: Collection[str] = OWN,
    weights: str = WEIGHTS[0],
    benchmark: Run | None = None,
    offer: float = 0.0,
    network: Any = "transport",
    every: int = 1,
    rounds: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CostRecovery:
    """Who gets what of the costs of a run (docs/cost-recovery.md).

    Plants are all who ever offer export or have a battery. A plant's kW are the most that it ever offers and the power
    of its battery; its costs are the columns ``capital_per_kw``, ``payback_years`` and ``fixed_cost_per_kw_year`` of
    participants, for the part of a year that the run is long. It spends its offer on what it generates.

    Args:
        run: with prices, of this session or from disk.
        worth: what generators are worth; worked out where None, which takes long for long runs (``every``).
        own: technologies that get exactly their own operating and capital cost.
        weights: ``equal`` or ``value``, as for ``recover_costs``.
        benchmark: a run of the same intervals at other prices, such as ``lmp_ahead``, for the delta pot.
        offer: what those without an ``export_offer`` spend on a kWh.
        network, every, rounds, progress: as for ``generator_worth``.

    Raises:
        InputError: without prices or plants, for a benchmark of other intervals, and as ``recover_costs`` and
            ``generator_worth`` say.
    """
    checked_kind(run, Run, "run")
    if not is_number(offer):
        raise InputError(f"offer = {shortened(offer)} must be a number", subject="cost recovery")
    case, first, stop = run.case, run.first, run.first + len(run.times)
    if worth is None:
        options: dict[str, Any] = {"every": every, "rounds": rounds, "progress": progress}
        worth = generator_worth(case, first, stop, network=network, **options)
    fuel, reserve, energy = _paid(run, worth.generators)
    against = None
    if benchmark is not None:
        against = _of_benchmark(run, benchmark, worth.generators)
    years = len(run.times) * case.dt_h / HOURS_OF_YEAR
    plants = _plants(case, worth.generators, energy, years, offer)
    options = {"own": own, "weights": weights, "benchmark": against, "years": years, "times": run.times}
    return recover_costs(plants, fuel, reserve, worth.value, **options)


def _of_benchmark(run: Run, benchmark: Run, generators: tuple[str, ...]) -> float:
    checked_kind(benchmark, Run, "benchmark")
    if not run.times.equals(benchmark.times) or set(generators) - set(benchmark.case.participant_names):
        raise InputError("the benchmark has other intervals or participants than the run", subject="cost recovery")
    fuel, reserve, _ = _paid(benchmark, generators)
    return float(fuel.sum() + reserve.sum())


def _paid(run: Run, generators: tuple[str, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(T, G) each: what plants get for energy, less what charging costs, and for reserve; and (G,) kWh generated."""
    place = {name: i for i, name in enumerate(run.case.participant_names)}
    who = np.array([place[name] for name in generators])
    payments = run.payments
    fuel, reserve, energy = [], [], np.zeros(len(who))
    for start, part in _parts(run):
        power, money = rates(run.case, start, part, payments)
        of = dict(zip(MONEY, money[:, :, who] * run.case.dt_h, strict=True))
        fuel.append(of["earned"] + of["discharging"] - of["charging"])
        reserve.append(of["reserve"])
        energy += (power[1] + power[3])[:, who].sum(axis=0) * run.case.dt_h
    return np.concatenate(fuel), np.concatenate(reserve), energy


def _parts(run: Run) -> Iterator[tuple[int, Allocation]]:
    allocation, count = run.allocation, len(run.times)
    for k in range(0, count, BLOCK_STEPS):
        yield run.first + k, allocation.select(slice(k, min(k + BLOCK_STEPS, count)))


def _plants(case: Case, generators: tuple[str, ...], energy: FloatArray, years: float, offer: float) -> pd.DataFrame:
    kw = case.scenario.export_scale * case.profiles.largest_kw("export", case.n_participants)
    kw[case.batteries.participant] += case.batteries.power_kw
    people = case.participants.assign(kw=kw).set_index("name").loc[list(generators)].reset_index()
    investment = people["capital_per_kw"] * people["kw"]
    return pd.DataFrame(
        {
            "participant": people["name"],
            "technology": people["technology"],
            "kw": people["kw"],
            "fuel_cost": people["export_offer"].fillna(offer) * energy,
            "operating": people["fixed_cost_per_kw_year"] * people["kw"] * years,
            "capital": (investment / people["payback_years"]).fillna(0.0) * years,
            "investment": investment,
        }
    )
