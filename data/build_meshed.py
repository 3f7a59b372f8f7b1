"""Build the meshed cases ``pjm5``, ``three_bus``, ``ieee14``, ``ieee57`` and ``ieee118``.

    pip install pandapower==3.5.6
    python data/build_meshed.py [--out DIR]

The tables of the first two stand below; the IEEE cases are read from pandapower's networks. data/README.md describes
the ratings and the scenario, which are ours.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import amm_opt as ao
from formulations import LMP

BASE_MVA = 100.0
VALUE = 10.0
"""Currency per kWh that a kWh of load is worth: a usual value of lost load, 10,000 per MWh."""
RATING_SHARE, LEAST_RATING_SHARE = 1.05, 0.25
"""Ratings of the IEEE cases: of the flow at nominal load, and at least of the median flow."""
DAYS, START = 7, "2030-01-07"

PJM5 = {
    "kv": 230.0,
    "source": 4,
    "lines": [
        (1, 2, 0.0281, 400.0),
        (1, 4, 0.0304, None),
        (1, 5, 0.0064, None),
        (2, 3, 0.0108, None),
        (3, 4, 0.0297, None),
        (4, 5, 0.0297, 240.0),
    ],
    "plants": [
        ("Alta", 1, 40.0, 14.0),
        ("Park City", 1, 170.0, 15.0),
        ("Solitude", 3, 520.0, 30.0),
        ("Sundance", 4, 200.0, 40.0),
        ("Brighton", 5, 600.0, 10.0),
    ],
    "loads": [(2, 300.0), (3, 300.0), (4, 400.0)],
}
THREE_BUS = {
    "kv": 100.0,
    "source": 1,
    "lines": [(1, 2, 0.2, 126.0), (1, 3, 0.2, 250.0), (2, 3, 0.1, 130.0)],
    "plants": [("A", 1, 140.0, 7.5), ("B", 1, 285.0, 6.0), ("C", 2, 90.0, 14.0), ("D", 3, 85.0, 10.0)],
    "loads": [(1, 50.0), (2, 60.0), (3, 300.0)],
}


def small(data: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Tables of one of the small cases: reactances per unit on 100 MVA, powers in MW, costs per MWh."""
    buses = sorted({end for line in data["lines"] for end in line[:2]})
    lines = [
        (f"line {a}-{b}", a, b, 0.0, x, 1.0, np.inf if limit is None else limit) for a, b, x, limit in data["lines"]
    ]
    plants = [(name, bus, mw, cost, 0.0) for name, bus, mw, cost in data["plants"]]
    loads = [(f"load {bus}", bus, mw) for bus, mw in data["loads"]]
    times = pd.date_range(START, periods=2, freq="1h")
    profiles = pd.DataFrame({"time": times, "one": 1.0})
    return tables(buses, data["source"], data["kv"], lines, plants, loads, profiles, ["one"])


def ieee(number: int) -> dict[str, pd.DataFrame]:
    """Tables of an IEEE test system, ratings and load curves ours."""
    import pandapower.networks
    from pandapower.converter.pypower.to_ppc import to_ppc

    net = getattr(pandapower.networks, f"case{number}")()
    ppc = to_ppc(net, init="flat", mode="opf")
    bus, gen, branch, cost = (ppc[key] for key in ("bus", "gen", "branch", "gencost"))
    source = int(bus[bus[:, 1] == 3, 0][0]) + 1
    lines = [
        (f"branch {k}", int(a) + 1, int(b) + 1, r, x, tap or 1.0, np.inf)
        for k, (a, b, r, x, tap) in enumerate(branch[:, [0, 1, 2, 3, 8]].real.tolist(), 1)
    ]
    plants = [
        (f"plant {int(g[0]) + 1}", int(g[0]) + 1, float(g[8]), float(c[5]), 2.0 * float(c[4]))
        for g, c in zip(gen, cost, strict=True)
    ]
    loads = [(f"load {int(i) + 1}", int(i) + 1, float(mw)) for i, mw in bus[:, [0, 2]] if mw > 0]
    given = (sorted((bus[:, 0] + 1).astype(int).tolist()), source, 138.0)
    flat = pd.DataFrame({"time": pd.date_range(START, periods=2, freq="30min"), "one": 1.0})
    ratings = ratings_mw(tables(*given, lines, plants, loads, flat, ["one"]))
    rated = [(*line[:6], mw) for line, mw in zip(lines, ratings, strict=True)]
    return tables(*given, rated, plants, loads, load_curves(number), ["early", "day", "late"])


