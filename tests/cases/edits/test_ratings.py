"""Other ratings: which branches are meant, what else stays, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.testing.cases import rich_case, small_case, small_tables

RATINGS = {"mv": 105.0, "low-A": 45.0, "a1": 200.0, "a2": 38.0, "low-B": 150.0, "b1": 200.0, "b2": 200.0}
"""In kVA of all phases, by the bus that a branch feeds."""
CHOICES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set(RATINGS)),
    ({"kind": "transformer"}, {"low-A", "low-B"}),
    ({"kind": "line"}, {"mv", "a1", "a2", "b1", "b2"}),
    ({"tier": "MV"}, {"mv"}),
    ({"tier": "LV"}, set(RATINGS) - {"mv"}),
    ({"tier": "LV", "kind": "line"}, {"a1", "a2", "b1", "b2"}),
    ({"names": ["to-a2", "to-mv"]}, {"a2", "mv"}),
    ({"names": pd.Index(["to-low-A", "to-mv"]), "kind": "line"}, {"mv"}),
]


def ratings(case: ao.Case) -> dict[str, float]:
    return dict(zip(case.feeder.bus_names[1:], case.feeder.rating_kva[1:].tolist(), strict=True))


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
@pytest.mark.parametrize(("choice", "meant"), CHOICES, ids=[str(list(choice)) for choice, _ in CHOICES])
def test_chosen_ratings_are_multiplied(choice: dict[str, Any], meant: set[str], balanced: bool) -> None:
    case, share = small_case(balanced), 1.0 if balanced else 1 / 3
    changed = case.with_ratings(factor=1.5, **choice)
    want = {bus: rating * share * (1.5 if bus in meant else 1.0) for bus, rating in RATINGS.items()}
    assert ratings(changed) == pytest.approx(want, rel=1e-12)
    assert ratings(case) == pytest.approx({bus: rating * share for bus, rating in RATINGS.items()}, rel=1e-12)
    assert changed.scenario == case.scenario
    assert changed.fingerprint == changed.with_tables().fingerprint != case.fingerprint


def test_factors_of_the_scenario_come_on_top_and_of_limits_the_rating_counts() -> None:
    scenario = {"capacity_scale": 0.5, "lv_capacity_scale": 0.8}
    limits = {"to-a2": {"rating_kva": 30.0, "import_limit_kw": 20.0}, "to-mv": {"export_limit_kw": 60.0}}
    case = small_case(True).with_scenario(limits=limits, **scenario).with_ratings(factor=2.0)
    want = {bus: 2 * rating * 0.5 * (1.0 if bus == "mv" else 0.8) for bus, rating in RATINGS.items()}
    assert ratings(case) == pytest.approx({**want, "a2": 2 * 30.0 * 0.5 * 0.8}, rel=1e-12)
    at = case.feeder.bus_index
    assert case.feeder.import_limit_kw[at["a2"]] == pytest.approx(20.0 * 0.5 * 0.8)
    assert case.feeder.export_limit_kw[at["mv"]] == pytest.approx(60.0 * 0.5)
    back = case.with_scenario(limits={}, capacity_scale=1.0, lv_capacity_scale=1.0)
    assert ratings(back) == pytest.approx({bus: 2 * rating for bus, rating in RATINGS.items()}, rel=1e-12)


def test_two_edits_are_one() -> None:
    case = rich_case(False)
    twice = case.with_ratings(factor=0.5, kind="line").with_ratings(factor=3.0, kind="line")
    assert twice.fingerprint == case.with_ratings(factor=1.5, kind="line").fingerprint
    assert case.with_ratings(factor=1.0).fingerprint == case.fingerprint


def test_connections_and_unlimited_branches_stay(tmp_path: Path) -> None:
    tables = small_tables(True)
    people = tables["participants"].drop(columns=["connection_import_kw", "connection_export_kw"])
    branches = tables["branches"].assign(rating_kva=[np.nan, *tables["branches"]["rating_kva"].iloc[1:]])
    case = ao.from_tables(**{**tables, "participants": people, "branches": branches})
    changed = case.with_ratings(factor=2.0)
    np.testing.assert_array_equal(changed.connection_kw("import"), case.connection_kw("import"))
    assert ratings(changed)["mv"] == np.inf
    loaded = ao.load_case(ao.save_case(changed, tmp_path / "case"))
    assert loaded.fingerprint == changed.fingerprint


def test_open_branches_count_by_their_ends() -> None:
    tables = small_tables(True)
    tie = {"from_bus": "a2", "to_bus": "b2", "kind": "switch", "r_ohm": 0.0, "x_ohm": 0.0, "rating_kva": 80.0}
    branches = pd.concat([tables["branches"], pd.DataFrame([{"name": "tie", "closed": False, **tie}])])
    branches["closed"] = branches["closed"].astype(object).fillna(True)
    case = ao.from_tables(**{**tables, "branches": branches})
    for choice, want in (({"tier": "LV"}, 160.0), ({"tier": "MV"}, 80.0), ({"kind": "switch"}, 160.0)):
        changed = case.with_ratings(factor=2.0, **choice).tables()["branches"].set_index("name")
        assert changed.loc["tie", "rating_kva"] == want


def test_what_is_refused_is_refused_at_once() -> None:
    case = small_case(True)
    with pytest.raises(ao.InputError) as caught:
        case.with_ratings(factor=0, kind="cable", tier="HV", names=["to-a2", "to-a9"])
    assert [said.split(" ")[0] for said in caught.value.problems] == ["kind", "tier", "factor", "names:"]
    for said, wanted in zip(caught.value.problems, ["line, transformer", "MV, LV", "positive", "'to-a9'"], strict=True):
        assert wanted in said
    for factor in ("2", np.nan, np.inf, True, -1.0):
        with pytest.raises(ao.InputError, match=r"factor = .* must be a positive number"):
            case.with_ratings(factor=factor)  # type: ignore[arg-type]
    for names in ("to-a2", 5, [5]):
        with pytest.raises(ao.InputError, match=r"names = .* must be a list of names"):
            case.with_ratings(factor=2.0, names=names)  # type: ignore[arg-type]
    for choice in ({"kind": "switch"}, {"names": []}, {"tier": "MV", "kind": "transformer"}):
        with pytest.raises(ao.InputError, match=r"no branch is of this kind.*5 of kind line, 2 of kind transformer"):
            case.with_ratings(factor=2.0, **choice)  # type: ignore[arg-type]
    bare = case.tables()["branches"].assign(rating_kva=np.nan)
    with pytest.raises(ao.InputError, match=r"none of the 7 branches .* has a rating"):
        case.with_tables(branches=bare).with_ratings(factor=2.0)
