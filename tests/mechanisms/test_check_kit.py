"""The public checks: everything that ships and is installed passes them, and what is broken on purpose does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cvxpy as cp
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.network import BranchFlowSOCP, LinDist3Flow, LinDistFlow
from amm_opt.registry import mechanisms, network_models
from amm_opt.solve.backends import Point, Reduced, failed
from amm_opt.solve.backends.known import solvers
from amm_opt.testing import CheckError, check_backend, check_mechanism, check_network_model, mechanism_checks
from formulations import AMM, GreedyDOE

MECHANISMS = [*mechanisms(), *(f"greedy_doe:rule={rule}" for rule in ("largest_request_first", "worst_bus_first"))]
INSTALLED = sorted(name.lower() for name, info in solvers().items() if info.installed and (info.lp or info.qp))
STAGES = {"leximin", "equal_doe"}
"""Leximin by a named solver or on a model with losses holds levels by multipliers (docs/network.md, leximin.md)."""
FIRST_ORDER = {"scs", "osqp"}
"""These take a hundred times as long as the others: one run of each mechanism, on the balanced feeder, must do."""
WINDOWS = {"dispatch", "lmp_ahead"}
"""So must one of a mechanism that looks three days ahead in several programs."""
ONE_RUN = ("service is within requests", "limits are kept", "somebody is served")
QUICK = (
    "service is within requests",
    "limits are kept",
    "somebody is served",
    "order does not matter",
    "the solver is",
)
ENVELOPES = (
    *("equal_doe", "equal_doe:enrolled=requesting", "static", "floored"),
    *("greedy_doe", "greedy_doe:rule=largest_request_first", "greedy_doe:rule=worst_bus_first"),
)
LINEAR_ONLY = {"fet", "fot", "fuh", "fot_storage", "lmp", "lmp_ahead", "dispatch"}
FLAT = {("lmp", "highs"), ("lmp", "qoco")}
"""A curvature of a millionth breaks ties, which these solvers do not see."""
SLOW = {("lmp_ahead", "osqp"), ("lmp_ahead", "scs")}
"""First-order methods take most of a minute for one window of half-hours."""
LOOSE = {("dispatch", "osqp"), ("dispatch", "qoco"), ("dispatch", "scs")}
"""A stage holds what those before it reached to 1e-8: where these solvers missed it, nothing feasible is left."""


@pytest.mark.parametrize("network", [None, "socp"], ids=["linear", "socp"])
@pytest.mark.parametrize("spec", MECHANISMS)
def test_every_mechanism_on_every_network_model(spec: str, network: str | None) -> None:
    """Without a name the linear models: lindistflow on the balanced feeder, lindist3flow on the one with phases."""
    if network == "socp" and spec in LINEAR_ONLY:
        with pytest.raises(ao.InputError, match="linear"):
            check_mechanism(spec, network=network)
        return
    check_mechanism(spec, network=network, **({"tolerance": 0.05} if network and spec in STAGES else {}))


@pytest.mark.parametrize("spec", ENVELOPES)
def test_every_envelope_on_certified_boxes(spec: str) -> None:
    """The network model takes balanced feeders only."""
    ran = [c for c in mechanism_checks(spec, network="certified") if c.name.startswith(QUICK)]
    for check in ran:
        check.run()
    assert len(ran) == len(QUICK)


def test_points_taken_for_boxes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact branch flow keeps limits at the point that is decided, and not where some use less than they may."""
    checks = {check.name: check for check in mechanism_checks("greedy_doe", network="socp")}
    kept = checks["limits are kept (balanced)"]
    kept.run()
    monkeypatch.setattr(BranchFlowSOCP, "boxes", True)
    with pytest.raises(AssertionError, match="where some use less than they may"):
        kept.run()


@pytest.mark.parametrize("solver", INSTALLED)
@pytest.mark.parametrize("spec", mechanisms())
def test_every_mechanism_by_every_solver(spec: str, solver: str) -> None:
    info = solvers()[solver.upper()]
    if (spec, solver) in LOOSE:
        pytest.skip("not exact enough for one stage after another")
    if (spec, solver) in SLOW:
        pytest.skip("too slow for a window")
    once = solver in FIRST_ORDER or spec in WINDOWS or (spec, solver) in FLAT
    try:
        for check in mechanism_checks(spec, solver=solver, **({"tolerance": 0.01} if spec in STAGES else {})):
            balanced = check.name.endswith("(balanced)")
            if check.name.startswith(ONE_RUN if once else QUICK) and (balanced or solver not in FIRST_ORDER):
                check.run()
    except ao.InputError as error:
        if (info.lp and info.qp) or "cannot solve" not in str(error):
            raise


