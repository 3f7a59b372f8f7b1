"""Buses in series: what is merged, that nothing changes by it, and that results are of all buses."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.network import LinDist3Flow, LinDistFlow, Merged
from amm_opt.pictures.network.values import values_of
from amm_opt.registry import mechanisms, network_of
from amm_opt.simulation import shared
from amm_opt.testing import cases, mechanism_checks
from amm_opt.testing.cases import small_tables
from tests.helpers.streets import in_pieces, street

BALANCED = pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
PIECES = 8


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small feeders are worth it."""
    monkeypatch.setattr(shared, "WORTH", 0)


def _run(tables: dict[str, Any], mechanism: Mechanism[Any] | str, **options: Any) -> ao.Run:
    return ao.simulate(ao.from_tables(**tables), mechanism, **options)


def _gap(one: ao.Run, other: ao.Run) -> float:
    both = zip(one.allocation.both_kw, other.allocation.both_kw, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in both)


def test_what_is_merged_by_hand() -> None:
    lines = [
        ("src", "t", "0.01", "0.01", 90.0),  # below the source: kept
        ("t", "x1", "0.1", "0.1", 40.0),
        ("x1", "x2", "0.2", "0.2", 30.0),  # the smallest rating of the three
        ("x2", "j", "0.3", "0.3", 50.0),  # a junction: kept
        ("x1", "s1", "0.5", "0.1", 20.0),  # dead ends
        ("s1", "s2", "0.5", "0.1", 20.0),
        ("j", "y1", "0.1", "0.1", 20.0),
        ("y1", "y2", "0.2", "0.1", 20.0),  # another conductor: y1 is kept
        ("y2", "y3", "0.02", "0.01", 20.0),
        ("y3", "a", "0.4", "0.2", 20.0),
        ("j", "b", "0.1", "0.1", 20.0),
    ]
    numbers = [(u, v, float(r), float(x), s) for u, v, r, x, s in lines]
    case = street(numbers, [("a", "", 1.0, 5.0, 0.0), ("b", "", 1.0, 5.0, 0.0)])
    merged = Merged(LinDistFlow(case.feeder), case.bus)
    names, feeder = case.feeder.bus_names, merged.of_nodes
    assert {names[b] for b in merged.bus} == {"src", "t", "j", "y1", "a", "b"}
    at = feeder.bus_index["j"]
    assert feeder.z_ohm[at] == pytest.approx(0.6 + 0.6j)
    assert merged.rating_kva[at] == 30.0
    assert case.feeder.branch_names[merged.branch[at]] == "to-x2"
    assert feeder.z_ohm[feeder.bus_index["a"]] == pytest.approx(0.62 + 0.31j)
    for name in {field.name for field in fields(feeder)} - {"tables", "v_source_pu", "lv_feeders"}:
        values = getattr(feeder, name)
        assert (values.shape[1] if name == "ends" else len(values)) == len(merged.bus), name
    apart = Merged(LinDistFlow(case.feeder), case.bus, np.array([case.feeder.bus_index["x1"]]))
    assert {names[b] for b in apart.bus} == {"src", "t", "x1", "j", "y1", "a", "b"}


@pytest.mark.parametrize(
    "change",
    [
        {"buses": {"shunt_kvar": 1.0}},
        {"buses": {"v_max_pu": 1.05}},
        {"branches": {"charging_kvar": 0.5}},
        {"branches": {"import_limit_kw": 30.0}},
        {"branches": {"tap": 1.01}},
    ],
    ids=lambda change: next(iter(next(iter(change.values())))),
)
@BALANCED
def test_what_would_change_something_is_kept(change: dict[str, dict[str, float]], balanced: bool) -> None:
    tables = in_pieces(small_tables(balanced), 4, stubs=False)
    (table, columns), name = next(iter(change.items())), "to-b1-2"
    [(column, value)] = columns.items()
    changed = tables[table].copy()
    if column not in changed:
        changed[column] = np.inf if column == "import_limit_kw" else 1.0 if column == "tap" else 0.0
    changed.loc[changed["name"].eq(name), column] = value
    case, plain = (ao.from_tables(**{**tables, **less}) for less in ({table: changed}, {}))
    kept, usual = (_names(c, Merged(network_of(c, None), c.bus)) for c in (case, plain))
    ends = {"to-b1-2"} if table == "buses" else {"to-b1-2", "to-b1-3"}
    assert usual <= kept
    assert kept - usual >= ends
    assert not ends & usual


