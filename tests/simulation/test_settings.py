"""Everything that is wrong with a call is said at once, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import amm_opt
from small import one_transformer, rebuilt

import amm_opt as ao
from formulations import FairOverTimeStorage


def _case() -> ao.Case:
    return one_transformer(10.0, [0.0, 0.0], [8.0, 8.0], [0.0, 0.0])


def _problems(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ao.InputError) as caught:
        call(*arguments, **options)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("call", [ao.simulate, ao.compare])
def test_all_wrong_arguments_at_once(call: Any) -> None:
    wrong = {"network": "x1", "solver": "x2", "steps": 99, "workers": 0, "ac": "x3", "forecast": "x4", "tiers": "x5"}
    said = _problems(call, "x6", "x7", **wrong)
    assert [f"x{k}" in said for k in (2, 3, 4, 5, 6, 7)] == [True] * 6
    assert "workers = 0" in said
    said = _problems(call, _case(), "x7", **wrong)
    assert "'x1'" in said
    assert "99" in said


@pytest.mark.parametrize("call", [ao.simulate, ao.compare])
def test_all_conflicts_at_once(call: Any) -> None:
    given = {"forecast": "persistence", "defer": True, "tiers": "two", "ac": "secure", "network": "socp", "steps": 99}
    case = _case()
    case = rebuilt(case, participants=case.participants.assign(battery_kwh=4.0, battery_kw=2.0))
    said = _problems(call, case, FairOverTimeStorage(window="1"), **given)
    for part in (
        "give no forecast",
        "batteries are scheduled on perfect forecasts only",
        "AC-secure allocations are for mechanisms without stores",
        "in two tiers: its program is one over",
        "two tiers need the network model lindistflow, not socp",
        "programs over a horizon need a linear network model",
        "99",
    ):
        assert said.count(part) == 1, part


def test_arguments_of_the_wrong_type() -> None:
    case = _case()
    for name, value in (
        ("workers", True),
        ("workers", 1.5),
        ("workers", "2"),
        ("ac", 3),
        ("ac", ["verify"]),
        ("tiers", None),
        ("tiers", np.arange(2)),
        ("defer", "yes"),
        ("defer", None),
        ("forecast", 7),
        ("solver", -1),
        ("solver", ["highs"]),
        ("network", 7),
        ("progress", 7),
    ):
        assert name.rstrip("s") in _problems(ao.simulate, case, "amm", **{name: value}), (name, value)
    assert "5 is not a mechanism" in _problems(ao.compare, case, 5)
    assert "no mechanism" in _problems(ao.compare, case, [])


def test_nothing_runs_before_the_second_mechanism_is_checked() -> None:
    runs: list[str] = []
    said = _problems(ao.compare, _case(), ["no_control", "fot:window=17min"], progress=lambda *a: runs.append(a[0]))
    assert "17min" in said
    assert not runs


def test_the_command_line_says_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    command = ["compare", "synthetic:buses=10,days=1", "--mechanisms", "amm,x1,x2", "--network", "x3"]
    command += ["--solver", "x4", "--start", "2031-01-01", "--forecast", "x5", "--out", str(tmp_path / "full")]
    done = amm_opt(*command)
    assert done.returncode == 2
    assert [word in done.stderr for word in ("x1", "x2", "x3", "x4", "2031", "x5", "full")] == [True] * 7
