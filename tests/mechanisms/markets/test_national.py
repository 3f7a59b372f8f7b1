"""The national system: what its page counts, its files from its script, its lines, and a day by both markets."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao

DATA = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def national() -> ao.Case:
    return ao.load_case("national")


def test_counts_and_energies_are_those_of_the_page(national: ao.Case) -> None:
    people = national.participants
    assert (national.feeder.n_buses, len(national.feeder.ends[0]) - 1, len(people)) == (19, 27, 124)
    assert national.n_steps == 17_520
    asked = national.requests(0, national.n_steps)
    gw = asked.import_request_kw.sum(axis=1) / 1e6
    assert [gw.min(), gw.mean(), gw.max()] == pytest.approx([23.57, 34.15, 52.33], abs=0.01)
    short = asked.export_request_kw.sum(axis=1) < asked.import_request_kw.sum(axis=1)
    assert short.sum() == 111
    kinds = people["technology"].to_numpy()
    wind = np.isin(kinds, ["onshore wind", "offshore wind"])
    twh = asked.export_request_kw[:, wind].sum() * national.dt_h / 1e9
    assert twh == pytest.approx(126.3, abs=0.1)
    stores = people[people["battery_kwh"] > 0].groupby("technology")["battery_kwh"].sum() / 1e6
    assert stores.to_dict() == pytest.approx({"battery": 11.2, "pumped storage": 16.0})
    costs = people[kinds != ""][["capital_per_kw", "fixed_cost_per_kw_year", "payback_years"]]
    assert costs.notna().all(axis=None)


def test_the_script_makes_these_files(national: ao.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA))
    spec = importlib.util.spec_from_file_location("build_national", DATA / "build_national.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("weather", None)
    for name, table in module.build().items():
        path = DATA / "national" / f"{name}.{'parquet' if name == 'profiles' else 'csv'}"
        stored = pd.read_parquet(path) if name == "profiles" else pd.read_csv(path)
        assert list(stored.columns) == list(table.columns)
        numbers = table.select_dtypes("number").columns
        np.testing.assert_allclose(stored[numbers], table[numbers].astype(float), rtol=1e-5, atol=1e-6)


def test_reactances_per_unit() -> None:
    """0.30 ohm/km at 400 kV, 0.40 at 275 kV: 200 km are 0.3750 and 1.0579 on 1,000 MVA."""
    branches = ao.load_case("national").tables()["branches"].set_index("name")
    one = branches.loc["Tyne - Humber", "x_ohm"] * 4 / 180 * 200 * 1000 / 400**2
    assert one == pytest.approx(0.3750, abs=1e-4)
    two = branches.loc["Highland - Strath 275", "x_ohm"] * 2 / 160 * 200 * 1000 / 275**2
    assert two == pytest.approx(1.0579, abs=1e-4)


def test_a_day_by_both_markets(national: ao.Case) -> None:
    """The same plants at the same least cost; what load pays for them differs."""
    spec = "source_price=none,window=24h"
    runs = [ao.simulate(national, f"{name}:{spec}", steps=48) for name in ("dispatch", "lmp_ahead")]
    served = [run.allocation.import_kw.sum() for run in runs]
    assert served[0] == pytest.approx(served[1], rel=1e-6)
    money = [run.settlement().operator for run in runs]
    assert abs(money[0]["residual"]) < 1e-6 * money[0]["paid"]
    assert money[1]["paid"] > money[0]["paid"]
    assert money[1]["residual"] > 0
