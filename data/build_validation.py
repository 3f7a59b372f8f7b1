"""Builds tests/data/validation: folders of feeders with voltages of another tool at two loads.

pip install 'amm-opt[ac,simbench,opendss]'
python data/build_validation.py

Every folder has tables of a case folder (``buses.csv``, ``branches.csv``), what is injected at each bus and phase at
two loads (``injections.csv``), voltages there (``voltages.csv``), and ``meta.json`` with their source and what error
each model may have, and why. tests/network/ac/test_validation.py runs every folder that it finds.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opendssdirect as dss
import pandapower as pp
import pandas as pd

import amm_opt as ao

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "validation"
LOADS = {"light": (0.2, 1.0), "heavy": (1.0, 0.0)}
"""Factors on loads and on plants."""
CABLE = {"r_ohm_per_km": 0.206, "x_ohm_per_km": 0.08, "c_nf_per_km": 260.0, "max_i_ka": 0.27}
OVERHEAD = {"r_ohm_per_km": 0.41, "x_ohm_per_km": 0.36, "c_nf_per_km": 9.7, "max_i_ka": 0.24}
ZERO = {"r0_ohm_per_km": 0.82, "x0_ohm_per_km": 0.3, "c0_nf_per_km": 260.0}
UNIT = {"sn_mva": 0.4, "vn_hv_kv": 20.0, "vn_lv_kv": 0.4, "vk_percent": 4.0, "vkr_percent": 1.2, "pfe_kw": 0.9}
UNIT |= {"i0_percent": 0.25, "shift_degree": 150.0, "tap_side": "hv", "tap_neutral": 0, "tap_step_percent": 2.5}
UNIT |= {"tap_changer_type": "Ratio", "tap_min": -2, "tap_max": 2}

AC = "power-grid-model solves the same equations to 1e-9 pu"
SWEEPS = "our sweeps solve the same equations"
LOSSLESS = (
    "without losses the model carries less power than the network: about half the share of losses in the voltage drop"
)
ESTIMATED = "losses estimated from the linear flows, twice over"
UNBALANCED = (
    "losses estimated from the linear flows; what is left is the unbalance of voltages across mutual impedances"
)
NO_ROWS = "dc has no voltages"


def street(phases: bool) -> Any:
    """Twelve houses on two LV cables behind one transformer; on phases each house on one of them."""
    net, zero = pp.create_empty_network(), ZERO if phases else {}
    top = pp.create_bus(net, 20.0, name="mv")
    pp.create_ext_grid(net, top, vm_pu=1.02, s_sc_max_mva=1e9, rx_max=0.1, x0x_max=1.0, r0x0_max=0.1)
    bar = pp.create_bus(net, 0.4, name="busbar")
    more = {"vector_group": "Dyn", "vk0_percent": 3.8, "vkr0_percent": 1.2, "mag0_percent": 100.0, "mag0_rx": 0.0}
    more |= {"si0_hv_partial": 0.9}
    pp.create_transformer_from_parameters(net, top, bar, **UNIT, **(more if phases else {}), tap_pos=-1)
    for side, houses in (("east", 7), ("west", 5)):
        last = bar
        for k in range(1, houses + 1):
            here = pp.create_bus(net, 0.4, name=f"{side} {k}")
            pp.create_line_from_parameters(net, last, here, 0.06, name=f"to {side} {k}", **CABLE, **zero)
            last, kw = here, 4.0 + k
            if phases:
                p = {f"p_{'abc'[k * k % 3]}_mw": kw / 1e3, f"q_{'abc'[k * k % 3]}_mvar": 0.3 * kw / 1e3}
                pp.create_asymmetric_load(net, here, **p)
                if k % 2:
                    pp.create_asymmetric_sgen(net, here, **{f"p_{'abc'[k % 3]}_mw": 0.006})
            else:
                pp.create_load(net, here, 2.5 * kw / 1e3, 0.7 * kw / 1e3)
                if k % 2:
                    pp.create_sgen(net, here, 0.018)
    return net


def village() -> Any:
    """An overhead MV line of 16 km with a lateral, charging, a capacitor, a closed switch and two LV busbars."""
    net = pp.create_empty_network()
    last = pp.create_bus(net, 20.0, name="substation")
    pp.create_ext_grid(net, last, vm_pu=1.03)
    stations = []
    for k in range(1, 9):
        here = pp.create_bus(net, 20.0, name=f"station {k}")
        pp.create_line_from_parameters(net, last if k != 6 else stations[2], here, 2.0, name=f"line {k}", **OVERHEAD)
        pp.create_load(net, here, 0.25 + 0.05 * k, 0.1)
        stations.append(here)
        last = here
    behind = pp.create_bus(net, 20.0, name="behind switch")
    pp.create_switch(net, stations[4], behind, et="b", z_ohm=0.1, name="recloser")
    pp.create_load(net, behind, 0.3, 0.12)
    pp.create_sgen(net, behind, 2.5)
    pp.create_shunt(net, stations[4], q_mvar=-0.4)
    for k, tap in ((2, 1), (7, -2)):
        low = pp.create_bus(net, 0.4, name=f"low {k}")
        pp.create_transformer_from_parameters(net, stations[k - 1], low, **UNIT, tap_pos=tap, name=f"transformer {k}")
        pp.create_load(net, low, 0.22, 0.06)
        pp.create_sgen(net, low, 0.25)
    return net


def scaled(net: Any, load: float, plant: float) -> Any:
    """The net at other loads and plants."""
    for kind, factor in (("load", load), ("asymmetric_load", load), ("sgen", plant), ("asymmetric_sgen", plant)):
        net[kind]["scaling"] = factor
    return net


def by_pandapower(make: Callable[[], Any]) -> tuple[ao.Case, pd.DataFrame, pd.DataFrame]:
    """The case, and tables of injections and voltages by bus and phase, columns by load."""
    injected, seen = {}, {}
    for name, factors in LOADS.items():
        net = scaled(make(), *factors)
        case = ao.from_pandapower(net)
        w = case.requests(0, 1)
        at, labels = nodes(case.feeder, case.bus, case.phases)
        p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw, at)
        injected |= {f"{name}_kw": p[0], f"{name}_kvar": q[0]}
        if case.feeder.balanced:
            pp.runpp(net, tolerance_mva=1e-10, numba=False)
            found = {(n, "pos"): v for n, v in zip(net.bus["name"], net.res_bus["vm_pu"], strict=True)}
        else:
            pp.runpp_3ph(net, tolerance_mva=1e-10, numba=False)
            table = net.res_bus_3ph
            found = {(n, k): table[f"vm_{k}_pu"][i] for i, n in net.bus["name"].items() for k in "abc"}
        seen[f"{name}_pu"] = [found[key] for key in labels]
    keys = pd.DataFrame(labels, columns=["bus", "phase"])
    return case, keys.assign(**injected), keys.assign(**seen)


def by_opendss(path: Path) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """The same of a file in OpenDSS's language, loads at constant power and controls off."""
    network = ao.from_opendss(path)
    people, injected, seen = network.customers, {}, {}
    bus = np.array([network.feeder.bus_index[b] for b in people["bus"]])
    at, labels = nodes(network.feeder, bus, tuple(people["phases"]))
    kv = network.buses.set_index("name")["vn_kv"]
    for name, factor in (("light", 0.4), ("heavy", 1.0)):
        injected |= {f"{name}_{u}": -factor * (at @ people[u].to_numpy(float)) for u in ("kw", "kvar")}
        dss.Basic.ClearAll()
        lines = [line for line in path.read_text().splitlines() if line.strip() and line.split()[0] != "solve"]
        more = ["batchedit load..* model=1 vminpu=0.5 vmaxpu=2", f"set loadmult={factor}", "set controlmode=off"]
        for line in (*lines, *more, "set maxiterations=500", "set tolerance=1e-9", "solve"):
            dss.Text.Command(line)
        flat = np.array(dss.Circuit.AllBusVolts())
        volts = dict(zip(dss.Circuit.AllNodeNames(), np.abs(flat[::2] + 1j * flat[1::2]), strict=True))
        node = [f"{b.lower()}.{'abc'.index(k) + 1}" for b, k in labels]
        seen[f"{name}_pu"] = [volts[n] * 3**0.5 / kv[b] / 1000 for n, (b, _) in zip(node, labels, strict=True)]
    keys = pd.DataFrame(labels, columns=["bus", "phase"])
    return network, keys.assign(**injected), keys.assign(**seen)


