"""Three-winding transformers as stars of three with two windings, as pandapower calculates them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.importers.pandapower.net import NetTables

SIDES = ("hv", "mv", "lv")
TAPS = ("tap_pos", "tap_neutral", "tap_step_percent", "tap_step_degree")


def star_legs(tables: NetTables) -> pd.DataFrame:
    """Three rows per transformer in the columns of ``trafo``, each from its bus to a new bus at the star point.

    Impedances between windings are those of the smaller one; in star, of the high-voltage side,

        z_hv = (z_hv,mv + z_hv,lv - z_mv,lv) / 2,    and so on in turn

    Resistances and reactances apart (pandapower's manual, "Three winding transformer"). Iron losses stand at the side
    that ``loss_side`` names, high voltage by default. ``of`` is the index of the transformer, for its switches.
    """
    t, kind = tables, "trafo3w"
    table = t.table(kind)
    if len(table) == 0:
        return pd.DataFrame()
    table = t.at_buses(table, kind, [f"{s}_bus" for s in SIDES])
    if t.texts(table, "tap_dependency_table").eq("True").any():
        t.problems.append("trafo3w: tap_dependency_table is not supported")
    size, vk, vkr, vn = (
        {s: t.numbers(table, kind, column.format(s), lower=1e-9).to_numpy() for s in SIDES}
        for column in ("sn_{}_mva", "vk_{}_percent", "vkr_{}_percent", "vn_{}_kv")
    )
    names = t.names(table, kind)
    for s in SIDES:
        t.problems += [f"trafo3w {names[k]!r}: vkr_{s}_percent is above vk_{s}_percent"
                       for k in np.flatnonzero(vkr[s] > vk[s])]  # fmt: skip
    r = _star({s: vkr[s] for s in SIDES}, size)
    x = _star({s: np.sqrt(np.maximum(vk[s] ** 2 - vkr[s] ** 2, 0.0)) for s in SIDES}, size)
    star = [t.add_bus(f"{name} star", float(vn_bus)) for name, vn_bus in zip(
        names, table["hv_bus"].map(t.vn_kv), strict=True)]  # fmt: skip
    losses = t.texts(table, "loss_side").replace("", "hv")
    legs = []
    for s in SIDES:
        leg = pd.DataFrame({"name": [f"{name} {s}" for name in names], "of": table.index.to_numpy()})
        leg["hv_bus"], leg["lv_bus"] = (
            (table["hv_bus"].to_numpy(), star) if s == "hv" else (star, table[f"{s}_bus"].to_numpy())
        )
        leg["sn_mva"], leg["vn_hv_kv"], leg["vn_lv_kv"] = size[s], vn["hv"], vn[s]
        leg["vk_percent"], leg["vkr_percent"] = np.where(x[s] < 0, -1.0, 1.0) * np.hypot(r[s], x[s]), r[s]
        for column in ("pfe_kw", "i0_percent"):
            leg[column] = np.where(losses == s, t.numbers(table, kind, column, 0.0, lower=0.0), 0.0)
        leg["shift_degree"] = 0.0 if s == "hv" else t.numbers(table, kind, f"shift_{s}_degree", 0.0).to_numpy()
        leg["max_loading_percent"] = t.numbers(table, kind, "max_loading_percent", 100.0, lower=0.0).to_numpy()
        legs.append(_with_taps(leg, table, s, t))
    t.report.assumed.append(f"{len(table)} three-winding transformers are stars of three with two windings")
    return pd.concat(legs, ignore_index=True)


def _star(percent: dict[str, FloatArray], size: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Percent of every leg on its own rating, from those between windings: hv-mv at hv, mv-lv at mv, hv-lv at lv."""
    pair = {"hv": ("hv", "mv"), "mv": ("mv", "lv"), "lv": ("hv", "lv")}
    z = {s: percent[s] / np.minimum(size[a], size[b]) for s, (a, b) in pair.items()}  # percent per MVA
    legs = {"hv": z["hv"] + z["lv"] - z["mv"], "mv": z["mv"] + z["hv"] - z["lv"], "lv": z["lv"] + z["mv"] - z["hv"]}
    return {s: 0.5 * size[s] * leg for s, leg in legs.items()}


def _with_taps(leg: pd.DataFrame, table: pd.DataFrame, side: str, t: NetTables) -> pd.DataFrame:
    """The tap changer at this leg: at its terminal, or at the star point with the ratio of its other side."""
    own = t.texts(table, "tap_side").eq(side).to_numpy()
    for column in TAPS:
        leg[column] = np.where(own, t.numbers(table, "trafo3w", column, np.nan), np.nan)
    outer, inner = ("hv", "lv") if side == "hv" else ("lv", "hv")
    at_star = own & t.texts(table, "tap_at_star_point").isin(["True", "1", "1.0"]).to_numpy()
    leg["tap_side"] = np.where(own, np.where(at_star, inner, outer), "")
    step = leg["tap_step_percent"] * np.exp(1j * np.deg2rad(leg["tap_step_degree"].fillna(0.0)))
    moved = leg["tap_pos"] - leg["tap_neutral"]
    turned = 100.0 * step / (100.0 + step * moved)
    leg["tap_step_percent"] = np.where(at_star, np.abs(turned), leg["tap_step_percent"])
    degree = np.where(at_star, np.rad2deg(np.angle(turned)) - 180.0, leg["tap_step_degree"])
    leg["tap_step_degree"] = np.where(np.isnan(degree), 0.0, degree)
    if "tap_changer_type" in table:
        leg["tap_changer_type"] = table["tap_changer_type"].to_numpy()
    return leg