@pytest.mark.parametrize("name", network_models())
def test_every_network_model(name: str) -> None:
    check_network_model(name)


KNOWN = {
    "qoco": {"no bound"},  # takes a ray for an optimum; the audit refuses it
    "osqp": {"sizes of many orders"},  # a first-order method
}


@pytest.mark.parametrize("name", INSTALLED)
def test_every_solver(name: str) -> None:
    try:
        check_backend(name)
    except CheckError as error:
        assert set(error.failures) == KNOWN[name]  # noqa: PT017
    else:
        assert name not in KNOWN


def found(subject: Callable[[Any], None], item: Any) -> str:
    """The checks that fail, as one text."""
    with pytest.raises(CheckError) as caught:
        subject(item)
    return " | ".join(caught.value.failures)


class PhaseBlind(GreedyDOE):
    """Cuts those whose bus number is that of a node in excess: right where buses are nodes, wrong on phases."""

    name: ClassVar[str] = "phase_blind"

    def program(self, grid: ao.Grid) -> None:
        return None

    def clear(self, grid: ao.Grid, solve: Any, state: Any, requests: Any) -> Any:
        return {}

    def settle(self, grid: ao.Grid, solution: Any, requests: Any) -> ao.Allocation:
        x, y = requests.import_request_kw.copy(), requests.export_request_kw.copy()
        lower, upper = grid.limits(requests)
        for _ in range(200):
            u = grid.quantities(requests, x, y)
            beyond = np.flatnonzero((u > upper + 1e-6) | (u < lower - 1e-6))
            if not len(beyond):
                break
            slope = grid.network.rows(beyond[:1])[0][0][grid.case.bus]
            hit = np.abs(slope) > 0
            x[hit] *= 0.9
            y[hit] *= 0.9
        return ao.Allocation(x, y)


@dataclass(frozen=True)
class Altered(AMM):
    """The AMM with one thing wrong."""

    def full_service(self, grid: ao.Grid, requests: Any) -> ao.Allocation:
        return self.wrong(super().full_service(grid, requests), requests)

    def settle(self, grid: ao.Grid, solution: Any, requests: Any) -> ao.Allocation:
        return self.wrong(super().settle(grid, solution, requests), requests)

    def wrong(self, allocation: ao.Allocation, requests: Any) -> ao.Allocation:
        return allocation


class FirstIsCut(Altered):
    def wrong(self, allocation: ao.Allocation, requests: Any) -> ao.Allocation:
        x = allocation.import_kw.copy()
        x[0] *= 0.5
        return replace(allocation, import_kw=x)


class KilowattsCount(Altered):
    def wrong(self, allocation: ao.Allocation, requests: Any) -> ao.Allocation:
        return replace(allocation, import_kw=np.where(allocation.import_kw > 5.0, 5.0, allocation.import_kw))


class PricesWithoutBound(Altered):
    def wrong(self, allocation: ao.Allocation, requests: Any) -> ao.Allocation:
        return replace(allocation, import_price=0.1 + 1e-3 * requests.import_request_kw)


class ChangesItsState(AMM):
    def advance(self, state: Any, allocation: Any, requests: Any) -> Any:
        state.shortage.setflags(write=True)
        state.shortage[:] = np.minimum(state.shortage + 0.1, 1.0)
        return state


class HiddenMemory(AMM):
    served: ClassVar[list[float]] = []

    def weights(self, state: Any) -> Any:
        self.served.append(1.0)
        w = super().weights(state)
        return w * (1.0 + 0.5 * (len(self.served) % 7) * np.linspace(0, 1, w.shape[1]))


