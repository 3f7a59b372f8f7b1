"""Random pandapower nets and their voltages by ``pandapower.runpp``.

``python -m tests.helpers.pandapower_truth`` writes some of them to ``tests/data/pandapower_nets.json``, and nets of one
construct each to ``tests/data/pandapower_constructs.json``, and one with its voltages at every step of its profiles to
``tests/data/pandapower_profiles.json`` (pandapower 3.5.6), for machines without pandapower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import amm_opt as ao

NAN = float("nan")
STORED = Path(__file__).parents[1] / "data" / "pandapower_nets.json"
CONSTRUCTS = STORED.with_name("pandapower_constructs.json")
PROFILED = STORED.with_name("pandapower_profiles.json")
KINDS = ("bus", "ext_grid", "gen", "line", "trafo", "trafo3w", "impedance", "switch", "load", "sgen", "shunt", "ward")
KINDS += ("asymmetric_load", "asymmetric_sgen", "storage")


class _Draw:
    """Random numbers for one net, and its lines."""

    def __init__(self, pp: Any, seed: int) -> None:
        self.pp, self.rng = pp, np.random.default_rng(seed)
        self.net = pp.create_empty_network(f_hz=float(self.rng.choice([50.0, 60.0])))

    def pick(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def number(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def line(self, start: int, kv: float) -> int:
        """A line to a new bus, at times with a cable that hangs at one end."""
        pp, net, pick, number = self.pp, self.net, self.pick, self.number
        stop = pp.create_bus(net, kv)
        r, x = (number(0.1, 0.5), number(0.05, 0.4)) if kv < 1 else (number(0.1, 0.3), number(0.1, 0.4))
        c, g = (number(100, 400), number(0, 5)) if kv > 1 else (number(100, 900), number(0, 50))
        ends = pick((start, stop), (stop, start))
        km = number(0.02, 0.15) if kv < 1 else number(0.5, 4)
        pp.create_line_from_parameters(
            net, *ends, km, r, x, c, pick(0.2, NAN), g_us_per_km=g, parallel=int(pick(1, 2)), df=pick(1.0, 0.8)
        )
        if self.rng.random() < 0.3:
            far = pp.create_bus(net, kv, in_service=bool(self.rng.random() < 0.5))
            hanging = pp.create_line_from_parameters(net, *pick((start, far), (far, start)), 5 * km, r, x, 30 * c, 0.2)
            pp.create_switch(net, far, hanging, et="l", closed=False)
        return int(stop)

    def transformer(self, high: list[int]) -> int:
        """One or two tap changers of any kind, to a new bus."""
        pp, net, pick, number, rng = self.pp, self.net, self.pick, self.number, self.rng
        low = pp.create_bus(net, 0.4)
        tap2 = {}
        if rng.random() < 0.5:
            tap2 = {f"tap2_{k}": v for k, v in {
                "side": pick("hv", "lv"), "neutral": 0, "pos": int(rng.integers(-1, 2)), "step_percent": number(0.5, 2),
                "step_degree": 0.0, "min": -2, "max": 2, "changer_type": pick("Ratio", "Symmetrical", "Ideal", None),
            }.items()}  # fmt: skip
            if tap2["tap2_changer_type"] == "Ideal":
                tap2 |= {"tap2_step_percent": NAN, "tap2_step_degree": 5.0}
        kind = pick("Ratio", "Symmetrical", "Ideal", None)
        step = (NAN, 5.0) if kind == "Ideal" else (number(0.5, 2.5), pick(0.0, 90.0, 30.0) if kind == "Ratio" else 0.0)
        pp.create_transformer_from_parameters(
            net, pick(*high), low, sn_mva=pick(0.25, 0.4), vn_hv_kv=pick(20.0, 21.0), vn_lv_kv=pick(0.4, 0.42),
            vkr_percent=number(0.5, 1.5), vk_percent=number(3, 6), pfe_kw=number(0, 2), i0_percent=number(0, 2),
            shift_degree=pick(0.0, 150.0), tap_side=pick("hv", "lv"), tap_neutral=int(pick(0, 1)),
            tap_pos=int(rng.integers(-2, 3)), tap_step_percent=step[0], tap_step_degree=step[1], tap_min=-2, tap_max=2,
            tap_changer_type=kind, parallel=int(pick(1, 2)), **tap2,
        )  # fmt: skip
        return int(low)

    def idle_transformer(self, high: int) -> None:
        """Switched off at the side without load."""
        ratings = {"sn_mva": 0.4, "vn_hv_kv": 20, "vn_lv_kv": 0.4, "vkr_percent": 1, "vk_percent": 4}
        idle = self.pp.create_bus(self.net, 0.4)
        unit = self.pp.create_transformer_from_parameters(self.net, high, idle, **ratings, pfe_kw=9, i0_percent=5)
        self.pp.create_switch(self.net, idle, unit, et="t", closed=False)


def random_net(pp: Any, seed: int) -> Any:
    """A radial net of 20 kV and 0.4 kV with everything that is read."""
    draw = _Draw(pp, seed)
    net, rng, pick, number = draw.net, draw.rng, draw.pick, draw.number
    top = pp.create_bus(net, 20.0, name="top")
    pp.create_ext_grid(net, top, vm_pu=number(0.98, 1.04))
    mv, lv = [top], []
    for _ in range(int(rng.integers(1, 4))):
        mv.append(draw.line(pick(*mv), 20.0))
    if rng.random() < 0.5:
        behind = pp.create_bus(net, 20.0)
        pp.create_switch(net, mv[-1], behind, et="b", z_ohm=pick(0.0, 0.3, 1.0))
        mv.append(int(behind))
    for _ in range(int(rng.integers(1, 3))):
        lv.append(draw.transformer(mv))
        for _ in range(int(rng.integers(1, 4))):
            lv.append(draw.line(pick(*lv), 0.4))
    if rng.random() < 0.5:
        draw.idle_transformer(mv[-1])
    for _ in range(int(rng.integers(2, 8))):
        pp.create_load(net, pick(*lv, *mv), number(-0.01, 0.03), number(-0.01, 0.02), scaling=pick(1.0, 0.5))
        pp.create_sgen(net, pick(*lv), number(0, 0.02), number(-0.01, 0.01), in_service=bool(rng.random() < 0.8))
    pp.create_load(net, lv[-1], 0.0, number(-0.02, 0.02))
    at = pick(*lv, *mv)
    vn = float(net.bus.vn_kv[at]) * pick(1.0, 1.05)
    pp.create_shunt(net, at, number(-0.02, 0.02), number(0, 0.01), vn_kv=vn, step=int(pick(1, 2)))
    pp.create_ward(net, pick(*lv), number(0, 0.01), number(0, 0.01), number(0, 0.01), number(-0.01, 0.01))
    return net


def voltages(pp: Any, net: Any) -> dict[str, float]:
    """Magnitudes at the buses that have a supply, by name."""
    pp.runpp(net, tolerance_mva=1e-10, numba=False)
    names = [n if isinstance(n, str) and n else f"bus {i}" for i, n in net.bus["name"].items()]
    return {name: float(v) for name, v in zip(names, net.res_bus["vm_pu"], strict=True) if v == v}


LINE = {"r_ohm_per_km": 0.3, "x_ohm_per_km": 0.1, "c_nf_per_km": 0.0, "max_i_ka": 0.2}
UNIT = {"sn_mva": 0.4, "vn_hv_kv": 20.0, "vn_lv_kv": 0.4, "vk_percent": 4.0, "vkr_percent": 1.2, "pfe_kw": 1.0}
UNIT |= {"i0_percent": 0.3, "tap_changer_type": "Ratio", "tap_side": "hv", "tap_neutral": 0, "tap_step_percent": 2.5}
ZERO = {"r0_ohm_per_km": 1.2, "x0_ohm_per_km": 0.3, "c0_nf_per_km": 0.0}


def two_trees(pp: Any) -> Any:
    """An external grid, and a slack generator of another voltage at another tree."""
    net = pp.create_empty_network()
    for vm in (1.03, 0.99):
        top, end = pp.create_bus(net, 20.0), pp.create_bus(net, 20.0)
        if vm > 1:
            pp.create_ext_grid(net, top, vm_pu=vm)
        else:
            pp.create_gen(net, top, 0.0, vm_pu=vm, slack=True)
        pp.create_line_from_parameters(net, top, end, 5.0, **LINE)
        pp.create_load(net, end, 2.0, 0.7)
    return net


def coupled_busbars(pp: Any) -> Any:
    """Two transformers of different size between busbars that closed switches join, and two lines side by side."""
    net = pp.create_empty_network()
    high = [pp.create_bus(net, 20.0, name=f"high {k}") for k in (1, 2)]
    low = [pp.create_bus(net, 0.4, name=f"low {k}") for k in (1, 2)]
    end = pp.create_bus(net, 0.4, name="end")
    pp.create_ext_grid(net, high[0], vm_pu=1.01)
    for k, mva in enumerate((0.4, 0.25)):
        pp.create_transformer_from_parameters(net, high[k], low[k], **UNIT | {"sn_mva": mva}, tap_pos=1)
        pp.create_line_from_parameters(net, *((low[0], end) if k else (end, low[0])), 0.1 + 0.1 * k, **LINE)
    for pair in (high, low):
        pp.create_switch(net, *pair, et="b")
    pp.create_load(net, low[1], 0.15, 0.05)
    pp.create_load(net, end, 0.06, 0.02)
    return net


def three_windings(pp: Any) -> Any:
    """A tap changer at the star point, a third winding, an impedance and a switch that opens a leg of another unit."""
    net = pp.create_empty_network()
    top, mv, lv, end = (pp.create_bus(net, kv) for kv in (110.0, 20.0, 10.0, 20.0))
    spare = [pp.create_bus(net, kv) for kv in (20.0, 10.0)]
    pp.create_ext_grid(net, top, vm_pu=1.02)
    for at in ((mv, lv), spare):
        pp.create_transformer3w_from_parameters(
            net, top, *at, vn_hv_kv=112.0, vn_mv_kv=21.0, vn_lv_kv=10.5, sn_hv_mva=40.0, sn_mv_mva=25.0, sn_lv_mva=15.0,
            vk_hv_percent=10.0, vk_mv_percent=9.5, vk_lv_percent=11.0, vkr_hv_percent=0.3, vkr_mv_percent=0.31,
            vkr_lv_percent=0.35, pfe_kw=30.0, i0_percent=0.1, shift_mv_degree=30.0, tap_side="mv", tap_neutral=0,
            tap_pos=-3, tap_step_percent=1.5, tap_step_degree=0.0, tap_at_star_point=True, tap_changer_type="Ratio",
        )  # fmt: skip
    pp.create_switch(net, spare[0], 1, et="t3", closed=False)
    pp.create_impedance(net, mv, end, 0.01, 0.02, 10.0, bf_pu=0.002, bt_pu=0.001)
    pp.create_load(net, end, 8.0, 2.0)
    pp.create_load(net, lv, 9.0, 3.0)
    pp.create_load(net, spare[1], 1.0, 0.1)
    return net


def single_phases(pp: Any) -> Any:
    """Phase loads and a roof behind transformers of both clocks, and beside them at 20 kV."""
    net = pp.create_empty_network()
    top, mv = pp.create_bus(net, 20.0), pp.create_bus(net, 20.0)
    pp.create_ext_grid(net, top, vm_pu=1.02, s_sc_max_mva=1e9, rx_max=0.1, x0x_max=1.0, r0x0_max=0.1)
    pp.create_line_from_parameters(net, top, mv, 3.0, **LINE, **ZERO)
    zero = {"vector_group": "Dyn", "vk0_percent": 3.6, "vkr0_percent": 1.1, "mag0_percent": 40.0, "mag0_rx": 0.4}
    for shift, parallel in ((150.0, 1), (210.0, 2)):
        low, end = pp.create_bus(net, 0.4), pp.create_bus(net, 0.4)
        pp.create_transformer_from_parameters(
            net, mv, low, **UNIT, **zero, si0_hv_partial=0.7, tap_pos=1, shift_degree=shift, parallel=parallel
        )
        pp.create_line_from_parameters(net, low, end, 0.15, **LINE, **ZERO, parallel=parallel)
        pp.create_asymmetric_load(net, end, p_a_mw=0.02, q_a_mvar=0.006, p_c_mw=0.01, scaling=0.9)
        pp.create_asymmetric_sgen(net, low, p_b_mw=0.012, q_b_mvar=0.003)
        pp.create_load(net, end, 0.015, 0.005)
    pp.create_asymmetric_load(net, mv, p_a_mw=0.3, p_b_mw=0.1, q_b_mvar=0.1)
    return net


BUILDERS = (two_trees, coupled_busbars, three_windings, single_phases)
"""Nets of one construct each."""


SHAPES = {
    "load": {
        "home_pload": [0.3, 1.0, 0.6, 0.1],
        "home_qload": [0.9, 0.2, -0.4, 1.1],
        "shop_pload": [0.2, 0.4, 1.0, 0.7],
        "shop_qload": [1.0, 0.1, 1.3, 0.0],
        "even_pload": [0.5, 1.0, 0.8, 0.2],
        "even_qload": [0.5, 1.0, 0.8, 0.2],
    },
    "renewables": {"roof": [0.0, 0.2, 1.0, 0.4]},
}
"""SimBench's profiles for four hours: reactive power that follows active power, and that goes its own way."""


