"""Numbers in another unit are named with the unit that they seem to have; honest extremes pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.network import Feeder
from tests.cases.test_cases import good, problems_of, tiny


def _feeder(buses: dict[str, Any] | None = None, branches: dict[str, Any] | None = None) -> str:
    table = {
        "buses": good()["buses"].assign(**(buses or {})),
        "branches": good()["branches"].assign(**(branches or {})),
    }
    return "\n".join(problems_of(**table))


BUSES: list[tuple[dict[str, Any], str]] = [
    ({"v_min_pu": 207.0, "v_max_pu": 253.0}, "207 to 253 must be in pu of vn_kv: is it in V"),
    ({"v_min_pu": 360.0, "v_max_pu": 440.0}, "is it in V"),
    ({"v_min_pu": 90.0, "v_max_pu": 110.0}, "is it in %"),
    ({"v_min_pu": 0.36, "v_max_pu": 0.44}, "is it in kV"),
    ({"vn_kv": 11.0, "v_min_pu": 10.4, "v_max_pu": 11.6}, "is it in kV"),
    ({"vn_kv": 400.0}, "vn_kv = 400 must be in kV: is it in V? (if it is in kV, give the bus tier = MV)"),
    ({"vn_kv": 230.0, "tier": "LV"}, "is it in V"),
    ({"vn_kv": 11000.0, "tier": "MV"}, "vn_kv = 11000 must be in kV: is it in V"),
    ({"vn_kv": 0.0004}, "is it in MV"),
    ({"v_source_pu": [230.0, np.nan]}, "v_source_pu = 230 must be in pu"),
    ({"v_source_pu": [0.4, np.nan]}, "v_source_pu = 0.4 must be in pu"),
    ({"shunt_kw": [0.0, 6000.0]}, "shunt_kw = 6000 must be in kW, at low voltage: is it in W?"),
    ({"shunt_kvar": [0.0, -50_000.0]}, "shunt_kvar = -50000 must be in kvar, at low voltage: is it in var?"),
]


@pytest.mark.parametrize(("change", "said"), BUSES, ids=str)
def test_voltages(change: dict[str, Any], said: str) -> None:
    assert said in _feeder(buses=change)


BRANCHES: list[tuple[dict[str, Any], str]] = [
    ({"r_ohm": 2000.0}, "r_ohm and x_ohm must be in ohm: are they in mohm"),
    ({"rating_kva": 0.04}, "rating_kva = 0.04 must be in kVA: is it in MVA"),
    ({"rating_kva": 0.4, "kind": "transformer"}, "is it in MVA"),
    ({"tap": 5.0}, "must be a ratio near 1"),
    ({"tap": 102.5}, "must be a ratio near 1"),
    ({"rating_kva": 630_000.0, "r_ohm": 0.0032, "x_ohm": 0.01, "kind": "transformer"}, "or is the rating in VA?"),
    ({"rating_kva": 0.63, "r_ohm": 0.0032, "x_ohm": 0.01, "kind": "transformer"}, "is it in MVA?"),
    ({"rating_kva": 1.6, "r_ohm": 0.001, "x_ohm": 0.006, "kind": "transformer"}, "is it in MVA?"),
    (
        {"rating_kva": 630.0, "r_ohm": 3.2, "x_ohm": 10.0, "kind": "transformer"},
        "in mohm, or referred to the other side",
    ),
    ({"rating_kva": 100.0, "r_ohm": 90.0, "x_ohm": 10.0}, "are r_ohm and x_ohm in mohm, or is the rating in VA?"),
    ({"charging_kvar": 5000.0}, "charging_kvar = 5000 must be in kvar, at low voltage: is it in var?"),
]


@pytest.mark.parametrize(("change", "said"), BRANCHES, ids=str)
def test_branches(change: dict[str, Any], said: str) -> None:
    assert said in _feeder(branches=change)


PEOPLE: list[tuple[dict[str, Any], str]] = [
    ({"connection_import_kw": 10_000.0}, "connection_import_kw = 10000 must be in kW, and its bus is at low voltage"),
    ({"connection_export_kw": 18_400.0}, "is it in W?"),
    ({"connection_export_kw": 5_000.0}, "connection_export_kw = 5000 must be in kW"),
    ({"battery_kwh": 13.5, "battery_kw": 5_000.0}, "battery_kw = 5000 must be in kW"),
    (
        {"inflexible_kvar": -5_000.0},
        "inflexible_kvar = -5000 must be in kvar, and its bus is at low voltage: is it in var",
    ),
    ({"battery_kwh": 13_500.0, "battery_kw": 5.0}, "battery_kwh = 13500 must be in kWh"),
    ({"battery_kwh": 13.5, "battery_kw": 5_100.0}, "is it in W?"),
    ({"battery_kwh": 13.5, "battery_kw": 5.0, "battery_efficiency": 95}, "must be within 0.001..1: is it in %?"),
    ({"battery_kwh": 13.5, "battery_kw": 5.0, "battery_initial": 50}, "must be within 0..1: is it in %?"),
    ({"power_factor": 95}, "must be within 0.1..1 (or -1..-0.1): is it in %?"),
    ({"power_factor_export": -90.0}, "is it in %?"),
]


@pytest.mark.parametrize(("change", "said"), PEOPLE, ids=str)
def test_customers(change: dict[str, Any], said: str) -> None:
    assert said in "\n".join(problems_of(participants=good()["participants"].assign(**change)))


def test_powers_of_series_and_sessions() -> None:
    series = good()["series"].assign(scale_kw=8000.0)
    assert "reaches" in "\n".join(problems_of(series=series))
    assert "is it in W?" in "\n".join(problems_of(series=series))
    sessions = good()["sessions"].assign(power_kw=7400.0, energy_kwh=8000.0)
    assert "power_kw = 7400.0 must be at most 2000: is it in W?" in "\n".join(problems_of(sessions=sessions))


def test_honest_extremes_pass() -> None:
    wide = good()["buses"].assign(v_min_pu=0.1, v_max_pu=9.0)
    assert tiny(buses=wide).feeder.v_max_pu[0] == 9.0
    assert tiny(buses=good()["buses"].assign(vn_kv=380.0, tier="MV")).feeder.vn_kv[0] == 380.0
    assert tiny(buses=good()["buses"].assign(vn_kv=132.0)).feeder.vn_kv[0] == 132.0
    for limit in (1500.0, 1e6, np.inf):
        assert (
            tiny(participants=good()["participants"].assign(connection_import_kw=limit)).connection_kw("import")[0]
            == limit
        )
    assert tiny(branches=good()["branches"].assign(r_ohm=5.0, rating_kva=1e6)).feeder.rating_kva[1] == 1e6


HONEST: list[tuple[str, float, float, float, float]] = [
    ("transformer", 132.0, 33.0, 100_000.0, 1.3),
    ("transformer", 33.0, 11.0, 100_000.0, 0.145),
    ("transformer", 11.0, 0.4, 4_000.0, 0.0024),
    ("transformer", 11.0, 0.4, 5.0, 1.0),
    ("transformer", 7.2, 0.12, 10.0, 0.04),
    ("transformer", 20.0, 0.4, 1e7, 0.01),
    ("transformer", 20.0, 0.4, 630.0, 1e-6),
    ("line", 33.0, 33.0, 20_000.0, 10.0),
    ("line", 0.4, 0.4, 3.0, 0.001),
    ("line", 0.4, 0.4, 1e5, 0.05),
    ("switch", 0.4, 0.4, 3.0, 0.001),
    ("switch", 11.0, 11.0, 100_000.0, 0.0),
]


@pytest.mark.parametrize(("kind", "above", "kv", "rating", "x"), HONEST, ids=str)
def test_honest_branches_pass(kind: str, above: float, kv: float, rating: float, x: float) -> None:
    buses = good()["buses"].assign(vn_kv=[above, kv], v_min_pu=0.965, v_max_pu=1.055, shunt_kvar=200.0)
    branches = good()["branches"].assign(kind=kind, rating_kva=rating, r_ohm=0.1 * x, x_ohm=x)
    assert Feeder.from_tables(buses, branches).rating_kva[1] == rating


def _three_phase(phases: str, own: str | None, rating: float) -> Case:
    lower = " | ".join(" ".join(["0"] * i + ["0.01"]) for i in range(len(phases)))
    buses = pd.DataFrame({"name": ["g", "b"], "vn_kv": [11.0, 0.4], "v_min_pu": 0.9, "v_max_pu": 1.1})
    line = {"name": ["t"], "from_bus": "g", "to_bus": "b", "kind": "transformer", "rating_kva": rating}
    people = pd.DataFrame({"name": ["p"], "bus": ["b"]})
    return ao.from_tables(
        name="three",
        buses=buses.assign(v_source_pu=[1.0, np.nan], phases=phases),
        branches=pd.DataFrame({**line, "r_ohm": lower, "x_ohm": lower}),
        participants=people if own is None else people.assign(phases=own),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="30min"), "one": 1.0}),
        series=pd.DataFrame({"participant": ["p"], "quantity": ["import"], "profile": ["one"], "scale_kw": [1.0]}),
    )


def test_default_connections_count_phases() -> None:
    """A rating holds per phase on phases: 3 x 10 kVA let a three-phase customer have 30 kW, a single-phase one 10."""
    for own, expected in ((None, 30.0), ("abc", 30.0), ("a", 10.0), ("bc", 20.0)):
        case = _three_phase("abc", own, 10.0)
        assert case.connection_kw("import")[0] == case.connection_kw("export")[0] == expected
    assert _three_phase("ab", None, 10.0).connection_kw("import")[0] == 20.0
