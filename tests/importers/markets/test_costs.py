"""Costs of generators from MATPOWER and pandapower: published prices, hand calculations, pandapower's own program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao

FIVE = """
mpc.baseMVA = 100;
mpc.bus = [
    1 2 0   0 0 0 1 1 0 230 1 1.1 0.9;
    2 1 300 0 0 0 1 1 0 230 1 1.1 0.9;
    3 2 300 0 0 0 1 1 0 230 1 1.1 0.9;
    4 3 400 0 0 0 1 1 0 230 1 1.1 0.9;
    5 2 0   0 0 0 1 1 0 230 1 1.1 0.9;
];
mpc.gen = [
    1 0 0 0 0 1 100 1 40  0;
    1 0 0 0 0 1 100 1 170 0;
    3 0 0 0 0 1 100 1 520 0;
    4 0 0 0 0 1 100 1 200 0;
    5 0 0 0 0 1 100 1 600 0;
];
mpc.branch = [
    1 2 0 0.0281 0 400 0 0 0 0 1;
    1 4 0 0.0304 0 0   0 0 0 0 1;
    1 5 0 0.0064 0 0   0 0 0 0 1;
    2 3 0 0.0108 0 0   0 0 0 0 1;
    3 4 0 0.0297 0 0   0 0 0 0 1;
    4 5 0 0.0297 0 240 0 0 0 0 1;
];
mpc.gencost = [
    2 0 0 2 14 0;
    2 0 0 2 15 0;
    2 0 0 2 30 0;
    2 0 0 2 40 0;
    2 0 0 2 10 0;
];
"""
"""MATPOWER's case5 without reactive power: F. Li and R. Bo, 2010."""


def test_the_published_prices_of_case5_follow_from_its_costs() -> None:
    """17,479.90 per hour, and 16.98, 26.38, 30.00, 39.94 and 10.00 per MWh at buses 1 to 5."""
    case = ao.from_matpower(FIVE, meshed=True)
    run = ao.simulate(case, "lmp:source_price=none", steps=1, network="dc")
    at = dict(zip(case.participants["bus"], 1e3 * run.allocation.import_price[0], strict=True))
    found = [at[f"bus {k}"] for k in range(1, 6)]
    np.testing.assert_allclose(found, [16.9774, 26.3845, 30.0, 39.9427, 10.0], atol=1e-3)
    assert (run.allocation.export_kw[0] * np.nan_to_num(case.own_prices[0][1])).sum() == pytest.approx(
        17479.897, abs=0.05
    )


def two_plants(gencost: str, gen: str = "", bus_2: str = "2 1 300") -> str:
    """A reference bus with a load behind a line, and three generators at both ends."""
    return f"""
mpc.baseMVA = 100;
mpc.bus = [
    1 3 0 0 0 0 1 1 0 230 1 1.1 0.9;
    {bus_2} 0 0 0 1 1 0 230 1 1.1 0.9;
];
mpc.gen = [
    {gen or "1 0 0 0 0 1 100 1 400 0; 2 0 0 0 0 1 100 1 400 0"};
];
mpc.branch = [1 2 0 0.03 0 0 0 0 0 0 1];
mpc.gencost = [
    {gencost};
];
"""


def table(case: ao.Case) -> pd.DataFrame:
    return case.participants.set_index("name")


def test_quadratic_costs_by_hand() -> None:
    """0.01 P^2 + 10 P and 0.02 P^2 + 12 P for 300 MW: 10 + 0.02 P1 = 12 + 0.04 P2, so 233.33 and 66.67 MW at 14.667."""
    case = ao.from_matpower(two_plants("2 0 0 3 0.01 10 100; 2 0 0 3 0.02 12 0"), meshed=True)
    people = table(case)
    assert people.loc["generator 1", ["export_offer", "export_offer_slope"]].tolist() == pytest.approx([0.010, 2e-8])
    run = ao.simulate(case, "lmp:source_price=none", network="dc")
    kw = dict(zip(case.participant_names, run.allocation.export_kw[0], strict=True))
    assert [kw["generator 1"], kw["generator 2"]] == pytest.approx([700e3 / 3, 200e3 / 3], rel=1e-4)
    np.testing.assert_allclose(run.allocation.import_price, 44 / 3e3, rtol=1e-4)


def test_piecewise_linear_costs_are_steps_of_what_may_be_given() -> None:
    """Points at 0, 100, 200, 400 MW: 10, 20 and 40 per MWh; from 50 to 300 MW 50, 100 and 100 MW are left."""
    rows = "1 0 0 4 0 0 100 1000 200 3000 400 11000; 2 0 0 2 25 0 0 0 0 0 0 0"
    case = ao.from_matpower(two_plants(rows, "1 0 0 0 0 1 100 1 300 50; 2 0 0 0 0 1 100 1 400 0"), meshed=True)
    people = table(case)
    steps = ["generator 1", "generator 1, step 2", "generator 1, step 3"]
    assert people.loc[steps, "export_offer"].tolist() == pytest.approx([0.01, 0.02, 0.04])
    assert people.loc[steps, "connection_export_kw"].tolist() == pytest.approx([100e3, 100e3, 100e3])
    run = ao.simulate(case, "lmp:source_price=none", network="dc")
    kw = dict(zip(case.participant_names, run.allocation.export_kw[0], strict=True))
    assert [*(kw[s] for s in steps), kw["generator 2"]] == pytest.approx([50e3, 100e3, 0, 100e3], abs=1.0)
    np.testing.assert_allclose(run.allocation.import_price, 0.025, rtol=1e-5)