@dataclass(frozen=True)
class SaysFullService(ao.Mechanism[Any]):
    """Serves half of everything, and says that full service is its outcome wherever that is hosted."""

    name: ClassVar[str] = "says_full_service"
    full_service_optimal: ClassVar[bool] = True

    def program(self, grid: ao.Grid) -> ao.Program:
        x, y = cp.Variable(grid.n), cp.Variable(grid.n)
        limits = [x >= 0, y >= 0, x <= 0.5 * grid.import_request_kw, y <= 0.5 * grid.export_request_kw]
        hosted = grid.injection(import_kw=x, export_kw=y)
        best = cp.Maximize(cp.sum(x) + cp.sum(y) - 0.01 * cp.sum_squares(x) - 0.01 * cp.sum_squares(y))
        return ao.Program(best, limits, [hosted], {"import": x, "export": y})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (PhaseBlind, "names of phases do not matter"),
        (FirstIsCut, "order does not matter"),
        (FirstIsCut, "identical participants"),
        (KilowattsCount, "units do not matter"),
        (PricesWithoutBound, "prices are finite and within their bounds"),
        (ChangesItsState, "the state is pure"),
        (HiddenMemory, "equal runs are equal"),
        (SaysFullService, "full service is optimal"),
    ],
)
def test_a_broken_mechanism_is_found(broken: type[ao.Mechanism[Any]], said: str) -> None:
    assert said in found(check_mechanism, broken)


class TwiceTheDrop(LinDistFlow):
    def __init__(self, feeder: ao.Feeder) -> None:
        super().__init__(feeder)
        self._r, self._x = 2 * self._r, 2 * self._x


class RowsTurned(LinDist3Flow):
    def rows(self, k: Any) -> Any:
        a_p, a_q, constant = super().rows(k)
        return -a_p, a_q, constant


class NoUpperLimits(LinDistFlow):
    def constraints(self, p_kw: Any, q_kvar: Any, lower: Any, upper: Any) -> Any:
        return super().constraints(p_kw, q_kvar, lower, upper + 100.0)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (TwiceTheDrop, "sensitivities are near those of AC power flow"),
        (RowsTurned, "rows are evaluate"),
        (NoUpperLimits, "constraints are evaluate"),
    ],
)
def test_a_broken_network_model_is_found(broken: Any, said: str) -> None:
    assert said in found(check_network_model, broken)


class Honest:
    """A backend of a stranger: cvxpy with its defaults, through nothing but the documented interface."""

    name, lp, qp = "honest", True, True

    def solve(self, problem: Reduced, start: Any) -> Point:
        x = cp.Variable(len(problem.q))
        cost = problem.q @ x
        if isinstance(problem.hessian, np.ndarray):
            cost += 0.5 * cp.sum(cp.multiply(problem.hessian, cp.square(x)))
        elif problem.hessian is not None:
            cost += 0.5 * cp.quad_form(x, cp.psd_wrap(problem.hessian.toarray()))
        a, dual = problem.rows.toarray(), np.zeros(len(problem.row_lower))
        above, below = np.isfinite(problem.row_upper), np.isfinite(problem.row_lower)
        limits = [a[above] @ x <= problem.row_upper[above], a[below] @ x >= problem.row_lower[below]]
        up, low = np.isfinite(problem.upper), np.isfinite(problem.lower)
        bounds = [x[up] <= problem.upper[up], x[low] >= problem.lower[low]]
        model = cp.Problem(cp.Minimize(cost), [*limits, *bounds])
        model.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        if model.status != cp.OPTIMAL:
            return failed(model.status)
        dual[above] -= limits[0].dual_value
        dual[below] += limits[1].dual_value
        return self.given(problem, x.value, dual)

    def given(self, problem: Reduced, x: Any, dual: Any) -> Point:
        return problem.point(x, dual)


class SignsTurned(Honest):
    def given(self, problem: Reduced, x: Any, dual: Any) -> Point:
        return problem.point(x, -dual)


class OffByAThousandth(Honest):
    def given(self, problem: Reduced, x: Any, dual: Any) -> Point:
        return problem.point(0.999 * x, dual)


class NeverFails(Honest):
    def solve(self, problem: Reduced, start: Any) -> Point:
        answer = super().solve(problem, start)
        return problem.point(np.zeros(len(problem.q)), np.zeros(len(problem.row_lower))) if answer.problem else answer


def test_an_honest_backend_passes() -> None:
    check_backend(Honest)
    check_backend(Honest())


@pytest.mark.parametrize(
    ("broken", "said"),
    [(SignsTurned, "a linear program"), (OffByAThousandth, "an equality"), (NeverFails, "nothing feasible")],
)
def test_a_broken_backend_is_found(broken: Any, said: str) -> None:
    assert said in found(check_backend, broken)
