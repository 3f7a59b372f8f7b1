"""The feeder: what it refuses, what it is made of, and that orientation and row order do not matter."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amm_opt.errors import InputError
from amm_opt.network import Feeder, LinDistFlow

NAN = float("nan")
Cells = dict[tuple[str, str, str], Any]


def good_tables() -> dict[str, pd.DataFrame]:
    """sub --cable-- mv --tr(tap 1.05)-- lv --service-- home."""
    buses = pd.DataFrame(
        {
            "name": ["sub", "mv", "lv", "home"],
            "vn_kv": [20.0, 20.0, 0.4, 0.4],
            "v_min_pu": 0.9,
            "v_max_pu": 1.1,
            "v_source_pu": [1.02, NAN, NAN, NAN],
        }
    )
    branches = pd.DataFrame(
        {
            "name": ["cable", "tr", "service"],
            "from_bus": ["sub", "mv", "lv"],
            "to_bus": ["mv", "lv", "home"],
            "kind": ["line", "transformer", "line"],
            "r_ohm": [0.5, 0.004, 0.05],
            "x_ohm": [0.3, 0.016, 0.02],
            "rating_kva": [5000.0, 400.0, 60.0],
            "tap": [1.0, 1.05, 1.0],
        }
    )
    return {"buses": buses, "branches": branches}


def changed(cells: Cells, tables: dict[str, pd.DataFrame] | None = None) -> dict[str, pd.DataFrame]:
    """The good tables with cells (table, element, column) replaced."""
    result = {key: table.astype(object) for key, table in (tables or good_tables()).items()}
    for (table, element, column), value in cells.items():
        if column not in result[table]:
            result[table][column] = None
        row = result[table].index[good_row(table, element)]
        result[table].loc[row, column] = value
    return result


def good_row(table: str, element: str) -> int:
    return list(good_tables()[table]["name"]).index(element)


def with_rows(rows: list[dict[str, Any]], table: str = "branches") -> dict[str, pd.DataFrame]:
    """The good tables with rows appended, each a copy of the last row with some cells replaced."""
    tables = good_tables()
    last = tables[table].iloc[-1].to_dict()
    tables[table] = pd.concat([tables[table], pd.DataFrame([{**last, **row} for row in rows])], ignore_index=True)
    return tables


def problems_of(tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        Feeder.from_tables(**tables)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def assert_said(problems: tuple[str, ...], *fragments: str) -> None:
    assert any(all(f in problem for f in fragments) for problem in problems), (fragments, problems)


BAD_BUS_CELLS = [
    ("lv", "vn_kv", NAN, "vn_kv"),
    ("lv", "vn_kv", 0, "vn_kv"),
    ("lv", "vn_kv", -0.4, "vn_kv"),
    ("lv", "vn_kv", float("inf"), "vn_kv"),
    ("lv", "vn_kv", "low", "'low' is not a number"),
    ("home", "v_min_pu", NAN, "v_min_pu"),
    ("home", "v_max_pu", NAN, "v_max_pu"),
    ("home", "v_max_pu", "1.1pu", "'1.1pu' is not a number"),
    ("home", "v_min_pu", 1.2, "voltage band upside down"),
    ("home", "v_min_pu", 1.1, "voltage band upside down"),
    ("mv", "tier", "HV", "valid choices: MV, LV"),
    ("mv", "phases", "abcd", "valid choices: pos, a"),
    ("sub", "v_source_pu", 0, "v_source_pu"),
    ("sub", "v_source_pu", -1.0, "v_source_pu"),
    ("sub", "v_source_pu", "one", "'one' is not a number"),
    ("sub", "v_source_pu", float("inf"), "v_source_pu"),
]


@pytest.mark.parametrize(("bus", "column", "value", "said"), BAD_BUS_CELLS)
def test_bad_bus_is_named(bus: str, column: str, value: object, said: str) -> None:
    assert_said(problems_of(changed({("buses", bus, column): value})), f"bus {bus!r}", said)


BAD_BRANCH_CELLS = [
    ("service", "rating_kva", 0, "rating_kva"),
    ("service", "rating_kva", -60, "rating_kva"),
    ("service", "rating_kva", "big", "'big' is not a number"),
    ("tr", "tap", 0, "tap"),
    ("tr", "tap", -1.05, "tap"),
    ("tr", "tap", float("inf"), "tap"),
    ("tr", "tap", "up", "'up' is not a number"),
    ("cable", "r_ohm", -0.5, "r_ohm = -0.5"),
    ("cable", "x_ohm", -0.3, "x_ohm = -0.3"),
    ("cable", "r_ohm", NAN, "r_ohm = nan"),
    ("tr", "x_ohm", NAN, "x_ohm = nan"),
    ("tr", "x_ohm", float("inf"), "x_ohm = inf"),
    ("cable", "r_ohm", "much", "must be finite numbers"),
    ("cable", "r_ohm", "0.3 | 0.1 0.3", "must be finite numbers"),
    ("cable", "kind", "cable", "valid choices: line, transformer, switch"),
    ("cable", "phases", "q", "valid choices: pos, a"),
    ("cable", "phases", "abc", "not all present"),
    ("cable", "closed", "maybe", "valid choices: true, false"),
    ("service", "from_bus", "nowhere", "unknown bus 'nowhere' in from_bus"),
    ("service", "to_bus", "nowhere", "unknown bus 'nowhere' in to_bus"),
    ("service", "from_bus", "home", "connects bus 'home' to itself"),
    ("tr", "kind", "line", "joins 20.0 kV and 0.4 kV"),
    ("tr", "kind", "switch", "joins 20.0 kV and 0.4 kV"),
]


@pytest.mark.parametrize(("branch", "column", "value", "said"), BAD_BRANCH_CELLS)
def test_bad_branch_is_named(branch: str, column: str, value: object, said: str) -> None:
    assert_said(problems_of(changed({("branches", branch, column): value})), f"branch {branch!r}", said)


@pytest.mark.parametrize("kind", ["line", "transformer"])
def test_only_a_switch_may_have_zero_impedance(kind: str) -> None:
    zero: Cells = {("branches", "cable", "r_ohm"): 0, ("branches", "cable", "x_ohm"): 0}
    assert_said(
        problems_of(changed(zero | {("branches", "cable", "kind"): kind})), "branch 'cable'", "must be positive"
    )
    feeder = Feeder.from_tables(**changed(zero | {("branches", "cable", "kind"): "switch"}))
    assert feeder.z_ohm[feeder.bus_index["mv"]][0, 0] == 0


def test_triangle_names_its_branches() -> None:
    ties = [{"name": "ab", "from_bus": "home", "to_bus": "x"}, {"name": "ca", "from_bus": "x", "to_bus": "lv"}]
    found = problems_of({**with_rows(ties), "buses": with_rows([{"name": "x"}], "buses")["buses"]})
    assert len(found) == 1
    assert_said(found, "cycle", "service", "ab", "ca")
    assert "cable" not in found[0]


def test_parallel_branches_name_each_other() -> None:
    for ends in ({}, {"from_bus": "home", "to_bus": "lv"}):
        found = problems_of(with_rows([{"name": "second", **ends}]))
        assert len(found) == 1
        assert_said(found, "cycle", "'service'", "'second'")


def test_island_names_its_buses() -> None:
    found = problems_of(changed({("branches", "tr", "closed"): False}))
    assert found == ("island: no closed branch joins home, lv to the source",)


def test_missing_and_second_source() -> None:
    assert problems_of(changed({("buses", "sub", "v_source_pu"): NAN})) == (
        "no source: fill v_source_pu at exactly one bus",
    )
    assert_said(problems_of(changed({("buses", "home", "v_source_pu"): 1.0})), "2 sources", "sub", "home")


def test_duplicate_and_empty_names() -> None:
    assert_said(problems_of(with_rows([{"name": "service", "closed": False}])), "duplicate branch name 'service'")
    assert_said(problems_of(with_rows([{"name": "mv"}], "buses")), "duplicate bus name 'mv'")
    assert_said(problems_of(changed({("branches", "tr", "name"): ""})), "branch in row 2", "empty name")
    assert_said(problems_of(changed({("buses", "lv", "name"): None})), "bus in row 3", "empty name")


@pytest.mark.parametrize("table", ["buses", "branches"])
def test_unknown_and_missing_columns(table: str) -> None:
    tables = good_tables()
    tables[table] = tables[table].rename(columns={"name": "nmae"})
    found = problems_of(tables)
    assert_said(found, f"{table}: unknown column 'nmae'", "valid columns: name, ")
    assert_said(found, f"{table}: missing column 'name'")


def test_all_problems_at_once() -> None:
    cells: Cells = {
        ("buses", "sub", "v_source_pu"): NAN,
        ("buses", "mv", "vn_kv"): "x",
        ("buses", "home", "v_min_pu"): 1.3,
        ("branches", "cable", "rating_kva"): 0,
        ("branches", "tr", "tap"): 0,
        ("branches", "service", "x_ohm"): NAN,
        ("branches", "service", "to_bus"): "garage",
    }
    found = problems_of(changed(cells))
    for fragments in (
        ("no source",),
        ("bus 'mv'", "not a number"),
        ("bus 'home'", "upside down"),
        ("branch 'cable'", "rating_kva"),
        ("branch 'tr'", "tap"),
        ("branch 'service'", "x_ohm"),
        ("branch 'service'", "garage"),
    ):
        assert_said(found, *fragments)


def voltages(feeder: Feeder, load_kw: dict[str, float]) -> dict[str, float]:
    p = np.array([-load_kw.get(name, 0.0) for name in feeder.bus_names])
    return dict(zip(feeder.bus_names, LinDistFlow(feeder).state(p, 0.4 * p).v_pu, strict=True))


def reversed_row(row: dict[str, Any], vn_kv: dict[str, float]) -> dict[str, Any]:
    """The same branch written from its other end: tap inverted, impedance referred to the other voltage."""
    refer = (row["tap"] * vn_kv[row["from_bus"]] / vn_kv[row["to_bus"]]) ** 2
    other = {"from_bus": row["to_bus"], "to_bus": row["from_bus"], "tap": 1 / row["tap"]}
    return {**row, **other, "r_ohm": row["r_ohm"] * refer, "x_ohm": row["x_ohm"] * refer}


def test_reversed_transformer_by_hand() -> None:
    tables = good_tables()
    # 0.004 + j0.016 ohm at 0.4 kV behind a tap of 1.05 is (1.05 * 50)^2 = 2756.25 times as much seen from 20 kV
    back: Cells = {("branches", "tr", c): v for c, v in (("from_bus", "lv"), ("to_bus", "mv"), ("tap", 1 / 1.05))}
    back |= {("branches", "tr", "r_ohm"): 11.025, ("branches", "tr", "x_ohm"): 44.1}
    feeder, turned = Feeder.from_tables(**tables), Feeder.from_tables(**changed(back))
    i = turned.bus_index["lv"]
    assert turned.branch_names[i] == "tr"
    np.testing.assert_allclose(turned.z_ohm[i], [[0.004 + 0.016j]], rtol=1e-12)
    np.testing.assert_allclose(turned.tap, feeder.tap, rtol=1e-12)
    assert voltages(turned, {"home": 30.0}) == pytest.approx(voltages(feeder, {"home": 30.0}), rel=1e-12)


@st.composite
def trees(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random radial networks of 2 to 12 buses with transformers and taps."""
    n = draw(st.integers(2, 12))
    vn = [20.0] + [draw(st.sampled_from([20.0, 0.4])) for _ in range(n - 1)]
    rows = []
    for i in range(1, n):
        up = draw(st.integers(0, i - 1))
        kind = "line" if vn[up] == vn[i] else "transformer"
        tap = 1.0 if kind == "line" else draw(st.sampled_from([0.95, 1.0, 1.05]))
        z = draw(st.floats(0.1, 1.0)) * vn[i] ** 2 / 400.0
        rows.append((f"e{i}", f"n{up}", f"n{i}", kind, z, 0.5 * z, 1000.0 * i, tap))
    columns = ["name", "from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva", "tap"]
    buses = pd.DataFrame({"name": [f"n{i}" for i in range(n)], "vn_kv": vn, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["v_source_pu"] = [1.0] + [NAN] * (n - 1)
    return buses, pd.DataFrame(rows, columns=columns)


@settings(max_examples=40, deadline=None)
@given(trees(), st.randoms(use_true_random=False))
def test_orientation_and_row_order_do_not_matter(tree: tuple[pd.DataFrame, pd.DataFrame], random: Any) -> None:
    buses, branches = tree
    vn_kv = dict(zip(buses["name"], buses["vn_kv"], strict=True))
    rows = [reversed_row(r, vn_kv) if random.random() < 0.5 else r for r in branches.to_dict("records")]
    random.shuffle(rows)
    turned = Feeder.from_tables(buses.sample(frac=1, random_state=random.randrange(1000)), pd.DataFrame(rows))
    load = {name: 3.0 * i for i, name in enumerate(buses["name"])}
    expected = voltages(Feeder.from_tables(buses, branches), load)
    assert voltages(turned, load) == pytest.approx(expected, rel=1e-10)
    rating = {name: s for name, s in zip(turned.branch_names, turned.rating_kva, strict=True) if name}
    assert rating == dict(zip(branches["name"], branches["rating_kva"], strict=True))


@settings(max_examples=40, deadline=None)
@given(trees())
def test_depth_first_layout(tree: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    feeder = Feeder.from_tables(*tree)
    graph = feeder.graph
    assert nx.is_arborescence(graph)
    assert graph.in_degree(feeder.bus_names[0]) == 0
    depth = nx.single_source_shortest_path_length(graph, feeder.bus_names[0])
    for i, bus in enumerate(feeder.bus_names):
        below = {bus, *nx.descendants(graph, bus)}
        assert set(feeder.bus_names[i : feeder.subtree_end[i]]) == below
        assert feeder.depth[i] == depth[bus]
        if i:
            edge = graph.edges[feeder.bus_names[feeder.parent[i]], bus]
            assert (edge["name"], edge["rating_kva"]) == (feeder.branch_names[i], feeder.rating_kva[i])


def test_feeder_is_immutable() -> None:
    feeder = Feeder.from_tables(**good_tables())
    arrays = [getattr(feeder, f.name) for f in fields(feeder)] + [feeder.depth, *feeder.z_ohm]
    arrays = [a for a in arrays if isinstance(a, np.ndarray)]
    assert len(arrays) == 14 + 2 + 4
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 7
    with pytest.raises(FrozenInstanceError):
        feeder.v_source_pu = 2.0  # type: ignore[misc]


def test_graph_is_a_frozen_copy() -> None:
    feeder = Feeder.from_tables(**good_tables())
    graph = feeder.graph
    assert nx.is_frozen(graph)
    assert isinstance(graph, nx.DiGraph)
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        graph.add_edge("home", "shed")
    graph.nodes["home"]["v_max_pu"] = 9.0
    graph.edges["lv", "home"]["rating_kva"] = 9.0
    assert (feeder.graph.nodes["home"]["v_max_pu"], feeder.v_max_pu[3]) == (1.1, 1.1)
    assert (feeder.graph.edges["lv", "home"]["rating_kva"], feeder.rating_kva[3]) == (60.0, 60.0)


def test_tables_given_are_left_alone() -> None:
    tables, before = good_tables(), good_tables()
    feeder = Feeder.from_tables(**tables)
    for key, table in before.items():
        pd.testing.assert_frame_equal(tables[key], table)
    doubled = feeder.with_limits(capacity_scale=2.0)
    np.testing.assert_array_equal(doubled.rating_kva, [np.inf, 10000.0, 800.0, 120.0])
    np.testing.assert_array_equal(feeder.rating_kva, [np.inf, 5000.0, 400.0, 60.0])


def test_three_phase_branches_are_carried_and_refused_by_lindistflow() -> None:
    cells: Cells = {("buses", bus, "phases"): "abc" for bus in ("sub", "mv", "lv", "home")}
    cells |= {("branches", "cable", "r_ohm"): "0.3 | 0.1 0.4 | 0.2 0.1 0.5", ("branches", "service", "phases"): "b"}
    cells |= {("branches", "cable", "x_ohm"): "0.6 | 0 0.7 | 0 0 0.8", ("branches", "tr", "r_ohm"): "1 | 0 1 | 0 0 1"}
    cells |= {("branches", "tr", "x_ohm"): "1 | 0 1 | 0 0 1"}
    feeder = Feeder.from_tables(**changed(cells))
    assert feeder.branch_phases[1:] == (("a", "b", "c"), ("a", "b", "c"), ("b",))
    expected = np.array([[0.3, 0.1, 0.2], [0.1, 0.4, 0.1], [0.2, 0.1, 0.5]]) + 1j * np.diag([0.6, 0.7, 0.8])
    np.testing.assert_array_equal(feeder.z_ohm[1], expected)
    assert not feeder.balanced
    with pytest.raises(InputError, match="branch 'cable' is on phases abc"):
        LinDistFlow(feeder)


@pytest.mark.parametrize("no", [False, "false", "False", 0, "0"])
def test_ring_with_an_open_tie_is_accepted(no: object) -> None:
    tie = {"name": "tie", "from_bus": "home", "to_bus": "lv"}
    assert_said(problems_of(with_rows([tie])), "cycle", "tie")
    ring = with_rows([tie])
    ring["branches"]["closed"] = pd.Series([True, True, True, no], dtype=object)
    feeder = Feeder.from_tables(**ring)
    assert feeder.branch_names == ("", "cable", "tr", "service")
    assert feeder.graph.number_of_edges() == 3


def test_a_source_without_a_name_is_an_error() -> None:
    assert_said(problems_of(changed({("buses", "sub", "name"): None})), "bus in row", "empty name")