def _names(case: ao.Case, merged: Merged) -> set[str]:
    return {case.feeder.bus_names[b] for b in merged.bus}


@pytest.mark.parametrize("seed", range(3))
@BALANCED
def test_limits_that_are_left_out_follow_from_the_others(balanced: bool, seed: int) -> None:
    """The worst excess of all limits, and voltages and flows where buses are kept, under random injections."""
    case = ao.from_tables(**in_pieces(small_tables(balanced), PIECES, seed))
    whole = (LinDistFlow if balanced else LinDist3Flow)(case.feeder)
    all_of_them, less = Grid(case, whole), Grid(case, Merged(whole, case.bus))
    assert 3 * less.network.of_nodes.n_buses < case.feeder.n_buses
    rng = np.random.default_rng(seed)
    powers = rng.uniform(-60, 60, (3, 300, case.n_participants)) * rng.uniform(0, 1, (3, 300, 1))
    states, worst = [], []
    for grid in (all_of_them, less):
        at = grid.node_injections(*powers)
        u, q = grid.network.evaluate(*at), grid.network.quantities
        states.append(grid.network.state(*at))
        voltage = q.kind == "voltage"
        worst.append([np.max(np.maximum(u - q.upper, q.lower - u)[:, kind], axis=1) for kind in (voltage, ~voltage)])
    assert np.abs(np.array(worst[0]) - np.array(worst[1])).max() < 1e-12
    place = {key: i for i, key in enumerate(zip(whole.bus.tolist(), _phases(whole), strict=True))}
    same = [place[key] for key in zip(less.network.bus.tolist(), _phases(less.network), strict=True)]
    assert np.allclose(states[0].v_pu[:, same], states[1].v_pu, atol=1e-13)
    assert np.allclose(states[0].p_flow_kw[:, same], states[1].p_flow_kw, atol=1e-10)


def _phases(model: Any) -> list[int]:
    return [0] * model.n_nodes if model.phase is None else model.phase.tolist()


@pytest.mark.parametrize("seed", range(3))
@BALANCED
def test_limits_that_inflexible_load_breaks(balanced: bool, seed: int) -> None:
    """Broken at one end of merged buses: never looser than with all buses, and exact with the crossed ones kept."""
    case = ao.from_tables(**in_pieces(small_tables(balanced), PIECES, seed))
    whole = (LinDistFlow if balanced else LinDist3Flow)(case.feeder)
    less = Merged(whole, case.bus)
    rng = np.random.default_rng(seed)
    inflexible = rng.uniform(-90, 90, (25, case.n_participants)) * rng.uniform(0, 1, (25, 1))
    flexible = inflexible + rng.normal(size=(60, 25, case.n_participants)) * rng.uniform(0, 10, (60, 25, 1))
    kept = {"whole": _within(case, whole, inflexible, flexible), "less": _within(case, less, inflexible, flexible)}
    grid, q = Grid(case, less), less.quantities
    used = less.evaluate(*grid.node_injections(inflexible, 0.0, 0.0))
    apart = less.crossed(q.lower, q.upper, used)
    assert len(apart)
    assert not set(apart) & set(less.bus)
    kept["exact"] = _within(case, Merged(whole, case.bus, apart), inflexible, flexible)
    assert not np.any(kept["less"] & ~kept["whole"])
    assert np.array_equal(kept["exact"], kept["whole"])
    assert 0 < kept["whole"].mean() < 1