def with_shapes(pp: Any) -> Any:
    """A small grid in SimBench's manner: loads of several shapes at one bus, one fed in, a roof, load at 20 kV."""
    net = pp.create_empty_network()
    top, mv, low, end = (pp.create_bus(net, kv) for kv in (20.0, 20.0, 0.4, 0.4))
    pp.create_ext_grid(net, top, vm_pu=1.01)
    pp.create_line_from_parameters(net, top, mv, 6.0, **LINE | {"c_nf_per_km": 200.0})
    pp.create_transformer_from_parameters(net, mv, low, **UNIT, tap_pos=1)
    pp.create_line_from_parameters(net, low, end, 0.2, **LINE)
    for bus, p, q, shape in (
        (end, 0.05, 0.03, "home"),
        (end, 0.02, 0.01, "shop"),
        (end, 0.01, 0.004, "even"),
        (low, 0.03, -0.02, "shop"),
        (low, 0.0, 0.015, "home"),
        (mv, 2.0, 0.9, "home"),
    ):
        pp.create_load(net, bus, p, q)
        net.load.loc[net.load.index[-1], "profile"] = shape
    pp.create_sgen(net, end, 0.06, 0.0)
    net.sgen["profile"] = "roof"
    return net


def at_steps(pp: Any, net: Any) -> list[dict[str, float]]:
    """Magnitudes at every step of ``SHAPES``, each power times its profile."""
    found, load, sgen = [], net.load[["p_mw", "q_mvar"]].copy(), net.sgen["p_mw"].copy()
    for step in range(4):
        of = {name: values[step] for table in SHAPES.values() for name, values in table.items()}
        net.load["p_mw"] = load["p_mw"] * (net.load["profile"] + "_pload").map(of)
        net.load["q_mvar"] = load["q_mvar"] * (net.load["profile"] + "_qload").map(of)
        net.sgen["p_mw"] = sgen * net.sgen["profile"].map(of)
        found.append(voltages(pp, net))
    net.load[["p_mw", "q_mvar"]], net.sgen["p_mw"] = load, sgen
    return found


