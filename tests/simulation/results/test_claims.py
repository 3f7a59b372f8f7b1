"""The rung of a run's claim: by hand, after a replay, after a violation, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from small import TRACE, one_transformer, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.study.cli import main


def behind_10_kva() -> Case:
    """Two customers ask for 8 and 12 kW in the first interval and for half of it in the second."""
    return small_case({"b": ("src", TRACE, 10.0)}, ["b", "b"], [0, 0], [[8, 12], [4, 5]], [0, 0])


def claim(run: ao.Run) -> tuple[str, str]:
    assert run.claim is not None
    return run.claim.rung, run.claim.words


def test_rungs_by_hand() -> None:
    """20 kW through 10 kVA are 100 % above the rating, in the first interval."""
    case = behind_10_kva()
    assert claim(ao.simulate(case, "amm")) == ("point", "holds at the requested point in lindistflow")
    assert claim(ao.simulate(case, "equal_doe")) == ("point", "holds with everyone at the limit in lindistflow")
    rung, words = claim(ao.simulate(case, "no_control"))
    assert (rung, words) == ("falsified", "branch 'to-b' is 100.00 % above its rating_kva = 10 at 2030-01-07 00:00")


def test_the_worst_of_all_blocks_and_workers() -> None:
    """A year of noons with one worse one, late: found in blocks, and by two processes."""
    imports = [[12.0]] * 3000
    imports[2500] = [15.0]
    case = small_case({"b": ("src", TRACE, 10.0)}, ["b"], [0], imports, [0])
    for workers in (1, 2):
        _, words = claim(ao.simulate(case, "no_control", workers=workers))
        assert words == f"branch 'to-b' is 50.00 % above its rating_kva = 10 at {case.times[2500]:%Y-%m-%d %H:%M}"


def test_what_inflexible_load_breaks_is_said_and_claimed_by_nobody() -> None:
    case = one_transformer(10.0, [12.0, 0.0], [4.0, 4.0], [0.0, 0.0])
    rung, words = claim(ao.simulate(case, "amm", steps=1))
    assert rung == "point"
    assert words.endswith(", apart from 1 pair that inflexible load alone has beyond a limit")


def test_tested_by_ac_power_flow() -> None:
    pytest.importorskip("power_grid_model")
    case = behind_10_kva()
    amm = ao.simulate(case, "amm", steps=slice(1, 2), ac="verify")
    assert claim(amm) == ("tested", "no violation at 1 tested AC points")
    rung, words = claim(ao.simulate(case, "no_control", ac="verify"))
    assert rung == "falsified"
    assert words.startswith("branch 'to-b' is 100.")
    assert words.endswith("at 2030-01-07 00:00 (AC points)")


def test_ac_has_the_last_word_where_it_tested_everything() -> None:
    of_model = ao.simulate(behind_10_kva(), "no_control").claim
    assert of_model is not None
    assert replace(of_model, tested=2).rung == "tested"
    assert replace(of_model, tested=1).rung == "falsified"
    assert replace(of_model, broken=(), tested=1).words == "no violation at 1 of 2 tested AC points"


def test_a_voltage_band() -> None:
    """10 kW over 1 ohm at 0.4 kV: v^2 falls by 2 r p / vn^2 = 0.125 from 1 to 0.875, v to 0.93541."""
    case = small_case({"b": ("src", 1.0, 1000.0)}, ["b"], [0], [10.0], [0])
    assert claim(ao.simulate(case, "no_control", steps=1))[0] == "point"
    rung, words = claim(ao.simulate(small_case({"b": ("src", 1.0, 1000.0)}, ["b"], [0], [20.0], [0]), "no_control"))
    assert rung == "falsified"
    assert words == "bus 'b' is 0.03397 pu outside its band of 0.9 to 1.1 pu at 2030-01-07 00:00"


def test_on_phases() -> None:
    from amm_opt.testing import cases

    rung, words = claim(ao.simulate(cases.small_case(balanced=False), "no_control"))
    assert rung == "falsified"
    assert ", phase " in words


def test_claims_are_kept_and_printed(tmp_path: Path) -> None:
    result = ao.compare(behind_10_kva(), ["amm", "no_control"], out=tmp_path / "out")
    again = ao.open_comparison(tmp_path / "out")
    pd.testing.assert_frame_equal(again.claims, result.claims)
    assert pd.read_csv(tmp_path / "out" / "summary.csv")["claim"].tolist() == ["point", "falsified"]
    words = ["run", "synthetic:buses=20,days=1,seed=1", "--mechanism", "amm", "--steps", "2"]
    printed = CliRunner().invoke(main, words)
    assert "Claim: point, holds at the requested point in lindistflow: amm" in printed.stdout
    (row,) = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["rows"]
    assert (row["claim"], row["claim_words"]) == ("point", "holds at the requested point in lindistflow")