def _within(case: ao.Case, model: Any, inflexible_kw: Any, net_kw: Any) -> Any:
    """(K, T) whether net loads keep all limits, relaxed to what inflexible loads (T, n) break; rounding aside."""
    grid = Grid(case, model)
    q, used = model.quantities, model.evaluate(*grid.node_injections(inflexible_kw, 0.0, 0.0))
    lower, upper = model.relaxed(q.lower, q.upper, used)
    u = np.stack([model.evaluate(*grid.node_injections(inflexible_kw, x, 0.0)) for x in net_kw - inflexible_kw])
    return np.all((u >= lower - 1e-9) & (u <= upper + 1e-9), axis=-1)


@pytest.mark.parametrize("spec", sorted({*mechanisms(), "lmp:losses=true,source_price=0.2"}))
def test_every_mechanism_serves_as_on_lines_in_one_piece(spec: str, small: None) -> None:
    """The truth is the same network without the buses in question; no tolerance of solvers is above 1e-8 kW here."""
    for balanced in (True, False) if spec in ("amm", "equal_doe", "pro_rata") else (False,):
        tables = small_tables(balanced)
        one, many = (_run(t, spec, steps=8) for t in (tables, in_pieces(tables, PIECES)))
        assert _gap(one, many) < 1e-8
        for column in ("thermal_violations", "voltage_violations"):
            assert (many.summary[column] > 0) == (one.summary[column] > 0)


