"""Rules of network operators, by hand and on random streets, balanced and on phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import TRACE, one_transformer, shuffled, small_case
from streets import grid_of, random_street, street

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from formulations import LastInFirstOff, ProRata, Rotation, StaticLimit

BY_LIMIT = [ProRata(), LastInFirstOff(seed=3), Rotation()]


def served(case: Case, mechanism: Any, k: int = 0, direction: int = 0) -> FloatArray:
    run = ao.simulate(case, mechanism)
    assert not run.failed_steps
    assert not run.repaired_steps
    return np.asarray(run.allocation.both_kw[direction, k])


def two_feeders(mv_kva: float) -> Case:
    """Two customers behind 10 kVA, two behind 20 kVA, both transformers behind one line; everybody asks for 12 kW."""
    lines = {"mv": ("src", TRACE, mv_kva), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 20.0)}
    return small_case(lines, ["a", "a", "b", "b"], [0] * 4, [12] * 4, [0] * 4, feeder={"a": "A", "b": "B"})


# static


def test_static_limits_by_hand() -> None:
    """Import: 1.5 - 1 = 0.5 kW beside inflexible load, none where that is more; own generation of 4 comes on top."""
    case = one_transformer(2, [1.0, 3.0, 0.0], [7.0, 7.0, 7.0], [0.0, 0.0, 4.0])
    run = ao.simulate(case, StaticLimit())
    np.testing.assert_allclose(run.allocation.import_kw[0], [0.5, 0.0, 5.5])
    np.testing.assert_allclose(run.allocation.export_kw[0], [0.0, 0.0, 4.0])
    # net 1.5 + 3 + 1.5 = 6 kW through 2 kVA, in both intervals
    assert run.summary["thermal_violations"] == 2
    sunny = one_transformer(2, [1.0, -3.0, 0.0], [0.0, 0.0, 1.0], [7.0, 7.0, 7.0])
    np.testing.assert_allclose(served(sunny, StaticLimit(), direction=1), [2.5, 0.0, 2.5])
    np.testing.assert_allclose(served(sunny, StaticLimit(export_kw=5.0), direction=1), [6.0, 2.0, 6.0])
    np.testing.assert_allclose(served(sunny, StaticLimit(export_kw=None), direction=1), [7.0, 7.0, 7.0])


def test_static_on_phases() -> None:
    people = [("lv", "a", 0.5, 7.0, 0.0), ("lv", "abc", 0.0, 7.0, 0.0)]
    case = street([("src", "lv", "0.1 | 0 0.1 | 0 0 0.1", "0.1 | 0 0.1 | 0 0 0.1", 100.0)], people)
    np.testing.assert_allclose(served(case, StaticLimit(import_kw=5.0)), [4.5, 5.0])


def test_limits_are_not_negative() -> None:
    with pytest.raises(ao.InputError, match=r"static: export_kw = -1.0 must not be negative"):
        StaticLimit(export_kw=-1.0)
    with pytest.raises(ao.InputError, match="lifo: seed = -1 must not be negative"):
        LastInFirstOff(seed=-1)


# pro rata


def test_pro_rata_from_the_leaves_to_the_root_by_hand() -> None:
    """Leaves first: 5, 5 and 10, 10. Then 24 of 30 kW pass the line: 0.8 of each. From the root it were 5, 5, 6, 6."""
    np.testing.assert_allclose(served(two_feeders(1000.0), ProRata()), [5, 5, 10, 10], rtol=1e-6)
    np.testing.assert_allclose(served(two_feeders(24.0), ProRata()), [4, 4, 8, 8], rtol=1e-6)


def test_pro_rata_cuts_in_proportion_to_requests() -> None:
    case = one_transformer(10, [1.0, -2.0, 0.0], [6.0, 2.0, 14.0], [0.0] * 3)
    np.testing.assert_allclose(served(case, ProRata()), np.array([6, 2, 14]) * 11 / 22, rtol=1e-6)
    case = one_transformer(10, [1.0, -2.0, 0.0], [0.0] * 3, [6.0, 2.0, 14.0])
    np.testing.assert_allclose(served(case, ProRata(), direction=1), np.array([6, 2, 14]) * 9 / 22, rtol=1e-6)


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
def test_who_is_behind_a_voltage(phases: bool) -> None:
    """Squared voltage at the far end: 1 - 2 (r1 (near + far) + r2 far) / 160 >= 0.81, a third of the power per phase.

    Where the near one uses it a quarter as much as the far one, both are cut alike; where a twentieth, the far one is.
    """

    def line(r1: float, r2: float, near_kw: float, far_kw: float) -> Case:
        ohm = [f"{r} | 0 {r} | 0 0 {r}" if phases else r for r in (r1, r2)]
        trace = "0.0001 | 0 0.0001 | 0 0 0.0001" if phases else 1e-4
        lines: Any = [("src", "near", ohm[0], trace, 5000.0), ("near", "far", ohm[1], trace, 5000.0)]
        on, share = ("b", 1 / 3) if phases else ("", 1.0)
        people = [("near", on, 0.0, near_kw * share, 0.0), ("far", on, 0.0, far_kw * share, 0.0)]
        return street(lines, people, connection_import_kw=2000.0, connection_export_kw=2000.0)

    kw = 3.0 if phases else 1.0
    both = kw * served(line(0.1, 0.3, 60.0, 30.0), ProRata())
    np.testing.assert_allclose(both, np.array([60, 30]) * 15.2 / 18, rtol=1e-5)
    far = kw * served(line(0.02, 0.38, 60.0, 40.0), ProRata())
    np.testing.assert_allclose(far, [60.0, (15.2 - 1.2) / 0.4], rtol=1e-5)
    # 900 kW near by are too much by themselves: nothing is left at the far end, and the near end is cut for the rest
    alone = kw * served(line(0.02, 0.38, 900.0, 40.0), ProRata())
    np.testing.assert_allclose(alone, [15.2 / 0.02, 0.0], rtol=1e-5)


# last in, first off


def test_the_last_is_cut_first_by_hand() -> None:
    """Two of 2020 share what is left by the one of 2015, in proportion to their requests, until nothing is left."""
    for kva, expected in ((30, [10, 20 * 20 / 35, 15 * 20 / 35]), (8, [8, 0, 0]), (50, [10, 20, 15])):
        case = one_transformer(kva, [0.0] * 3, [10.0, 20.0, 15.0], [0.0] * 3, connected=[2015, 2020, 2020])
        np.testing.assert_allclose(served(case, LastInFirstOff()), expected, rtol=1e-6, atol=1e-9)
    case = one_transformer(30, [0.0] * 3, [0.0] * 3, [10.0, 20.0, 15.0], connected=[3, 1, 2])
    np.testing.assert_allclose(served(case, LastInFirstOff(), direction=1), [0, 20, 10], rtol=1e-6, atol=1e-9)


def test_a_case_without_ranks_is_refused_and_an_order_can_be_drawn(tmp_path: Path) -> None:
    case = one_transformer(30, [0.0] * 3, [10.0, 20.0, 15.0], [0.0] * 3, connected=[2015, np.nan, 2020])
    with pytest.raises(ao.InputError, match=r"no number in the column 'connected' .*: p1; give it, or draw"):
        ao.simulate(case, "lifo")
    drawn = [served(case, LastInFirstOff(seed=seed)) for seed in range(8)]
    for one in drawn:
        assert one.sum() == pytest.approx(30)
        assert np.count_nonzero((one > 1e-6) & (one < [10 - 1e-6, 20 - 1e-6, 15 - 1e-6])) <= 1
    assert len({tuple(np.round(one, 6)) for one in drawn}) > 2
    other = shuffled(case, 4)
    at = [other.participant_names.index(name) for name in case.participant_names]
    np.testing.assert_allclose(served(other, LastInFirstOff(seed=5))[at], drawn[5], atol=1e-9)
    # who owns nothing flexible needs no rank, and folders carry the column
    idle = one_transformer(30, [0.0] * 3, [20.0, 0.0, 15.0], [0.0] * 3, connected=[2015, np.nan, 2020])
    again = ao.load_case(ao.save_case(idle, tmp_path / "case"))
    np.testing.assert_allclose(served(again, "lifo"), [20, 0, 10], rtol=1e-6)
    assert again.fingerprint == idle.fingerprint != one_transformer(30, [0] * 3, [20, 0, 15], [0] * 3).fingerprint


# rotation


def test_rotation_by_hand() -> None:
    """First 5 kW of cut are shared evenly by two: 1.25 kWh each. Then the third is cut until it had as much.

    Then 6 kW: 2.5 kW of the third, and a third of the other 3.5 kW of each.
    """
    asked = [[10.0, 5.0, 0.0], [4.0, 4.0, 8.0], [3.0, 3.0, 3.0]]
    case = one_transformer(10, np.zeros((3, 3)), asked, np.zeros((3, 3)))
    run = ao.simulate(case, Rotation())
    third = 3.5 / 3
    np.testing.assert_allclose(run.allocation.import_kw[0], [7.5, 2.5, 0.0], atol=1e-5)
    np.testing.assert_allclose(run.allocation.import_kw[1], [4 - third, 4 - third, 8 - 2.5 - third], atol=1e-5)
    np.testing.assert_allclose(run.allocation.import_kw[2], [3, 3, 3])
    np.testing.assert_allclose(run.state.cut_kwh[0], 1.25 + third / 2, atol=1e-5)
    np.testing.assert_allclose(run.state.cut_kwh[1], 0.0)


def test_rotation_stops_at_what_is_asked_for() -> None:
    """8 kW of cut: 1 and 2 kW are all that two of them have, the third gives the rest."""
    case = one_transformer(10, [0.0] * 3, [1.0, 2.0, 15.0], [0.0] * 3)
    np.testing.assert_allclose(served(case, Rotation()), [0, 0, 10], atol=1e-5)


def test_cuts_even_out_over_time() -> None:
    rng = np.random.default_rng(1)
    asked = rng.uniform(5, 10, (40, 4))
    case = one_transformer(20, np.zeros((40, 4)), asked, np.zeros((40, 4)))
    cut = {m.name: asked.sum(axis=0) - ao.simulate(case, m).allocation.import_kw.sum(axis=0) for m in BY_LIMIT}
    assert np.ptp(cut["rotation"]) < 1e-3 < 2.0 < np.ptp(cut["pro_rata"]) < np.ptp(cut["lifo"])


# what all three share


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
@pytest.mark.parametrize("mechanism", BY_LIMIT, ids=str)
def test_limits_are_kept_and_only_those_who_use_them_are_cut(mechanism: ao.Mechanism[Any], phases: bool) -> None:
    """Without any repair; whoever uses no limit that requests break or that binds in the end is served in full.

    On phases a limit may break on the way and bind no more in the end, for all that was cut upstream.
    """
    cut = spared = 0
    for seed in range(12):
        case = random_street(seed, phases).with_scenario(import_scale=1.2 if seed % 3 else 0.1)
        run = ao.simulate(case, mechanism, steps=1)
        assert not run.failed_steps
        assert not run.repaired_steps
        assert run.summary.thermal_violations == run.summary.voltage_violations == 0
        grid, w, a = grid_of(case), case.requests(0, 1).interval(0), run.allocation
        lower, upper = grid.limits(w)
        power = a.both_kw[:, 0]
        assert np.all(power >= 0)
        assert np.all(power <= w.both_kw + 1e-9)
        rows, u = grid.sensitivity(np.arange(len(lower))), grid.quantities(w, *power)
        asked = grid.quantities(w, *w.both_kw)
        if np.all((asked <= upper) & (asked >= lower)):
            np.testing.assert_array_equal(power, w.both_kw)
        lost = w.both_kw - power > 1e-6
        cut += int(lost.sum())
        over, under = ((asked > upper) | (u > upper - 1e-5)), ((asked < lower) | (u < lower + 1e-5))
        loads = (rows[:, over] > 1e-9).any(axis=1) | (rows[:, under] < -1e-9).any(axis=1)
        assert phases or not np.any(lost & ~loads)
        spared += int((~lost & (w.both_kw > 0.1)).sum())
    assert spared > 10
    assert cut > 30
