"""Build the case ``national``: a made-up system in the style of Great Britain, one year of half-hours.

    pip install -r data/requirements.txt
    python data/build_national.py [--out DIR]

No number is anybody else's data. With the pinned package versions the files are the same byte for byte; data/README.md
describes the tables and the calibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from weather import STEPS, profiles

import amm_opt as ao

X_OHM_PER_KM = {400.0: 0.30, 275.0: 0.40}
R_OHM_PER_KM = {400.0: 0.028, 275.0: 0.045}
SECURED_MVA = {400.0: 1600.0, 275.0: 700.0}
"""Power per circuit that stays secure when one is lost: about two thirds of what it could carry."""
TRANSFORMER_PU, TRANSFORMER_MVA = 0.15, 1000.0

NODES = {
    # name: kV, km east, km north, north or middle or south, GW of households, business and charging (nominal)
    "Far North": (275.0, 300, 950, "north", 0.15, 0.10, 0.03),
    "Highland": (275.0, 270, 850, "north", 0.20, 0.15, 0.04),
    "Strath 275": (275.0, 300, 720, "north", 0.0, 0.0, 0.0),
    "Strath": (400.0, 300, 720, "north", 0.30, 0.25, 0.06),
    "Buchan": (400.0, 390, 800, "north", 0.35, 0.35, 0.08),
    "Clyde": (400.0, 250, 660, "north", 1.50, 1.15, 0.35),
    "Forth": (400.0, 330, 670, "north", 1.05, 0.85, 0.25),
    "Tyne": (400.0, 420, 560, "north", 1.40, 1.20, 0.35),
    "Lune": (400.0, 350, 470, "middle", 0.65, 0.55, 0.15),
    "Mersey": (400.0, 340, 390, "middle", 3.40, 2.80, 0.85),
    "Humber": (400.0, 480, 420, "middle", 2.30, 2.20, 0.60),
    "Trent": (400.0, 440, 340, "middle", 4.20, 3.50, 1.05),
    "Dee": (400.0, 270, 370, "middle", 0.50, 0.45, 0.10),
    "Severn": (400.0, 330, 190, "south", 2.60, 2.20, 0.65),
    "Broads": (400.0, 600, 310, "south", 1.80, 1.30, 0.45),
    "Thames": (400.0, 530, 180, "south", 5.00, 4.70, 1.20),
    "Solent": (400.0, 440, 110, "south", 2.30, 1.75, 0.55),
    "Tamar": (400.0, 240, 80, "south", 1.20, 0.85, 0.30),
    "Downs": (400.0, 600, 150, "south", 2.10, 1.45, 0.50),
}
SOURCE = "Trent"
LINES = [
    # ends, circuits, km
    ("Far North", "Highland", 2, 130),
    ("Highland", "Strath 275", 2, 160),
    ("Buchan", "Strath", 2, 130),
    ("Strath", "Forth", 2, 70),
    ("Strath", "Clyde", 2, 90),
    ("Clyde", "Forth", 2, 70),
    ("Clyde", "Lune", 2, 230),
    ("Forth", "Tyne", 2, 150),
    ("Tyne", "Humber", 4, 180),
    ("Tyne", "Lune", 2, 130),
    ("Lune", "Mersey", 4, 90),
    ("Mersey", "Humber", 4, 140),
    ("Mersey", "Dee", 2, 70),
    ("Mersey", "Trent", 4, 110),
    ("Humber", "Trent", 6, 110),
    ("Trent", "Broads", 2, 170),
    ("Trent", "Severn", 4, 180),
    ("Trent", "Thames", 6, 180),
    ("Broads", "Thames", 6, 150),
    ("Thames", "Downs", 4, 90),
    ("Thames", "Solent", 4, 110),
    ("Solent", "Downs", 2, 160),
    ("Severn", "Thames", 4, 190),
    ("Severn", "Solent", 2, 140),
    ("Severn", "Tamar", 2, 160),
    ("Tamar", "Solent", 2, 210),
]
TRANSFORMERS = [("Strath", "Strath 275", 3)]

PRODUCTS = {"households": 6.0, "business": 9.0, "charging": 1.5}
"""What a kWh is worth, GBP."""
OFFERS = {
    "onshore wind": 0.0,
    "offshore wind": 0.0,
    "solar": 0.0,
    "hydro": 0.005,
    "nuclear": 0.012,
    "interconnector": 0.08,
    "biomass": 0.075,
    "gas": 0.09,
    "peaker": 0.16,
    "battery": 0.07,
    "pumped storage": 0.06,
}
"""What a kWh costs, GBP. Old gas plants ask for more, see ``OLD_GAS``; links by side, see ``ABROAD``."""
OLD_GAS = {"Buchan": 0.105, "Dee": 0.095, "Solent": 0.1, "Broads": 0.1}
ABROAD = {"Tyne": ("north", 0.045), "Broads": ("east", 0.085), "Downs": ("east", 0.08), "Solent": ("east", 0.08)}
ABROAD |= {"Dee": ("west", 0.095)}
MUST_RUN = 0.6
"""Of a nuclear plant's power."""
PLANTS = {
    # GW by node
    "onshore wind": {"Far North": 1.2, "Highland": 1.0, "Strath 275": 0.6, "Buchan": 1.2, "Clyde": 3.2, "Forth": 1.4}
    | {"Tyne": 0.9, "Lune": 0.6, "Dee": 1.0, "Severn": 0.9, "Tamar": 0.4},
    "offshore wind": {"Far North": 0.8, "Buchan": 2.4, "Forth": 1.8, "Tyne": 1.4, "Humber": 6.0, "Broads": 4.8}
    | {"Lune": 2.2, "Dee": 1.4, "Downs": 1.2, "Solent": 0.4},
    "solar": {"Mersey": 1.2, "Humber": 1.4, "Trent": 3.2, "Severn": 3.2, "Broads": 3.0, "Thames": 1.6, "Solent": 2.8}
    | {"Tamar": 2.2, "Downs": 2.2},
    "hydro": {"Highland": 0.9, "Strath": 0.4},
    "nuclear": {"Forth": 1.2, "Tyne": 1.2, "Lune": 2.2, "Severn": 1.6, "Broads": 1.2},
    "interconnector": {"Tyne": 1.4, "Dee": 1.0, "Broads": 2.4, "Solent": 2.0, "Downs": 3.0},
    "biomass": {"Humber": 2.4},
    "gas": {"Buchan": 1.0, "Tyne": 0.6, "Mersey": 2.4, "Humber": 4.2, "Trent": 3.8, "Dee": 0.9, "Severn": 3.2}
    | {"Broads": 1.0, "Thames": 1.9, "Solent": 1.2, "Downs": 1.8},
    "peaker": {"Clyde": 0.4, "Mersey": 0.5, "Trent": 0.8, "Severn": 0.6, "Thames": 1.0},
}
STORES = {
    # GW and GWh by node
    "battery": {
        **{"Clyde": (0.4, 0.8), "Forth": (0.4, 0.8), "Tyne": (0.4, 0.8), "Mersey": (0.8, 1.6), "Humber": (0.6, 1.2)},
        **{"Trent": (0.8, 1.6), "Severn": (0.6, 1.2), "Broads": (0.6, 1.2), "Thames": (1.0, 2.0)},
    },
    "pumped storage": {"Highland": (0.7, 6.0), "Dee": (1.9, 10.0)},
}
EFFICIENCY = {"battery": 0.95, "pumped storage": 0.87}
COSTS = {
    # GBP per kW to build, GBP per kW and year to keep, years to earn the first back
    "onshore wind": (1400.0, 45.0, 20.0),
    "offshore wind": (2800.0, 85.0, 20.0),
    "solar": (550.0, 11.0, 20.0),
    "hydro": (3000.0, 50.0, 40.0),
    "nuclear": (6500.0, 150.0, 40.0),
    "interconnector": (900.0, 15.0, 25.0),
    "biomass": (2500.0, 90.0, 20.0),
    "gas": (800.0, 22.0, 15.0),
    "peaker": (600.0, 12.0, 15.0),
    "battery": (650.0, 15.0, 15.0),
    "pumped storage": (1500.0, 20.0, 40.0),
}
UNIT_GW = 0.4
"""A gas plant has as many units as this goes into it."""


