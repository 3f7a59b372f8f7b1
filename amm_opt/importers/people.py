"""Loads and plants of an imported network as participants whose reactive power is right at all times."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases.case import power_factors
from amm_opt.errors import counted, shorten
from amm_opt.importers.report import ImportReport
from amm_opt.io.columns import unique_names

MIN_POWER_FACTOR = 0.1
SERVICE_KW = 80 * 0.23
"""A service of 80 A on each phase."""
SAME_KVAR_PER_KW = 1e-6
"""Those that differ by less are one power factor."""
CONSTANT = "constant"
STORE = ("battery_kwh", "battery_kw", "battery_efficiency", "battery_initial")
PRICES = ("import_value", "import_value_slope", "export_offer", "export_offer_slope")
PARTICIPANT = (*PRICES, "must_run_kw", "technology", *STORE)
"""What elements with a participant of their own may say of it."""
BATTERY_COLUMNS = ["name", "bus", "kwh", "kw", "efficiency", "initial"]
FACTORS = {"inflexible": "power_factor", "import": "power_factor_import", "export": "power_factor_export"}


def participants(
    elements: pd.DataFrame, profiles: pd.DataFrame, report: ImportReport
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """One participant per bus, and further ones for what is at a bus with another profile and another power factor.

    Elements of one quantity on one profile share the power factor of their sum. Reactive power without active power, or
    with too little for a power factor, is constant.

    What is on one phase is a participant of its own, on this phase.

    Args:
        elements: ``bus, quantity, p_kw, q_kvar, profile, phases, name``, see ``Draft``; those with an ``own`` name are
            this participant, with what else they say of it (``PARTICIPANT``).
        profiles: the columns that elements follow, beside ``time``.

    Returns:
        The table of participants, and the participant of each element.
    """
    elements = elements.assign(profile=elements["profile"].replace("", CONSTANT))
    alone = elements["own"].fillna("").ne("") if "own" in elements else pd.Series(False, index=elements.index)
    tables, owners = [], []
    if not alone.all():
        table, names = _by_bus(elements[~alone], profiles, report)
        tables, owners = [table], [names]
    if alone.any():
        taken = set(tables[0]["name"]) if tables else set()
        table, names = _alone(elements[alone], profiles, taken)
        tables, owners = [*tables, table], [*owners, names]
        report.assumed.append(
            f"one plant each, or one step of it, at its own price: {counted(len(table), 'participant')}"
        )
    joined = pd.concat(tables, ignore_index=True)
    return joined.sort_values("name", ignore_index=True), pd.concat(owners).reindex(elements.index)


def _alone(
    elements: pd.DataFrame, profiles: pd.DataFrame, taken: Collection[str]
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Participants of elements that name theirs, each quantity at the power factor of its elements.

    Reactive power with too little active power for one is constant.
    """
    names = elements["own"].astype(object)
    fresh = dict(zip(names.drop_duplicates(), unique_names(names.drop_duplicates(), taken), strict=True))
    names = names.map(fresh)
    weak = elements["p_kw"].abs() < MIN_POWER_FACTOR * np.hypot(elements["p_kw"], elements["q_kvar"])
    q_per_kw = (elements["q_kvar"] / elements["p_kw"].where(elements["p_kw"] != 0)).where(~weak, 0.0).fillna(0.0)
    first = elements.groupby(names, sort=False).first()
    table = pd.DataFrame({"name": first.index, "bus": first["bus"].to_numpy()})
    _add_factors(table, elements["quantity"], names, q_per_kw)
    table["inflexible_kvar"] = table["name"].map(_drawn_kvar(elements, weak).groupby(names).sum())
    _add_connections(table, elements, names, _extremes(elements, profiles))
    for column in PARTICIPANT:
        if column in elements:
            table[column] = first[column].to_numpy()
    for direction in DIRECTIONS if "battery_kw" in table else ():
        table[f"connection_{direction}_kw"] += table["battery_kw"].fillna(0.0)
    return table, names


def _add_factors(
    table: pd.DataFrame, quantity: pd.Series[str], names: pd.Series[str], kvar_per_kw: pd.Series[float]
) -> None:
    """Power factors from the kvar per kW of elements, which are the same for one participant and quantity."""
    for each, column in FACTORS.items():
        own = quantity == each
        ratio = table["name"].map(dict(zip(names[own], kvar_per_kw[own], strict=True))).fillna(0.0)
        table[column] = power_factors(ratio.to_numpy(float))