def truth(pp: Any, net: Any) -> dict[str, float]:
    """Magnitudes by bus; by bus and phase, such as ``bus 1.a``, where loads are on single phases."""
    if len(net.asymmetric_load) == 0:
        return voltages(pp, net)
    pp.runpp_3ph(net, tolerance_mva=1e-10, numba=False)
    found = net.res_bus_3ph
    return {f"bus {i}.{p}": float(found[f"vm_{p}_pu"][i]) for i in net.bus.index for p in "abc"}


def bus_voltages(case: ao.Case, step: int = 0) -> dict[str, float]:
    """Magnitudes of the AC power flow with everything that the net draws and gives."""
    w = case.requests(step, step + 1)
    powers = w.inflexible_kw, w.import_request_kw, w.export_request_kw
    p, q = case.bus_injections(*powers, inflexible_kvar=w.inflexible_kvar)
    return dict(zip(case.feeder.bus_names, ao.ACNetwork(case.feeder).flow(p[0], q[0]).v_pu, strict=True))


def two_buses(**trafo: Any) -> dict[str, Any]:
    """20 kV - transformer of 0.4 MVA - 0.4 kV with 60 kW and 20 kvar; source at 1.02 pu."""
    unit = {"hv_bus": 0, "lv_bus": 1, "sn_mva": 0.4, "vn_hv_kv": 20.0, "vn_lv_kv": 0.4, "vk_percent": 6.0}
    unit |= {"vkr_percent": 1.4, "pfe_kw": 0.0, "i0_percent": 0.0, "parallel": 1, "in_service": True}
    return {
        "bus": pd.DataFrame({"name": ["mv", "lv"], "vn_kv": [20.0, 0.4], "in_service": True}),
        "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.02], "in_service": True}),
        "trafo": pd.DataFrame([unit | trafo]),
        "load": pd.DataFrame({"bus": [1], "p_mw": [0.06], "q_mvar": [0.02], "scaling": 1.0, "in_service": True}),
    }


