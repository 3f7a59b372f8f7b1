"""Build the case folder ``mv33lv`` from the SimBench database.

    pip install -r data/requirements.txt
    pip install --no-deps simbench==1.6.3
    python data/build_mv33lv.py [--out DIR]

Only SimBench's CSV files are read; neither simbench nor pandapower is imported. With the pinned package versions the
files are the same byte for byte. data/README.md describes the tables, the scenario and its calibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from vehicles import (
    HOUSEHOLD,
    SEED,
    START,
    STEP_MINUTES,
    STEPS,
    Competition,
    Vehicles,
    competing_sessions,
    generator,
    owners,
    sessions_with_one_timer,
    spread,
)

DATABASE = "networks/1-complete_data-mixed-all-2-sw"
MV_GRID = "MV1.101"
ROOT = "MV1.101 busbar1.1"
FEEDER_HEADS = ("MV1.101 Bus 16", "MV1.101 Bus 25", "MV1.101 Bus 78")
V_SOURCE_PU, PRIVATE_V_SOURCE_PU = 1.015, 1.035

UPSTREAM, BAY = "MV1.101 upstream", "MV1.101 bay"
IMPORT_LIMIT_KW, EXPORT_LIMIT_KW = 3500, 3150

WEEK = 336
MAX_PLANT_MW = 0.03
FIRST_YEAR, LAST_YEAR = 2006, 2016
CHARGE_POINT = ("APLS_", "HLS_")
SHARED, PRIVATE = Vehicles(uptake=1.0, evening_share=0.8, mean_kwh=12.5), Vehicles(uptake=0.8)
SEEDS = (1, 2, 3, 4, 5)
FUSES_A = np.array([35, 50, 63, 80, 100, 160, 250, 400, 630, 1000, 1600])


@dataclass(frozen=True)
class Source:
    """SimBench's tables of one MV grid and its LV grids, with auxiliary nodes merged into the bus they belong to."""

    nodes: pd.DataFrame
    lines: pd.DataFrame
    transformers: pd.DataFrame
    ties: pd.DataFrame
    loads: pd.DataFrame
    plants: pd.DataFrame


def database() -> Path:
    """Folder of SimBench's CSV files inside the installed package, found without importing it."""
    spec = find_spec("simbench")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("simbench is not installed: pip install --no-deps simbench==1.6.3")
    return Path(spec.submodule_search_locations[0]) / DATABASE


