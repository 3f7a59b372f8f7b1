"""AC truth: an interval made AC-feasible against the linear and the relaxed model alone, and the replay of a run."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.network import BranchFlowSOCP, LinDistFlow
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.options import Options, settled
from amm_opt.simulation.results.totals import Totals
from formulations import AMM

WAYS = {"linear": (LinDistFlow, None), "secure": (LinDistFlow, "secure"), "socp": (BranchFlowSOCP, None)}
SCARCE, COUNT = slice("2016-05-23", "2016-05-25"), 24


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.benchmark(group="AC-feasible interval")
def test_interval(benchmark: Any, way: str, case: ao.Case) -> None:
    """Clearing with the AMM, one after another those intervals of a scarce spell that need a solve, as the driver does.

    With ``secure`` that includes the power flows at the allocations, but not the screening of the block.
    """
    model, ac = WAYS[way]
    loop = settled(case, AMM(), Options(network=model, ac=ac)).loop()
    result = BlockResult("amm", AMM().initial_state(case), Totals.empty(case.n_participants))
    requests = case.requests(*case.span(SCARCE))
    outlook = loop.planner.outlook(requests)
    scarce = np.flatnonzero(loop.grid.scarce(requests))[:COUNT].tolist()

    def run(k: int) -> None:
        outlook.plan(result, slice(k, k + 1), 1)

    for k in scarce:
        run(k)
    turn = itertools.cycle(scarce)
    benchmark.pedantic(run, setup=lambda: ((next(turn),), {}), rounds=(1 if way == "socp" else 3) * len(scarce))
    benchmark.extra_info.update(failed=len(result.failed), of=len(scarce), inexact=len(set(result.inexact)))
    assert not result.failed


@pytest.mark.benchmark(group="verify")
def test_verify_week(benchmark: Any, case: ao.Case) -> None:
    run = ao.simulate(case, AMM(), steps=slice("2016-05-23", "2016-05-29"))
    checked = benchmark.pedantic(ao.verify, (run,), rounds=3)
    assert checked.summary["ac_unsolved_steps"] == 0


@pytest.mark.year
@pytest.mark.parametrize("way", ["verify", "secure"])
@pytest.mark.benchmark(group="AC year")
def test_year(benchmark: Any, way: str, case: ao.Case) -> None:
    """verify: the replay alone; secure: the simulation, without the replay."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ao.InexactWarning)
        run = benchmark.pedantic(lambda: ao.simulate(case, AMM(), ac="secure"), rounds=1) if way == "secure" else None
        if run is None:
            plain = ao.simulate(case, AMM())
            run = benchmark.pedantic(ao.verify, (plain,), rounds=1)
    s = run.summary
    keys = ("ac_thermal_violations", "ac_voltage_violations", "ac_unsolved_steps", "unserved_mwh", "curtailed_mwh")
    benchmark.extra_info.update({key: float(s[key]) for key in keys}, simulate_seconds=float(s["seconds"]))
    assert s["ac_unsolved_steps"] == 0
    if way == "secure":
        assert s["ac_thermal_violations"] + s["ac_voltage_violations"] + s["failed_steps"] == 0
