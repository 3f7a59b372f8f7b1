"""Reactive power that participants draw whatever their active power is: every model, every path, hand-calculated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.cases.tiers import split
from amm_opt.importers import ImportedNetwork, ImportReport

DRAWN = 1000.0 * 2.0 / 400.0**2
"""Fall of v^2 per kW in 1 ohm of resistance or kvar in 1 ohm of reactance at 0.4 kV."""


def state(case: ao.Case, model: object) -> float:
    w = case.requests(0, 1)
    p, q = case.bus_injections(w.inflexible_kw, 0.0, 0.0)
    flow = model.flow if isinstance(model, ao.ACNetwork) else model.state  # type: ignore[attr-defined]
    return float(flow(p[0], q[0]).v_pu[1])


def served_kw(run: ao.Run) -> float:
    """Mean import of the one participant, who asks for 90 kW in two intervals of half an hour."""
    return 1000.0 * float(run.summary["requested_import_mwh"] - run.summary["unserved_mwh"])


@pytest.mark.parametrize("kvar", [8.0, -8.0, 0.0])
def test_it_moves_the_voltage(kvar: float) -> None:
    case = small_case({"b": ("src", TRACE, 999.0)}, ["b"], [1.0], [0.0], [0.0], x_ohm=0.1, inflexible_kvar=kvar)
    v = np.sqrt(1 - DRAWN * (TRACE * 1.0 + 0.1 * kvar))
    assert state(case, ao.LinDistFlow(case.feeder)) == pytest.approx(v, abs=1e-9)
    assert state(case, ao.ACNetwork(case.feeder)) == pytest.approx(v, abs=2e-4)


@pytest.mark.parametrize("mechanism", ["amm", "fet", "fot", "equal_doe", "greedy_doe", "leximin", "alpha_fair"])
def test_every_mechanism_leaves_room_for_it(mechanism: str) -> None:
    """v^2 >= 0.81 leaves (0.19 / DRAWN - 0.1 ohm * 8 kvar) / 0.3 ohm = 48 kW; without the kvar 50.67."""
    case = small_case({"b": ("src", 0.3, 999.0)}, ["b"], [0.0], [90.0], [0.0], x_ohm=0.1, inflexible_kvar=8.0)
    run = ao.simulate(case, mechanism)
    assert run.summary["voltage_violations"] == 0
    assert served_kw(run) == pytest.approx(48.0, abs=2e-3)


def test_conic_model_and_declared_programs() -> None:
    case = small_case({"b": ("src", 0.3, 999.0)}, ["b"], [0.0], [90.0], [0.0], x_ohm=0.1, inflexible_kvar=8.0)
    least = small_case({"b": ("src", 0.3, 999.0)}, ["b"], [0.0], [90.0], [0.0], x_ohm=0.1)
    given, free = (ao.simulate(c, "amm", network="socp", ac="verify") for c in (case, least))
    assert given.summary["ac_voltage_violations"] == 0
    assert 1.5 < served_kw(free) - served_kw(given) < 4.5


def test_folder_tiers_phases_and_bad_values(tmp_path: Path) -> None:
    case = small_case(
        {"a": ("src", 0.1, 99.0), "b": ("a", 0.1, 99.0)},
        ["a", "b", "b"],
        np.zeros(3),
        np.ones(3),
        np.zeros(3),
        inflexible_kvar=[1.0, 2.0, np.nan],
        power_factor=[0.9, 0.95, 1.0],
    )
    assert case.inflexible_kvar.tolist() == [1.0, 2.0, 0.0]
    ao.save_case(case, tmp_path / "c")
    again = ao.load_case(tmp_path / "c")
    assert again.inflexible_kvar.tolist() == [1.0, 2.0, 0.0]
    assert again.fingerprint == case.fingerprint
    assert replaced(case, [0.0, 0.0, 0.0]).fingerprint != case.fingerprint
    upper, lower = split(case)
    assert upper.case.inflexible_kvar.tolist() == [3.0]
    assert lower[0].case.inflexible_kvar.tolist() == [1.0, 2.0, 0.0]
    with pytest.raises(ao.InputError, match="participant 'p1': inflexible_kvar = inf must be finite"):
        replaced(case, [0.0, np.inf, 0.0])


def replaced(case: ao.Case, kvar: list[float]) -> ao.Case:
    tables = case.tables()
    return ao.from_tables(name="again", **(tables | {"participants": case.participants.assign(inflexible_kvar=kvar)}))


def test_on_phases() -> None:
    """12 kvar over phases a and b of four-wire 0.4 kV: each phase of 230.94 V carries 6."""
    buses = pd.DataFrame({"name": ["s", "b"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1, "phases": "abc"})
    buses["v_source_pu"] = [1.0, np.nan]
    line = {"name": ["l"], "from_bus": ["s"], "to_bus": ["b"], "r_ohm": ["0.1 | 0 0.1 | 0 0 0.1"]}
    branches = pd.DataFrame({**line, "x_ohm": ["0.1 | 0 0.1 | 0 0 0.1"], "phases": "abc"})
    people = pd.DataFrame({"name": ["p"], "bus": ["b"], "phases": ["ab"], "inflexible_kvar": [12.0]})
    people["connection_import_kw"] = people["connection_export_kw"] = 10.0
    profiles = pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="h"), "one": 1.0})
    series = pd.DataFrame({"participant": ["p"], "quantity": ["import"], "profile": ["one"], "scale_kw": [1.0]})
    case = ao.from_tables(
        name="c", buses=buses, branches=branches, participants=people, profiles=profiles, series=series
    )
    run = ao.simulate(case, "amm", ac="verify")
    assert run.summary["voltage_error_worst_pu"] < 2e-3
    model = ao.LinDist3Flow(case.feeder)
    p, q = case.bus_injections(np.zeros((1, 1)), 0.0, 0.0, model.incidence(case.bus, case.phases))
    v = model.state(p[0], q[0]).v_pu
    fall = 2 * 0.1 * 6000 / (400.0**2 / 3)
    assert sorted(v)[:2] == pytest.approx([np.sqrt(1 - fall)] * 2, abs=1e-6)
    assert sorted(v)[2:] == pytest.approx([1.0] * (len(v) - 2), abs=1e-6)


def test_year_case_gives_a_reactive_customer_no_household() -> None:
    case = small_case({"b": ("src", 0.1, 99.0)}, ["b"], [0.0], [0.0], [0.0])
    tables = case.tables()
    people = pd.DataFrame({"name": ["home", "bank"], "bus": "b", "phases": "pos", "kw": [1.0, 0.0]})
    people = people.assign(power_factor=1.0, inflexible_kvar=[0.0, -20.0])
    network = ImportedNetwork("n", tables["buses"], tables["branches"], people, ImportReport())
    year = ao.year_case(network, ao.YearScenario(days=1, pv=1.0, ev=1.0, tap_steps=0))
    w = year.requests(0, 48)
    assert w.inflexible_kw[:, 0].min() > 0
    assert not (w.inflexible_kw + w.import_request_kw + w.export_request_kw)[:, 1].any()
    assert year.inflexible_kvar.tolist() == [0.0, -20.0]
    assert "a scenario instead of the customers' kW and power factors" in str(year.report)
    with pytest.raises(ao.InputError, match="a YearScenario is needed"):
        ao.year_case(network, "ev=1")  # type: ignore[arg-type]


def test_year_case_counts_the_phases_of_a_service() -> None:
    case = small_case({"b": ("src", 0.1, 99.0)}, ["b"], [0.0], [0.0], [0.0])
    tables = case.tables()
    buses = tables["buses"].assign(phases="abc")
    z = "0.1 | 0 0.1 | 0 0 0.1"
    branches = tables["branches"].assign(phases="abc", r_ohm=z, x_ohm=z)
    people = pd.DataFrame(
        {"name": ["one", "three"], "bus": "b", "phases": ["a", "abc"], "kw": 1.0, "power_factor": 1.0}
    )
    network = ImportedNetwork("n", buses, branches, people, ImportReport())
    year = ao.year_case(network, ao.YearScenario(days=1, tap_steps=0))
    assert year.connection_kw("import").tolist() == pytest.approx([80 * 0.23, 3 * 80 * 0.23])


# Series of reactive power: 6 kvar in the first half hour and 10 in the second, where nothing else differs.


def moving(case: ao.Case, kvar: tuple[float, ...] = (6.0, 10.0)) -> ao.Case:
    """The case, in which p0 draws other reactive power in every interval."""
    return case.with_profiles(pd.DataFrame({"p0": kvar}), "inflexible_kvar")


def half_hours(**columns: object) -> ao.Case:
    """90 kW asked behind 0.3 + j 0.1 ohm."""
    line = {"b": ("src", 0.3, 999.0)}
    return small_case(line, ["b"], [0.0], [90.0], [0.0], x_ohm=0.1, **columns)


ROOM_KW = [(0.19 / DRAWN - 0.1 * kvar) / 0.3 for kvar in (6.0, 10.0)]
"""What v^2 >= 0.81 leaves: 48.67 and 47.33 kW."""


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("amm", {}),
        ("fet", {}),
        ("greedy_doe", {}),
        ("leximin", {"solver": "scipy"}),
        ("amm", {"margin": "gaussian:sigma=0.1,pf=1"}),
        ("fot", {}),
        ("floored", {}),
        ("pro_rata", {}),
        ("lmp", {}),
        ("amm", {"tiers": "two"}),
        ("amm", {"measurement": "noise:sigma=0"}),
    ],
    ids=str,
)
def test_every_way_leaves_room_for_series(mechanism: str, options: dict[str, str]) -> None:
    """The constant part, 2 kvar, comes on top of 4 and 8."""
    run = ao.simulate(moving(half_hours(inflexible_kvar=2.0), (4.0, 8.0)), mechanism, **options)  # type: ignore[arg-type]
    assert run.allocation.import_kw[:, 0] == pytest.approx(ROOM_KW, abs=2e-3)
    assert run.summary["voltage_violations"] == 0


@pytest.mark.parametrize("options", [{"network": "socp"}, {"network": "certified"}, {"ac": "secure"}])
def test_intervals_are_those_of_constant_reactive_power(options: dict[str, str]) -> None:
    mine = ao.simulate(moving(half_hours()), "amm", **options)  # type: ignore[arg-type]
    apart = [ao.simulate(half_hours(inflexible_kvar=kvar), "amm", steps=1, **options) for kvar in (6.0, 10.0)]  # type: ignore[arg-type]
    served = [run.allocation.import_kw[0, 0] for run in apart]
    assert served[0] - served[1] > 1.0
    assert mine.allocation.import_kw[:, 0] == pytest.approx(served, abs=0.01)


def test_ac_sees_series() -> None:
    """40 kW in 0.3 + j 0.1 ohm with 6 and with 10 kvar: by the quadratic of a two-bus line."""
    case = moving(small_case({"b": ("src", 0.3, 999.0)}, ["b"], [0.0], [40.0], [0.0], x_ohm=0.1))
    volts = []
    for kvar in (6.0, 10.0):  # v^4 + (2 (r p + x q) - v0^2) v^2 + |z|^2 |s|^2 = 0, in V and VA
        half = 0.5 * 400.0**2 - (0.3 * 40e3 + 0.1 * kvar * 1e3)
        volts.append(np.sqrt(half + np.sqrt(half**2 - (0.3**2 + 0.1**2) * (40e3**2 + kvar**2 * 1e6))) / 400.0)
    run = ao.simulate(case, "no_control", ac="verify")
    w = run.requests
    powers = case.bus_injections(w.inflexible_kw, w.import_request_kw, 0.0, inflexible_kvar=w.inflexible_kvar)
    assert ao.ACNetwork(case.feeder).flow(*powers).v_pu[:, 1] == pytest.approx(volts, abs=1e-8)
    linear = np.sqrt(1 - DRAWN * (0.3 * 40.0 + 0.1 * np.array([6.0, 10.0])))
    assert run.summary["voltage_error_worst_pu"] == pytest.approx(np.max(linear - volts), abs=1e-7)
    assert run.voltages().to_numpy()[:, 1] == pytest.approx(linear, abs=1e-9)


def test_series_are_kept_scaled_and_added_up(tmp_path: Path) -> None:
    lines = {"a": ("src", 0.1, 99.0), "b": ("a", 0.1, 99.0)}
    case = moving(small_case(lines, ["a", "b"], np.zeros(2), np.ones(2), np.zeros(2), inflexible_kvar=[1.0, 2.0]))
    ao.save_case(case, tmp_path / "c")
    again = ao.load_case(tmp_path / "c")
    for one in (case, again):
        assert one.requests(0, 2).inflexible_kvar.tolist() == [[7.0, 2.0], [11.0, 2.0]]  # type: ignore[union-attr]
    assert again.fingerprint == case.fingerprint != moving(case, (6.0, 9.0)).fingerprint
    more = case.with_scenario(load_scale=1.5).requests(0, 2)
    assert more.inflexible_kvar.tolist() == [[10.0, 2.0], [16.0, 2.0]]  # type: ignore[union-attr]
    assert more.select([1]).interval(0).inflexible_kvar.tolist() == [16.0, 2.0]  # type: ignore[union-attr]
    upper, (lower,) = split(case)
    assert upper.case.requests(0, 2).inflexible_kvar.tolist() == [[9.0], [13.0]]  # type: ignore[union-attr]
    assert lower.requests(case.requests(0, 2)).inflexible_kvar.tolist() == [[7.0, 2.0], [11.0, 2.0]]  # type: ignore[union-attr]
    assert upper.requests(case.requests(0, 2)).inflexible_kvar.tolist() == [[9.0], [13.0]]  # type: ignore[union-attr]
    with pytest.raises(ao.InputError, match="reactive power varies; give inflexible_kvar of the requests as well"):
        case.bus_injections(np.zeros(2), 0.0, 0.0)
    assert moving(case, (-6.0, 0.0)).requests(0, 1).inflexible_kvar[0, 0] == -5.0  # type: ignore[index]
    with pytest.raises(ao.InputError, match=r"reaches 6000 kvar at participant 'p0', at low voltage: is it in var\?"):
        moving(case, (-6e3, 0.0))
