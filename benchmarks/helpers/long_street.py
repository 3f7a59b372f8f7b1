"""Streets as a mapping department draws them: cables as chains of many short pieces, customers on one phase each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.synthetic.generators import charging_sessions, household_series, roof_series, year_profiles

MV = (0.32, 0.12, 0.0)
MAIN = (0.164, 0.074, 0.25)
SERVICE = (0.868, 0.077, 0.1)
"""Ohm per km of a conductor, r and x, and the share that phases have in common."""
Line = tuple[Any, ...]


def long_streets(
    customers: int = 140, pieces: int = 25, streets: int = 1, days: int = 2, seed: int = 0
) -> dict[str, Any]:
    """Tables of distribution transformers with four cables each, from a seed, as arguments of ``from_tables``.

    Vehicles and photovoltaics load cables and transformers beyond what they carry on a day in June.

    Args:
        customers: of all streets, each on one phase at the end of a service cable of its own.
        pieces: of every service cable, and of the main cable between two of them, on average.
        days: of half-hours.
    """
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    homes: list[str] = []
    source = "hv"
    for s, mine in enumerate(np.array_split(np.arange(customers), streets)):
        lines.append((source, source := f"mv{s}", "line", *_matrices(MV, 0.3), 2000.0, "YNyn0", None))
        lines += _street(f"s{s}", source, len(mine), pieces, rng)
        homes += [str(line[1]) for line in lines if line[-2] == "end" and line[-1] == f"s{s}"]
    columns = ["from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva", "vector_group", "feeder"]
    branches = pd.DataFrame([(*line[:6], line[6].replace("end", "YNyn0"), line[7]) for line in lines], columns=columns)
    branches.insert(0, "name", "to-" + branches["to_bus"])
    buses = pd.DataFrame({"name": ["hv", *branches["to_bus"]], "phases": "abc", "v_min_pu": 0.94, "v_max_pu": 1.06})
    buses["feeder"] = [None, *branches.pop("feeder")]
    buses["vn_kv"] = np.where(buses["feeder"].isna(), 11.0, 0.416)
    buses["v_source_pu"] = [1.0] + [np.nan] * len(branches)
    people = pd.DataFrame({"name": [f"c{k}" for k in range(customers)], "bus": homes})
    people["phases"] = rng.choice(list("abc"), customers)
    people["power_factor"], people["connection_import_kw"], people["connection_export_kw"] = 0.95, 23.0, 23.0
    times, shifts = pd.date_range("2030-06-03", periods=48 * days, freq="30min"), 48 * np.arange(days)
    who = people["name"].to_numpy(dtype=object)
    return {
        "name": f"streets-{customers}-{pieces}-{streets}-{seed}",
        "buses": buses,
        "branches": branches,
        "participants": people,
        "profiles": year_profiles(times, 53.5, 3, rng),
        "series": pd.concat([household_series(who, 3, 0.4, 0.4, shifts, rng), roof_series(who, 0.6, (5.0, 10.0), rng)]),
        "sessions": charging_sessions(who, times, rng),
    }


def _street(name: str, above: str, customers: int, pieces: int, rng: np.random.Generator) -> list[Line]:
    """One transformer, and customers along its cables; the last piece to each says ``end``."""
    z_base = 0.416**2 / (0.0024 * customers)
    trace = tuple(_matrix(share * z_base, 0.0) for share in (0.012, 0.04))
    lines: list[Line] = [(above, f"{name}-lv", "transformer", *trace, 0.8 * customers, "Dyn11", name)]
    heads = [f"{name}-lv"] * 4

    def cable(start: str, km: float, of: tuple[float, float, float], kva: float) -> str:
        count = int(rng.integers(max(1, pieces // 2), pieces + pieces // 2 + 1))
        for share in rng.dirichlet(np.full(count, 4.0)):
            lines.append(
                (start, start := f"{name}-{len(lines)}", "line", *_matrices(of, km * share), kva, "YNyn0", name)
            )
        return start

    for k in range(customers):
        heads[k % 4] = cable(heads[k % 4], 1.4 * float(rng.uniform(0.5, 1.5)) / customers, MAIN, 0.3 * customers)
        cable(heads[k % 4], float(rng.uniform(0.005, 0.02)), SERVICE, 23.0)
        lines[-1] = (*lines[-1][:6], "end", name)
    return lines


def _matrices(of: tuple[float, float, float], km: float) -> tuple[str, str]:
    """Lower triangles of a conductor's resistance and reactance."""
    r, x, common = of
    return _matrix(r * km, common), _matrix(x * km, common)


def _matrix(own: float, common: float) -> str:
    m = common * own
    return f"{own:.17g} | {m:.17g} {own:.17g} | {m:.17g} {m:.17g} {own:.17g}"
