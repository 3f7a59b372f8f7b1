"""Networks that pandapower, SimBench and MATPOWER bring, and how one is imported and held against a power flow."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as built_in
import pandas as pd

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.importers.matpower.text import evaluated
from amm_opt.importers.pandapower.net import NetTables

PLAIN = [
    "case33bw",
    "create_cigre_network_hv",
    "create_cigre_network_lv",
    "create_dickert_lv_network",
    "create_kerber_dorfnetz",
    "create_kerber_landnetz_freileitung_1",
    "create_kerber_landnetz_freileitung_2",
    "create_kerber_landnetz_kabel_1",
    "create_kerber_landnetz_kabel_2",
    "create_kerber_vorstadtnetz_kabel_1",
    "create_kerber_vorstadtnetz_kabel_2",
    "example_multivoltage",
    "example_simple",
    "four_loads_with_branches_out",
    "kb_extrem_dorfnetz",
    "kb_extrem_dorfnetz_trafo",
    "kb_extrem_landnetz_freileitung",
    "kb_extrem_landnetz_freileitung_trafo",
    "kb_extrem_landnetz_kabel",
    "kb_extrem_landnetz_kabel_trafo",
    "kb_extrem_vorstadtnetz_1",
    "kb_extrem_vorstadtnetz_2",
    "kb_extrem_vorstadtnetz_trafo_1",
    "kb_extrem_vorstadtnetz_trafo_2",
    "panda_four_load_branch",
    "simple_four_bus_system",
    "simple_mv_open_ring_net",
]
"""pandapower's distribution networks that take no argument here, and its simple examples."""
CHOICES = {
    "create_cigre_network_mv": ("with_der", (False, "pv_wind", "all")),
    "create_synthetic_voltage_control_lv_network": (
        "network_class",
        ("rural_1", "rural_2", "village_1", "village_2", "suburb_1"),
    ),
    "ieee_european_lv_asymmetric": ("scenario", ("on_peak_566", "off_peak_1", "off_peak_1440")),
    "lv_schutterwald": ("include_heat_pumps", (False, True)),
    "mv_oberrhein": ("scenario", ("load", "generation")),
}
"""Those with an argument that changes the network."""
FEEDERS = [
    "4_dist",
    "10ba",
    "12da",
    "15da",
    "15nbr",
    "16am",
    "16ci",
    "17me",
    "18",
    "18nbr",
    "22",
    "28da",
    "33bw",
    "33mg",
    "34sa",
    "38si",
    "51ga",
    "51he",
    "69",
    "70da",
    "74ds",
    "85",
    "94pi",
    "118zh",
    "136ma",
    "141",
    "533mt_hi",
    "533mt_lo",
]
"""MATPOWER's distribution cases."""
SUGGESTED = re.compile(r"open_branches=(\[.*?\])(?:\n|$)")

Row = dict[str, Any]


def networks(tool: str, folder: Path | None) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of the networks of a tool, and what makes each; MATPOWER's are files in a folder."""
    if tool == "pandapower":
        for name in PLAIN:
            yield name, getattr(built_in, name)
        for name, (argument, values) in CHOICES.items():
            for value in values:
                yield f"{name}({argument}={value!r})", partial(getattr(built_in, name), **{argument: value})
    elif tool == "simbench":
        import simbench

        for code in simbench.collect_all_simbench_codes():
            yield str(code), partial(simbench.get_simbench_net, code)
    elif folder is None:
        raise SystemExit("matpower needs --folder, where its case files are (MATPOWER's data folder)")
    else:
        for name in FEEDERS:
            yield f"case{name}", partial(str, folder / f"case{name}.m")


def measured(name: str, source: Any) -> Row:
    """What becomes of one network: why it is refused, or its size and voltage errors against pandapower's power flow.

    A mesh of few loops is opened where the message says. The snapshot counts, not profiles; generators that hold a
    voltage give their power at unity power factor in both, and storage is idle in both.
    """
    read = ao.from_matpower if isinstance(source, str) else ao.from_pandapower
    net = source
    if not isinstance(source, str):
        net["profiles"] = {}
    opened: list[str] = []
    try:
        case = read(net, name=name)
    except ao.InputError as error:
        found = SUGGESTED.search(str(error))
        if not found:
            refused = {"name": name, "buses": _count(net), "refused": _short(error)}
            return _as_mesh(name, read, net) if "meshed=true" in str(error) else refused
        opened = json.loads(found[1])
        try:
            case = read(net, name=name, open_branches=opened)
        except ao.InputError as again:
            return {"name": name, "buses": _count(net), "refused": _short(again)}
    row = {"name": name, "buses": case.feeder.n_buses, "participants": case.n_participants, "opened": len(opened)}
    row |= {"batteries": int((case.participants["battery_kwh"] > 0).sum()), "phases": not case.feeder.balanced}
    try:
        truth, generators = _truth(net, opened)
    except pp.LoadflowNotConverged:
        return {**row, "no_flow": True}
    return {**row, "generators": generators, **_errors(case, truth)}