def shaped() -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The stored net with its profiles, and its voltages at every step."""
    ((net, _),) = stored(PROFILED)
    times = pd.date_range("2016-01-01", periods=4, freq="h").strftime("%d.%m.%Y %H:%M")
    net["profiles"] = {kind: pd.DataFrame({"time": times, **columns}) for kind, columns in SHAPES.items()}
    return net, json.loads(PROFILED.read_text())[0]["steps"]


def stored(path: Path = STORED) -> list[tuple[dict[str, Any], dict[str, float]]]:
    """Nets as mappings of tables, and their voltages."""
    found = []
    for entry in json.loads(path.read_text()):
        tables = {
            k: pd.DataFrame(v["data"], columns=v["columns"], index=v["index"]) for k, v in entry["tables"].items()
        }
        found.append(({"f_hz": entry["f_hz"], **tables}, entry["vm_pu"]))
    return found


def _written(pp: Any, net: Any) -> dict[str, Any]:
    found = {name: round(v, 9) for name, v in truth(pp, net).items()}
    tables = {}
    for kind in [k for k in KINDS if len(net[k])]:
        table = net[kind].dropna(axis=1, how="all") if kind != "trafo" else net[kind]
        tables[kind] = json.loads(
            table.drop(columns=["geo"], errors="ignore").to_json(orient="split", double_precision=12)
        )
    return {"f_hz": net.f_hz, "tables": tables, "vm_pu": found}


if __name__ == "__main__":
    import pandapower

    made = {
        STORED: [random_net(pandapower, seed) for seed in (1, 8, 9, 28, 32)],
        CONSTRUCTS: [build(pandapower) for build in BUILDERS],
    }
    for path, nets in made.items():
        path.write_text("[\n" + ",\n".join(json.dumps(_written(pandapower, net)) for net in nets) + "\n]\n")
    moving = with_shapes(pandapower)
    steps = [{name: round(v, 9) for name, v in step.items()} for step in at_steps(pandapower, moving)]
    PROFILED.write_text(f"[\n{json.dumps(_written(pandapower, moving) | {'steps': steps})}\n]\n")
