"""AC truth: an interval made AC-feasible against the linear and the relaxed model alone, and the replay of a run."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from subjects import Interval

import amm_opt as ao
from amm_opt.network import BranchFlowSOCP, LinDistFlow
from amm_opt.simulate.job import Job, Part
from amm_opt.simulate.metrics import Metrics
from amm_opt.solve import Step
from formulations import AMM

WAYS = {"linear": (LinDistFlow, False), "secure": (LinDistFlow, True), "socp": (BranchFlowSOCP, False)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.benchmark(group="AC-feasible interval")
def test_interval(benchmark: Any, way: str, case: ao.Case, sample: list[Interval]) -> None:
    """The driver's whole interval with the AMM, after once through the sample: screening, clearing, power flows."""
    model, secure = WAYS[way]
    job = Job(Step(case, model(case.feeder)), AMM(), (None,), secure)
    state = job.mechanism.initial_state(case)
    part = Part(state, Metrics.empty(case.n_participants))
    windows = [_block(one.window) for one in sample]

    def run(window: ao.Window) -> None:
        part.state = state
        job._run_block(part, window)

    for window in windows:
        run(window)
    turn = itertools.cycle(windows)
    benchmark.pedantic(run, setup=lambda: ((next(turn),), {}), rounds=(1 if way == "socp" else 3) * len(windows))
    benchmark.extra_info.update(failed=len(part.failed), of=len(windows), inexact=len(set(part.inexact)))
    assert not part.failed


def _block(one: ao.Window) -> ao.Window:
    """One interval as a block of one."""
    arrays = (one.inflexible_kw, one.import_request_kw, one.export_request_kw)
    block = replace(one, usage=None)
    load, imports, exports = (np.asarray(a)[None] for a in arrays)
    return replace(block, inflexible_kw=load, import_request_kw=imports, export_request_kw=exports)


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
