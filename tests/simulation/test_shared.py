"""What runs have in common is kept from one to the next, and changes nothing, to the bit."""

from __future__ import annotations

import pickle
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.simulation.driver import execute
from amm_opt.simulation.options import Options, settled
from amm_opt.simulation.shared import ROOM, Shared
from amm_opt.solve.compile.form import form_of
from amm_opt.solve.solver import ProgramSolver

CASE = "synthetic:buses=70,days=1,seed=3"
SPECS = (
    "amm:rho=0.3", "amm:alpha=2,rho=0.05", "amm:envelope=equal_doe", "equal_doe", "greedy_doe", "leximin",
    "alpha_fair", "dnp", "curtailment_cap",
)  # fmt: skip


def arrays(run: ao.Run) -> list[Any]:
    a = run.allocation
    prices = [] if a.import_price is None else [a.import_price, a.export_price]
    return [a.import_kw, a.export_kw, *prices, run.summary.drop(["seconds", "ms_per_step"]).to_numpy()]


def test_runs_after_others_are_the_same_to_the_bit() -> None:
    """Forwards and backwards through mechanisms of several kinds, two tiers and waiting among them."""
    case, shared = ao.load_case(CASE).with_scenario(import_scale=1.4), Shared(ROOM)
    asked = [(spec, {}) for spec in SPECS]
    asked += [("amm", {"tiers": "two"}), ("amm:rho=0.2", {"defer": True}), ("fot", {})]
    alone = [arrays(ao.simulate(case, spec, steps=36, **how)) for spec, how in asked]
    for order in (range(len(asked)), reversed(range(len(asked)))):
        for k in order:
            spec, how = asked[k]
            run = execute(settled(case, spec, Options(steps=36, **how), shared))
            for here, there in zip(arrays(run), alone[k], strict=True):
                assert np.array_equal(here, there, equal_nan=True), spec


def test_programs_of_one_form_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    init = ProgramSolver.__init__

    def counted(self: Any, *args: Any) -> None:
        made.append("one")
        init(self, *args)

    monkeypatch.setattr(ProgramSolver, "__init__", counted)
    case, shared = ao.load_case(CASE), Shared(ROOM)
    for spec in ("amm", "amm:alpha=1", "amm:priority=deficit,kappa=3,rho=0.5", "alpha_fair"):
        execute(settled(case, spec, Options(steps=4), shared))
    assert len(made) == 1
    execute(settled(case, "amm", Options(steps=4, solver="clarabel"), shared))
    execute(settled(case.with_scenario(import_scale=1.1), "amm", Options(steps=4), shared))
    execute(settled(case, "equal_doe", Options(steps=4), shared))
    assert len(made) > 3


def test_forms_differ_where_programs_do() -> None:
    grid = Shared().on(ao.load_case(CASE), "lindistflow").grid

    def program(factor: float = 2.0, name: str = "gain", nonneg: bool = False, upper: bool = True) -> ao.Program:
        x, gain = cp.Variable(grid.n, name="x"), cp.Parameter(grid.n, nonneg=True, name=name)
        limits = [x >= 0, x <= grid.import_request_kw if upper else x <= grid.export_request_kw]
        y = cp.Variable(nonneg=nonneg)
        objective = cp.Maximize(gain @ x - factor * cp.sum_squares(x) - cp.square(y))
        return ao.Program(objective, limits, [grid.injection(import_kw=x)], {"import": x})

    form = form_of(program(), grid.parameters)
    assert form is not None
    assert form == form_of(program(), grid.parameters)
    for other in (program(3.0), program(name="other"), program(nonneg=True), program(upper=False)):
        assert form_of(other, grid.parameters) != form
    assert form_of(program(), ()) != form
    cone = cp.SOC(cp.Variable(), cp.Variable(2))
    free = ao.Program(cp.Maximize(cp.Constant(0.0)), [cone], [], {})
    assert form_of(free, grid.parameters) is None


def test_what_is_kept_has_an_end_and_stays_in_its_process() -> None:
    case, shared = ao.load_case(CASE), Shared(ROOM)
    first = shared.on(case, "lindistflow")
    assert shared.on(case, "lindistflow") is first
    for scale in (1.1, 1.2, 1.3, 1.4):
        shared.on(case.with_scenario(import_scale=scale), "lindistflow")
    assert shared.on(case, "lindistflow") is not first
    copy = pickle.loads(pickle.dumps(shared))
    assert copy.on(case, "lindistflow") is not shared.on(case, "lindistflow")
    on = shared.on(case, "lindistflow")
    on.expect(0, 8)
    assert on.requests(0, 8, waits=False) is on.requests(0, 8, waits=False)
    assert on.requests(0, 8, waits=True) is not on.requests(0, 8, waits=False)
    none = Shared().on(case, "lindistflow")
    none.expect(0, 8)
    assert none.requests(0, 8, waits=False) is not none.requests(0, 8, waits=False)
