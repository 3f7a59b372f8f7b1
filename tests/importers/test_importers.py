"""Importers: nets of other tools become cases with the same voltages; what cannot be used is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.importers.ausgrid import HALF_HOURS
from amm_opt.network import ACNetwork

NAN = float("nan")
NET = {
    "bus": pd.DataFrame(
        {
            "name": ["grid", "mv", "lv", "a", "b", "off"],
            "vn_kv": [20.0, 20.0, 0.4, 0.4, 0.4, 0.4],
            "in_service": [True] * 5 + [False],
            "min_vm_pu": [0.95, 0.95, NAN, 0.9, 0.9, 0.9],
            "max_vm_pu": [1.05, 1.05, 1.1, 1.1, 1.1, 1.1],
        },
        index=[10, 11, 12, 13, 14, 15],
    ),
    "ext_grid": pd.DataFrame({"bus": [10], "vm_pu": [1.02], "in_service": [True]}),
    "line": pd.DataFrame(
        {
            "name": ["l1", "l2", "tie"],
            "from_bus": [12, 13, 12],
            "to_bus": [13, 14, 14],
            "length_km": [0.2, 0.1, 0.3],
            "r_ohm_per_km": [0.2, 0.3, 0.2],
            "x_ohm_per_km": [0.08, 0.08, 0.08],
            "c_nf_per_km": [830.0, 0.0, 0.0],
            "max_i_ka": [0.27, 0.2, 0.27],
            "df": [1.0, 0.5, 1.0],
            "parallel": [2, 1, 1],
            "in_service": [True] * 3,
        }
    ),
    "trafo": pd.DataFrame(
        {
            "name": ["t"],
            "hv_bus": [11],
            "lv_bus": [12],
            "sn_mva": [0.25],
            "vn_hv_kv": [20.0],
            "vn_lv_kv": [0.41],
            "vk_percent": [4.0],
            "vkr_percent": [1.2],
            "pfe_kw": [0.6],
            "tap_side": ["hv"],
            "tap_neutral": [0],
            "tap_pos": [-1],
            "tap_step_percent": [2.5],
            "parallel": [1],
            "in_service": [True],
        }
    ),
    "switch": pd.DataFrame(
        {"bus": [10, 14], "element": [11, 2], "et": ["b", "l"], "closed": [True, False], "name": ["coupler", "s"]}
    ),
    "load": pd.DataFrame(
        {
            "name": ["la", "lb", "ev"],
            "bus": [13, 14, 14],
            "p_mw": [0.03, 0.02, 0.011],
            "q_mvar": [0.01, 0.0, 0.0],
            "scaling": [1.0, 0.5, 1.0],
            "controllable": [False, None, True],
            "in_service": [True] * 3,
        }
    ),
    "sgen": pd.DataFrame({"name": ["pv"], "bus": [13], "p_mw": [0.04], "q_mvar": [-0.01], "in_service": [True]}),
    "storage": pd.DataFrame({"bus": [13], "p_mw": [0.01], "max_e_mwh": [0.02], "in_service": [True]}),
}
"""A pandapower net by hand: source - busbar switch - transformer with a tap - two lines - ring switch open."""


def branch(case: ao.Case, name: str) -> tuple[complex, float, float]:
    f = case.feeder
    k = f.branch_names.index(name)
    return complex(f.z_ohm[k][0, 0]), float(f.rating_kva[k]), float(f.tap[k])


def net(**changes: Any) -> dict[str, Any]:
    """The net above, with other tables."""
    return {**{name: table.copy() for name, table in NET.items()}, **changes}


def test_pandapower_numbers() -> None:
    case = ao.from_pandapower(net(), name="hand")
    f = case.feeder
    assert (f.bus_names[0], f.v_source_pu, f.n_buses, f.lv_feeders) == ("grid", 1.02, 5, ("t",))
    z, rating, _ = branch(case, "l1")
    assert z == pytest.approx(0.02 + 0.008j)
    assert rating == pytest.approx(np.sqrt(3) * 400 * 540 / 1000)
    assert branch(case, "l2")[1] == pytest.approx(np.sqrt(3) * 400 * 100 / 1000)
    z, rating, tap = branch(case, "t")
    base = 0.41**2 / 0.25
    assert z == pytest.approx(complex(0.012 * base, np.sqrt(0.04**2 - 0.012**2) * base), rel=1e-4)
    assert rating == 250.0
    assert tap == pytest.approx(0.975 / (0.41 / 0.4))
    w = case.requests(0, 1).interval(0)
    at = {name: i for i, name in enumerate(case.participant_names)}
    assert w.inflexible_kw[at["a"]] == pytest.approx(30.0)
    assert w.inflexible_kw[at["b"]] == pytest.approx(10.0)
    assert w.import_request_kw[at["b"]] == pytest.approx(11.0)
    assert w.export_request_kw[at["a"]] == pytest.approx(40.0)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    assert p[f.bus_index["a"]] == pytest.approx(10.0)
    assert q[f.bus_index["a"]] == pytest.approx(-20.0, rel=1e-3)  # the load draws 10 kvar, the plant another 10
    text = str(case.report)
    for said in (
        "1 of 6 bus elements out of service",
        "1 storage element as batteries of 20 kWh and 10 kW",
        "iron losses of transformers, 0.60 kW",
        "flexible import (controllable, or a charge point's profile): 1 load",
        "line charging",
        "v_min_pu = 0.9 at 1 bus without",
    ):
        assert said in text
    assert ao.simulate(case, "amm").summary["failed_steps"] == 0


def test_pandapower_meshed_and_unsupported() -> None:
    closed = net()["switch"].assign(closed=True)
    with pytest.raises(ao.InputError) as caught:
        ao.from_pandapower(net(switch=closed))
    assert set(caught.value.problems[1].split("open one of: ")[1].split(", ")) == {"l1", "l2", "tie"}
    opened = ao.from_pandapower(net(switch=closed), open_branches=["l1"])
    assert opened.feeder.n_buses == 5
    with pytest.raises(ao.InputError, match="no branch 'l9'"):
        ao.from_pandapower(net(), open_branches=["l9"])
    grids = pd.DataFrame({"bus": [10, 10], "vm_pu": [1.0, 1.1], "in_service": [True, True]})
    motor = pd.DataFrame({"bus": [13], "in_service": [True]})
    with pytest.raises(ao.InputError) as caught:
        ao.from_pandapower(net(ext_grid=grids, motor=motor))
    assert len(caught.value.problems) == 2
    drawing = net()["sgen"].assign(p_mw=-0.01)
    with pytest.raises(ao.InputError, match="sgen 'pv': p_mw must not be negative"):
        ao.from_pandapower(net(sgen=drawing))
    island = net()["switch"].assign(closed=False)
    with pytest.raises(ao.InputError):
        ao.from_pandapower(net(switch=island))


@pytest.mark.parametrize("which", ["case33bw", "create_cigre_network_mv"])
def test_pandapower_power_flow_is_ours(which: str) -> None:
    """Against pandapower's own power flow, without the shunts that a feeder has not."""
    networks = pytest.importorskip(
        "pandapower.networks", reason="pandapower is missing: pip install 'amm-opt[simbench]'"
    )
    import pandapower

    made = getattr(networks, which)()
    made["line"]["c_nf_per_km"] = 0.0
    if len(made["trafo"]):
        made["trafo"].loc[:, ["pfe_kw", "i0_percent"]] = 0.0
    case = ao.from_pandapower(made)
    pandapower.runpp(made, tolerance_mva=1e-10, numba=False)
    w = case.requests(0, 1).interval(0)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    mine = dict(zip(case.feeder.bus_names, ACNetwork(case.feeder).flow(p, q).v_pu, strict=True))
    names = [f"bus {i}" if n is None or n != n else str(n) for i, n in made["bus"]["name"].items()]
    theirs = dict(zip(names, made["res_bus"]["vm_pu"], strict=True))
    assert len(mine) == len(set(names))
    for name, v in mine.items():
        assert v == pytest.approx(theirs[name], abs=2e-6)