def _drawn_kvar(elements: pd.DataFrame, constant: pd.Series[bool]) -> pd.Series[float]:
    """Constant reactive power that elements draw; what exports inject is drawn with a minus."""
    sign = np.where(elements["quantity"] == "export", -1.0, 1.0)
    return elements["q_kvar"].where(constant, 0.0) * sign


def _extremes(elements: pd.DataFrame, profiles: pd.DataFrame) -> list[pd.Series[float]]:
    """The least and the most of every element, kW."""
    low, high = (getattr(profiles.drop(columns="time"), f)() for f in ("min", "max"))
    return [elements["p_kw"] * elements["profile"].map(e).astype(float) for e in (low, high)]


def _add_connections(
    table: pd.DataFrame, elements: pd.DataFrame, names: pd.Series[str], extremes: list[pd.Series[float]]
) -> None:
    """Connections that cover the highest draw and output of the elements behind them."""
    power = np.stack([np.where(elements["quantity"] == "export", -e, e) for e in extremes])
    for column, highest in (("import", power.max(axis=0)), ("export", (-power).max(axis=0))):
        total = pd.Series(np.maximum(highest, 0.0), index=elements.index).groupby(names).sum()
        table[f"connection_{column}_kw"] = table["name"].map(total)


def _by_bus(
    elements: pd.DataFrame, profiles: pd.DataFrame, report: ImportReport
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """One participant per bus, and further ones; see ``participants``."""
    labels, elements = elements.index, elements.reset_index(drop=True)
    place, elements["bus"] = elements["bus"], _places(elements)
    loose = _constant_kvar(elements, profiles, report)
    q = elements["q_kvar"].where(~loose, 0.0)
    extremes = _extremes(elements, profiles)
    group, ratio = _groups(elements.assign(q_kvar=q), extremes)
    names = _named(elements, group)
    table = pd.DataFrame({"name": names.drop_duplicates()})
    table["bus"] = table["name"].map(dict(zip(names, place, strict=True)))
    if elements["phases"].ne("").any():
        table["phases"] = table["name"].map(dict(zip(names, elements["phases"], strict=True))).replace("", None)
    _add_factors(table, elements["quantity"], names, ratio)
    table["inflexible_kvar"] = table["name"].map(_drawn_kvar(elements, loose).groupby(names).sum())
    _add_connections(table, elements, names, extremes)
    report.assumed.append("connections cover the highest draw and output of the elements behind them")
    report.assumed.append("one participant per bus; power factors are constant, elements on one profile share theirs")
    if further := sorted(set(names) - set(elements["bus"])):
        report.assumed.append(
            f"{counted(len(further), 'further participant')}, for elements with a power factor and a profile of"
            f" their own: {shorten(further)}"
        )
    return table, names.set_axis(labels)


def with_batteries(people: pd.DataFrame, batteries: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """The table with batteries at its participants: those of one bus are one, and belong to who is named after it.

    Args:
        batteries: columns ``BATTERY_COLUMNS``.
    """
    if batteries.empty:
        return people
    kwh = batteries["kwh"]
    weighted = batteries.assign(efficiency=kwh * batteries["efficiency"], initial=kwh * batteries["initial"])
    joined = weighted.groupby("bus")[["kwh", "kw", "efficiency", "initial"]].sum()
    joined[["efficiency", "initial"]] = joined[["efficiency", "initial"]].div(joined["kwh"], axis=0)
    added = sorted(set(joined.index) - set(people["name"]))
    more = pd.DataFrame({"name": added, "bus": added}).assign(**dict.fromkeys(FACTORS.values(), 1.0))
    more[["inflexible_kvar", "connection_import_kw", "connection_export_kw"]] = 0.0
    people = pd.concat([people, more], ignore_index=True) if added else people
    own = people["name"].where(people["name"].eq(people["bus"]))
    kw = own.map(joined["kw"]).fillna(0.0)
    if merged := len(batteries) - len(joined):
        report.assumed.append(f"{merged} batteries are one with another at their bus")
    return people.assign(
        battery_kwh=own.map(joined["kwh"]).fillna(0.0),
        battery_kw=kw,
        battery_efficiency=own.map(joined["efficiency"]).fillna(1.0),
        battery_initial=own.map(joined["initial"]).fillna(0.5).clip(0.0, 1.0),
        connection_import_kw=people["connection_import_kw"] + kw,
        connection_export_kw=people["connection_export_kw"] + kw,
    ).sort_values("name", ignore_index=True)


def _places(elements: pd.DataFrame) -> pd.Series[str]:
    """Bus of every element, with its phases where they are not all."""
    return elements["bus"].where(elements["phases"].eq(""), elements["bus"] + " phase " + elements["phases"])


def _constant_kvar(elements: pd.DataFrame, profiles: pd.DataFrame, report: ImportReport) -> pd.Series[bool]:
    """Which elements draw or inject their reactive power at all times."""
    sums = elements.groupby(["bus", "quantity", "profile"])[["p_kw", "q_kvar"]].transform("sum")
    weak = elements["p_kw"].abs() < MIN_POWER_FACTOR * np.hypot(elements["p_kw"], elements["q_kvar"])
    together = sums["p_kw"].abs() < MIN_POWER_FACTOR * np.hypot(sums["p_kw"], sums["q_kvar"])
    steady = elements["profile"].eq(CONSTANT)
    loose: pd.Series[bool] = (weak | (together & steady)) & elements["q_kvar"].ne(0)
    if loose.any():
        report.assumed.append(
            f"{elements['q_kvar'][loose].abs().sum():.1f} kvar of elements with little or no active power are constant"
            f" reactive power: {shorten(sorted(set(elements['name'][loose])))}"
        )
    moving = loose & ((~steady & profiles.shape[0]) | (elements["quantity"].ne("inflexible") & elements["p_kw"].ne(0)))
    if moving.any():
        names = shorten(sorted(set(elements["name"][moving])))
        report.assumed.append(f"of these, {names} may vary: their reactive power stays what it is")
    return loose


def _groups(elements: pd.DataFrame, extremes: list[pd.Series[float]]) -> tuple[pd.Series[int], pd.Series[float]]:
    """Number of the group within its bus of every element, 0 for the bus's main participant, and its kvar per kW."""
    weight = np.maximum(extremes[0].abs(), extremes[1].abs()).tolist()
    p, q = elements["p_kw"].tolist(), elements["q_kvar"].tolist()
    at: dict[tuple[str, str], dict[str, list[int]]] = {}
    for i, (bus, quantity, profile) in enumerate(
        zip(elements["bus"], elements["quantity"], elements["profile"], strict=True)
    ):
        at.setdefault((bus, quantity), {}).setdefault(profile, []).append(i)
    group, ratio = [0] * len(elements), [0.0] * len(elements)
    for by_profile in at.values():
        ratios: list[float] = []
        sums = [s for _, same in sorted(by_profile.items()) for s in _sums(same, p, q)]
        for members, own_ratio in sorted(sums, key=lambda s: -sum(weight[i] for i in s[0])):
            near = [k for k, known in enumerate(ratios) if abs(known - own_ratio) <= SAME_KVAR_PER_KW]
            if not near:
                ratios.append(own_ratio)
            for i in members:
                group[i], ratio[i] = (near or [len(ratios) - 1])[0], own_ratio
    return pd.Series(group, index=elements.index, dtype=int), pd.Series(ratio, index=elements.index, dtype=float)


def _sums(same: list[int], p: list[float], q: list[float]) -> list[tuple[list[int], float]]:
    """Elements of one bus and quantity on one profile, and the kvar per kW of their sum.

    Those that draw and those that generate stay apart where the sum is too small for a power factor.
    """
    p_sum, q_sum = sum(p[i] for i in same), sum(q[i] for i in same)
    if abs(p_sum) >= MIN_POWER_FACTOR * math.hypot(p_sum, q_sum) and p_sum != 0:
        return [(same, q_sum / p_sum)]
    out = []
    for side in ([i for i in same if p[i] >= 0], [i for i in same if p[i] < 0]):
        if side:
            p_sum, q_sum = sum(p[i] for i in side), sum(q[i] for i in side)
            out.append((side, q_sum / p_sum if p_sum != 0 else 0.0))
    return out


def _named(elements: pd.DataFrame, group: pd.Series[int]) -> pd.Series[str]:
    """Participant of every element: its bus, or the bus and the name of the first element of a further group."""
    names = elements["bus"].astype(object).copy()
    further = group > 0
    if not further.any():
        return names
    keys = list(zip(elements["bus"][further], group[further], strict=True))
    first = dict(zip(reversed(keys), reversed(list(elements["name"][further])), strict=True))
    made = unique_names([f"{bus}: {first[bus, k]}" for bus, k in first], set(elements["bus"]))
    label = dict(zip(first, made, strict=True))
    names[further] = [label[key] for key in keys]
    return names
