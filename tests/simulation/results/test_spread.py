"""Who got little: the tenth percentile, the starved, Jain's index by energy, and what a memory costs; by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.results.columns import EVERYWHERE
from amm_opt.simulation.results.fairness import jain, starved, tenth_percentile
from amm_opt.simulation.stored.digest import sealed
from amm_opt.testing import cases

WITHOUT = "amm:alpha=0"
"""What ``amm`` is without its memory."""


def behind_own_lines(ratings: list[float], imports: list[float], exports: list[float] | None = None) -> Case:
    """Each customer behind a line of its own, all on one feeder: everyone's service is its line's rating."""
    lines = {f"b{i}": ("src", TRACE, rating) for i, rating in enumerate(ratings)}
    return small_case(lines, list(lines), [0.0] * len(ratings), imports, exports or [0.0] * len(ratings))


def test_energy_counts_once() -> None:
    """A customer who weighs three times as much counts like three: Jain's own index of the repeated list."""
    ratios, times = np.array([0.2, 0.7, 1.0]), np.array([3, 1, 2])
    assert jain(ratios, times.astype(float)) == pytest.approx(jain(np.repeat(ratios, times)), rel=1e-14)
    assert jain(ratios, 5.0 * times) == pytest.approx(jain(ratios, 1.0 * times), rel=1e-14)
    assert np.isnan(jain(np.zeros(2), np.ones(2)))


def test_starved_is_a_tenth_of_the_median() -> None:
    assert starved(np.array([0.039, 0.041, 0.4, 0.4, 1.0])) == 1
    assert starved(np.array([0.0, 0.0, 0.5, 0.5, 1.0])) == 2
    assert np.isnan(starved(np.array([0.0, 0.0, 1.0])))
    assert np.isnan(starved(np.array([])))


def test_tenth_percentile_between_neighbours() -> None:
    """Of eleven values the second lowest; of two, a tenth of the way."""
    assert tenth_percentile(np.arange(11.0)) == 1.0
    assert tenth_percentile(np.array([1.0, 0.0])) == pytest.approx(0.1)


def test_columns_of_a_run() -> None:
    """Import ratios .02, .5, .5, .5, 1 of 50, 20, 20, 20 and 2 kW; export ratios .5 and 1 of 20 and 10 kW."""
    case = behind_own_lines([1.0] + 6 * [10.0], [50, 20, 20, 20, 2, 0, 0], [0, 0, 0, 0, 0, 20, 10])
    s = ao.simulate(case, "amm", steps=1).summary
    assert s["starved_participants"] == s["starved_participants_import"] == 1
    assert s["starved_participants_export"] == 0
    assert s["p10_participant_served_import"] == pytest.approx(0.02 + 0.4 * 0.48, abs=1e-5)
    assert s["p10_participant_served"] == s["p10_participant_served_import"]
    assert s["p10_participant_served_export"] == pytest.approx(0.55, abs=1e-5)
    squares = 50 * 0.02**2 + 60 * 0.5**2 + 2
    assert s["jain_participant_by_energy_import"] == pytest.approx((1 + 30 + 2) ** 2 / (112 * squares), abs=1e-5)
    assert s["jain_participant_by_energy_export"] == pytest.approx(20.0**2 / (30 * (20 * 0.25 + 10)), abs=1e-5)
    assert np.isnan(s["jain_feeder_by_energy"]), "one feeder is compared with nobody"


@pytest.mark.parametrize("how", [{"workers": 2}, {"tiers": "two"}, {"defer": True}, {"network": "socp"}])
def test_on_every_path(how: dict[str, Any]) -> None:
    names = [column.name for column in EVERYWHERE if "p10" in column.name or "starved" in column.name]
    s = ao.simulate("synthetic:buses=70,days=1,seed=3", "amm", steps=slice(34, 40), **how).summary
    assert s[names].notna().all()
    assert s["p10_participant_served"] >= s["worst_participant_served"]


def test_on_phases() -> None:
    s = ao.simulate(cases.small_case(balanced=False), "amm").summary
    assert s["worst_participant_served"] <= s["p10_participant_served"] <= 1.0


def test_runs_of_earlier_versions_have_empty_columns(tmp_path: Path) -> None:
    ao.compare(behind_own_lines([1.0, 1.0], [2, 2]), ["amm", "no_control"], out=tmp_path / "out")
    for folder in (tmp_path / "out" / "amm", tmp_path / "out" / "no_control"):
        path = folder / "run.json"
        document = json.loads(path.read_text())
        document.pop("digest")
        document.pop("without_memory")
        document["summary"] = {k: v for k, v in document["summary"].items() if "starved" not in k}
        path.write_text(sealed(document))
    table = ao.open_comparison(tmp_path / "out").table
    assert table["starved_participants"].isna().all()
    assert (table["worst_participant_served"] < 1.1).all()


def test_price_of_memory(tmp_path: Path) -> None:
    """Without the memory there is nothing to compare; with it, two runs of what is the same give 0."""
    case = ao.load_case("synthetic:buses=70,days=2,seed=4").with_scenario(import_scale=2.5)
    names = ["price_of_memory_pct", "memory_worst_feeder", "memory_worst_participant"]
    assert not set(names) & set(ao.compare(case, ["amm", "equal_doe"], steps=2).table)
    result = ao.compare(case, ["no_control", "amm:prior_h=0", WITHOUT], steps=slice(40, 96), out=tmp_path / "out")
    t = result.table
    assert t.loc[["no_control", WITHOUT], names].isna().all(axis=None)
    assert result.without_memory == {"amm:prior_h=0": WITHOUT}
    with_memory, without = t.loc["amm:prior_h=0"], t.loc[WITHOUT]

    def served(row: Any) -> float:
        both = row["requested_import_mwh"] + row["requested_export_mwh"]
        return float(both - row["unserved_mwh"] - row["curtailed_mwh"])

    less = 100 * (served(without) - served(with_memory)) / served(without)
    assert with_memory["price_of_memory_pct"] == pytest.approx(less, abs=1e-6)
    gained = with_memory["worst_participant_served"] - without["worst_participant_served"]
    assert with_memory["memory_worst_participant"] == pytest.approx(gained, abs=1e-9)
    assert gained > 0.02
    again = ao.open_comparison(tmp_path / "out").table
    assert again.loc["amm:prior_h=0", names].equals(t.loc["amm:prior_h=0", names])
