"""Loops that carry nothing of their own: busbars that switches join, and branches side by side."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np
import pandas as pd

from amm_opt.errors import counted, shorten
from amm_opt.importers.radial.loops import bridges, closed_graph
from amm_opt.importers.report import ImportReport

SAME_TAP = 1e-9


def without_idle_loops(
    buses: pd.DataFrame, branches: pd.DataFrame, every_switch: bool, report: ImportReport
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Both tables without loops that carry nothing of their own: busbars joined by switches, branches side by side.

    Buses between closed switches without impedance are one bus, where such a switch lies in a loop that is none then.
    Lines between the same two buses, and transformers of one ratio, are one branch: impedances in parallel, and a
    rating at which the first of them is full. Loops that remain keep the switches that could open them, unless they
    would be more than without these.

    Args:
        every_switch: whether all such switches count, and branches side by side stay what they are.

    Returns:
        The tables, and the bus that stands for each that is gone.
    """
    closed = branches["closed"].astype(bool)
    ideal = closed & branches["kind"].eq("switch") & branches["r_ohm"].eq(0) & branches["x_ohm"].eq(0)
    if every_switch:
        return _fused(buses, branches, ideal, report)
    ideal &= ~branches["name"].isin(bridges(closed_graph(branches)))
    unsaid = ImportReport()
    _, made, into = _fused(buses, branches, ideal, unsaid)
    graph = closed_graph(_side_by_side(made, unsaid))
    outside = set(bridges(graph))
    looped = {bus for a, b, key in graph.edges(keys=True) if key not in outside for bus in (a, b)}
    own: nx.MultiGraph[str] = nx.MultiGraph()
    for name, start, stop in branches.loc[ideal, ["name", "from_bus", "to_bus"]].itertuples(index=False):
        own.add_edge(start, stop, key=name)
    useful = renamed(branches["from_bus"], into).isin(looped) & branches["name"].isin(bridges(own))
    _, kept, _ = _fused(buses, branches, ideal & ~useful, unsaid)
    if _loops(closed_graph(_side_by_side(kept, unsaid))) <= _loops(graph):
        ideal &= ~useful
    buses, branches, into = _fused(buses, branches, ideal, report)
    return buses, _side_by_side(branches, report), into


def renamed(names: pd.Series[str], into: Mapping[str, str]) -> pd.Series[str]:
    """The same with other names for those in ``into``; ``Series.replace`` takes its time once for each of them."""
    return names.map(lambda name: into.get(name, name))


def _loops(graph: nx.MultiGraph[str]) -> int:
    return int(graph.number_of_edges() - graph.number_of_nodes() + nx.number_connected_components(graph))


def _fused(
    buses: pd.DataFrame, branches: pd.DataFrame, ideal: pd.Series[bool], report: ImportReport
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Both tables without these switches, the buses between them being one, and the bus that stands for each."""
    same: nx.Graph[str] = nx.Graph()
    same.add_edges_from(zip(branches["from_bus"][ideal], branches["to_bus"][ideal], strict=True))
    order = {name: i for i, name in enumerate(buses["name"])}
    held = set(buses["name"][buses["v_source_pu"].notna()])
    into: dict[str, str] = {}
    for group in nx.connected_components(same):
        first = min(group, key=lambda name: (name not in held, order[name]))
        if len(group & held) <= 1:
            into |= {name: first for name in group if name != first}
    if not into:
        return buses, branches, into
    report.assumed.append(
        f"{counted(len(into), 'bus', 'buses')} merged with another across closed switches: {shorten(sorted(into))}"
    )
    branches = branches[~(ideal & (branches["from_bus"].isin(into) | branches["to_bus"].isin(into)))]
    apart = branches["from_bus"].ne(branches["to_bus"])
    branches = branches.assign(**{end: renamed(branches[end], into) for end in ("from_bus", "to_bus")})
    useless = branches["kind"].eq("switch") | ~branches["closed"].astype(bool)
    idle = apart & branches["from_bus"].eq(branches["to_bus"]) & useless
    if idle.any():
        report.left_out.append(
            f"{int(idle.sum())} switches or open branches within one bus: {shorten(branches['name'][idle])}"
        )
    added = [c for c in ("shunt_kw", "shunt_kvar") if c in buses]
    moved = buses[added].groupby(renamed(buses["name"], into)).sum()
    buses = buses[~buses["name"].isin(into)].reset_index(drop=True)
    buses[added] = moved.loc[buses["name"]].to_numpy()
    return buses, branches[~idle].reset_index(drop=True), into


def _side_by_side(branches: pd.DataFrame, report: ImportReport) -> pd.DataFrame:
    """Closed branches between the same two buses as one."""
    closed = branches[branches["closed"].astype(bool) & branches["from_bus"].ne(branches["to_bus"])]
    pair = [tuple(sorted(ends)) for ends in zip(closed["from_bus"], closed["to_bus"], strict=True)]
    gone: list[int] = []
    made, names = {}, []
    for _, rows in closed.groupby(pd.Series(pair, index=closed.index), sort=False):
        if len(rows) < 2 or not _alike(rows):
            continue
        made[rows.index[0]] = _one_branch(rows)
        names.append(made[rows.index[0]]["name"])
        gone += list(rows.index[1:])
    if not made:
        return branches
    report.assumed.append(f"{len(gone) + len(made)} branches side by side are {len(made)}: {shorten(names)}")
    new = pd.DataFrame.from_dict(made, orient="index")
    rest = branches.drop(index=gone)
    for column in new:
        rest[column] = new[column].reindex(rest.index).where(rest.index.isin(new.index), rest[column])
    return rest.reset_index(drop=True)


def _alike(rows: pd.DataFrame) -> bool:
    """Whether branches side by side share their currents by impedance alone."""
    same_way = rows["from_bus"].eq(rows["from_bus"].iloc[0]).all()
    turned = "shift_degree" in rows and np.ptp(rows["shift_degree"]) > 0
    plain = rows["kind"].ne("transformer").all() and rows["tap"].eq(1.0).all()
    ratio = rows["kind"].eq("transformer").all() and same_way and np.ptp(rows["tap"]) < SAME_TAP and not turned
    numbers = all(isinstance(v, float | int) for v in (*rows["r_ohm"], *rows["x_ohm"]))
    return bool((plain or ratio) and numbers and (rows["r_ohm"].ne(0) | rows["x_ohm"].ne(0)).all())


def _one_branch(rows: pd.DataFrame) -> dict[str, object]:
    """Values that change when branches of the same ends become the first of them."""
    z = rows["r_ohm"].to_numpy(float) + 1j * rows["x_ohm"].to_numpy(float)
    whole = 1.0 / (1.0 / z).sum()
    values: dict[str, object] = {"name": " + ".join(rows["name"]), "r_ohm": whole.real, "x_ohm": whole.imag}
    values["rating_kva"] = float((rows["rating_kva"] * np.abs(z / whole)).min())
    values["kind"] = "line" if "line" in set(rows["kind"]) else rows["kind"].iloc[0]
    turned = rows["from_bus"].ne(rows["from_bus"].iloc[0])
    for column in [c for c in rows if c == "charging_kvar" or str(c).endswith(("_shunt_kw", "_shunt_kvar"))]:
        other = {"from": "to", "to": "from"}.get(str(column).split("_")[0])
        swapped = rows[str(column).replace(str(column).split("_")[0], other, 1)] if other else rows[column]
        values[str(column)] = float(rows[column].where(~turned, swapped).sum())
    return values
