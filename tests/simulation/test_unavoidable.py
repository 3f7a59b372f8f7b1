"""Limits that nobody can keep are named: on import, after a run, in stored runs and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import amm_opt

import amm_opt as ao
from amm_opt.network import ACNetwork, BranchFlowSOCP, Feeder, LinDist3Flow, LinDistFlow
from amm_opt.network.excess import broken_without_injection

NAN = float("nan")


def tables(**cells: object) -> dict[str, pd.DataFrame]:
    """s --l1-- m --l2-- e at 0.4 kV, band 0.9 to 1.1, 1.06 pu at the source; cells of the buses by ``bus_column``."""
    buses = pd.DataFrame(
        {"name": ["s", "m", "e"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1, "v_source_pu": [1.06, NAN, NAN]}
    ).astype(object)
    for name, value in cells.items():
        bus, _, column = name.partition("_")
        if column not in buses:
            buses[column] = 0
        buses.loc[buses["name"] == bus, column] = value
    branches = pd.DataFrame({"name": ["l1", "l2"], "from_bus": ["s", "m"], "to_bus": ["m", "e"]})
    return {"buses": buses, "branches": branches.assign(r_ohm=0.05, x_ohm=0.02, rating_kva=[5.0, 50.0])}


def case(export_kw: float = 1.0, load_kw: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0), **cells: object) -> ao.Case:
    return ao.from_tables(
        name="tight",
        **tables(**cells),
        participants=pd.DataFrame(
            {"name": ["p"], "bus": ["e"], "connection_import_kw": 40.0, "connection_export_kw": 40.0}
        ),
        profiles=pd.DataFrame(
            {"time": pd.date_range("2030-01-01", periods=4, freq="30min"), "one": 1.0, "load": list(load_kw)}
        ),
        series=pd.DataFrame(
            [("p", "export", "one", export_kw), ("p", "inflexible", "load", 1.0)],
            columns=["participant", "quantity", "profile", "scale_kw"],
        ),
    )


def test_what_is_broken_with_nobody_connected() -> None:
    """1.06 pu everywhere without load: e above 1.05, m below 1.07; a reactor of 30 kvar loads 5 and 50 kVA."""
    feeder = Feeder.from_tables(**tables(e_v_max_pu=1.05, m_v_min_pu=1.07))
    right = [
        "bus 'm' is at 1.0600 pu with nobody connected, below its v_min_pu = 1.07",
        "bus 'e' is at 1.0600 pu with nobody connected, above its v_max_pu = 1.05",
    ]
    for model in (LinDistFlow(feeder), BranchFlowSOCP(feeder)):
        assert sorted(broken_without_injection(model)) == sorted(right)
    (reactor,) = broken_without_injection(LinDistFlow(Feeder.from_tables(**tables(e_shunt_kvar=-30.0))))
    carried = "carries 30 kVA of shunts and line charging with nobody connected"
    assert reactor == f"branch 'l1' {carried}, above its rating_kva = 5"
    assert broken_without_injection(LinDistFlow(Feeder.from_tables(**tables()))) == []


def test_the_worst_are_named_and_the_others_counted() -> None:
    names = [f"b{i}" for i in range(8)]
    buses = pd.DataFrame({"name": ["s", *names], "vn_kv": 0.4, "v_min_pu": 0.9, "phases": "abc"}).assign(
        v_max_pu=[1.1, *(1.05 - 0.001 * i for i in range(8))], v_source_pu=[1.06] + [NAN] * 8
    )
    z = "0.1 | 0 0.1 | 0 0 0.1"
    branches = pd.DataFrame({"name": names, "from_bus": ["s", *names[:-1]], "to_bus": names, "r_ohm": z, "x_ohm": z})
    feeder = Feeder.from_tables(buses, branches)
    more = "21 more phases of buses"
    report = ao.ImportReport()
    report.check(feeder)
    for said in (report.broken, broken_without_injection(LinDist3Flow(feeder))):
        assert [s.split(" is at")[0] for s in said[:3]] == [f"bus 'b7', phase {p}," for p in "abc"]
        assert said[3:] == [f"{more} are outside their voltage band with nobody connected"]


def test_a_run_warns_and_names_the_bus(tmp_path: Path) -> None:
    """Any export raises the voltage further, so none is served: today's network of zeros has a name."""
    with pytest.warns(
        ao.UnavoidableWarning,
        match=r"no export is served: .* bus 'e' is at 1\.0600 pu with nobody connected, above its v_max",
    ):
        run = ao.simulate(case(e_v_max_pu=1.05), "amm")
    assert run.allocation.export_kw.max() < 1e-6
    assert run.summary["unavoidable_violations"] == 4
    assert run.unavoidable == (
        "bus 'e' is at 1.0600 pu with nobody connected, above its v_max_pu = 1.05",
        "bus 'e' is outside its band of 0.9 to 1.05 pu in 4 of 4 intervals through inflexible load alone,"
        " by up to 0.0100 pu",
    )
    run.save(tmp_path / "run")
    assert ao.open_run(tmp_path / "run").unavoidable == run.unavoidable