def series_rows() -> Iterator[tuple[str, str, str, float]]:
    """Participant, quantity, profile and kW of every term."""
    for node, (_, _, _, side, *gw) in NODES.items():
        for product, size in zip(PRODUCTS, gw, strict=True):
            if size:
                zone = "_north" if side == "north" else "_south"
                yield (
                    f"{node} {product}",
                    "import",
                    product + (zone if product == "households" else ""),
                    round(1e6 * size, 3),
                )
    for kind, sizes in PLANTS.items():
        for node, size in sizes.items():
            yield f"{node} {kind}", "export", profile_of(kind, node), round(1e6 * size, 3)


def profile_of(kind: str, node: str) -> str:
    """The profile of a plant."""
    _, east, _, side, *_ = NODES[node]
    if kind == "onshore wind":
        return f"onshore_{side}"
    if kind == "offshore wind":
        return "offshore_north" if side == "north" else "offshore_east" if east > 400 else "offshore_west"
    names = {"hydro": "water", "biomass": "biomass", "peaker": "peakers"}
    if kind == "interconnector":
        return f"abroad_{ABROAD[node][0]}"
    return names.get(kind, f"sun_{side}" if kind == "solar" else f"{kind}_{node.lower()}")


def offer_of(kind: str, node: str) -> float:
    """What a plant asks for a kWh."""
    if kind == "interconnector":
        return ABROAD[node][1]
    return OLD_GAS.get(node, OFFERS[kind]) if kind == "gas" else OFFERS[kind]