def _as_mesh(name: str, read: Callable[..., ao.Case], net: Any) -> Row:
    """As a mesh for the network model ``dc``, its flows held against ``pandapower.rundcpp`` over lines of one name.

    Where phase shifts lie between sources, those of the highest voltage are kept.
    """
    grids = net["ext_grid"]
    level = grids["bus"].map(net["bus"]["vn_kv"])
    highest = grids[level.eq(level.max())]
    try:
        try:
            case = read(net, name=name, meshed=True)
        except ao.InputError as error:
            if "keep those of one level" not in str(error):
                raise
            names = NetTables(net, name).bus
            case = read(net, name=name, meshed=True, sources=highest["bus"].map(names).tolist())
            grids = highest
    except ao.InputError as error:
        return {"name": name, "buses": _count(net), "refused": _short(error)}
    row = {"name": name, "buses": case.feeder.n_buses, "participants": case.n_participants, "opened": 0}
    row |= {"batteries": int((case.participants["battery_kwh"] > 0).sum()), "phases": False, "meshed": True}
    row["sources"] = len(grids) if len(grids) < len(net["ext_grid"]) else ""
    tables, truth, _ = _without_regulation(net, [])
    truth.ext_grid = truth.ext_grid.loc[grids.index]
    pp.rundcpp(truth)
    names = pd.Series(tables.names(truth.line, "line"), index=truth.line.index)
    theirs = truth.res_line["p_from_mw"].groupby(names).agg(["size", "sum"]).query("size == 1")["sum"].dropna()
    w, model = case.requests(0, 1), ao.DCFlow(case.feeder)
    state = model.state(*Grid(case, model).at_nodes(w, w.import_request_kw, w.export_request_kw))
    ours = pd.Series(state.p_flow_kw[0] / 1e3, index=[case.feeder.branch_names[b] for b in model.branch])
    both = pd.concat([theirs.abs(), ours.abs()], axis=1, join="inner")
    return {**row, "dc_error_mw": float((both.iloc[:, 0] - both.iloc[:, 1]).abs().max()), "dc_lines": len(both)}


def _count(net: Any) -> int:
    return 0 if isinstance(net, str) else len(net["bus"])


def _short(error: ao.InputError) -> str:
    """The first problems without the network's name."""
    text = " ".join(error.problems[:3])
    return re.sub(r"\s+", " ", text)[:200]


def _truth(net: Any, opened: list[str]) -> tuple[dict[str, float], int]:
    """Magnitudes by bus, or by bus and phase, and how many generators would hold a voltage."""
    tables, net, count = _without_regulation(net, opened)
    if len(net.asymmetric_load) or len(net.asymmetric_sgen):
        pp.runpp_3ph(net, tolerance_mva=1e-9, numba=False)
        found = {p: net.res_bus_3ph[f"vm_{p}_pu"] for p in "abc"}
        return {f"{n}.{p}": float(v[i]) for i, n in tables.bus.items() for p, v in found.items()}, count
    try:
        pp.runpp(net, tolerance_mva=1e-9, numba=False, max_iteration=30)
    except pp.LoadflowNotConverged:  # branches of almost no impedance leave a larger mismatch
        pp.runpp(net, tolerance_mva=1e-5, numba=False, max_iteration=30)
    return {n: float(net.res_bus["vm_pu"][i]) for i, n in tables.bus.items()}, count


def _without_regulation(net: Any, opened: list[str]) -> tuple[NetTables, Any, int]:
    """Tables, the net with branches open and nothing that holds a voltage or is idle, and the generators it had."""
    net = _from_matpower(net) if isinstance(net, str) else copy.deepcopy(net)
    tables = NetTables(net, "truth")
    for name in {part for given in opened for part in given.split(" + ")}:
        for kind, column in (("line", "in_service"), ("trafo", "in_service"), ("switch", "closed")):
            index = [i for i, n in zip(net[kind].index, tables.names(net[kind], kind), strict=True) if n == name]
            net[kind].loc[index, column] = False
    plants = net.gen[net.gen["in_service"] & ~net.gen["slack"].astype(bool)]
    for _, plant in plants.iterrows():
        pp.create_sgen(net, plant["bus"], plant["p_mw"], 0.0, scaling=plant["scaling"])
    net.gen = net.gen.drop(index=plants.index)
    sized = net.storage["max_e_mwh"] > net.storage["min_e_mwh"].fillna(0.0)  # others give their power as it stands
    net.storage.loc[sized, "in_service"] = False
    return tables, net, len(plants)


def _from_matpower(path: str) -> Any:
    """The same matrices as pandapower's own converter understands them."""
    from pandapower.converter.pypower.from_ppc import from_ppc

    data = evaluated(Path(path).read_text(encoding="utf-8")).data
    mpc = {key: np.array(data[key], dtype=float) for key in ("bus", "gen", "branch")}
    mpc["gen"][:, 1] = mpc["gen"][:, 8]  # plants give Pmax, as they ask for
    net = from_ppc({**mpc, "baseMVA": float(np.ravel(data["baseMVA"])[0]), "version": 2}, f_hz=50)
    net.bus["name"] = [f"bus {int(i)}" for i in mpc["bus"][:, 0]]
    return net


def _errors(case: ao.Case, truth: dict[str, float]) -> Row:
    """Largest voltage errors of the AC power flow and of the linear model, over all buses that both know."""
    w = case.requests(0, 1)
    network = ao.ACNetwork(case.feeder)
    model = (ao.LinDistFlow if case.feeder.balanced else ao.LinDist3Flow)(case.feeder)
    at = None if case.feeder.balanced else model.incidence(case.bus, case.phases)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw, at, w.inflexible_kvar)
    buses = [case.feeder.bus_names[b] for b in network.bus]
    names = buses if at is None else [f"{b}.{'abc'[k]}" for b, k in zip(buses, network.phase, strict=True)]
    known = np.array([truth.get(n, np.nan) for n in names])
    ac = np.abs(network.flow(p[0], q[0]).v_pu - known)
    linear = np.abs(model.state(p[0], q[0]).v_pu - known)
    return {
        "ac_error_pu": float(np.nanmax(ac)),
        "linear_error_pu": float(np.nanmax(linear)),
        "lowest_pu": float(np.nanmin(known)),
        "highest_pu": float(np.nanmax(known)),
    }
