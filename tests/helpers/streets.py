"""Streets of customers, balanced or on phases: by hand, or random ones in which voltages and ratings bind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.grid import Grid
from amm_opt.network import LinDist3Flow, LinDistFlow

NAN = float("nan")
TRACE = "0.0001 | 0 0.0001 | 0 0 0.0001"


def street(
    lines: Sequence[tuple[str, str, str | float, str | float, float]],
    people: Sequence[tuple[str, str, float, float, float]],
    band: tuple[float, float] = (0.9, 1.1),
    feeder: dict[str, str] | None = None,
    **columns: Any,
) -> Case:
    """Lines (from, to, r_ohm, x_ohm, rating of all phases); people (bus, phases, inflexible, import, export)."""
    phases = "pos" if people[0][1] == "" else "abc"
    to = [line[1] for line in lines]
    buses = pd.DataFrame(
        {"name": ["src", *to], "vn_kv": 0.4, "phases": phases, "v_min_pu": band[0], "v_max_pu": band[1]}
    )
    buses["v_source_pu"] = [1.0] + [NAN] * len(to)
    buses["tier"], buses["feeder"] = ["MV"] + ["LV"] * len(to), [None, *((feeder or {}).get(b, "F") for b in to)]
    branches = pd.DataFrame(lines, columns=["from_bus", "to_bus", "r_ohm", "x_ohm", "rating_kva"])
    who = pd.DataFrame(people, columns=["bus", "phases", *(quantities := ("inflexible", "import", "export"))])
    who["name"] = [f"p{i}" for i in range(len(people))]
    series = [(name, q, "one", kw) for q in quantities for name, kw in zip(who["name"], who[q], strict=True)]
    table = {"connection_import_kw": 50.0, "connection_export_kw": 50.0, **columns}
    return ao.from_tables(
        name="street",
        buses=buses,
        branches=branches.assign(name=[f"to-{b}" for b in to], kind="line"),
        participants=who[["name", "bus", "phases"]].replace({"phases": {"": None}}).assign(**table),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-07", periods=2, freq="30min"), "one": 1.0}),
        series=pd.DataFrame(series, columns=["participant", "quantity", "profile", "scale_kw"]),
    )


def grid_of(case: Case) -> Grid:
    return Grid(case, (LinDistFlow if case.feeder.balanced else LinDist3Flow)(case.feeder))


def random_street(seed: int, phases: bool, factors: bool = True) -> Case:
    """Two or three LV feeders behind the source, voltages and ratings that bind, customers on one or three phases."""
    rng = np.random.default_rng(seed)
    lines: list[tuple[str, str, Any, Any, float]] = [
        ("src", "mv", TRACE if phases else 1e-4, TRACE if phases else 0.0, 1e4)
    ]
    feeder, people = {"mv": "M"}, []
    for f in "AB":
        above = "mv"
        for k in range(int(rng.integers(2, 4))):
            r, x = rng.uniform(0.05, 0.3), rng.uniform(0.03, 0.1)
            matrices = [f"{v} | {m} {v} | {m} {m} {v}" for v, m in ((r, 0.3 * r), (x, 0.4 * x))]
            lines.append((above, f"{f}{k}", *(matrices if phases else (r, x)), float(rng.uniform(6, 20))))
            above = f"{f}{k}"
            feeder[above] = f
            for _ in range(int(rng.integers(1, 3))):
                on = str(rng.choice(["a", "b", "c", "abc"])) if phases else ""
                load, x_kw, y_kw = rng.uniform(-1, 2), rng.uniform(0, 15), rng.uniform(0, 15) * (rng.random() < 0.6)
                people.append((above, on, load, x_kw, y_kw))
    n = len(people)
    kw = {}
    if factors:
        pick = [-0.9, 0.85, 0.95, 1.0]
        kw = {f"power_factor_{d}": rng.choice(pick, n) for d in DIRECTIONS}
    return street(lines, people, (0.94, 1.06), feeder, connection_import_kw=20.0, connection_export_kw=20.0, **kw)


def in_pieces(tables: dict[str, Any], pieces: int, seed: int = 0, stubs: bool = True) -> dict[str, Any]:
    """Every line in pieces of random lengths, one with its rating, others with higher ones; a stub on the way."""
    rng = np.random.default_rng(seed)
    buses, lines = [tables["buses"]], []
    of_bus = tables["buses"].set_index("name")
    for _, line in tables["branches"].iterrows():
        if line["kind"] != "line":
            lines.append(line.to_dict())
            continue
        at = [line["from_bus"], *(f"{line['name']}-{k}" for k in range(1, pieces)), line["to_bus"]]
        ratings = line["rating_kva"] * rng.uniform(1.0, 1.5, pieces)
        ratings[rng.integers(pieces)] = line["rating_kva"]
        for k, share in enumerate(rng.dirichlet(np.full(pieces, 2.0))):
            piece = {"name": f"{line['name']}-{k}", "from_bus": at[k], "to_bus": at[k + 1], "rating_kva": ratings[k]}
            lines.append({**line, **piece, **{c: _times(line[c], share) for c in ("r_ohm", "x_ohm")}})
        inside = at[1:-1]
        if stubs and inside:
            inside.append(f"{line['name']}-stub")
            rest = {"name": f"to-{inside[-1]}", "from_bus": inside[int(rng.integers(pieces - 1))], "to_bus": inside[-1]}
            lines.append({**line, **rest})
        like = of_bus.loc[[line["to_bus"]] * len(inside)].reset_index(drop=True)
        buses.append(like.assign(name=inside))
    return {**tables, "buses": pd.concat(buses, ignore_index=True), "branches": pd.DataFrame(lines)}


def _times(impedance: Any, share: float) -> Any:
    if not isinstance(impedance, str):
        return impedance * share
    return " | ".join(" ".join(f"{float(v) * share:.17g}" for v in row.split()) for row in impedance.split("|"))
