"""Random pandapower nets and their voltages by ``pandapower.runpp``.

``python -m tests.helpers.pandapower_truth`` writes some of them to ``tests/data/pandapower_nets.json`` (pandapower
3.5.6), for machines without pandapower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAN = float("nan")
STORED = Path(__file__).parents[1] / "data" / "pandapower_nets.json"
KINDS = ("bus", "ext_grid", "line", "trafo", "switch", "load", "sgen", "shunt", "ward")


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


def stored() -> list[tuple[dict[str, Any], dict[str, float]]]:
    """Nets as mappings of tables, and their voltages."""
    found = []
    for entry in json.loads(STORED.read_text()):
        tables = {
            k: pd.DataFrame(v["data"], columns=v["columns"], index=v["index"]) for k, v in entry["tables"].items()
        }
        found.append(({"f_hz": entry["f_hz"], **tables}, entry["vm_pu"]))
    return found


def _written(pp: Any, seed: int) -> dict[str, Any]:
    net = random_net(pp, seed)
    truth = {name: round(v, 9) for name, v in voltages(pp, net).items()}
    tables = {}
    for kind in KINDS:
        table = net[kind].dropna(axis=1, how="all") if kind != "trafo" else net[kind]
        tables[kind] = json.loads(
            table.drop(columns=["geo"], errors="ignore").to_json(orient="split", double_precision=12)
        )
    return {"f_hz": net.f_hz, "tables": tables, "vm_pu": truth}


if __name__ == "__main__":
    import pandapower

    texts = [json.dumps(_written(pandapower, seed)) for seed in (1, 8, 9, 28, 32)]
    STORED.write_text("[\n" + ",\n".join(texts) + "\n]\n")
