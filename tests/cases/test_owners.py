"""Who owns a flexible device of a direction: by hand, and against every interval of whole cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small import rebuilt, small_case
from tiny import tiny_case

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.cases.tiers import split


def street() -> Case:
    """p0 asks in the last interval only, p1 exports, p2 never asks, p3 has one session and no series."""
    imports, exports = np.zeros((4, 4)), np.zeros((4, 4))
    imports[3, 0], exports[1, 1], imports[2, 2] = 2.0, 3.0, 1e-7
    lines = {"a": ("src", 0.1, 50.0), "b": ("src", 0.1, 50.0)}
    case = small_case(lines, ["a", "a", "b", "b"], np.ones((4, 4)), imports, exports, feeder={"a": "A", "b": "B"})
    times = {"arrival": case.times[:1], "departure": case.times[3:]}
    session = pd.DataFrame({"participant": "p3", **times, "power_kw": 4.0, "energy_kwh": 2.0})
    return rebuilt(case, sessions=session)


def test_owners_by_hand() -> None:
    case = street()
    assert case.owns("import").tolist() == [True, False, False, True]
    assert case.owns("export").tolist() == [False, True, False, False]
    nobody = case.with_scenario(export_scale=0.0)
    assert not nobody.owns("export").any()
    assert nobody.owns("import").any()
    with pytest.raises(ao.InputError, match="valid choices: import, export"):
        case.owns("both")


def test_a_session_whose_energy_is_no_request_is_no_device() -> None:
    case = street()
    sessions = pd.DataFrame({"participant": "p2", "arrival": case.times[:1], "departure": case.times[3:]})
    none = rebuilt(case, sessions=sessions.assign(power_kw=4.0, energy_kwh=1e-9))
    assert none.owns("import").tolist() == [True, False, False, False]


def test_owners_of_two_tiers() -> None:
    """An LV feeder's case keeps its customers; in the upper tier it owns what one of them owns."""
    upper, lower = split(street())
    assert upper.case.owns("import").tolist() == [True, True]
    assert upper.case.owns("export").tolist() == [True, False]
    assert [tier.case.owns("import").tolist() for tier in lower] == [[True, False], [False, True]]


@pytest.mark.parametrize("case", ["synthetic:buses=60,days=2,seed=1", "tiny", "mv33lv"])
def test_owners_are_those_who_ever_ask(case: str) -> None:
    the_case = tiny_case(3, sessions=True) if case == "tiny" else ao.load_case(case)
    asked = np.zeros((2, the_case.n_participants), dtype=bool)
    for first in range(0, the_case.n_steps, 96 if case != "mv33lv" else 1344):
        block = the_case.requests(first, min(first + 96, the_case.n_steps))
        asked |= (block.both_kw > 0).any(axis=1)
    for row, direction in zip(asked, DIRECTIONS, strict=True):
        assert not np.any(row & ~the_case.owns(direction))
        if case != "mv33lv":  # of which only some days are looked at
            assert np.array_equal(row, the_case.owns(direction))


@pytest.mark.parametrize("defer", [False, True])
def test_a_run_of_some_intervals_enrols_those_of_the_whole_case(defer: bool) -> None:
    """p3 has no session in the run, p0 asks in it: 30 kVA are shared by two."""
    imports = np.zeros((4, 4))
    imports[3, 0] = 60.0
    case = small_case({"a": ("src", 1e-4, 30.0)}, ["a"] * 4, np.zeros((4, 4)), imports, np.zeros((4, 4)))
    times = {"arrival": case.times[:1], "departure": case.times[1:2]}
    case = rebuilt(case, sessions=pd.DataFrame({"participant": "p3", **times, "power_kw": 4.0, "energy_kwh": 2.0}))
    run = ao.simulate(case, "equal_doe", steps=slice(3, 4), defer=defer)
    np.testing.assert_allclose(run.allocation.import_kw[0], [15, 0, 0, 0], atol=1e-4)
