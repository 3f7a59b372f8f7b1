"""Intervals in which envelopes cut nobody are not cleared, and come out as if they were, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.testing.cases import small_case
from formulations.parts.envelope import Envelope

SPECS = ("equal_doe", "equal_doe:per=system,enrolled=all", "greedy_doe", "greedy_doe:rule=worst_bus_first")


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
@pytest.mark.parametrize("spec", SPECS)
def test_what_is_proved_is_what_clearing_gives(spec: str, balanced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    case = small_case(balanced).with_scenario(capacity_scale=3.0)
    screened, grid = ao.simulate(case, spec), ao.Grid(case, _model(case))
    proved = screened.mechanism.served_in_full(grid, case.requests(0, case.n_steps))
    assert proved.any()
    asked = case.requests(0, case.n_steps).both_kw[:, proved]
    np.testing.assert_allclose(screened.allocation.both_kw[:, proved], asked, rtol=1e-12)
    monkeypatch.setattr(Envelope, "served_in_full", lambda self, grid, requests: np.zeros(requests.n_steps, dtype=bool))
    assert np.array_equal(ao.simulate(case, spec).allocation.both_kw, screened.allocation.both_kw)


def _model(case: ao.Case) -> ao.NetworkModel:
    return (ao.LinDistFlow if case.feeder.balanced else ao.LinDist3Flow)(case.feeder)