def read(name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One table of the database."""
    path = database() / f"{name}.csv"
    return pd.read_csv(path, sep=";", na_values=["NULL"], usecols=columns, low_memory=False)


def merged_nodes(nodes: pd.DataFrame, switches: pd.DataFrame) -> dict[str, str]:
    """The bus that each node belongs to over closed switches; auxiliary nodes behind open switches have none."""
    auxiliary = set(nodes["id"][nodes["type"] == "auxiliary"])
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(nodes["id"])
    inner = switches["nodeA"].isin(auxiliary) | switches["nodeB"].isin(auxiliary)
    graph.add_edges_from(zip(switches["nodeA"][inner], switches["nodeB"][inner], strict=True))
    bus: dict[str, str] = {}
    for group in nx.connected_components(graph):
        buses = [n for n in group if n not in auxiliary]
        assert len(buses) <= 1, f"switches short {buses}"
        bus.update(dict.fromkeys(group, buses[0]) if buses else {})
    return bus


def source_tables() -> Source:
    """Read the MV grid with its LV grids; rows that stand for LV grids in MV-only networks (``_eq``) are left out."""
    nodes = read("Node", ["id", "type", "vmR", "vmMin", "vmMax", "subnet"])
    nodes = nodes[nodes["subnet"].str.match(rf"{MV_GRID}|LV[\d.]+$")]
    switches = read("Switch", ["id", "nodeA", "nodeB", "type", "cond"])
    switches = switches[(switches["cond"] == 1) & switches[["nodeA", "nodeB"]].isin(set(nodes["id"])).all(axis=1)]
    bus = merged_nodes(nodes, switches)

    def on_buses(table: pd.DataFrame, ends: Sequence[str]) -> pd.DataFrame:
        table = table.assign(**{end: table[end].map(bus) for end in ends})
        return table[table[list(ends)].notna().all(axis=1)]

    ties = on_buses(switches, ("nodeA", "nodeB"))
    lines = on_buses(read("Line"), ("nodeA", "nodeB")).merge(read("LineType"), left_on="type", right_on="id")
    transformers = on_buses(read("Transformer"), ("nodeHV", "nodeLV"))
    elements = [on_buses(read(name), ("node",)) for name in ("Load", "RES")]
    return Source(
        nodes=nodes[nodes["type"] != "auxiliary"],
        lines=lines[~lines["subnet"].str.endswith("_eq")],
        transformers=transformers.merge(read("TransformerType"), left_on="type", right_on="id"),
        ties=ties[ties["nodeA"] != ties["nodeB"]],
        loads=elements[0][~elements[0]["subnet"].str.endswith("_eq")],
        plants=elements[1][~elements[1]["subnet"].str.endswith("_eq")],
    )


def branch_table(source: Source) -> pd.DataFrame:
    """Lines, transformers (MV to LV; ohms on the LV side) and the busbar coupler of the whole MV grid."""
    vn = source.nodes.set_index("id")["vmR"]
    li, tr, tie = source.lines, source.transformers, source.ties
    lines = pd.DataFrame({"name": li["id_x"], "from_bus": li["nodeA"], "to_bus": li["nodeB"], "kind": "line"})
    lines["r_ohm"], lines["x_ohm"] = li["r"] * li["length"], li["x"] * li["length"]
    lines["rating_kva"] = np.sqrt(3) * li["nodeA"].map(vn) * li["iMax"] * li["loadingMax"] / 100
    z_base = tr["vmLV"] ** 2 / tr["sR"]
    r, z = tr["pCu"] / 1000 / tr["sR"], tr["vmImp"] / 100
    transformers = pd.DataFrame({"name": tr["id_x"], "from_bus": tr["nodeHV"], "to_bus": tr["nodeLV"]})
    transformers["kind"], transformers["r_ohm"] = "transformer", r * z_base
    transformers["x_ohm"] = np.sqrt(z**2 - r**2) * z_base
    transformers["rating_kva"] = 1000 * tr["sR"] * tr["loadingMax"] / 100
    transformers["tap"] = 1 + (tr["tappos"] - tr["tapNeutr"]) * tr["dVm"] / 100
    assert set(tr["tapside"]) == {"HV"}
    switches = pd.DataFrame({"name": tie["id"], "from_bus": tie["nodeA"], "to_bus": tie["nodeB"], "kind": "switch"})
    switches["r_ohm"], switches["x_ohm"] = 0.0, 0.0
    table = pd.concat([switches, lines, transformers], ignore_index=True)
    return table.assign(
        tap=table["tap"].fillna(1.0).round(6),
        r_ohm=table["r_ohm"].round(8),
        x_ohm=table["x_ohm"].round(8),
        rating_kva=table["rating_kva"].round(3),
    )


def feeder_tables(source: Source) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tree below the MV busbar that consists of the three chosen MV feeders: buses and branches.

    Above the busbar stands the bay that feeds it, a switch, so that what all feeders share is one branch.
    """
    branches = branch_table(source)
    graph = nx.Graph(zip(branches["from_bus"], branches["to_bus"], strict=True))
    tree = nx.bfs_tree(graph, ROOT)
    busbars = set(source.ties["nodeA"]) | set(source.ties["nodeB"])
    chosen = busbars.union(*({head} | nx.descendants(tree, head) for head in FEEDER_HEADS))
    nodes = source.nodes[source.nodes["id"].isin(chosen)]
    low = nodes["vmR"] < 1
    buses = pd.DataFrame({"name": nodes["id"], "vn_kv": nodes["vmR"]})
    buses["v_min_pu"], buses["v_max_pu"] = nodes["vmMin"], nodes["vmMax"]
    buses["tier"] = np.where(low, "LV", "MV")
    buses["feeder"] = nodes["subnet"].where(low, None)
    above = buses[buses["name"] == ROOT].assign(name=UPSTREAM, v_source_pu=V_SOURCE_PU)
    buses = pd.concat([above, buses.assign(v_source_pu=np.nan)], ignore_index=True)
    branches = branches[branches["from_bus"].isin(chosen) & branches["to_bus"].isin(chosen)]
    bay = {"name": BAY, "from_bus": UPSTREAM, "to_bus": ROOT, "kind": "switch", "r_ohm": 0.0, "x_ohm": 0.0, "tap": 1.0}
    branches = pd.concat([pd.DataFrame([bay]), branches], ignore_index=True)
    sizes = branches["rating_kva"][branches["kind"] == "transformer"].value_counts()
    assert (len(buses), (~low).sum(), buses["feeder"].nunique(), len(branches)) == (2102, 35, 33, 2101)
    assert sizes.to_dict() == {160.0: 15, 250.0: 14, 400.0: 4}
    return buses, branches


def connection_name(bus: str) -> str:
    """``LV1.130 Bus 7`` -> ``LV1.130-c7``."""
    return bus.replace(" Bus ", "-c").replace(" busbar", "-cb")


def elements(source: Source, buses: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loads and photovoltaic plants at the buses of the case, with the participant that owns them."""
    loads = source.loads[source.loads["node"].isin(buses["name"])]
    plants = source.plants[source.plants["node"].isin(buses["name"]) & source.plants["type"].str.startswith("PV")]
    charge, home = loads["profile"].str.startswith(CHARGE_POINT), loads["profile"].str.startswith(HOUSEHOLD)
    assert (len(loads), charge.sum(), home.sum()) == (2687, 327, 1785)
    assert round(plants["pRES"].sum(), 1) == 11.5
    loads, plants = (t.assign(participant=t["node"].map(connection_name)) for t in (loads, plants))
    loads["feeder"] = loads["node"].map(buses.set_index("name")["feeder"])
    return loads.reset_index(drop=True), plants.reset_index(drop=True)


def profile_table(loads: pd.DataFrame, plants: pd.DataFrame) -> pd.DataFrame:
    """Half-hour means of the active-power profiles in use, in the order loads, plants."""
    used = loads["profile"][~loads["profile"].str.startswith(CHARGE_POINT)]
    columns = [f"{p}_pload" for p in sorted(set(used))]
    sun = sorted(set(plants["profile"]))
    table = pd.concat([read("LoadProfile", columns)[columns], read("RESProfile", sun)[sun]], axis=1)
    assert len(table) == 2 * STEPS
    mean = table.to_numpy().reshape(STEPS, 2, -1).mean(axis=1)
    names = [c.removesuffix("_pload") for c in table.columns]
    return pd.DataFrame(np.round(mean, 4).astype(np.float32), columns=names)


def roofs(loads: pd.DataFrame, plants: pd.DataFrame) -> pd.DataFrame:
    """About as much photovoltaics as in SimBench, on many roofs instead of few large plants.

    No plant is larger than ``MAX_PLANT_MW``. Households without one get a roof of 6 to 15 kW, under the sky of a plant
    drawn at random: between 10 and 95 % of them, by LV feeder, with few feeders near the upper end.
    """
    rng = generator(SEED + 3)
    small = plants.assign(pRES=plants["pRES"].clip(upper=MAX_PLANT_MW))
    homes = loads[loads["profile"].str.startswith(HOUSEHOLD) & ~loads["participant"].isin(set(plants["participant"]))]
    homes = homes.drop_duplicates("participant")
    feeders = sorted(set(homes["feeder"]))
    feeder = homes["feeder"].map({name: i for i, name in enumerate(feeders)}).to_numpy()
    share = 0.1 + 0.85 * rng.random(len(feeders)) ** 4
    draw = rng.random((len(homes), 3))
    chosen = spread(draw[:, 0], feeder) < share[feeder]
    sky = plants["profile"].to_numpy()[(len(plants) * draw[:, 2]).astype(int)]
    more = pd.DataFrame({"participant": homes["participant"], "profile": sky, "pRES": 0.006 + 0.009 * draw[:, 1]})
    return pd.concat([small, more[chosen]], ignore_index=True)


def series_table(loads: pd.DataFrame, plants: pd.DataFrame) -> pd.DataFrame:
    """Inflexible load and available export; each household gets its own size, weeks and half-hours of shift."""
    rng = generator(SEED)
    fixed = loads[~loads["profile"].str.startswith(CHARGE_POINT)]
    home = fixed["profile"].str.startswith(HOUSEHOLD).to_numpy()
    size = np.where(home, 0.6 + 0.8 * rng.random(len(fixed)), 1.0)
    shift = WEEK * rng.integers(-2, 3, len(fixed)) + rng.integers(-1, 2, len(fixed))
    load_kw, plant_kw = 1000 * fixed["pLoad"] * size, 1000 * plants["pRES"]
    parts = [
        fixed.assign(quantity="inflexible", scale_kw=load_kw, shift_steps=np.where(home, shift, 0)),
        plants.assign(quantity="export", scale_kw=plant_kw, shift_steps=0),
    ]
    key = ["participant", "quantity", "profile", "shift_steps"]
    table = pd.concat(parts).groupby(key, sort=False)["scale_kw"].sum().round(4).reset_index()
    return table[["participant", "quantity", "profile", "scale_kw", "shift_steps"]]


def service_kw(need: pd.Series) -> np.ndarray:
    """The smallest standard three-phase service at 400 V that covers a need in kW."""
    sizes = np.floor(np.sqrt(3) * 0.4 * FUSES_A * 10) / 10
    return np.asarray(sizes[np.searchsorted(sizes, need.to_numpy())])


def participant_table(
    buses: pd.DataFrame, loads: pd.DataFrame, profiles: pd.DataFrame, series: pd.DataFrame, cars: pd.DataFrame
) -> pd.DataFrame:
    """One participant per bus with a load or a plant.

    Its connection covers the most it can ask for at once: by a standard service for import, and for export by the
    contracted feed-in, which is the highest output of its plants in the year.
    """
    bus = buses["name"][buses["name"].map(connection_name).isin(series["participant"])]
    table = pd.DataFrame({"name": bus.map(connection_name), "bus": bus})
    fixed = loads[~loads["profile"].str.startswith(CHARGE_POINT)].groupby("participant")[["pLoad", "qLoad"]].sum()
    factor = (fixed["pLoad"] / np.hypot(fixed["pLoad"], fixed["qLoad"])).clip(0.1, 1.0).round(3)
    table["power_factor"] = table["name"].map(factor).fillna(1.0)
    peak = series["scale_kw"] * series["profile"].map(profiles.max().astype(float))
    load, output = (
        table["name"].map(peak[series["quantity"] == q].groupby(series["participant"]).sum()).fillna(0.0)
        for q in ("inflexible", "export")
    )
    charge = table["name"].map(cars.groupby("participant")["power_kw"].sum()).fillna(0.0)
    table["connection_import_kw"] = service_kw(load + charge)
    table["connection_export_kw"] = np.ceil(output)
    table["connected"] = table["name"].map(year_connected(buses))
    return table.reset_index(drop=True)


def year_connected(buses: pd.DataFrame) -> pd.Series:
    """The year in which each place's flexible device was connected, drawn so that every year brings more than the last.

    SimBench has no dates. The years are of places, not of what stands there: a variant with other devices has the same.
    """
    places = sorted(buses["name"].map(connection_name))
    span = LAST_YEAR + 1 - FIRST_YEAR
    years = FIRST_YEAR + np.floor(span * np.sqrt(generator(SEED + 4).random(len(places))))
    return pd.Series(years.astype(int), index=places)


def build() -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, pd.DataFrame]]]:
    """Every table of the case folder, and of its variants those that differ."""
    source = source_tables()
    buses, branches = feeder_tables(source)
    loads, plants = elements(source, buses)
    profiles = profile_table(loads, plants)
    series, other_series = series_table(loads, roofs(loads, plants)), series_table(loads, plants)
    cars, fewer = owners(loads, SHARED), owners(loads, PRIVATE)
    sessions = {seed: competing_sessions(cars, SHARED, Competition(), seed) for seed in SEEDS}
    people = participant_table(buses, loads, profiles, series, cars)
    other_people = participant_table(buses, loads, profiles, other_series, fewer)
    variants = {f"seed/{seed}": {"sessions": sessions[seed]} for seed in SEEDS[1:]}
    variants["scenario/private"] = {
        "buses": buses.assign(v_source_pu=buses["v_source_pu"].where(buses["name"] != UPSTREAM, PRIVATE_V_SOURCE_PU)),
        "participants": other_people,
        "series": other_series,
        "sessions": sessions_with_one_timer(fewer, PRIVATE),
    }
    profiles.insert(0, "time", pd.date_range(START, periods=STEPS, freq=f"{STEP_MINUTES}min", unit="ms"))
    tables = {
        "buses": buses,
        "branches": branches,
        "participants": people,
        "profiles": profiles,
        "series": series,
        "sessions": sessions[SEEDS[0]],
    }
    return tables, variants


def case_toml() -> str:
    """The settings of the case folder."""
    return f'''name = "mv33lv"
title = "Rural MV network with 33 LV feeders (SimBench 1-MVLV-rural-all-2-sw), one year of half-hours"
licence = "ODbL-1.0"
attribution = "SimBench database, https://simbench.net, ODbL 1.0 and DbCL 1.0; extracted and modified, see \
LICENSE-DATA.md"
step_minutes = {STEP_MINUTES}
steps = {STEPS}
timezone = "Etc/GMT-1"

[scenario]
description = "every household charges vehicles at home, by timers of {len(Competition().timers)} retailers, on \
arrival or by day; the bay upstream is limited by contract"

[scenario.limits."{BAY}"]
import_limit_kw = {IMPORT_LIMIT_KW}
export_limit_kw = {EXPORT_LIMIT_KW}
'''


VARIANT_TOML = {
    "seed/1": "# The sessions of the folder itself.\n",
    "scenario/private": f'''title = "Rural MV network with 33 LV feeders, limited by their own transformers, one year"

[scenario]
description = "{PRIVATE.uptake:.0%} of households charge a vehicle at home, {PRIVATE.timer_share:.0%} of these by a \
timer at 23:00; no limit upstream"
''',
}


def write(tables: dict[str, pd.DataFrame], toml: str, folder: Path) -> None:
    """Write a case folder or a variant: profiles and sessions as parquet, the rest as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    if toml:
        (folder / "case.toml").write_text(toml, encoding="utf-8", newline="\n")
    for name, table in tables.items():
        if name in ("profiles", "sessions"):
            content = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            path = folder / f"{name}.parquet"
            texts = [c for c in table if not pd.api.types.is_datetime64_any_dtype(table[c])]
            times = {c: "DELTA_BINARY_PACKED" for c in table if c not in texts} if name == "sessions" else None
            pq.write_table(
                content,
                path,
                compression="zstd",
                compression_level=19,
                row_group_size=len(table),
                use_dictionary=texts if times else True,
                column_encoding=times,
            )
        else:
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the case folder mv33lv from the installed SimBench database.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "mv33lv", help="folder to write")
    folder = parser.parse_args().out
    tables, variants = build()
    write(tables, case_toml(), folder)
    for name in {**variants, **VARIANT_TOML}:
        write(variants.get(name, {}), VARIANT_TOML.get(name, ""), folder / "variants" / name)


if __name__ == "__main__":
    main()