def ratings_mw(unrated: dict[str, pd.DataFrame]) -> list[float]:
    """Ratings from the flows of the least-cost dispatch at nominal load without limits, in full MW."""
    case = ao.from_tables(name="unrated", meshed=True, **unrated)
    run = ao.simulate(case, LMP(source_price=None), network=ao.DCFlow, steps=1)
    p, q = case.bus_injections(0.0, run.allocation.import_kw[0], run.allocation.export_kw[0])
    network = ao.DCFlow(case.feeder)
    flow = np.abs(network.state(p, q).p_flow_kw) / 1e3
    named = dict(zip(case.feeder.branch_names, flow, strict=True))
    flows = np.array([named[name] for name in unrated["branches"]["name"]])
    return np.ceil(np.maximum(RATING_SHARE * flows, LEAST_RATING_SHARE * np.median(flows))).tolist()


def load_curves(seed: int) -> pd.DataFrame:
    """Three curves of a week of half-hours, mean 0.8 and peak about 1.2, with seeded noise."""
    times = pd.date_range(START, periods=48 * DAYS, freq="30min")
    hour = (times.hour + times.minute / 60.0).to_numpy(float)
    rng, curves = np.random.default_rng(seed), {}
    for name, peak in (("early", 8.0), ("day", 13.0), ("late", 19.0)):
        shape = 0.68 + 0.45 * np.exp(-(((hour - peak) / 3.0) ** 2))
        curves[name] = (shape * (1.0 + 0.05 * rng.standard_normal(len(times)))).round(4)
    return pd.DataFrame({"time": times, "one": 1.0, **curves})


def tables(
    numbers: Sequence[int],
    source: int,
    kv: float,
    lines: Sequence[tuple[str, int, int, float, float, float, float]],
    plants: Sequence[tuple[str, int, float, float, float]],
    loads: Sequence[tuple[str, int, float]],
    profiles: pd.DataFrame,
    curves: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Tables of a case folder: loads are requests, plants are offers."""
    z = kv**2 / BASE_MVA
    buses = pd.DataFrame({"name": [f"bus {i}" for i in numbers], "vn_kv": kv, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["tier"] = "MV"
    buses["v_source_pu"] = np.where(np.array(numbers) == source, 1.0, np.nan)
    branches = pd.DataFrame(
        [
            {
                "name": name,
                "from_bus": f"bus {a}",
                "to_bus": f"bus {b}",
                "kind": "line" if tap == 1.0 else "transformer",
                "r_ohm": round(r * z, 9),
                "x_ohm": round(x * z, 9),
                "tap": round(tap, 9),
                "rating_kva": 1e3 * mw if np.isfinite(mw) else np.nan,
            }
            for name, a, b, r, x, tap, mw in lines
        ]
    )
    people = pd.DataFrame(
        [
            *({"name": n, "bus": f"bus {i}", "import_value": VALUE} for n, i, _ in loads),
            *(
                {
                    "name": n,
                    "bus": f"bus {i}",
                    "export_offer": round(c / 1e3, 9),
                    "export_offer_slope": round(k / 1e6, 12),
                }
                for n, i, _, c, k in plants
            ),
        ]
    )
    people["export_offer_slope"] = people["export_offer_slope"].fillna(0.0)
    terms = [(n, "import", curves[k % len(curves)], round(1e3 * mw, 3)) for k, (n, _, mw) in enumerate(loads)]
    terms += [(n, "export", "one", 1e3 * mw) for n, _, mw, _, _ in plants]
    series = pd.DataFrame(terms, columns=["participant", "quantity", "profile", "scale_kw"])
    return {"buses": buses, "branches": branches, "participants": people, "profiles": profiles, "series": series}


CASES: dict[str, tuple[str, str, str]] = {
    "pjm5": ("PJM 5-bus system: five plants, three loads, two limited lines", "Apache-2.0", ""),
    "three_bus": ("Three buses in a triangle: a textbook case of congestion", "Apache-2.0", ""),
    **{
        f"ieee{n}": (
            f"IEEE {n}-bus test system, a week of half-hours; ratings and load curves are ours",
            "BSD-3-Clause",
            "pandapower 3.5.6, https://www.pandapower.org, BSD-3-Clause; modified, see LICENSE-DATA.md",
        )
        for n in (14, 57, 118)
    },
}
SMALL = {"pjm5": PJM5, "three_bus": THREE_BUS}


def main() -> None:
    """Write all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    for name, (title, licence, attribution) in CASES.items():
        made = small(SMALL[name]) if name in SMALL else ieee(int(name.removeprefix("ieee")))
        ao.from_tables(name=name, meshed=True, **made)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in made.items():
            rows.to_csv(folder / f"{table}.csv", index=False)
        texts = {"name": name, "title": title, "licence": licence, "attribution": attribution}
        lines = [f"{key} = {json.dumps(text)}" for key, text in texts.items() if text]
        minutes = int((made["profiles"]["time"].diff().iloc[1]).total_seconds() // 60)
        lines += [f"step_minutes = {minutes}", f"steps = {len(made['profiles'])}", "meshed = true", ""]
        (folder / "case.toml").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
