"""Programs over a horizon: solvers, stores, what is carried out, forecasts."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import cvxpy as cp
import numpy as np
import pytest
from click.testing import CliRunner
from small import difference, grid_of, one_transformer, small_case

import amm_opt as ao
from amm_opt.cases import Case, Requests
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.simulation.forecast import Noisy, Persistence
from amm_opt.simulation.loop import loop
from amm_opt.solve.solver import ProgramSolver
from amm_opt.study.cli import main
from formulations import AMM, FairEachTime, FairOverTime, NoControl

SPAN = slice(70, 96)


@lru_cache
def scarce() -> Case:
    return ao.load_case("synthetic:buses=130,days=2,seed=3").with_scenario(import_scale=2.5)


@pytest.mark.parametrize("solver", ["clarabel", "highs"])
def test_solvers_agree(solver: str) -> None:
    case = scarce()
    usual = ao.simulate(case, FairOverTime(window="4h"), steps=SPAN)
    other = ao.simulate(case, FairOverTime(window="4h"), steps=SPAN, solver=solver)
    assert not other.failed_steps
    assert difference(usual, other) < 1e-4
    assert usual.audit is not None
    assert usual.audit.passed


def test_processes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 48)
    case = ao.load_case("synthetic:buses=60,days=6,seed=3").with_scenario(import_scale=4.0, export_scale=2.0)
    one, two = (ao.simulate(case, FairOverTime(window="1D"), workers=n) for n in (1, 2))
    np.testing.assert_array_equal(one.allocation.import_kw, two.allocation.import_kw)
    np.testing.assert_array_equal(one.allocation.export_kw, two.allocation.export_kw)
    assert one.summary["unserved_mwh"] > 0
    assert two.workers == 2


@dataclass(frozen=True)
class Shifted(Mechanism[NoState]):
    """A store at each bus that serves imports, filled when the network has room: as little cost as possible."""

    name: ClassVar[str] = "shifted"
    size_kwh: float = 6.0

    @property
    def horizon(self) -> str:
        return "all"

    def program(self, grid: ao.Grid) -> ao.HorizonProgram:
        served, fill = cp.Variable(grid.n), cp.Variable(grid.n)
        interval = ao.Program(
            cp.Maximize(cp.sum(served)),
            [served >= 0, served <= grid.import_request_kw, fill >= -10, fill <= 10],
            [grid.injection(import_kw=served + fill)],
            {"import": served, "export": 0.0 * served, "fill": fill},
        )
        return ao.HorizonProgram(interval, cp.Maximize(cp.Constant(0.0)), stores={"level": "fill"})

    def clear(self, grid: ao.Grid, solve: Any, state: NoState, requests: Requests) -> Any:
        n, size = grid.n, self.size_kwh
        bounds = {"level_lower": np.zeros(n), "level_upper": np.full(n, size), "level_initial": np.full(n, size / 2)}
        solution = solve(bounds)
        object.__setattr__(self, "seen", solution)
        return solution


def test_store_balances_and_serves() -> None:
    """6 kWh at each of two participants, half full; 8 kW for both; requests of 5 kW each in the first interval only."""
    case = one_transformer(8.0, 0.0, [[5, 5], [0, 0], [7, 7], [7, 7]], np.zeros((4, 2)))
    mechanism = Shifted()
    grid = grid_of(case)
    solver = ProgramSolver(mechanism.program(grid), grid, (None,))
    requests = case.requests(0, 4)
    solution = mechanism.clear(grid, lambda values: solver.solve(values, requests, None, None), NoState(), requests)
    level, fill = solution["level"], solution["fill"]
    before = np.vstack([np.full((1, 2), 3.0), level[:-1]])
    np.testing.assert_allclose(level, before + 0.5 * fill, atol=1e-7)
    assert np.all(level >= -1e-7)
    assert np.all(level <= 6 + 1e-7)
    # 48 kW are asked for in all, over four half-hours of 8 kW with 2 x 3 kWh = 12 kW-intervals stored: 44 can be served
    assert solution["import"].sum() == pytest.approx(min(38.0, 4 * 8 + 12), abs=1e-5)
    hungry = one_transformer(8.0, 0.0, [[9, 9], [9, 9], [9, 9], [9, 9]], np.zeros((4, 2)))
    requests = hungry.requests(0, 4)
    solution = mechanism.clear(grid, lambda values: solver.solve(values, requests, None, None), NoState(), requests)
    assert solution["import"].sum() == pytest.approx(4 * 8 + 12, abs=1e-5)


def test_perfect_forecast_is_no_forecast() -> None:
    case = scarce()
    plain, perfect = (ao.simulate(case, AMM(), steps=SPAN, forecast=f) for f in (None, "perfect"))
    np.testing.assert_array_equal(plain.allocation.import_kw, perfect.allocation.import_kw)
    assert plain.planned is None


@pytest.mark.parametrize("mechanism", [AMM(), FairOverTime(window="4h"), FairEachTime()], ids=str)
def test_certain_forecast_by_the_long_way(mechanism: Mechanism[Any]) -> None:
    """A forecast without error, given as a function, makes plan and outcome the same as no forecast."""
    case = scarce()
    known = ao.simulate(case, mechanism, steps=SPAN)
    told = ao.simulate(case, mechanism, steps=SPAN, forecast=lambda c, now, stop: c.requests(now, stop))
    assert difference(known, told) < 1e-6
    assert told.planned is not None
    np.testing.assert_allclose(told.planned.import_kw, told.allocation.import_kw, atol=1e-6)
    assert told.summary["repaired_steps"] == 0


@pytest.mark.parametrize("forecast", ["noisy:sigma=0.3,seed=4", "persistence"])
@pytest.mark.parametrize("mechanism", [AMM(), FairOverTime(window="4h")], ids=str)
def test_wrong_forecasts_cost_service_but_break_no_limit(mechanism: Mechanism[Any], forecast: str) -> None:
    case = scarce()
    known = ao.simulate(case, mechanism, steps=SPAN)
    run = ao.simulate(case, mechanism, steps=SPAN, forecast=forecast)
    s, w, planned = run.summary, run.requests, run.planned
    assert planned is not None
    assert s["thermal_violations"] == s["voltage_violations"] == 0
    assert not run.failed_steps
    assert (s["repaired_steps"] > 0) == forecast.startswith("noisy")
    assert np.all(run.allocation.import_kw <= np.minimum(planned.import_kw, w.import_request_kw) + 1e-9)
    assert np.any(planned.import_kw > w.import_request_kw + 0.1)
    short = [r.summary["unserved_mwh"] + r.summary["curtailed_mwh"] for r in (known, run)]
    assert short[1] > short[0] * 1.02


def test_forecasts_do_not_hurt_who_enforces_nothing() -> None:
    run = ao.simulate(scarce(), NoControl(), steps=SPAN, forecast="noisy:sigma=0.5")
    assert run.summary["unserved_mwh"] == run.summary["curtailed_mwh"] == 0
    assert run.summary["thermal_violations"] > 0


def test_noise_is_seeded_and_persistence_looks_back() -> None:
    case = scarce()
    a, b, c = (Noisy(0.2, seed)(case, 60, 70) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.inflexible_kw, b.inflexible_kw)
    assert not np.array_equal(a.inflexible_kw, c.inflexible_kw)
    true = case.requests(60, 70)
    error = a.inflexible_kw / np.where(true.inflexible_kw == 0, 1.0, true.inflexible_kw) - 1.0
    assert np.std(error[true.inflexible_kw != 0]) == pytest.approx(0.2, rel=0.1)
    late = Persistence()(case, 90, 96)
    np.testing.assert_array_equal(late.export_request_kw, case.requests(42, 48).export_request_kw)
    assert late.start == 90
    assert list(late.times) == list(case.times[90:96])
    np.testing.assert_array_equal(Persistence()(case, 10, 12).inflexible_kw, case.requests(10, 12).inflexible_kw)


def test_repair_is_the_closest_hosted() -> None:
    """Two plans of 6 kW for a transformer that really has 8 kW: both cut alike, to 4 kW."""
    case = one_transformer(8.0, 0.0, [[6, 6], [6, 6]], np.zeros((2, 2)))

    def hopeful(case: Case, now: int, stop: int) -> Requests:
        w = case.requests(now, stop)
        return replace(w, inflexible_kw=w.inflexible_kw - 4.0)

    run = ao.simulate(case, AMM(), forecast=hopeful)
    assert run.planned is not None
    np.testing.assert_allclose(run.planned.import_kw, 6.0, atol=1e-6)
    np.testing.assert_allclose(run.allocation.import_kw, 4.0, atol=1e-4)
    assert run.summary["repaired_steps"] == 2


@dataclass(frozen=True)
class Ahead(FairOverTime):
    """Looks a day ahead and carries out less of it."""

    carried_out: str = "2h"

    @property
    def commit(self) -> str:
        return self.carried_out


def test_commit_is_carried_out_and_looked_at_again() -> None:
    """All committed is the plain mechanism; with less, the next window forgets what the first one counted on.

    8 kW for requests of 10 and 2, then 10 and 10: both windows together reach a level of one half, 10 of 20 and 6 of
    12, with equal shares as far as that goes in 6.5 and 3.5. The second interval alone is shared equally.
    """
    case = one_transformer(8.0, 0.0, [[10, 2], [10, 10]], np.zeros((2, 2)))
    for carried_out, second in (("1h", [3.5, 4.5]), ("30min", [4.0, 4.0])):
        run = ao.simulate(case, Ahead(per="participant", give=0.0, window="1h", carried_out=carried_out))
        np.testing.assert_allclose(run.allocation.import_kw, [[6.5, 1.5], second], atol=1e-3)
    plain = ao.simulate(scarce(), FairOverTime(window="6h"), steps=SPAN)
    same = ao.simulate(scarce(), Ahead(window="6h", carried_out="6h"), steps=SPAN)
    assert difference(plain, same) < 1e-9


@dataclass(frozen=True)
class LookingAhead(AMM):
    """Claims a horizon without a program over one."""

    @property
    def horizon(self) -> int:
        return 3


def bad_shape(case: Case, now: int, stop: int) -> Requests:
    w = case.requests(now, stop)
    return replace(w, import_request_kw=w.import_request_kw[:, :-1])


def negative(case: Case, now: int, stop: int) -> Requests:
    w = case.requests(now, stop)
    return replace(w, export_request_kw=w.export_request_kw - 1.0)


@pytest.mark.parametrize(
    ("mechanism", "forecast", "message"),
    [
        (Ahead(window="2h", carried_out="6h"), None, r"horizon = 4 intervals is shorter than commit = 12"),
        ("fot:window=soon", None, r"'soon' must be a number of intervals, a time such as 1D, or all"),
        (FairOverTime(window="45min"), None, r"'45min' is not a whole number of intervals of 30 minutes"),
        ("fot:window=0", None, r"window = .* must be a number of intervals"),
        (LookingAhead(), None, r"horizon = 3 needs a HorizonProgram"),
        (AMM(), "crystal", r"unknown forecast 'crystal'.*noisy, perfect, persistence"),
        (AMM(), "noisy:spread=1", r"spread.*seed, sigma"),
        (AMM(), "noisy:sigma=much", r"sigma = 'much' is not a number"),
        (AMM(), "noisy:sigma=1.2.3", r"sigma = '1.2.3' is not a number"),
        (AMM(), "noisy:seed=1.5", r"seed = '1.5' is not a whole number"),
        (AMM(), "noisy:sigma=nan", r"sigma = nan must be a number"),
        (AMM(), "noisy:sigma=-1", r"sigma = -1.0 must not be negative"),
        (AMM(), 3, r"3 is not a forecast"),
        (AMM(), bad_shape, r"import_request_kw of shape .* not \(1, \d+\)"),
        (AMM(), negative, r"export_request_kw that is negative"),
    ],
)
def test_bad_input(mechanism: Mechanism[Any] | str, forecast: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.simulate(scarce(), mechanism, steps=SPAN, forecast=forecast)


def test_what_is_to_be_even_is_a_variable_beside_squares_of_single_ones() -> None:
    grid = grid_of(one_transformer(8.0, 0.0, [9.0, 9.0], np.zeros(2)))
    program = Shifted().program(grid)
    product = cp.quad_form(program.interval.values["import"], np.array([[2.0, 1.0], [1.0, 2.0]]))
    crossed = replace(program.interval, objective=cp.Minimize(product))
    for wrong, said in (
        (replace(program, even=["export"]), "'export' is no value of an interval that is a vector variable"),
        (replace(program, interval=crossed, even=["import"]), "squares of single variables only"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ProgramSolver(wrong, grid, (None,))


def test_command_line(tmp_path: Any) -> None:
    args = ["run", "synthetic:buses=60,days=1,seed=3", "--mechanism", "fot:window=4h", "--forecast", "noisy:sigma=0.2"]
    result = CliRunner().invoke(main, [*args, "--json", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["rows"][0]
    assert row["mechanism"] == "fot:window=4h"
    assert row["repaired_steps"] >= 0
    assert list((tmp_path / "run").rglob("planned_kw"))
    result = CliRunner().invoke(main, [*args[:-1], "guess"])
    assert result.exit_code == 2
    assert "persistence" in result.output


def test_failed_window_serves_nobody_and_is_marked() -> None:
    @dataclass(frozen=True)
    class Impossible(FairOverTime):
        def clear(self, grid: ao.Grid, solve: Any, state: Any, requests: Requests) -> Any:
            raise ao.SolveError("no answer")

    case = small_case({"lv": ("src", 1e-4, 8.0)}, ["lv"], 0.0, [[9], [9], [1]], [[0], [0], [0]])
    with pytest.warns(UserWarning, match="nobody is served in 2 intervals"):
        run = ao.simulate(case, Impossible(window="2"))
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [0, 0, 1])
    assert sorted(run.failed_steps) == [0, 1]


def test_allocations_are_put_together() -> None:
    one = Allocation(np.ones((2, 3)), np.zeros((2, 3)))
    both = Allocation.joined([one, one])
    assert both.import_kw.shape == (4, 3)
    assert both.import_price is None