def nodes(feeder: ao.Feeder, bus: Any, phases: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Shares of people at nodes, and the bus and phase of each node."""
    if feeder.balanced:
        return ao.LinDistFlow(feeder).incidence(bus, phases), [(b, "pos") for b in feeder.bus_names]
    model = ao.LinDist3Flow(feeder)
    labels = [(feeder.bus_names[b], "abc"[k]) for b, k in zip(model.bus, model.phase, strict=True)]
    return model.incidence(bus, phases), labels


def write(name: str, made: tuple[Any, pd.DataFrame, pd.DataFrame], meta: dict[str, Any]) -> None:
    """One folder."""
    network, injections, voltages = made
    here = FOLDER / name
    here.mkdir(parents=True, exist_ok=True)
    if isinstance(network, ao.Case):
        buses, branches = (network.tables()[k] for k in ("buses", "branches"))
    else:
        buses, branches = network.buses, network.branches
    for label, table in (("buses", buses), ("branches", branches)):
        table.dropna(axis=1, how="all").to_csv(here / f"{label}.csv", index=False)
    injections.to_csv(here / "injections.csv", index=False, float_format="%.9g")
    voltages.to_csv(here / "voltages.csv", index=False, float_format="%.9f")
    (here / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def meta(title: str, source: str, **models: tuple[float | None, str]) -> dict[str, Any]:
    """What stands beside the tables: tolerated errors in pu, none where a model refuses the feeder."""
    stated = {name: {"tolerance_pu": value, "why": why} for name, (value, why) in models.items()}
    return {"title": title, "licence": "Apache-2.0, as this project", "voltages": source, "models": stated}


def main() -> None:
    """All folders."""
    warnings.simplefilter("ignore")
    judge = f"pandapower {pp.__version__}, runpp"
    other = "takes balanced feeders"
    for name, make, title, lossy in (
        ("street", lambda: street(False), "Twelve houses on two LV cables", 1e-5),
        ("village", village, "An overhead MV line of 16 km with charging, a capacitor and two LV busbars", 2e-6),
    ):
        models = {
            "ac": (1e-6, AC),
            "socp": (1e-6, "the branch flow equations themselves"),
            "lindistflow": (0.004, LOSSLESS),
        }
        models |= {
            "certified": (1e-6, "its state is that of the branch flow equations"),
            "lindist3flow": (None, "takes named phases"),
            "dc": (None, NO_ROWS),
            "lossy": (lossy, ESTIMATED),
        }
        write(name, by_pandapower(make), meta(title, judge, **models))
    refused = dict.fromkeys(("lindistflow", "socp", "certified", "dc"), (None, other))
    models = {"ac": (1e-6, AC), "sweeps": (1e-6, SWEEPS), "lindist3flow": (0.01, LOSSLESS), **refused}
    models["lossy"] = (0.004, UNBALANCED)
    source = f"{judge}_3ph, behind a stiff source"
    write(
        "street_on_phases",
        by_pandapower(lambda: street(True)),
        meta("Twelve houses on one phase each", source, **models),
    )
    shares = "loads between two phases have shares of their own at every load; the importer takes those at full load"
    models = {"ac": (None, "power-grid-model has one tap per transformer"), "sweeps": (0.002, shares), **refused}
    models |= {"lindist3flow": (0.01, LOSSLESS), "lossy": (0.004, UNBALANCED)}
    title = "IEEE 13-node test feeder, from its published tables (tests/data/ieee13.dss), constant power"
    source = f"OpenDSS, by opendssdirect {dss.__version__}"
    write("ieee13", by_opendss(ROOT / "tests" / "data" / "ieee13.dss"), meta(title, source, **models))


if __name__ == "__main__":
    main()
