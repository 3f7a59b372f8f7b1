"""Random meshed systems with plants, must-run plants and batteries, in which lines bind; and hand-made ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.cases import Case, from_tables

BATTERY = {"battery_kwh": 40e3, "battery_kw": 15e3, "battery_efficiency": 0.95, "battery_initial": 0.5}
NONE = {"must_run_kw": 0.0, "battery_kwh": 0.0, "battery_kw": 0.0, "battery_efficiency": 0.95, "battery_initial": 0.5}


def random_system(seed: int, n_bus: int = 4, steps: int = 12, batteries: int = 2, load: float = 1.0) -> Case:
    """A load at every bus; a plant more than buses, cheap ones varying, the second cheapest kind must run."""
    rng = np.random.default_rng(seed)
    buses, t = [f"b{i}" for i in range(n_bus)], np.arange(steps)
    links = [(int(rng.integers(0, i)), i) for i in range(1, n_bus)]
    links += [pair for pair in [(0, n_bus - 1), (1, n_bus - 1)] if pair not in links]
    people, series, profiles = [], [], {}
    for i, bus in enumerate(buses):
        profiles[f"load{i}"] = 0.8 + 0.4 * np.sin(2 * np.pi * (t / steps - 0.3)) + rng.uniform(-0.1, 0.1, steps)
        people.append({"name": f"load{i}", "bus": bus})
        series.append((f"load{i}", "import", f"load{i}", load * rng.uniform(10e3, 50e3)))
    for g in range(n_bus + 1):
        size, kind = rng.uniform(20e3, 60e3), int(rng.integers(3))
        profiles[f"plant{g}"] = rng.uniform(0.2, 1.0, steps) if kind == 0 else np.ones(steps)
        offer = (0.0, 0.012, 0.09)[kind] + rng.uniform(0.0, 0.01)
        own = {"export_offer": round(offer, 5), "must_run_kw": 0.5 * size if kind == 1 else 0.0}
        people.append({"name": f"plant{g}", "bus": buses[rng.integers(n_bus)], **own})
        series.append((f"plant{g}", "export", f"plant{g}", size))
    stores = [f"battery{b}" for b in range(batteries)]
    people += [{"name": b, "bus": buses[rng.integers(n_bus)], "export_offer": 0.07, **BATTERY} for b in stores]
    profiles["x_ohm"], profiles["rating_kva"] = rng.uniform(5, 30, len(links)), rng.uniform(8e3, 40e3, len(links))
    lines = [(f"line{k}", buses[a], buses[b]) for k, (a, b) in enumerate(links)]
    return system(lines, profiles.pop("x_ohm"), profiles.pop("rating_kva"), people, series, profiles)


def system(lines: list, x_ohm, rating_kva, people: list, series: list, profiles: dict) -> Case:  # type: ignore[no-untyped-def, type-arg]
    """A case of lines (name, from, to), participants and series (participant, quantity, profile, kW), half-hours."""
    table = pd.DataFrame(lines, columns=["name", "from_bus", "to_bus"])
    names = list(dict.fromkeys([*table["from_bus"], *table["to_bus"]]))
    buses = pd.DataFrame({"name": names, "vn_kv": 220.0, "v_min_pu": 0.9, "v_max_pu": 1.1, "tier": "MV"})
    buses["v_source_pu"] = [1.0] + [np.nan] * (len(names) - 1)
    steps = len(next(iter(profiles.values())))
    return from_tables(
        name="system",
        buses=buses,
        branches=table.assign(r_ohm=0.0, x_ohm=x_ohm, rating_kva=rating_kva),
        participants=pd.DataFrame(people).fillna(NONE).assign(connection_import_kw=1e9, connection_export_kw=1e9),
        profiles=pd.DataFrame(profiles, index=pd.date_range("2030-01-07", periods=steps, freq="30min")),
        series=pd.DataFrame(series, columns=["participant", "quantity", "profile", "scale_kw"]),
        meshed=True,
    )
