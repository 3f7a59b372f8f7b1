"""The two plans against all combinations, and bad requests, problems and commands."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from in_process import amm_opt

import amm_opt as ao
from amm_opt.study.cli import main

R = ao.FlexibleRequest


def most(problem: ao.RequestProblem, revenue: bool) -> float:
    """By trying every start of every request."""
    starts = [[None, *range(r.earliest, r.latest - r.slots + 1)] for r in problem.requests]
    best = 0.0
    for chosen in itertools.product(*starts):
        use, value = np.zeros(problem.n_slots), 0.0
        for r, s in zip(problem.requests, chosen, strict=True):
            if s is not None:
                use[s : s + r.slots] += r.power_kw
                value += r.power_kw * r.slots / 2 * (r.max_price if revenue else 1.0)
        if (use <= problem.available_kw + 1e-9).all():
            best = max(best, value)
    return best


def test_plans_find_the_most() -> None:
    rng = np.random.default_rng(5)
    for _ in range(6):
        requests = []
        for k in range(5):
            slots, first = int(rng.integers(1, 4)), int(rng.integers(0, 4))
            kw, price = float(rng.uniform(0.5, 3)), float(rng.uniform(10, 265))
            requests.append(R(f"h{k}", first, first + slots + int(rng.integers(0, 4)), kw, slots, price))
        problem = ao.RequestProblem(requests, rng.uniform(0, 5, 12))
        volume, revenue = ao.BookingPlan("volume").run(problem), ao.BookingPlan("revenue").run(problem)
        assert volume.summary["served_kwh"] == pytest.approx(most(problem, revenue=False))
        assert revenue.summary["value_at_caps"] * 100 == pytest.approx(most(problem, revenue=True))


def test_volume_and_revenue_choose_differently() -> None:
    """Room for one: 2 kW at 100 p are more energy, 1.5 kW at 200 p are more money."""
    problem = ao.RequestProblem([R("a", 0, 1, 2.0, 1, 100.0), R("b", 0, 1, 1.5, 1, 200.0)], np.full(1, 2.0))
    served = {o: ao.BookingPlan(o).run(problem).summary for o in ("volume", "revenue")}
    assert (served["volume"]["served_kwh"], served["volume"]["value_at_caps"]) == pytest.approx((1.0, 1.0))
    assert (served["revenue"]["served_kwh"], served["revenue"]["value_at_caps"]) == pytest.approx((0.75, 1.5))
    assert np.isnan(served["volume"]["charged"])


def test_what_a_day_books_beyond_midnight_is_not_there_for_the_next() -> None:
    problem = ao.RequestProblem(
        [R("a", 46, 50, 2.0, 4), R("b", 48, 50, 2.0, 2), R("c", 50, 52, 2.0, 2)], np.full(96, 2.0)
    )
    run = ao.BookingPlan().run(problem)
    assert [problem.requests[p].household for p in sorted(run.start)] == ["a", "c"]


def test_bad_requests_are_named_all_at_once() -> None:
    with pytest.raises(ao.InputError) as error:
        R("a", 8, 4, -1.0, 50, -2.0, "gold")
    assert list(error.value.problems) == [
        "the window ends at 4, before it begins at 8",
        "slots = 50 must be from 1 to 47",
        "power_kw = -1.0 must be above 0",
        "max_price = -2.0 must not be negative",
        "product = 'gold'; valid choices: premium, basic",
    ]
    with pytest.raises(ao.InputError, match="3 slots do not fit into the window from 0 to 2"):
        R("a", 0, 2, 1.0, 3)


def test_bad_problems_and_parameters_are_named() -> None:
    with pytest.raises(ao.InputError) as error:
        ao.RequestProblem([R("a", 0, 9, 1.0, 3)], np.array([1.0, -1.0]), np.full(3, np.nan))
    assert list(error.value.problems) == [
        "supply_kw has a negative value in 1 slot, the first is 1",
        "essential_kw has no number in 3 slots, the first is 0",
        "essential_kw has 3 slots, supply_kw has 2",
        "windows end after the last of 2 slots: requests of a",
    ]
    for bad, said in (
        (lambda: ao.FairPlay(deadband=1.1, seed=-1), "deadband = 1.1 must be in"),
        (lambda: ao.BookingPlan("profit"), "valid choices: volume, revenue"),
        (lambda: ao.BookingPlan(mip_gap=1.0), "mip_gap"),
        (lambda: ao.generated_problem(count=0, days=0), "2 problems"),
        (lambda: ao.FairPlay().run(5), "problem = 5 must be a RequestProblem"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ao.InputError, match=said):
            bad()


def test_the_command_on_generated_households(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["fair-play", "--count", "4", "--days", "2", "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["approach"] for row in rows] == ["fair_play", "volume", "revenue"]
    assert rows[0]["asked_kwh"] == rows[1]["asked_kwh"]
    assert rows[0]["served_kwh"] <= rows[1]["served_kwh"] + 1e-6
    kept = pd.read_csv(out / "fair_play_requests.csv")
    assert kept.loc[kept["accepted"], "asked_kwh"].sum() == pytest.approx(rows[0]["served_kwh"])


def test_the_command_on_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good table, and a bad one: every problem at once, and exit code 2."""
    times = pd.date_range("2030-01-07", periods=48, freq="30min")
    good = pd.DataFrame({"time": times, "a": [0.5] * 20 + [3.0] * 4 + [0.5] * 24, "b": 0.5})
    good.to_csv(tmp_path / "good.csv", index=False)
    pd.DataFrame({"time": times, "supply_kw": 4.0}).to_csv(tmp_path / "supply.csv", index=False)
    good.assign(b=-0.5).drop(index=[5]).to_csv(tmp_path / "bad.csv", index=False)

    monkeypatch.chdir(tmp_path)
    done = amm_opt("fair-play", "good.csv", "--supply", "supply.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["served_kwh"] for row in json.loads(done.stdout)] == [5.0] * 3
    bad = amm_opt("fair-play", "bad.csv", "--deadband", "2", "--approaches", "fair_play,random", "--days", "3")
    assert bad.returncode == 2
    assert bad.stdout == ""
    for said in ("a gap from", "'b' has negative power", "deadband = 2.0", "'random'", "--supply is missing", "--days"):
        assert said in bad.stderr
