"""Random cases of two or three LV feeders and a few intervals, balanced or on phases, in which something is scarce."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.cases import Case, from_tables

DT = 0.5
MECHANISMS = (
    "no_control",
    "equal_doe",
    "equal_doe:enrolled=requesting,per=system",
    "greedy_doe",
    "dnp",
    "dnp:per=feeder",
    "alpha_fair",
    "alpha_fair:alpha=0,weight=equal",
    "leximin",
    "leximin:per=feeder",
    "static",
    "pro_rata",
    "lifo:seed=1",
    "rotation",
    "dimming_14a",
    "curtailment_cap",
    "floored:mechanism=fet",
    "amm",
    "amm:rho=0,priority=inverse_ratio,idle=decay",
    "fet",
    "fot:window=4",
    "fuh:window=2,per=participant",
    "fot_storage:window=4",
)


def tiny_case(
    seed: int, phases: bool = False, *, steps: int = 6, sessions: bool = False, batteries: bool = False
) -> Case:
    """Six customers behind transformers that cannot carry all that is asked for.

    Args:
        phases: a feeder with phases, customers on one or three of them, instead of a balanced one.
    """
    rng = np.random.default_rng(seed)
    lv = [f"{f}{i}" for f in "AB" for i in range(2)]
    buses = pd.DataFrame({"name": ["src", "mv", *lv], "vn_kv": [10.0, 10.0] + [0.4] * 4})
    buses = buses.assign(v_min_pu=0.9, v_max_pu=1.1, feeder=[None, None, "A", "A", "B", "B"])
    buses["v_source_pu"] = [1.0] + [np.nan] * 5
    branches = pd.DataFrame(
        {
            "name": [f"to-{b}" for b in ("mv", *lv)],
            "from_bus": ["src", "mv", "A0", "mv", "B0"],
            "to_bus": ["mv", *lv],
            "kind": ["line", "transformer", "line", "transformer", "line"],
            "r_ohm": [0.5, 0.02, 0.08, 0.02, 0.08],
            "x_ohm": [0.4, 0.04, 0.02, 0.04, 0.02],
            "rating_kva": [rng.uniform(25, 40), rng.uniform(9, 16), 100.0, rng.uniform(9, 25), 100.0],
        }
    )
    people = pd.DataFrame({"name": [f"p{i}" for i in range(6)], "bus": [lv[i] for i in (0, 1, 1, 2, 3, 3)]})
    people = people.assign(connection_import_kw=40.0, connection_export_kw=40.0, power_factor=0.97)
    people["power_factor_import"] = people["power_factor_export"] = 0.99
    if phases:
        buses["phases"], branches["phases"] = "abc", "abc"
        branches["vector_group"] = ["YNyn0", "Dyn11", "YNyn0", "Dyn11", "YNyn0"]
        for column in ("r_ohm", "x_ohm"):
            branches[column] = [f"{z} | 0 {z} | 0 0 {z}" for z in branches[column]]
        people["phases"] = rng.choice(["a", "b", "c", "abc"], 6)
    if batteries:
        people = people.assign(battery_kwh=[5.0, 0, 0, 8.0, 0, 0], battery_kw=[3.0, 0, 0, 4.0, 0, 0])
        people["battery_efficiency"], people["battery_initial"] = 0.9, 0.5
    times = pd.date_range("2030-01-07", periods=steps, freq="30min")
    names = [f"{q}-{i}" for q in ("inflexible", "import", "export") for i in range(6)]
    load = rng.uniform(0, 1.5, (steps, 6))
    imports, exports = (rng.uniform(2, 9, (steps, 6)) * (rng.random((steps, 6)) < share) for share in (0.7, 0.4))
    power = np.concatenate([load, imports, exports], axis=1)
    profiles = pd.DataFrame(power, columns=names).assign(time=times)
    series = pd.DataFrame([(f"p{c.split('-')[1]}", c.split("-")[0], c, 1.0) for c in names])
    series.columns = pd.Index(["participant", "quantity", "profile", "scale_kw"])
    return from_tables(
        name=f"tiny{seed}",
        buses=buses,
        branches=branches,
        participants=people,
        profiles=profiles,
        series=series,
        sessions=_sessions(rng, times) if sessions else None,
    )


def _sessions(rng: np.random.Generator, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Two a customer, of which the second may begin before the first has ended; times are minutes, not intervals."""
    rows = []
    for i in range(6):
        for half in range(2):
            arrival = rng.integers(0, 15 * len(times)) + half * 10 * len(times)
            stay = rng.integers(10, 45 + 10 * len(times))
            power = rng.uniform(3, 9)
            begin = times[0] + pd.Timedelta(minutes=int(arrival))
            energy = rng.uniform(0.2, 1.0) * power * stay / 60
            rows.append((f"p{i}", begin, begin + pd.Timedelta(minutes=int(stay)), power, energy))
    return pd.DataFrame(rows, columns=["participant", "arrival", "departure", "power_kw", "energy_kwh"])
