"""The matrices of a MATPOWER case as the tables of a network, its loads and its plants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases.folder.offers import step_name
from amm_opt.errors import InputError, counted, shorten
from amm_opt.importers.draft import Draft
from amm_opt.importers.matpower.costs import GeneratorCosts
from amm_opt.importers.report import ImportReport

COLUMNS = {
    "bus": ["BUS_I", "BUS_TYPE", "PD", "QD", "GS", "BS", "BUS_AREA", "VM", "VA", "BASE_KV", "ZONE", "VMAX", "VMIN"],
    "gen": ["GEN_BUS", "PG", "QG", "QMAX", "QMIN", "VG", "MBASE", "GEN_STATUS", "PMAX", "PMIN"],
    "branch": ["F_BUS", "T_BUS", "BR_R", "BR_X", "BR_B", "RATE_A", "RATE_B", "RATE_C", "TAP", "SHIFT", "BR_STATUS"],
}
"""Columns by their names in MATPOWER's manual."""
WHAT = {"bus": "bus", "gen": "generator", "branch": "branch"}
PQ, REFERENCE, ISOLATED = 1, 3, 4


def draft(name: str, data: Mapping[str, FloatArray], report: ImportReport, meshed: bool = False) -> Draft:
    """The network as it was read.

    Args:
        meshed: whether generators at the reference bus are plants like all others, where they have costs.

    Raises:
        InputError: every row that cannot be used.
    """
    bus, gen, branch = (_table(data[key], key) for key in COLUMNS)
    problems = _numbering(bus, gen, branch)
    if problems:
        raise InputError(problems, subject=name)
    gen, branch = gen[gen["GEN_STATUS"] > 0], _without_self(branch, report)
    bus, gen, branch = _in_service(bus, gen, branch, report)
    problems = _bad_numbers(bus, gen, branch)
    reference = bus["BUS_I"][bus["BUS_TYPE"] == REFERENCE].astype(int).tolist()
    if not reference:
        problems.append("a reference bus (type 3) is needed, this case has none")
    at_source = gen[gen["GEN_BUS"].isin(reference)]
    for bus_number, own in at_source.groupby("GEN_BUS"):
        if len(held := sorted(set(own["VG"]))) > 1:
            problems.append(f"generators at the reference bus {bus_number:g} hold different Vg: {shorten(held)}")
    if problems:
        raise InputError(problems, subject=name)
    buses = _buses(bus, at_source, report)
    costs = GeneratorCosts(data.get("gencost"), gen, len(data["gen"]), report)
    if costs.problems:
        raise InputError(costs.problems, subject=name)
    elements = _elements(bus, gen, [] if meshed and costs else reference, costs, report)
    _say_what_is_left(data, gen, branch, report)
    base_mva = float(data["baseMVA"].flat[0])
    return Draft(name, buses, _branches(bus, branch, base_mva, report), elements, None, report)


def _table(values: FloatArray, key: str) -> pd.DataFrame:
    """The named columns; the index counts rows from 1."""
    names = COLUMNS[key]
    return pd.DataFrame(values[:, : len(names)], columns=names, index=np.arange(1, len(values) + 1))


def _numbering(bus: pd.DataFrame, gen: pd.DataFrame, branch: pd.DataFrame) -> list[str]:
    """Bus numbers that are not positive whole numbers or stand twice, and ends that are no bus."""
    number = bus["BUS_I"]
    whole = np.isfinite(number) & (number > 0) & (number == number.round()) & (number < 2**53)
    problems = [f"bus in row {k}: number {number[k]:g} is no positive whole number" for k in bus.index[~whole]]
    problems += [f"bus {n:g} stands twice" for n in number[whole & number.duplicated()].unique()]
    problems += [] if len(bus) else ["mpc.bus has no rows"]
    for table, what, columns in ((branch, "branch", ("F_BUS", "T_BUS")), (gen, "generator", ("GEN_BUS",))):
        problems += [
            f"{what} {k}: no bus {table.loc[k, column]:g}"
            for column in columns
            for k in table.index[~table[column].isin(number)]
        ]
    return problems