def test_dispatchable_loads_have_a_worth() -> None:
    """450 MW for a load of 300, 100 MW that are worth 75 and 50 per MWh, and 50 of those worth 30 - 0.1 P."""
    gen = "1 0 0 0 0 1 100 1 450 0; 2 0 0 0 0 1 100 1 0 -100; 2 0 0 0 0 1 100 1 0 -100"
    rows = "2 0 0 2 20 0 0 0 0 0; 2 0 0 3 0.05 30 0 0 0 0; 1 0 0 3 -100 -6000 -40 -3000 0 0"
    case = ao.from_matpower(two_plants(rows, gen), meshed=True)
    people = table(case)
    assert people.loc["generator 2", ["import_value", "import_value_slope"]].tolist() == pytest.approx([0.03, 1e-7])
    steps = people.loc[["generator 3", "generator 3, step 2"]]
    assert steps["import_value"].tolist() == pytest.approx([0.075, 0.05])
    assert steps["connection_import_kw"].tolist() == pytest.approx([40e3, 60e3])
    run = ao.simulate(case, "lmp:source_price=none", network="dc")
    kw = dict(zip(case.participant_names, run.allocation.import_kw[0], strict=True))
    served = [kw[name] for name in ("generator 3", "generator 3, step 2", "generator 2")]
    assert served == pytest.approx([40e3, 60e3, 50e3], rel=1e-4)
    np.testing.assert_allclose(run.allocation.import_price, 0.025, rtol=1e-4)  # 30 - 0.1 x 50 per MWh