def test_no_warning_where_something_is_served(caplog: pytest.LogCaptureFixture) -> None:
    """4.9 kW of load bring the voltage back into the band in two intervals, and 1 kW is exported then."""
    caplog.set_level("INFO", "amm_opt")
    run = ao.simulate(case(1.0, (4.9, 0.0, 4.9, 0.0), e_v_max_pu=1.0598), "amm")
    assert run.allocation.export_kw[:, 0] == pytest.approx([1.0, 0.0, 1.0, 0.0], abs=1e-4)
    assert "bus 'e' is at 1.0600 pu with nobody connected, above its v_max_pu = 1.0598" in caplog.text
    assert "in 2 of 4 intervals" in run.unavoidable[1]


def test_what_inflexible_load_alone_breaks_is_named() -> None:
    """6 kW over 5 kVA in two of four intervals."""
    run = ao.simulate(case(0.0, (6.0, 0.0, 6.5, 0.0)), "amm")
    assert run.unavoidable == (
        "branch 'l1' is above its rating_kva = 5 in 2 of 4 intervals through inflexible load alone, by up to 30.0 %",
    )
    assert run.summary["unavoidable_violations"] == 2
    assert ao.simulate(case(), "amm").unavoidable == ()


def test_intervals_of_workers_and_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from amm_opt.simulation.loop import loop

    monkeypatch.setattr(loop, "BLOCK_STEPS", 1)
    run = ao.simulate(case(0.0, (6.0, 0.0, 6.5, 7.0)), "no_control")
    assert "in 3 of 4 intervals through inflexible load alone, by up to 40.0 %" in run.unavoidable[0]


def test_shunts_alone_count_as_inflexible() -> None:
    """A reactor that loads a branch of 5 kVA with 30: nobody can use it, and the AC check says so too."""
    made = case(e_shunt_kvar=-30.0)
    with pytest.warns(ao.UnavoidableWarning, match="carries 30 kVA of shunts and line charging"):
        run = ao.simulate(made, "amm", ac="verify")
    assert run.summary["ac_thermal_violations"] == 0
    assert run.summary["ac_unavoidable_violations"] >= 4
    state = ACNetwork(made.feeder).flow(np.zeros(3), np.zeros(3))
    assert state.loading_kva[1] > 25


@pytest.mark.filterwarnings("always::amm_opt.errors.UnavoidableWarning")
def test_the_command_line_names_them(tmp_path: Path) -> None:
    ao.save_case(case(e_v_max_pu=1.05), tmp_path / "tight")
    done = amm_opt("run", tmp_path / "tight", "--mechanism", "amm")
    assert done.returncode == 0, done.stderr
    assert "Beyond a limit through inflexible load alone: 4 (element, interval) pairs." in done.stdout
    assert "bus 'e' is at 1.0600 pu with nobody connected" in " ".join(done.stdout.split())


MATPOWER = """function mpc = tight
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [
 1 3 0 0 0 0 1 1 0 12.66 1 1.1 0.9;
 2 1 0.1 0.05 0 0 1 1 0 12.66 1 {top} 0.9;
];
mpc.gen = [ 1 0 0 10 -10 1.06 100 1 10 0; ];
mpc.branch = [ 1 2 0.01 0.01 0 0 0 0 0 0 1 -360 360; ];
"""


def test_an_import_names_them(tmp_path: Path) -> None:
    path = tmp_path / "tight.m"
    path.write_text(MATPOWER.format(top=1.05))
    report = ao.from_matpower(path).report
    assert report is not None
    assert report.broken == ["bus 'bus 2' is at 1.0600 pu with nobody connected, above its v_max_pu = 1.05"]
    assert "Limits that are broken whatever is served:\n  - bus 'bus 2'" in str(report)
    path.write_text(MATPOWER.format(top=1.08))
    fine = ao.from_matpower(path).report
    assert fine is not None
    assert "broken" not in str(fine)