@BALANCED
def test_merged_and_not_merged_are_the_same(balanced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where inflexible load alone breaks limits; and results are of all buses."""
    tables = in_pieces(small_tables(balanced), PIECES, 3)
    for spec, scale in (("equal_doe", 1.0), ("amm", 9.0)):
        case = ao.from_tables(**tables).with_scenario(load_scale=scale)
        runs = {}
        for worth in (0, 10**6):
            monkeypatch.setattr(shared, "WORTH", worth)
            runs[worth] = ao.simulate(case, spec)
        merged, whole = runs.values()
        assert _gap(whole, merged) < 1e-8
        assert (whole.summary["unavoidable_violations"] > 0) == (scale > 1)
        for quantity in ("voltages", "loading"):
            a, b = (getattr(run, quantity)() for run in (whole, merged))
            assert a.sizes == b.sizes
            assert float(abs(a - b).max()) < 1e-9
        assert merged.voltages().sizes["node"] == (1 if balanced else 3) * case.feeder.n_buses
        counts = [c for c in whole.summary.index if "violations" in c]
        pd.testing.assert_series_equal(whole.summary[counts], merged.summary[counts])


@BALANCED
def test_ac_at_kept_buses_is_that_of_all(balanced: bool) -> None:
    """The same voltages, and the same currents at both ends of every line; a line with charging stays as it is."""
    tables = in_pieces(small_tables(balanced), PIECES, 5)
    lines = tables["branches"]
    lines["charging_kvar"] = 0.0
    lines.loc[lines.index[lines["kind"] == "line"][3], "charging_kvar"] = 2.0
    case = ao.from_tables(**tables)
    merged = Merged(network_of(case, None), case.bus)
    assert len(merged.bus) < 0.5 * merged.whole.n_nodes
    whole, less = (Grid(case, model) for model in (merged.whole, merged))
    w = case.requests(0, 8)
    every, some = (
        ao.ACNetwork(g.network.of_nodes).flow(*g.at_nodes(w, w.import_request_kw, w.export_request_kw))
        for g in (whole, less)
    )
    keys = [
        list(zip([0] * m.n_nodes if m.phase is None else m.phase.tolist(), m.bus.tolist(), strict=True))
        for m in (merged.whole, merged)
    ]
    at = [keys[0].index(key) for key in keys[1]]
    assert np.abs(every.v_pu[:, at] - some.v_pu).max() < 1e-8
    for name in ("p_received_kw", "q_received_kvar"):
        assert np.abs(getattr(every, name)[:, at] - getattr(some, name)).max() < 1e-5


@BALANCED
def test_secured_runs_serve_as_on_lines_in_one_piece(balanced: bool, small: None) -> None:
    """And no bus on the way is beyond a limit: the replay is of all."""
    tables = small_tables(balanced)
    one, many = (_run(t, "amm", steps=8, ac="secure") for t in (tables, in_pieces(tables, PIECES)))
    assert one.summary["unserved_mwh"] + one.summary["curtailed_mwh"] > 0
    assert _gap(one, many) < 1e-5
    for run in (one, many):
        assert not run.summary[["ac_thermal_violations", "ac_voltage_violations", "repaired_steps"]].any()


def test_limits_that_load_breaks_on_ac_only_keep_their_buses(small: None) -> None:
    """0.3 ohm at 50 kW: 0.901 pu in the model, 0.895 pu with losses."""
    lines = [
        ("src", "t", 1e-4, 0.0, 500.0),
        *((u, v, 0.05, 0.0, 500.0) for u, v in ("ta", "ab", "bc", "cd", "de", "ef")),
    ]
    case = street(lines, [("f", "", 50.0, 5.0, 0.0)], (0.9, 1.1), connection_import_kw=80.0)
    whole = Grid(case, LinDistFlow(case.feeder))
    for secure, kept in ((False, ["src", "t", "f"]), (True, list(case.feeder.bus_names))):
        grid = shared.merged_grid(whole, 0, 2, waits=False, secure=secure)
        assert grid is not None
        assert [case.feeder.bus_names[b] for b in grid.network.bus] == kept
    run = ao.simulate(case, "amm", ac="secure")
    assert run.summary["ac_unavoidable_violations"] > 0
    assert run.summary["ac_voltage_violations"] == 0


def test_prices_say_where_they_come_from(small: None, tmp_path: Path) -> None:
    """On phases a limit amid a line may be nearer to somebody than those at its ends: prices are of what was cleared.

    The linear curve is undone by hand: import 0.1 to 0.4, export 0.08 to 0.
    """
    tables = in_pieces(small_tables(False), PIECES, 4)
    one = _run(small_tables(False), "amm", steps=8)
    many = _run(tables, "amm", steps=8, out=tmp_path / "run")
    secured = _run(tables, "amm", steps=8, ac="secure")
    for run in (many, ao.load_run(tmp_path / "run"), secured):
        prices = run.prices()
        price, imports = prices["price_per_kwh"], prices["direction"] == "import"
        deficit = np.where(imports, (price - 0.1) / 0.3, (0.08 - price) / 0.08)
        assert (deficit > 0.01).sum() > 5
        assert np.abs(deficit - prices["deficit"]).max() < 1e-9
        assert (prices["limit"] != "").equals(prices["deficit"] > 0)
    assert np.abs(many.prices()["price_per_kwh"] - one.prices()["price_per_kwh"]).max() < 1e-9
    few, more = (values_of(run, "deficit", "export", None, None) for run in (one, many))
    same = [many.case.feeder.bus_index[name] for name in one.case.feeder.bus_names]
    assert np.nanmax(few.values) > 0.01
    np.testing.assert_allclose(more.values[same], few.values, atol=1e-9)  # noqa: PD011


def test_the_kit_on_chains(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    @cache
    def tables(balanced: bool) -> dict[str, Any]:
        return in_pieces(small_tables(balanced), PIECES)

    @cache
    def case(balanced: bool) -> ao.Case:
        return ao.from_tables(**tables(balanced))

    monkeypatch.setattr(cases, "small_tables", tables)
    monkeypatch.setattr(cases, "small_case", case)
    for check in mechanism_checks("amm"):
        if check.name in (
            "limits are kept (phases)",
            "order does not matter (phases)",
            "names of phases do not matter (phases)",
        ):
            check.run()