def test_costs_that_cannot_be_said_are_refused_all_at_once() -> None:
    gen = "; ".join(["1 0 0 0 0 1 100 1 400 0", *["2 0 0 0 0 1 100 1 400 0"] * 4])
    rows = [
        "2 0 0 4 0.001 0.01 10 0 0 0 0",
        "2 0 0 3 -0.01 10 0 0 0 0 0",
        "1 0 0 3 0 0 100 2000 200 3000 0",
        "1 0 0 2 100 0 0 2000 0 0 0",
        "2 0 0 1 5 0 0 0 0 0 0",
    ]
    with pytest.raises(ao.InputError) as caught:
        ao.from_matpower(two_plants(";".join(rows), gen), meshed=True)
    assert len(caught.value.problems) == 4
    for part in (
        "generator 1: its cost is a polynomial of order 3",
        "generator 2: its cost rises by less with every MW (quadratic term -0.01)",
        "generator 3: its piecewise linear cost rises by 20 per MWh and then by 10: it is not convex",
        "generator 4: the points of its piecewise linear cost must rise in power",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("2 0 0 2 10 0", "mpc.gencost is 1 x 6; a row for each of 2 generators, or two"),
        ("3 0 0 2 10 0; 2 0 0 9 10 0", "generator 1: gencost MODEL = 3, NCOST = 2"),
        ("2 0 0 9 10 0; 2 0 0 2 10 0", "generator 1: gencost MODEL = 2, NCOST = 9 with 2 numbers"),
    ],
)
def test_tables_of_costs_that_fit_no_generators_are_refused(rows: str, said: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        ao.from_matpower(two_plants(rows), meshed=True)
    assert said in str(caught.value)


def test_what_is_not_taken_from_costs_is_said() -> None:
    rows = "2 5 0 2 20 7; 2 0 0 2 30 0; 2 0 0 2 1 0; 2 0 0 2 1 0"
    case = ao.from_matpower(two_plants(rows, "1 0 0 0 0 1 100 1 400 0; 2 0 0 0 0 1 100 1 400 10"))
    left = " ".join(case.report.left_out)
    assert "generator 1 at the reference bus: a mechanism's source_price; it is 0.02" in left
    for part in (
        "costs of reactive power",
        "starting and stopping 1 generator",
        "what Pmin costs, which must run: generator 2",
    ):
        assert part in left
    assert "generator 1" not in case.participant_names


def net(**changes: Any) -> dict[str, Any]:
    """The tables of a pandapower net: an external grid, a line, a load, a generator, a static one, a flexible load."""
    tables = {
        "bus": pd.DataFrame({"vn_kv": [230.0, 230.0], "name": ["a", "b"], "in_service": True}),
        "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.0], "in_service": True}),
        "line": pd.DataFrame(
            {
                "from_bus": [0],
                "to_bus": [1],
                "length_km": 10.0,
                "r_ohm_per_km": 0.0,
                "x_ohm_per_km": 0.3,
                "in_service": True,
            }
        ),
        "load": pd.DataFrame(
            {
                "bus": [1, 1],
                "p_mw": [100.0, 40.0],
                "q_mvar": 0.0,
                "controllable": [False, True],
                "name": ["town", "smelter"],
            }
        ),
        "gen": pd.DataFrame(
            {"bus": [1], "p_mw": [20.0], "vm_pu": 1.0, "min_p_mw": 10.0, "max_p_mw": 70.0, "name": "gas"}
        ),
        "sgen": pd.DataFrame({"bus": [1], "p_mw": [15.0], "q_mvar": 0.0, "name": "wind"}),
        "poly_cost": pd.DataFrame(
            {
                "element": [0, 1],
                "et": ["ext_grid", "load"],
                "cp0_eur": 0.0,
                "cp1_eur_per_mw": [22.0, -45.0],
                "cp2_eur_per_mw2": 0.0,
            }
        ),
        "pwl_cost": pd.DataFrame(
            {
                "element": [0],
                "et": "gen",
                "power_type": "p",
                "points": [[[0.0, 30.0, 10.0], [30.0, 50.0, 20.0], [50.0, 80.0, 40.0]]],
            }
        ),
        "name": "small",
    }
    return {**tables, **changes}


def test_costs_of_a_pandapower_net_by_hand() -> None:
    """Gas has to give 10 of 10..70 MW, then 20 at 10, 20 at 20 and 20 at 40 per MWh; wind is free; the grid asks 22."""
    case = ao.from_pandapower(net(), meshed=True)
    people = table(case)
    steps = ["gas", "gas, step 2", "gas, step 3"]
    assert people.loc[steps, "export_offer"].tolist() == pytest.approx([0.01, 0.02, 0.04])
    assert people.loc["smelter", "import_value"] == pytest.approx(0.045)
    assert people.loc["wind", "export_offer"] == 0.0
    run = ao.simulate(case, "lmp:source_price=0.022", network="dc")
    kw = dict(zip(case.participant_names, run.allocation.export_kw[0], strict=True))
    assert [kw[s] for s in (*steps, "wind")] == pytest.approx([20e3, 20e3, 0, 15e3], abs=1.0)
    assert run.allocation.import_kw[0].sum() == pytest.approx(40e3, abs=1.0)
    assert "cost of ext_grid" in " ".join(case.report.left_out)
    assert "0.022 per kWh" in " ".join(case.report.left_out)


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("pwl_cost", "points", [[[0, 50, 20.0], [50, 80, 10.0]]], "gen 'gas': its piecewise linear cost rises by 20"),
        ("pwl_cost", "points", ["none"], "gen 'gas': the points of its piecewise linear cost must rise"),
        ("pwl_cost", "element", [7], "pwl_cost: there is no gen element 7"),
        ("poly_cost", "cp2_eur_per_mw2", [0.0, -1.0], "load 'smelter': its cost rises by less with every MW"),
    ],
)
def test_pandapower_costs_that_cannot_be_said_are_refused(table: str, column: str, value: list, said: str) -> None:  # type: ignore[type-arg]
    given = net()
    with pytest.raises(ao.InputError) as caught:
        ao.from_pandapower({**given, table: given[table].assign(**{column: value})}, meshed=True)
    assert said in str(caught.value)


def test_prices_of_pandapower_networks_are_those_of_its_own_dc_optimum() -> None:
    """Case 9 with lines at 45 %: quadratic costs, by rundcopp."""
    pandapower = pytest.importorskip("pandapower")
    import pandapower.networks as networks

    theirs = networks.case9()
    theirs.line["max_loading_percent"] = 45.0
    pandapower.rundcopp(theirs)
    case = ao.from_pandapower(theirs, meshed=True)
    cost = theirs.poly_cost.set_index("et").loc["ext_grid"]
    base = float(theirs.res_ext_grid["p_mw"].iloc[0])
    slack = (float(cost["cp1_eur_per_mw"]) + 2 * float(cost["cp2_eur_per_mw2"]) * base) / 1e3
    run = ao.simulate(case, f"lmp:source_price={slack!r}", network="dc", steps=1)
    kw = dict(zip(case.participant_names, run.allocation.export_kw[0], strict=True))
    found = [kw[n] for n in case.participant_names if "gen" in n]
    minimum = theirs.gen["min_p_mw"].clip(lower=0).to_numpy()
    assert 1e-3 * np.array(found) + minimum == pytest.approx(theirs.res_gen["p_mw"].to_numpy(), abs=0.05)
    at = dict(zip(case.participants["bus"], 1e3 * run.allocation.import_price[0], strict=True))
    for place, price in at.items():
        index = next(i for i, n in theirs.bus["name"].items() if str(n) == place or f"bus {i}" == place)
        assert price == pytest.approx(theirs.res_bus["lam_p"][index], abs=0.02), place