def simbench_voltages(code: str, step: int) -> dict[str, float]:
    """By pandapower, at the powers that simbench itself gives for a quarter of an hour."""
    import pandapower
    import simbench

    net = simbench.get_simbench_net(code)
    for (kind, column), table in simbench.get_absolute_values(net, profiles_instead_of_study_cases=True).items():
        if len(table.columns):
            net[kind].loc[table.columns, column] = table.iloc[step].to_numpy()
    pandapower.runpp(net, tolerance_mva=1e-10, numba=False)
    return dict(zip(net.bus["name"], net.res_bus["vm_pu"], strict=True))


def test_simbench_code() -> None:
    pytest.importorskip("simbench", reason="simbench is not installed (pip install 'amm-opt[simbench]')")
    case = ao.from_simbench("1-LV-rural1--0-sw")
    assert (case.feeder.n_buses, case.n_steps, case.dt_h) == (15, 35136, 0.25)
    assert len(case.feeder.lv_feeders) == 1
    run = ao.simulate(case, "amm", steps="2016-06-01", ac="verify")
    assert run.summary["requested_export_mwh"] > 0.1
    assert run.summary["voltage_error_worst_pu"] < 0.01
    noon = case.span("2016-06-01 12:00")[0]
    w = case.requests(noon, noon + 1)
    p, q = case.bus_injections(
        w.inflexible_kw, w.import_request_kw, w.export_request_kw, inflexible_kvar=w.inflexible_kvar
    )
    mine = dict(zip(case.feeder.bus_names, ACNetwork(case.feeder).flow(p[0], q[0]).v_pu, strict=True))
    for name, v in simbench_voltages("1-LV-rural1--0-sw", noon).items():
        assert mine[name] == pytest.approx(v, abs=1e-6)
    with pytest.raises(ao.InputError, match=r"unknown SimBench code .* nearest: 1-LV-rural1"):
        ao.from_simbench("1-XX-rural1--0-sw")


