"""The small cases that checks run on, scarce in both directions, balanced or on phases; changes that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case, from_tables

PHASES = "abc"
NEXT_PHASE = str.maketrans("abc", "bca")
HOURS = 3
INTERVALS = 16
"""Two days of eight intervals each."""

_TREE = (
    # bus, bus above, km, rating in kVA, LV feeder
    ("mv", "source", 2.0, 105.0, None),
    ("low-A", "mv", 0.0, 45.0, "A"),
    ("a1", "low-A", 0.15, 200.0, "A"),
    ("a2", "a1", 0.15, 38.0, "A"),
    ("low-B", "mv", 0.0, 150.0, "B"),
    ("b1", "low-B", 0.30, 200.0, "B"),
    ("b2", "b1", 0.30, 200.0, "B"),
)
_PEOPLE = (
    # name, bus, phase, inflexible kW, import kW, export kW; the first two are alike
    ("p0", "a2", "a", 1.0, 11.0, 12.0),
    ("p1", "a2", "a", 1.0, 11.0, 12.0),
    ("p2", "a1", "b", 0.5, 7.0, 20.0),
    ("p3", "a2", "c", 2.0, 22.0, 0.0),
    ("p4", "b1", "a", 1.0, 7.0, 9.0),
    ("p5", "b1", "b", 1.0, 14.0, 15.0),
    ("p6", "b2", "c", 1.5, 18.0, 16.0),
    ("p7", "b2", "a", 0.0, 9.0, 25.0),
    ("p8", "low-A", "b", 0.0, 0.0, 6.0),
    ("p9", "mv", "abc", 5.0, 20.0, 0.0),
)
ALIKE = (0, 1)
_NIGHT = (0.2, 0.0, 0.0, 0.1, 0.4, 0.6, 1.0, 0.9)
_NOON = (0.0, 0.0, 0.3, 0.9, 1.0, 0.5, 0.0, 0.0)


@lru_cache
def small_case(balanced: bool) -> Case:
    """Ten participants behind two LV feeders; transformers, lines and voltages bind, and in some intervals nothing.

    Power factors differ between load, import and export; two participants are alike; one asks for no import.
    """
    return from_tables(**small_tables(balanced))


def small_tables(balanced: bool) -> dict[str, Any]:
    """The tables of :func:`small_case`, as ``from_tables`` takes them."""
    share = 1.0 if balanced else 1 / 3  # ratings of phases are a third of the three-phase total
    buses = pd.DataFrame({"name": ["source", *(row[0] for row in _TREE)]})
    buses["vn_kv"] = [10.0, 10.0, *[0.4] * 6]
    buses["v_min_pu"], buses["v_max_pu"] = 0.94, 1.06
    buses["v_source_pu"] = [1.01] + [np.nan] * len(_TREE)
    buses["feeder"] = [None, *(row[4] for row in _TREE)]
    lines = []
    for bus, above, km, rating, _ in _TREE:
        transformer = km == 0.0
        own = (0.02, 0.05) if transformer else (0.5 * km, 0.3 * km)
        mutual = (0.0, 0.0) if transformer else (0.1 * km, 0.1 * km)
        lines.append(
            {
                "name": f"to-{bus}",
                "from_bus": above,
                "to_bus": bus,
                "kind": "transformer" if transformer else "line",
                "r_ohm": own[0] if balanced else _triangle(own[0], mutual[0]),
                "x_ohm": own[1] if balanced else _triangle(own[1], mutual[1]),
                "rating_kva": rating * share,
            }
        )
    branches = pd.DataFrame(lines)
    people = pd.DataFrame([row[:3] for row in _PEOPLE], columns=["name", "bus", "phases"])
    if balanced:
        people = people.drop(columns="phases")
    else:
        buses["phases"] = PHASES
    people["connection_import_kw"], people["connection_export_kw"] = 40.0, 40.0
    people["connected"] = [2015, 2015, 2020, 2012, 2021, 2010, 2018, 2016, 2013, 2005]
    people["power_factor"], people["power_factor_import"], people["power_factor_export"] = 0.95, 0.97, 1.0
    return {
        "name": "small",
        "buses": buses,
        "branches": branches,
        "participants": people,
        "profiles": _profiles(),
        "series": _series(),
    }


def _triangle(own: float, mutual: float) -> str:
    return f"{own} | {mutual} {own} | {mutual} {mutual} {own}"


def _profiles() -> pd.DataFrame:
    times = pd.date_range("2030-01-07", periods=INTERVALS, freq=f"{HOURS}h")
    dim = np.repeat([1.0, 0.6], INTERVALS // 2)
    return pd.DataFrame(
        {"time": times, "flat": 1.0, "night": np.tile(_NIGHT, 2) * dim[::-1], "noon": np.tile(_NOON, 2) * dim}
    )


def _series() -> pd.DataFrame:
    rows = []
    for name, _, _, load, imports, exports in _PEOPLE:
        kinds = (("inflexible", "flat", load), ("import", "night", imports), ("export", "noon", exports))
        rows += [(name, *kind) for kind in kinds if kind[2] > 0]
    return pd.DataFrame(rows, columns=["participant", "quantity", "profile", "scale_kw"])


def in_other_order(tables: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """Participants, buses and branches in another order."""
    rng = np.random.default_rng(seed)
    changed = {n: tables[n].iloc[rng.permutation(len(tables[n]))] for n in ("participants", "buses", "branches")}
    return {**tables, **changed}


def in_other_units(tables: dict[str, Any], factor: float) -> dict[str, Any]:
    """Every power and rating times ``factor``, every impedance divided by it: the same voltages in pu."""
    branches, people = tables["branches"].copy(), tables["participants"].copy()
    branches["rating_kva"] *= factor
    for column in ("r_ohm", "x_ohm"):
        branches[column] = [_divided(value, factor) for value in branches[column]]
    people[["connection_import_kw", "connection_export_kw"]] *= factor
    series = tables["series"].assign(scale_kw=tables["series"]["scale_kw"] * factor)
    return {**tables, "branches": branches, "participants": people, "series": series}


def _divided(value: Any, factor: float) -> Any:
    if not isinstance(value, str):
        return value / factor
    return " | ".join(" ".join(str(float(v) / factor) for v in row.split()) for row in value.split("|"))


def with_phases_renamed(tables: dict[str, Any]) -> dict[str, Any]:
    """Phase a called b, b called c and c called a: the same network, since a, b and c only name a rotation.

    The impedance matrices of :func:`small_tables` are the same for every phase, so they need not be turned.
    """
    people = tables["participants"]
    renamed = ["".join(sorted(p.translate(NEXT_PHASE))) for p in people["phases"]]
    return {**tables, "participants": people.assign(phases=renamed)}


def with_tiny_requests(tables: dict[str, Any], kw: float) -> dict[str, Any]:
    """Everybody asks for next to nothing more, in both directions and all the time."""
    names, series = tables["participants"]["name"], tables["series"]
    asks = [(name, quantity, "flat", kw) for name in names for quantity in DIRECTIONS]
    return {**tables, "series": pd.concat([series, pd.DataFrame(asks, columns=series.columns)], ignore_index=True)}


def position(case: Case, names: Sequence[str]) -> list[int]:
    """Where each of these participants stands in a case."""
    return [case.participant_names.index(name) for name in names]


@lru_cache
def rich_case(balanced: bool) -> Case:
    """The same network with a tap, line charging, a capacitor, losses at no load, limits of active power and, on
    phases, a delta winding.
    """
    tables = small_tables(balanced)
    branches = tables["branches"].set_index("name", drop=False)
    branches["tap"], branches["charging_kvar"] = 1.0, 0.0
    branches.loc["to-low-A", "tap"], branches.loc["to-mv", "charging_kvar"] = 0.975, 2.0
    branches["import_limit_kw"], branches["export_limit_kw"] = np.nan, np.nan
    branches.loc["to-mv", ["import_limit_kw", "export_limit_kw"]] = 90.0, 70.0
    branches.loc["to-low-B", "export_limit_kw"] = 50.0
    if not balanced:
        branches["vector_group"] = "YNyn0"
        branches.loc["to-low-B", "vector_group"] = "Dyn11"
    buses = tables["buses"].assign(shunt_kvar=0.0, shunt_kw=0.0).set_index("name", drop=False)
    buses.loc["b1", "shunt_kvar"], buses.loc["low-A", "shunt_kw"] = 5.0, 0.3
    changed = {"buses": buses.reset_index(drop=True), "branches": branches.reset_index(drop=True)}
    return from_tables(**{**tables, **changed})