def participants() -> pd.DataFrame:
    """Loads by product, plants by kind, stores."""
    people: list[dict[str, object]] = []
    for node, (_, _, _, _, *gw) in NODES.items():
        people += [
            {"name": f"{node} {p}", "bus": node, "import_value": worth}
            for (p, worth), size in zip(PRODUCTS.items(), gw, strict=True)
            if size
        ]
    for kind, sizes in PLANTS.items():
        for node, size in sizes.items():
            must = {"must_run_kw": round(MUST_RUN * 1e6 * size, 3)} if kind == "nuclear" else {}
            own = {"name": f"{node} {kind}", "bus": node, "export_offer": offer_of(kind, node)}
            people.append({**own, **must, **cost_of(kind)})
    for kind, stores in STORES.items():
        people += [
            {
                "name": f"{node} {kind}",
                "bus": node,
                "export_offer": OFFERS[kind],
                "battery_kwh": round(1e6 * size, 3),
                "battery_kw": round(1e6 * power, 3),
                "battery_efficiency": EFFICIENCY[kind],
                **cost_of(kind),
            }
            for node, (power, size) in stores.items()
        ]
    nothing = {"must_run_kw": 0.0, "battery_kwh": 0.0, "battery_kw": 0.0, "battery_efficiency": 0.95}
    return pd.DataFrame(people).fillna(nothing)


def cost_of(kind: str) -> dict[str, object]:
    """Technology and costs of a plant or store."""
    return {"technology": kind} | dict(
        zip(("capital_per_kw", "fixed_cost_per_kw_year", "payback_years"), COSTS[kind], strict=True)
    )


def branches() -> pd.DataFrame:
    """Lines by circuits and length, and transformers."""
    rows = []
    for a, b, circuits, km in LINES:
        kv = NODES[a][0]
        z = (round(per_km[kv] * km / circuits, 6) for per_km in (R_OHM_PER_KM, X_OHM_PER_KM))
        rows.append((f"{a} - {b}", a, b, "line", *z, circuits * SECURED_MVA[kv] * 1e3))
    for a, b, count in TRANSFORMERS:
        x = round(TRANSFORMER_PU * NODES[b][0] ** 2 / TRANSFORMER_MVA / count, 6)
        rows.append((f"{a} transformers", a, b, "transformer", 0.0, x, count * TRANSFORMER_MVA * 1e3))
    return pd.DataFrame(rows, columns=["name", "from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva"])


def build() -> dict[str, pd.DataFrame]:
    """The tables of the case folder."""
    buses = pd.DataFrame(
        [
            {"name": name, "vn_kv": kv, "v_min_pu": 0.9, "v_max_pu": 1.1, "tier": "MV", "x": x, "y": y}
            for name, (kv, x, y, *_) in NODES.items()
        ]
    )
    buses["v_source_pu"] = (buses["name"] == SOURCE).map({True: 1.0, False: None}).astype(float)
    gas = [(f"gas_{node.lower()}", max(1, round(size / UNIT_GW))) for node, size in PLANTS["gas"].items()]
    made = profiles([f"nuclear_{node.lower()}" for node in PLANTS["nuclear"]], [*gas, ("peakers", 12)])
    series = pd.DataFrame(series_rows(), columns=["participant", "quantity", "profile", "scale_kw"])
    return {
        "buses": buses,
        "branches": branches(),
        "participants": participants(),
        "profiles": made,
        "series": series,
    }


TOML = f"""name = "national"
title = "A made-up national system in the style of Great Britain, one year of half-hours"
licence = "Apache-2.0"
step_minutes = 30
steps = {STEPS}
timezone = "Etc/UTC"
meshed = true
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the case folder national.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "national", help="folder to write")
    folder: Path = parser.parse_args().out
    tables = build()
    ao.from_tables(name="national", meshed=True, **tables)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.toml").write_text(TOML, encoding="utf-8", newline="\n")
    for name, table in tables.items():
        if name == "profiles":
            content = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            how = {"compression": "zstd", "compression_level": 19, "row_group_size": len(table)}
            pq.write_table(content, folder / "profiles.parquet", **how)
        else:
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