def ausgrid(path: Path, *, title: bool = True, drop: int | None = None, bad: bool = False) -> Path:
    """Two customers, two days; customer 2 has controlled load on the second day only."""
    rows = []
    for customer, category, day, level in (
        (1, "GC", "1-Jul-12", 0.2),
        (1, "GG", "1-Jul-12", 0.5),
        (1, "GC", "2-Jul-12", 0.3),
        (1, "GG", "2-Jul-12", 0.4),
        (2, "GC", "1/07/2012", 0.1),
        (2, "GC", "2/07/2012", 0.1),
        (2, "CL", "2/07/2012", 1.0),
    ):
        values = [level] + [0.0] * 46 + [2 * level]
        rows.append([customer, 3.8, 2000, category, day, *values])
    header = ["Customer", "Generator Capacity", "Postcode", "Consumption Category", "date", *HALF_HOURS]
    if drop is not None:
        del rows[drop]
    if bad:
        rows[0][5], rows[1][3] = -1.0, "XX"
    lines = ["Solar Home Half-Hour Data" + "," * 50] if title else []
    lines += [",".join(str(x) for x in row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("title", [True, False])
def test_ausgrid_layout(tmp_path: Path, title: bool) -> None:
    h = ao.read_ausgrid(ausgrid(tmp_path / "homes.csv", title=title))
    assert h.customers == (1, 2)
    assert list(h.profiles.columns) == ["time", "1-GC", "1-GG", "2-CL", "2-GC"]
    assert len(h.profiles) == 96
    assert h.profiles["time"].iloc[0] == pd.Timestamp("2012-07-01 00:00")
    assert h.profiles["1-GC"].iloc[[0, 47, 48, 95]].tolist() == pytest.approx([0.4, 0.8, 0.6, 1.2])  # kWh -> kW
    assert h.profiles["2-CL"].iloc[[0, 47, 48, 95]].tolist() == pytest.approx([0, 0, 2.0, 4.0])
    series = h.series(["x", "y", "z"])
    assert set(series[series["participant"] == "z"]["profile"]) == {"1-GC", "1-GG"}
    assert series.set_index(["participant", "quantity"]).loc[("y", "import"), "profile"] == "2-CL"
    base = ao.load_case("synthetic:buses=40,days=1,seed=1")

    tables = base.tables()
    tables.pop("sessions", None)
    people = tables["participants"].assign(connection_import_kw=100.0, connection_export_kw=100.0)
    tables |= {"participants": people, "profiles": h.profiles, "series": h.series(list(people["name"]))}
    case = ao.from_tables(name="homes", **tables)
    assert case.n_steps == 96
    assert case.requests(48, 49).import_request_kw.sum() == pytest.approx(2.0 * (len(people) // 2))
    only = ao.read_ausgrid(tmp_path / "homes.csv", customers=[2])
    assert only.customers == (2,)
    with pytest.raises(ao.InputError, match="no customer 7"):
        h.series({"x": 7})


def test_ausgrid_problems(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match="customer 1: GC has 1 of 2 days"):
        ao.read_ausgrid(ausgrid(tmp_path / "a.csv", drop=2))
    with pytest.raises(ao.InputError) as caught:
        ao.read_ausgrid(ausgrid(tmp_path / "b.csv", bad=True), customers=[1, 9])
    assert caught.value.problems == ("no customer 9", "unknown category 'XX'", "1 half-hours are negative")
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ao.InputError, match="no header that starts with 'Customer'"):
        ao.read_ausgrid(tmp_path / "c.csv")
    with pytest.raises(ao.InputError, match="not found"):
        ao.read_ausgrid(tmp_path / "d.csv")


def ausgrid_text(path: Path, header: list[str] | None = None, **cells: str) -> Path:
    """One customer, one day of 0.1 kWh each half-hour."""
    first = {"Customer": "1", "Consumption Category": "GC", "date": "1/07/2012"} | cells
    names = [*first, *(HALF_HOURS if header is None else header)]
    values = [*first.values(), *["0.1"] * (len(names) - len(first))]
    path.write_text(",".join(names) + "\n" + ",".join(values) + "\n")
    return path


@pytest.mark.parametrize(
    "date", ["7/13/2012", "2012-W27", "20120701", "NaT", "", "2012-07-01T00:00Z", "31/02/2012", "2012Q3", "41091"]
)
def test_ausgrid_dates_that_are_none(tmp_path: Path, date: str) -> None:
    path = ausgrid_text(tmp_path / "a.csv", date=date)
    path.write_text(path.read_text() + "1,GC,never" + ",0.1" * 48 + "\n2,,1/07/2012" + ",0.1" * 48 + "\n")
    with pytest.raises(ao.InputError, match="is no date such as") as caught:
        ao.read_ausgrid(path)
    assert "unknown category 'nan'" in str(caught.value)


@pytest.mark.parametrize("cell", ["inf", "1e999", "", "0.1 kWh"])
def test_ausgrid_energies_that_are_none(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ao.InputError, match="1 half-hours are empty or no numbers"):
        ao.read_ausgrid(ausgrid_text(tmp_path / "a.csv", **{HALF_HOURS[0]: cell}, header=HALF_HOURS[1:]))


@pytest.mark.parametrize("date", ["1/07/2012", "1-Jul-12", "01-Jul-2012", "1/07/12", "2012-07-01"])
def test_ausgrid_dates_are_day_first(tmp_path: Path, date: str) -> None:
    h = ao.read_ausgrid(ausgrid_text(tmp_path / "a.csv", date=date, Postcode="2000"))
    assert h.profiles["time"].iloc[0] == pd.Timestamp("2012-07-01")
    assert h.profiles["1-GC"].tolist() == pytest.approx([0.2] * 48)
    assert "columns that are not read: Postcode" in str(h.report)
    assert "the highest half-hour is 0.2 kW" in str(h.report)


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (None, {"Customer": "A1"}, "customer 'A1' is no whole number"),
        (None, {"Customer": "1.5"}, "customer 1.5 is no whole number"),
        (None, {"Customer": ""}, "customer nan is no whole number"),
        (None, {"date": "7/13/2012"}, "'7/13/2012' is no date such as 1/07/2012"),
        (None, {"date": "20120701"}, "'20120701' is no date"),
        ([HALF_HOURS[-1], *HALF_HOURS[:-1]], {}, "must be named by their ends"),
        ([*HALF_HOURS, "0:30"], {}, "columns that stand twice: 0:30"),
        (HALF_HOURS[1:], {}, "missing columns 0:30"),
    ],
)
def test_ausgrid_is_read_without_guessing(
    tmp_path: Path, header: list[str] | None, cells: dict[str, str], message: str
) -> None:
    with pytest.raises(ao.InputError) as caught:
        ao.read_ausgrid(ausgrid_text(tmp_path / "a.csv", header, **cells))
    assert message in str(caught.value)


def test_ausgrid_files_and_arguments(tmp_path: Path) -> None:
    good = ausgrid_text(tmp_path / "good.csv")
    (tmp_path / "latin.csv").write_bytes(b"Customer,\xff\n")
    (tmp_path / "ragged.csv").write_text(good.read_text() + "1,2\n" + ",".join("1" * 99) + "\n")
    (tmp_path / "empty.csv").write_text("")
    for path, customers, message in (
        (tmp_path / "latin.csv", None, "can't decode"),
        (tmp_path / "ragged.csv", None, "Expected 51 fields"),
        (tmp_path / "empty.csv", None, "no header"),
        (tmp_path, None, "not a file"),
        (None, None, "None is not the path of a file"),
        (good, 3, "customers = 3; whole numbers are needed"),
        (good, ["1"], "whole numbers are needed"),
    ):
        with pytest.raises(ao.InputError, match=message):
            ao.read_ausgrid(path, customers)  # type: ignore[arg-type]


def test_year_case_takes_networks_only() -> None:
    case = ao.from_pandapower(net())
    for network, scenario, message in (
        (case, None, "this is a Case, give its own profiles"),
        (None, None, "this is a NoneType"),
    ):
        with pytest.raises(ao.InputError, match=message):
            ao.year_case(network, scenario)  # type: ignore[arg-type]