def _without_self(branch: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """Branches out of service from a bus to itself say nothing."""
    rings = (branch["F_BUS"] == branch["T_BUS"]) & ~(branch["BR_STATUS"] > 0)
    if rings.any():
        report.left_out.append(f"{counted(int(rings.sum()), 'branch', 'branches')} out of service from a bus to itself")
    return branch[~rings]


def _in_service(
    bus: pd.DataFrame, gen: pd.DataFrame, branch: pd.DataFrame, report: ImportReport
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Without isolated buses (type 4) and what is at them, as MATPOWER's ext2int."""
    off = bus[bus["BUS_TYPE"] == ISOLATED]
    if off.empty:
        return bus, gen, branch
    gone = off["BUS_I"]
    lost = gen["GEN_BUS"].isin(gone)
    cut = branch["F_BUS"].isin(gone) | branch["T_BUS"].isin(gone)
    report.left_out.append(
        f"{counted(len(off), 'isolated bus', 'isolated buses')} (type 4) with {off['PD'].sum() * 1e3:g} kW of load,"
        f" {counted(int(lost.sum()), 'generator')} and {counted(int(cut.sum()), 'branch', 'branches')}:"
        f" {shorten([f'bus {i:g}' for i in gone])}"
    )
    return bus[bus["BUS_TYPE"] != ISOLATED], gen[~lost], branch[~cut]


def _bad_numbers(bus: pd.DataFrame, gen: pd.DataFrame, branch: pd.DataFrame) -> list[str]:
    finite = {
        "bus": (bus, ["BUS_TYPE", "PD", "QD", "GS", "BS", "BASE_KV", "VMAX", "VMIN"]),
        "gen": (gen, ["VG"]),
        "branch": (branch, ["BR_R", "BR_X", "BR_B", "TAP", "SHIFT", "BR_STATUS"]),
    }
    problems = []
    for key, (table, columns) in finite.items():
        label = table["BUS_I"].astype(int) if key == "bus" else table.index.to_series()
        problems += [
            f"{WHAT[key]} {label[k]}: {column} = {table.loc[k, column]:g} must be a finite number"
            for column in columns
            for k in table.index[~np.isfinite(table[column])]
        ]
    number = bus["BUS_I"].astype(int)
    problems += [f"bus {number[k]}: baseKV = {bus.loc[k, 'BASE_KV']:g} must be positive"
                 for k in bus.index[~(bus["BASE_KV"] > 0)]]  # fmt: skip
    problems += [f"bus {number[k]}: type {bus.loc[k, 'BUS_TYPE']:g}; types are 1 to 4"
                 for k in bus.index[~bus["BUS_TYPE"].isin([1, 2, 3])]]  # fmt: skip
    problems += [f"branch {k}: rateA = {branch.loc[k, 'RATE_A']:g} must not be negative (0 is no limit)"
                 for k in branch.index[~(branch["RATE_A"] >= 0)]]  # fmt: skip
    problems += [f"branch {k}: ratio = {branch.loc[k, 'TAP']:g} must not be negative"
                 for k in branch.index[branch["TAP"] < 0]]  # fmt: skip
    return problems


def _buses(bus: pd.DataFrame, at_source: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    source = bus["BUS_TYPE"] == REFERENCE
    by_plant = at_source.drop_duplicates("GEN_BUS").set_index("GEN_BUS")["VG"]
    held = bus["BUS_I"].map(by_plant).fillna(bus["VM"]).where(source)
    for number, v in zip(bus["BUS_I"][source].astype(int), held[source], strict=True):
        if number in by_plant.index:
            report.read.append(f"the source, bus {number}, held at {v:g} pu")
        else:
            report.assumed.append(f"bus {number} is the source, held at its Vm of {v:g} pu: no generator is in service")
    for column, unit, what in (("GS", "MW drawn", "conductance"), ("BS", "Mvar injected", "susceptance")):
        if bus[column].any():
            report.read.append(f"shunts at buses, {what}: {bus[column].sum():g} {unit} at 1 pu")
    return pd.DataFrame(
        {
            "name": _bus_names(bus["BUS_I"]),
            "vn_kv": bus["BASE_KV"],
            "v_min_pu": bus["VMIN"],
            "v_max_pu": bus["VMAX"],
            "v_source_pu": held,
            "shunt_kw": 1e3 * bus["GS"],
            "shunt_kvar": 1e3 * bus["BS"],
        }
    )


def _bus_names(numbers: pd.Series[float]) -> list[str]:
    return [f"bus {int(i)}" for i in numbers]


def _branches(bus: pd.DataFrame, branch: pd.DataFrame, base_mva: float, report: ImportReport) -> pd.DataFrame:
    """Impedance in ohm at the to bus; the ratio is on the side of the from bus, as ours.

    Charging behind a ratio t counts at the from bus by 1/t^2 (MATPOWER manual, section 3.2).
    """
    kv = dict(zip(bus["BUS_I"], bus["BASE_KV"], strict=True))
    high, low = (branch[end].map(kv).astype(float) for end in ("F_BUS", "T_BUS"))
    ratio = branch["TAP"].where(branch["TAP"] != 0, 1.0)
    changes = (branch["TAP"] != 0) | (high != low)
    r, x = (branch[c] * low**2 / base_mva for c in ("BR_R", "BR_X"))
    charging = 1e3 * base_mva * branch["BR_B"]
    plain = ratio == 1.0
    closed = branch["BR_STATUS"] > 0
    limited = (branch["RATE_A"] > 0) & np.isfinite(branch["RATE_A"])
    if unrated := int((~limited).sum()):
        report.assumed.append(f"no limit on {counted(unrated, 'branch', 'branches')} without rateA")
    if charging[closed].any():
        report.read.append(f"line charging: {charging[closed].sum():g} kvar at 1 pu")
    return pd.DataFrame(
        {
            "name": [f"branch {k}" for k in branch.index],
            "from_bus": _bus_names(branch["F_BUS"]),
            "to_bus": _bus_names(branch["T_BUS"]),
            "r_ohm": r,
            "x_ohm": x,
            "kind": np.where(changes, "transformer", np.where((r != 0) | (x != 0), "line", "switch")),
            "rating_kva": np.where(limited, 1e3 * branch["RATE_A"], np.inf),
            "tap": ratio,
            "shift_degree": branch["SHIFT"],
            "closed": closed,
            "charging_kvar": charging.where(plain, 0.0),
            "from_shunt_kvar": (0.5 * charging / ratio**2).where(~plain, 0.0),
            "to_shunt_kvar": (0.5 * charging).where(~plain, 0.0),
        }
    )


def _elements(
    bus: pd.DataFrame, gen: pd.DataFrame, reference: list[int], costs: GeneratorCosts, report: ImportReport
) -> pd.DataFrame:
    """Loads, and plants but for those at ``reference`` buses."""
    loads = bus[(bus["PD"] != 0) | (bus["QD"] != 0)]
    demand = gen["PMIN"] < 0
    source = gen["GEN_BUS"].isin(reference) & ~demand
    plants = gen[~source]
    problems = [
        f"generator {k}: {column} = {plants.loc[k, column]:g} must be a finite number"
        for column in ("PMAX", "PMIN", "PG", "QG")
        for k in plants.index[~np.isfinite(plants[column])]
    ]
    problems += [
        f"generator {k}: Pmin = {plants.loc[k, 'PMIN']:g} is above Pmax = {plants.loc[k, 'PMAX']:g}"
        for k in plants.index[plants["PMIN"] > plants["PMAX"]]
    ]
    ratio, said = _mvar_per_mw(plants)
    if problems := problems + said:
        raise InputError(problems)
    held = dict(zip(bus["BUS_I"], bus["BUS_TYPE"] != PQ, strict=True))
    columns = ["name", "at", "quantity", "p_kw", "q_kvar"]
    rows = [
        dict(zip(columns, (f"load at bus {b.BUS_I:g}", b.BUS_I, "inflexible", b.PD, b.QD), strict=True))
        for b in loads.itertuples()
    ]
    for k, g in plants.iterrows():
        for quantity, p, q, more in _plant(int(k), g, float(ratio[k]), costs, held[g["GEN_BUS"]]):
            values = (f"generator {k}", g["GEN_BUS"], quantity, p, q)
            rows.append({**dict(zip(columns, values, strict=True)), **more})
    if costs.problems:
        raise InputError(dict.fromkeys(costs.problems))
    _say_what_they_are(loads, gen, plants, int(source.sum()), held, report)
    _say_costs(costs, gen, gen[source], plants, report)
    if not rows:
        raise InputError("no loads and no generators: nobody takes part")
    table = pd.DataFrame(rows)
    table[["p_kw", "q_kvar"]] *= 1e3
    return table.assign(bus=_bus_names(table["at"]), profile="", phases="").drop(columns="at")


def _plant(
    k: int, g: pd.Series[float], mvar_per_mw: float, costs: GeneratorCosts, held: bool
) -> Iterator[tuple[str, float, float, dict[str, Any]]]:
    """Quantity, MW and Mvar of what a generator is, and with a cost its participant and prices."""
    name, low, high = f"generator {k}", g["PMIN"], g["PMAX"]
    must = max(low, 0.0) + min(high, 0.0)
    if must:
        yield "inflexible", -must, -must * mvar_per_mw if low < 0 else 0.0, {"own": name} if costs else {}
    for quantity, start, stop in (("import", low, min(high, 0.0)), ("export", max(low, 0.0), high)):
        if start >= 0 if quantity == "import" else stop <= 0:
            continue
        ratio = mvar_per_mw if quantity == "import" else 0.0
        if not costs:
            yield quantity, stop - start, (stop - start) * ratio if ratio else 0.0, {}
        for j, piece in enumerate(costs.pieces(k, start, stop) if costs else ()):
            yield quantity, 1e-3 * piece.kw, 1e-3 * piece.kw * ratio, {"own": step_name(name, j), **piece.prices}
    if g["QG"] and low >= 0 and not held:
        yield "export", 0.0, g["QG"], {}


def _mvar_per_mw(plants: pd.DataFrame) -> tuple[pd.Series[float], list[str]]:
    """Mvar drawn per MW drawn of dispatchable loads: one of Qmin and Qmax is 0, the other goes with Pmin."""
    ratio, problems = pd.Series(0.0, index=plants.index), []
    for k, g in plants[plants["PMIN"] < 0].iterrows():
        low, high = g["QMIN"], g["QMAX"]
        if g["PMAX"] > 0:
            continue
        if (low and high) or not np.isfinite(low + high):
            problems.append(
                f"generator {k}: Qmin = {low:g} and Qmax = {high:g} of a dispatchable load; one of them must be 0, the"
                " other is the reactive power at Pmin"
            )
        else:
            ratio[k] = (low + high) / g["PMIN"]
    return ratio, problems


def _say_what_they_are(
    loads: pd.DataFrame,
    gen: pd.DataFrame,
    plants: pd.DataFrame,
    at_source: int,
    held: Mapping[float, bool],
    report: ImportReport,
) -> None:
    demand = plants["PMIN"] < 0
    report.read += [counted(len(loads), "load"), f"{counted(len(gen), 'generator')} in service"]

    def told(which: pd.Series[bool], one: str, many: str) -> None:
        if which.any():
            names = shorten([f"generator {k}" for k in plants.index[which]])
            report.assumed.append(f"{counted(int(which.sum()), one, many)}: {names}")

    if at_source:
        report.left_out.append(f"limits of {counted(at_source, 'generator')} at the reference bus: it is the source")
    below = "with negative Pmin"
    told(
        demand,
        f"generator {below} is a dispatchable load and asks for import of -Pmin",
        f"generators {below} are dispatchable loads and ask for import of -Pmin",
    )
    both = "up to Pmax as well, at unity power factor both ways"
    told(demand & (plants["PMAX"] > 0), f"of them exports {both}", f"of them export {both}")
    only = "up to Pmax at unity power factor, without holding a voltage"
    told(~demand & (plants["PMAX"] > 0), f"generator exports {only}", f"generators export {only}")
    told(plants["PMIN"] > 0, "generator must run at Pmin", "generators must run at Pmin")
    above = "with a Pg above Pmax"
    told(
        plants["PG"] > plants["PMAX"],
        f"generator {above} gives no more than Pmax",
        f"generators {above} give no more than Pmax",
    )
    fixed = (plants["QG"] != 0) & ~demand & ~plants["GEN_BUS"].map(held).astype(bool)
    always = "Qg at all times"
    told(
        fixed,
        f"generator at a bus of type 1 injects its {always}",
        f"generators at buses of type 1 inject their {always}",
    )


def _say_costs(
    costs: GeneratorCosts, gen: pd.DataFrame, at_source: pd.DataFrame, plants: pd.DataFrame, report: ImportReport
) -> None:
    """What became of the costs of generators."""
    if not costs:
        return
    report.read.append(f"costs of {counted(len(gen), 'generator')}; offers are per kWh")
    for k in at_source.index:
        says = ", ".join(
            f"{p.prices['export_offer']:g}" for p in costs.pieces(int(k), 0.0, max(at_source["PMAX"][k], 1.0))
        )
        report.left_out.append(
            f"the cost of generator {k} at the reference bus: a mechanism's source_price; it is {says}"
        )
    if (must := plants["PMIN"] > 0).any():
        names = shorten([f"generator {k}" for k in plants.index[must]])
        report.left_out.append(f"what Pmin costs, which must run: {names}")


def _say_what_is_left(
    data: Mapping[str, FloatArray], gen: pd.DataFrame, branch: pd.DataFrame, report: ImportReport
) -> None:
    """What the matrices say and nobody reads."""
    if branch["SHIFT"].any():
        report.left_out.append("phase shifts of transformers: they turn angles alone")
    if (other := (branch[["RATE_B", "RATE_C"]] > 0).any(axis=1)).any():
        report.left_out.append(
            f"rateB and rateC of {counted(int(other.sum()), 'branch', 'branches')}: rateA is the limit"
        )
    rows = data["branch"][branch.index.to_numpy() - 1]
    if rows.shape[1] >= 13:
        low, high = rows[:, 11], rows[:, 12]
        bounded = ((low != 0) & (low > -360)) | ((high != 0) & (high < 360))
        if bounded.any():
            report.left_out.append(f"limits on voltage angles of {counted(int(bounded.sum()), 'branch', 'branches')}")
    curves = data["gen"][gen.index.to_numpy() - 1, 10:16]
    if curves.any():
        report.left_out.append(f"capability curves of {counted(int(curves.any(axis=1).sum()), 'generator')}")
