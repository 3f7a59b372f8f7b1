"""What counts as a request: one threshold, whatever looks at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import first_interval, grid_of, one_transformer, rebuilt, small_case
from tiny import MECHANISMS, tiny_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.market import FairnessState, deficits
from amm_opt.tolerances import REQUEST_TOLERANCE_KW

TINY_KW = (1e-15, 1e-10, 9e-7)


def also_asking(case: Case, power_kw: float) -> Case:
    """The same case with three more customers, who ask for a tiny power in both directions all the time."""
    tables = case.tables()
    people, series = tables["participants"], tables["series"]
    more = people.iloc[[0, 2, 4]].assign(name=["x", "y", "z"])
    few = pd.DataFrame({"participant": [n for n in "xyz" for _ in range(2)], "quantity": ["import", "export"] * 3})
    few = few.assign(profile="tiny", scale_kw=power_kw, shift_steps=0)
    return rebuilt(
        case,
        participants=pd.concat([people, more], ignore_index=True),
        profiles=tables["profiles"].assign(tiny=1.0),
        series=pd.concat([series, few], ignore_index=True),
    )


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_tiny_requests_change_nothing(mechanism: str, phases: bool) -> None:
    case = tiny_case(3, phases)
    none = ao.simulate(also_asking(case, 0.0), mechanism)
    assert not none.failed_steps
    for power in TINY_KW[1:] if mechanism == "amm" else TINY_KW[1:2]:
        some = ao.simulate(also_asking(case, power), mechanism)
        for name in ("import_kw", "export_kw", "import_price", "export_price", "battery_kw"):
            ours, theirs = getattr(some.allocation, name), getattr(none.allocation, name)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_array_equal(ours, theirs, err_msg=name)
        for name, values in none.state.arrays().items():
            np.testing.assert_array_equal(some.state.arrays()[name], values, err_msg=name)
        timeless = [c for c in none.summary.index if c not in ("seconds", "ms_per_step")]
        pd.testing.assert_series_equal(some.summary[timeless], none.summary[timeless])


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
@pytest.mark.parametrize("mechanism", ["fet", "leximin", "amm", "alpha_fair", "fot:window=4", "no_control"])
def test_customers_who_ask_for_next_to_nothing_are_as_good_as_absent(mechanism: str, phases: bool) -> None:
    case = tiny_case(4, phases)
    alone, more = (ao.simulate(c, mechanism) for c in (case, also_asking(case, 1e-10)))
    np.testing.assert_allclose(more.allocation.import_kw[:, :6], alone.allocation.import_kw, atol=1e-5)
    np.testing.assert_allclose(more.allocation.export_kw[:, :6], alone.allocation.export_kw, atol=1e-5)
    fair = [c for c in alone.summary.index if c.startswith(("jain", "worst", "requested", "unserved", "curtailed"))]
    np.testing.assert_allclose(more.summary[fair].astype(float), alone.summary[fair].astype(float), atol=1e-6)


@pytest.mark.parametrize("power", TINY_KW)
def test_no_price_of_a_residual(power: float) -> None:
    """10 kVA are used up by inflexible load; many residuals are as little as one."""
    case = one_transformer(10.0, [10.0] + [0.0] * 500, [power] * 501, [0.0] * 501)
    run = ao.simulate(case, "amm")
    np.testing.assert_array_equal(run.allocation.import_price, 0.10)
    np.testing.assert_array_equal(run.allocation.export_price, 0.08)
    assert np.all(run.state.arrays()["shortage"] == 0)
    assert run.summary["requested_import_mwh"] == run.summary["unserved_mwh"] == 0
    assert np.isnan(run.summary["jain_participant"])


def test_a_watt_has_its_price() -> None:
    case = one_transformer(10.0, [10.0, 0.0], [0.0, 1e-3], [0.0, 0.0])
    np.testing.assert_allclose(ao.simulate(case, "amm").allocation.import_price[0], 0.40)  # type: ignore[index]


def test_a_limit_that_is_exceeded_by_rounding_is_kept() -> None:
    """What nobody who asks presses on has no deficit, however the sums round; nor has what solvers let pass."""
    lines = {"mv": ("src", 0.001, 1000.0), "a": ("mv", 0.001, 3.0), "b": ("mv", 0.001, 10.0)}
    full = small_case(lines, ["a", "b", "b"], [3.0, 0.1, 0.7], [0.0, 4.1, 3.3], [0.0] * 3)
    assert np.all(deficits(grid_of(full), first_interval(full)) == 0)
    at_its_rating = one_transformer(10.0, [0.1, 0.2], [3.3, 6.4 + 1e-7], [0.0, 0.0])
    assert np.all(deficits(grid_of(at_its_rating), first_interval(at_its_rating)) == 0)


def test_windows_hold_requests_that_count_only() -> None:
    case = one_transformer(10.0, [[1.0, 1.0]], [[2.0, 5e-7]], [[REQUEST_TOLERANCE_KW, 0.5]])
    requests = case.requests(0, 2)
    np.testing.assert_array_equal(requests.import_request_kw, [[2.0, 0.0]] * 2)
    np.testing.assert_array_equal(requests.export_request_kw, [[0.0, 0.5]] * 2)
    grid = grid_of(case)
    known = requests.interval(0)
    grid.usage(known)
    changed = replace(known, import_request_kw=np.array([2.0, 1e-9]))
    np.testing.assert_array_equal(changed.import_request_kw, [2.0, 0.0])
    np.testing.assert_array_equal(grid.usage(changed)[1], grid.usage(requests.interval(0))[1])


def test_memory_counts_the_same_requests() -> None:
    asked = np.array([[1e-10, 2.0], [0.0, 1e-7]])
    state = FairnessState.fresh(2).advanced(0.0 * asked, asked, 0.5, 0.1, "decay")
    np.testing.assert_allclose(state.shortage, [[0.0, 0.1], [0.0, 0.0]])
    np.testing.assert_array_equal(state.requested_kwh, [[0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(state.delivery_ratio, [[1.0, 0.0], [1.0, 1.0]])


def test_tiny_requests_in_forecasts_are_none() -> None:
    """A forecast of next to nothing for the first customer is a forecast of nothing."""
    case = one_transformer(10.0, [[0.0, 0.0]], [[5.0, 9.0]], [[0.0, 0.0]])

    def rumour(case: Case, now: int, stop: int) -> ao.Requests:
        requests = case.requests(now, stop)
        return replace(requests, import_request_kw=requests.import_request_kw * [1e-10, 1.0])

    run = ao.simulate(case, "amm", forecast=rumour)
    np.testing.assert_array_equal(run.planned.import_kw[:, 0], 0.0)  # type: ignore[union-attr]
    np.testing.assert_allclose(run.allocation.import_kw[:, 1], 9.0)


def test_a_grid_keeps_usage_as_long_as_the_requests() -> None:
    """One sweep of a block says of every interval what a sweep of it alone says; what is derived is looked at anew."""
    case = one_transformer(10.0, [[1.0, 2.0]] * 3, [[5.0, 9.0], [5.0, 1.0], [0.0, 0.0]], [[0.0, 0.0]] * 3)
    grid, requests = grid_of(case), case.requests(0, 3)
    np.testing.assert_array_equal(grid.scarce(requests), [True, False, False])
    np.testing.assert_array_equal(grid.scarce(grid.select(requests, slice(1, 3))), [False, False])
    for k, interval in enumerate(grid.intervals(requests)):
        assert interval.start == k
        for known, anew in zip(grid.usage(interval), grid_of(case).usage(requests.interval(k)), strict=True):
            np.testing.assert_allclose(known, anew, rtol=1e-14)
        assert bool(grid.scarce(interval)[0]) == (k == 0)
    (chosen,) = grid.intervals(requests, [2])
    assert (chosen.start, bool(grid.scarce(chosen)[0])) == (2, False)
    less = replace(requests, import_request_kw=0.1 * requests.import_request_kw)
    assert not grid.scarce(less).any()
    kept = len(grid._usage)
    del requests, less, interval, chosen
    assert len(grid._usage) < kept


def test_what_is_within_limits_by_how_much() -> None:
    """10 kVA carry 10 kW beside no load; a slack counts in multiples of the tolerance, 1e-5 of the rating."""
    case = one_transformer(10.0, [0.0, 0.0], [8.0, 8.0], [0.0, 0.0])
    grid, interval = grid_of(case), first_interval(case)
    for excess, slack, ok in (
        (0.0, 0.0, True),
        (0.5, 0.0, False),
        (0.5, 1.0, True),
        (1.5, 1.0, False),
        (1.5, 2.0, True),
    ):
        x = np.array([5.0, 5.0]) * (1 + excess * 1e-5 - 1e-12)
        assert bool(grid.feasible(interval, x, 0.0 * x, slack=slack)) is ok
    block = case.requests(0, 2)
    np.testing.assert_array_equal(grid.feasible(block, np.array([[5.0, 4.0], [6.0, 5.0]]), 0.0), [True, False])
    lower, upper = grid.limits(interval)
    assert not grid.feasible(interval, np.array([5.0, 4.0]), 0.0, limits=(lower, 0.8 * upper))


def test_groups_of_participants() -> None:
    """Feeders in the case's order, the upper tier last, whether somebody is there or not."""
    lines = {"mv": ("src", 0.001, 1000.0), "a": ("mv", 0.001, 30.0), "b": ("mv", 0.001, 10.0)}
    case = small_case(lines, ["b", "mv", "a", "b"], [0.0] * 4, [1.0] * 4, [0.0] * 4, feeder={"a": "A", "b": "B"})
    assert case.groups("system").of.tolist() == [0, 0, 0, 0]
    assert case.groups("participant").members.toarray().tolist() == np.eye(4).tolist()
    feeders = case.groups("feeder")
    assert (feeders.of.tolist(), feeders.count) == ([1, 2, 0, 1], 3)
    assert (feeders.members @ [1.0, 2.0, 4.0, 8.0]).tolist() == [4.0, 9.0, 2.0]
    assert one_transformer(10.0, [0.0], [1.0], [0.0]).groups("feeder").count == 2
    with pytest.raises(ao.InputError, match="per = 'bus'; valid choices: system, feeder, own_feeder, participant"):
        case.groups("bus")


def test_scripts_read_requests_by_their_earlier_name() -> None:
    case = ao.load_case("synthetic:buses=10,days=1,seed=1")
    run = ao.simulate(case, "no_control", steps=slice(30, 40))
    for name in ("inflexible_kw", "import_request_kw", "export_request_kw"):
        expected = getattr(run.requests, name)
        np.testing.assert_array_equal(getattr(case.window(30, 40), name), expected)
        np.testing.assert_array_equal(getattr(run.window, name), expected)
