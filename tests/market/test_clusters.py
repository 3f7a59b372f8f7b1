"""Generators taken together: a small system worked out by hand, whose lines decide who belongs to whom."""

import numpy as np
import pandas as pd
import pytest
from wholesale import system

import amm_opt as ao

LINES = [
    ("t1", "a", 100.0),
    ("a", "b", 30.0),
    ("b", "c", 50.0),
    ("c", "d", 8.0),
    ("t1", "t2", 500.0),
    ("t2", "e", 20.0),
]
LINES += [("a", "x", 1e3), ("x", "y", 1e3), ("y", "f", 1e3)]
PLANTS = {"A": ("a", 20.0), "A2": ("a", 0.0), "B": ("b", 40.0), "C": ("c", 10.0), "D": ("d", 5.0), "E": ("e", 5.0)}
PLANTS |= {"F": ("f", 1.0)}


def by_hand(lines: list[tuple[str, str, float]] = LINES, plants: dict[str, tuple[str, float]] = PLANTS) -> ao.Case:
    """kW; A2 is a battery."""
    people = [{"name": p, "bus": bus} for p, (bus, _) in plants.items()]
    for one in people:
        one |= {"battery_kwh": 4.0, "battery_kw": 2.0} if one["name"] == "A2" else {}
    people.append({"name": "load", "bus": "t1"})
    series = [(p, "export", "flat", kw) for p, (_, kw) in plants.items() if kw] + [("load", "import", "flat", 60.0)]
    named = [(f"{a}-{b}", a, b) for a, b, _ in lines]
    return system(named, 1.0, [kw for *_, kw in lines], people, series, {"flat": np.array([1.0, 0.5])})


def test_who_belongs_together_by_hand() -> None:
    """a-b carries 30 of B's 40: not by itself. a-c carries 30 of A's 22; b-c 50 of 40: so a, b, c are one.

    c-d carries 8 of C's 10; b-d too. f is three hops from a, however wide; e is nearer to t2.
    """
    found = ao.clusters(by_hand(), trunk=["t1", "t2"])
    assert found.players == {"a + b + c": ["A", "A2", "B", "C"], "d": ["D"], "e": ["E"], "f": ["F"]}
    assert dict(zip(found.names, found.trunk, strict=True)) == {"a + b + c": "t1", "d": "t1", "e": "t2", "f": "t1"}
    assert found.table.loc["C"].to_list() == ["c", "a + b + c", "t1"]


@pytest.mark.parametrize(
    ("changed", "together"),
    [
        ({}, True),  # b-c carries 50 of 40
        ({"b-c": 39.0}, False),  # and neither a-b nor b-c is wide enough for B
        ({"b-c": 21.0}, False),  # a-c: 21 of 22
        ({"b-c": 39.0, "a-b": 40.0}, True),
    ],
)
def test_a_line_that_is_too_small_keeps_b_by_itself(changed: dict[str, float], together: bool) -> None:
    lines = [(a, b, changed.get(f"{a}-{b}", kw)) for a, b, kw in LINES]
    found = ao.clusters(by_hand(lines), trunk=["t1", "t2"])
    home = dict(zip(found.generators, found.cluster.tolist(), strict=True))
    assert (home["A"] == home["B"]) == together
    assert (home["A"] == home["C"]) == (changed.get("b-c") != 21.0)


def test_parallel_lines_add_up_and_the_order_of_tables_does_not_matter() -> None:
    twice = [line for line in LINES if line[:2] != ("b", "c")] + [("b", "c", 25.0), ("c", "b", 25.0)]
    some = ao.clusters(by_hand(twice), trunk=["t2", "t1"])
    other = ao.clusters(by_hand(LINES[::-1], dict(reversed(PLANTS.items()))), trunk=["t1", "t2"])
    expected = {frozenset(who) for who in ao.clusters(by_hand(), trunk=["t1", "t2"]).players.values()}
    assert {frozenset(who) for who in some.players.values()} == expected
    assert {frozenset(who) for who in other.players.values()} == expected


def test_trunk_nodes_are_the_highest_voltage_unless_they_are_named() -> None:
    """Where all buses have one voltage each is its own trunk node, and only generators of one node are together."""
    assert set(ao.clusters(by_hand()).names) == set("abcdef")
    tables = by_hand().tables()
    buses = tables["buses"].assign(vn_kv=np.where(tables["buses"]["name"].isin(["t1", "t2"]), 400.0, 220.0))
    lines = tables["branches"]
    kinds = np.where(lines["from_bus"].isin(["t1", "t2"]) & ~lines["to_bus"].isin(["t1", "t2"]), "transformer", "line")
    raised = by_hand().with_tables(buses=buses, branches=lines.assign(kind=kinds))
    assert ao.clusters(raised).players == ao.clusters(by_hand(), trunk=["t1", "t2"]).players


def test_values_are_split_by_availability_and_equally_where_there_is_none() -> None:
    found = ao.clusters(by_hand(), trunk=["t1", "t2"])
    available = pd.Series({"A": 20.0, "A2": 0.0, "B": 40.0, "C": 20.0, "D": 0.0, "E": 1.0, "F": 0.0})
    kw = available[list(found.generators)].to_numpy()
    of_cluster = {"a + b + c": 8.0, "d": 3.0, "e": 2.0, "f": -1.0}
    values = np.array([of_cluster[name] for name in found.names])
    split = dict(zip(found.generators, found.split(values, kw), strict=True))
    assert split == pytest.approx({"A": 2, "A2": 0, "B": 4, "C": 2, "D": 3, "E": 2, "F": -1})
    none = found.split(np.stack([values, values]), np.zeros((2, 7)))
    assert none[1][[found.generators.index(p) for p in ("A", "A2", "B", "C")]] == pytest.approx([2, 2, 2, 2])


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ao.InputError) as error:
        ao.clusters(by_hand(), trunk=["t9"], available_kw={"A": -1.0, "Z": 2.0})
    for part in ("'t9'", "missing", "Z no generators", "'A' = -1"):
        assert part in str(error.value)
    found = ao.clusters(by_hand(), trunk=["t1"])
    with pytest.raises(ao.InputError, match=r"must end in \d clusters and 7 generators"):
        found.split([1.0], [1.0])
    with pytest.raises(ao.InputError, match="nobody offers export"):
        ao.clusters(by_hand(plants={}))
