"""Which mechanisms can be matched in two tiers, and why others cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from small import difference

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.market import ServedState
from formulations import FairOverTime, NoControl
from tests.simulation.test_tiers import both, two_feeders


@dataclass(frozen=True)
class SameShare(ao.Mechanism[Any]):
    """Everyone gets the same share of the request: its injections depend on parameters."""

    name = "same_share"

    def program(self, grid: Any) -> ao.Program:
        share = cp.Variable(2)
        imports, exports = share[0] * grid.import_request_kw, share[1] * grid.export_request_kw
        hosted = grid.injection(import_kw=imports, export_kw=exports)
        limits = [share >= 0, share <= 1]
        return ao.Program(cp.Maximize(cp.sum(share)), limits, [hosted], {"import": imports, "export": exports})


@dataclass(frozen=True)
class ReadsMore(SameShare):
    """Its program has one more value."""

    def program(self, grid: Any) -> ao.Program:
        x = cp.Variable(grid.n)
        named = {"import": x, "export": x, "best": cp.sum(x)}
        return ao.Program(cp.Maximize(cp.sum(x)), [x == 0], [grid.injection(import_kw=x)], named)


@dataclass(frozen=True)
class LogService(ao.Mechanism[Any]):
    """Needs an exponential cone, so it is solved as declared."""

    def program(self, grid: Any) -> ao.Program:
        x = cp.Variable(grid.n)
        limits = [x >= 0, x <= grid.import_request_kw]
        values = {"import": x, "export": cp.Constant(np.zeros(grid.n))}
        return ao.Program(cp.Maximize(cp.sum(cp.log(1.0 + x))), limits, [grid.injection(import_kw=x)], values)


@dataclass(frozen=True)
class LargestShare(ao.Mechanism[Any]):
    """Lexicographically largest shares of the requests."""

    def program(self, grid: Any) -> ao.Program:
        share = cp.Variable(grid.n, name="share")
        x = cp.multiply(grid.import_request_kw, share)
        values = {"import": x, "export": cp.Constant(np.zeros(grid.n))}
        return ao.Program(ao.Leximin(share), [share <= 1], [grid.injection(import_kw=x)], values)


@dataclass(frozen=True)
class OneClock(SameShare):
    """Its state is not per participant."""

    def initial_state(self, case: Case) -> Any:
        return ServedState.fresh(2)


class TestMechanisms:
    def test_one_that_is_solved_as_declared(self) -> None:
        imports = np.array([4.0, 4.0, 4.0, 8.0, 8.0, 8.0])
        _, two = both(two_feeders(imports, np.zeros(6), trunk_kva=18.0, lv_kva=6.0), LogService(), steps=1)
        served = two.allocation.import_kw[0]
        assert_allclose(served.sum(), 18.0, rtol=1e-3)
        assert np.all(served[:3].sum() <= 6.0 + 1e-3)
        assert np.ptp(served[:3]) < 1e-3

    def test_leximin(self) -> None:
        imports = np.array([4.0, 2.0, 6.0, 3.0, 9.0, 8.0])
        joint, two = both(two_feeders(imports, np.zeros(6), trunk_kva=20.0, lv_kva=3.0), LargestShare(), steps=1)
        assert_allclose(two.allocation.import_kw[0, 3:] / imports[3:], 17 / 20, rtol=1e-4)
        assert difference(joint, two) < 1e-5

    def test_one_whose_injections_depend_on_requests(self) -> None:
        imports = np.array([4.0, 2.0, 6.0, 3.0, 9.0, 8.0])
        _, two = both(two_feeders(imports, np.zeros(6), trunk_kva=16.0), SameShare(), steps=1)
        assert_allclose(two.allocation.import_kw[0], imports / 2, rtol=1e-5)

    def test_nothing_to_match(self) -> None:
        case = two_feeders(np.full(6, 5.0), np.zeros(6), trunk_kva=6.0)
        one, other = (ao.simulate(case, NoControl(), tiers=tiers) for tiers in ("joint", "two"))
        assert difference(one, other) == 0

    def test_what_cannot_be_split_is_an_error_that_says_why(self) -> None:
        case = two_feeders(np.ones(6), np.zeros(6))

        for mechanism, reason in (
            ("equal_doe", "equal_doe cannot be matched in two tiers: it has 2 programs, not one"),
            (
                FairOverTime(window="2"),
                "fot:window=2 cannot be matched in two tiers: its program is one over a horizon",
            ),
            (ReadsMore(), "same_share cannot be matched in two tiers: it reads import, export, best from its program"),
        ):
            with pytest.raises(ao.InputError, match=reason):
                ao.simulate(case, mechanism, tiers="two")
        with pytest.raises(ao.InputError, match=r"served_kwh of its state has shape \(2, 2\), not"):
            ao.simulate(case, OneClock(), tiers="two")
        with pytest.raises(ao.InputError, match="unknown choice of tiers 'three'; valid choices: joint, two"):
            ao.simulate(case, "amm", tiers="three")
        with pytest.raises(ao.InputError, match="valid choices: both, joint, two"):
            ao.compare(case, "amm", tiers="three")
        with pytest.raises(ao.InputError) as caught:
            ao.compare(case, ["no_control", "equal_doe", "greedy_doe"], tiers="both")
        assert len(caught.value.problems) == 2
