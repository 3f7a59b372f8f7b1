"""Reading and checking the two tables that describe a feeder; every problem is reported at once."""

from __future__ import annotations

import cmath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from amm_opt.errors import InputError, Problems, shorten, shown
from amm_opt.io.columns import check_columns, flag, numbers, text
from amm_opt.io.tables import as_table
from amm_opt.network.feeder.limits import BRANCH_LIMITS, LimitChanges
from amm_opt.network.feeder.magnitudes import odd_branches, odd_buses, odd_shunts
from amm_opt.network.feeder.phases import PHASE_TAPS, POSITIVE_SEQUENCE, phase_taps
from amm_opt.network.feeder.shunts import BRANCH_SHUNTS, BUS_SHUNTS, DELTA_SHUNTS, delta_shunts, per_phase

TIERS = ("MV", "LV")
UNKNOWN = "unknown"
"""Kind of a branch of which nobody knows the impedance: meters are behind it, and a network fitted to them."""
BRANCH_KINDS = ("line", "transformer", "switch", UNKNOWN)
VECTOR_GROUPS = ("YNyn0", "Dyn1", "Dyn11", "Dy1", "Dy11")
SEVERAL = 4
"""So many elements with the same problem are named where all may have it."""
_PHASE_NAMES = ("pos", "a", "b", "c", "ab", "ac", "bc", "abc")

_BUS_COLUMNS = {"name": None, "vn_kv": None, "v_min_pu": None, "v_max_pu": None}
_BUS_OPTIONAL = {"tier": None, "feeder": None, "phases": "pos", "v_source_pu": np.nan, **BUS_SHUNTS}
_COORDINATES = ("x", "y")
"""Where buses are, in any units; kept where given, used by no model."""
_BRANCH_COLUMNS = {"name": None, "from_bus": None, "to_bus": None, "r_ohm": None, "x_ohm": None}
_BRANCH_OPTIONAL = {
    "kind": "line",
    **BRANCH_LIMITS,
    "tap": 1.0,
    "closed": True,
    "phases": None,
    "vector_group": VECTOR_GROUPS[0],
    **BRANCH_SHUNTS,
}


_IMPEDANCE_COLUMNS = ("name", "from_bus", "to_bus", "kind", "phases", "vector_group", "r_ohm", "x_ohm")


@dataclass(frozen=True, eq=False)
class FeederTables:
    """Validated, completed tables: buses, and branches with ``z_ohm`` matrices; and what differs in their limits.

    ``meshed`` says that closed branches may form cycles.
    """

    buses: pd.DataFrame
    branches: pd.DataFrame
    meshed: bool = False
    changes: LimitChanges = field(default_factory=LimitChanges)


def _complete(table: pd.DataFrame, optional: Mapping[str, object]) -> pd.DataFrame:
    table = table.reset_index(drop=True)
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = _objects(_told_once(table[column].to_numpy(dtype=object)))
    for column, default in optional.items():
        if column not in table:
            table[column] = default
        elif default is not None and not (isinstance(default, float) and np.isnan(default)):
            table[column] = table[column].astype(object).where(table[column].notna(), default)
    return table


def _objects(values: Iterable[object]) -> pd.Series[object]:
    """A column of Python objects: reading pandas' own text columns cell by cell is slow."""
    return pd.Series(values, dtype=object)


def _told_once(values: Iterable[object]) -> list[object]:
    """The same values; of texts that are alike, the first one in place of each: pandas makes one for every cell."""
    known: dict[str, str] = {}
    return [known.setdefault(v, v) if type(v) is str else v for v in values]


def _phases(value: object, default: tuple[str, ...]) -> tuple[str, ...] | None:
    given = text(value)
    if given is None:
        return default
    if given not in _PHASE_NAMES:
        return None
    return POSITIVE_SEQUENCE if given == "pos" else tuple(given)


def _matrix(r: object, x: object, k: int) -> np.ndarray | None:
    """Symmetric k x k impedance from two numbers or two lower triangles ("0.3 | 0.1 0.3"); None if malformed."""

    if k == 1 and isinstance(r, float | int) and isinstance(x, float | int):
        return np.array([[complex(r, x)]])

    def triangle(value: object) -> np.ndarray | None:
        rows = [part.split() for part in str(value).split("|")]
        try:
            if [len(row) for row in rows] != list(range(1, k + 1)):
                return None
            lower = np.zeros((k, k))
            for i, row in enumerate(rows):
                lower[i, : i + 1] = [float(v) for v in row]
        except ValueError:
            return None
        return lower + np.tril(lower, -1).T

    real, imag = triangle(r), triangle(x)
    if real is None or imag is None:
        return None
    z = np.empty((k, k), dtype=complex)
    z.real, z.imag = real, imag
    return z


def checked_tables(buses: pd.DataFrame, branches: pd.DataFrame, meshed: bool) -> FeederTables:
    """Complete both tables with their defaults, or raise InputError with every problem found."""
    said = Problems()
    said.say("" if isinstance(meshed, bool) else f"meshed = {shown(meshed)}; valid choices: true, false")
    given = {what: said.of(partial(as_table, t, what)) for what, t in (("buses", buses), ("branches", branches))}
    said.report()
    buses, branches = (table for table in given.values() if table is not None)
    if buses.empty:
        raise InputError("buses: the table is empty", subject="feeder")
    problems = check_columns(buses, _BUS_COLUMNS, [*_BUS_OPTIONAL, *_COORDINATES, *DELTA_SHUNTS], "buses")
    problems += check_columns(branches, _BRANCH_COLUMNS, [*_BRANCH_OPTIONAL, PHASE_TAPS], "branches")
    if problems:
        raise InputError(problems, subject="feeder")
    buses, problems = _checked_buses(_complete(buses, _BUS_OPTIONAL))
    branches, branch_problems = _checked_branches(_complete(branches, _BRANCH_OPTIONAL), buses)
    problems += branch_problems
    problems += list(_topology_problems(buses, branches, meshed))
    problems += _unbalanced(buses, branches) if meshed else []
    if problems:
        raise InputError(problems, subject="feeder")
    return FeederTables(buses, branches, meshed)


def _unbalanced(buses: pd.DataFrame, branches: pd.DataFrame) -> list[str]:
    """What is on phases in a meshed network."""
    on_phases = [
        f"{what} {name!r}: phases = {''.join(phases)!r}; a meshed network is balanced, without phases"
        for what, table in (("bus", buses), ("branch", branches))
        for name, phases in zip(table["name"], table["phases"], strict=True)
        if phases and phases != POSITIVE_SEQUENCE
    ]
    return (
        on_phases if len(on_phases) <= SEVERAL else [*on_phases[:SEVERAL], f"{len(on_phases) - SEVERAL} more likewise"]
    )


def _names(table: pd.DataFrame, what: str) -> list[str]:
    table["name"] = _objects([text(v) for v in table["name"]])
    problems = [f"{what} in row {i + 1}: empty name" for i in np.flatnonzero(table["name"].isna())]
    twice = table["name"][table["name"].notna() & table["name"].duplicated()].unique()
    return problems + [f"duplicate {what} name {name!r}" for name in twice]


def _checked_buses(buses: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    problems = _names(buses, "bus")
    for column in ("vn_kv", "v_min_pu", "v_max_pu", "v_source_pu"):
        buses[column] = numbers(buses, column, "bus", problems)
    for column in ("vn_kv", "v_min_pu", "v_max_pu"):
        bad = ~(np.isfinite(buses[column]) & (buses[column] > 0))
        problems += flag(buses, bad, "bus", lambda r, c=column: f"{c} = {r[c]} must be a positive number")  # type: ignore[misc]
    problems += flag(
        buses,
        buses["v_min_pu"] >= buses["v_max_pu"],
        "bus",
        lambda r: f"voltage band upside down: v_min_pu = {r['v_min_pu']} is not below v_max_pu = {r['v_max_pu']}",
    )
    problems += odd_buses(buses, pd.Series([text(t) for t in buses["tier"]], index=buses.index, dtype=object))
    default = np.where(buses["vn_kv"] < 1.0, "LV", "MV").tolist()
    buses["tier"] = _objects([text(t) or d for t, d in zip(buses["tier"], default, strict=True)])
    problems += flag(buses, ~buses["tier"].isin(TIERS), "bus", lambda r: f"tier = {r['tier']!r}; valid choices: MV, LV")
    feeder = pd.Series([text(f) for f in buses["feeder"]], index=buses.index, dtype=object)
    buses["feeder"] = feeder.where(feeder.notna(), None)
    raw = buses["phases"]
    buses["phases"] = pd.Series([_phases(p, POSITIVE_SEQUENCE) for p in raw], index=buses.index, dtype=object)
    for name, given in zip(buses["name"][buses["phases"].isna()], raw[buses["phases"].isna()], strict=True):
        problems.append(f"bus {name!r}: phases = {given!r}; valid choices: {', '.join(_PHASE_NAMES)}")
    for column in BUS_SHUNTS:
        shunts, said = per_phase(buses, column, "bus")
        problems += [*said, *odd_shunts(buses, buses["vn_kv"].to_numpy(float), column, shunts.sum(axis=1))]
    problems += delta_shunts(buses)[1]
    source = buses[buses["v_source_pu"].notna()]
    if len(source) == 0:
        problems.append("no source: fill v_source_pu at exactly one bus")
    elif len(source) > 1:
        problems.append(f"{len(source)} sources ({shorten(source['name'])}): fill v_source_pu at exactly one bus")
    problems += flag(
        source,
        ~(np.isfinite(source["v_source_pu"]) & (source["v_source_pu"] > 0)),
        "bus",
        lambda r: f"v_source_pu = {r['v_source_pu']} must be a positive number",
    )
    return _with_coordinates(buses, problems), problems


def _with_coordinates(buses: pd.DataFrame, problems: list[str]) -> pd.DataFrame:
    """Coordinates as numbers: both of a bus or none."""
    if not set(_COORDINATES) & set(buses.columns):
        return buses
    for column in _COORDINATES:
        buses[column] = numbers(buses, column, "bus", problems) if column in buses else np.nan
        endless = np.isinf(buses[column])
        problems += flag(buses, endless, "bus", lambda r, c=column: f"{c} = {r[c]} must be a finite number")  # type: ignore[misc]
    alone = buses["x"].isna() != buses["y"].isna()
    problems += flag(buses, alone, "bus", lambda r: f"x = {r['x']}, y = {r['y']}: give both coordinates or none")
    return buses


def _checked_branches(branches: pd.DataFrame, buses: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    problems = _names(branches, "branch")
    for column in (*BRANCH_LIMITS, "tap"):
        branches[column] = numbers(branches, column, "branch", problems)
    for column in BRANCH_LIMITS:
        problems += flag(
            branches,
            ~(branches[column] > 0),
            "branch",
            lambda r, c=column: f"{c} = {r[c]} must be positive (leave it empty for no limit)",  # type: ignore[misc]
        )
    problems += flag(
        branches,
        ~(np.isfinite(branches["tap"]) & (branches["tap"] > 0)),
        "branch",
        lambda r: f"tap = {r['tap']} must be a positive ratio",
    )
    problems += flag(
        branches,
        ~branches["kind"].isin(BRANCH_KINDS),
        "branch",
        lambda r: f"kind = {r['kind']!r}; valid choices: {', '.join(BRANCH_KINDS)}",
    )
    problems += flag(
        branches,
        ~branches["vector_group"].isin(VECTOR_GROUPS),
        "branch",
        lambda r: f"vector_group = {r['vector_group']!r}; valid choices: {', '.join(VECTOR_GROUPS)}",
    )
    closed, said = _booleans(branches["closed"], branches["name"])
    branches["closed"] = closed
    problems += said
    for end in ("from_bus", "to_bus"):
        branches[end] = _objects([text(v) for v in branches[end]])
        unknown = ~branches[end].isin(buses["name"])
        problems += flag(branches, unknown, "branch", lambda r, e=end: f"unknown bus {r[e]!r} in {e}")  # type: ignore[misc]
    problems += flag(
        branches,
        (branches["from_bus"] == branches["to_bus"]) & branches["from_bus"].notna(),
        "branch",
        lambda r: f"connects bus {r['from_bus']!r} to itself",
    )
    return _checked_impedances(branches, buses, problems)


def _booleans(column: pd.Series[object], names: pd.Series[str]) -> tuple[pd.Series[bool], list[str]]:
    words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    read = [words.get(str(v).strip().lower()) for v in column]
    problems = [
        f"branch {name!r}: closed = {shown(raw)}; valid choices: true, false"
        for name, raw, value in zip(names, column, read, strict=True)
        if value is None
    ]
    return pd.Series([bool(v) for v in read], index=column.index, dtype=bool), problems


def _checked_impedances(
    branches: pd.DataFrame, buses: pd.DataFrame, problems: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    known = buses.drop_duplicates("name").set_index("name")
    phases_of, vn_of = known["phases"].to_dict(), known["vn_kv"].to_dict()
    phases: list[tuple[str, ...]] = []
    matrices: list[np.ndarray] = []
    for branch in branches[list(_IMPEDANCE_COLUMNS)].itertuples(index=False):
        own = _phases(branch.phases, phases_of.get(branch.to_bus) or POSITIVE_SEQUENCE)
        problems += _phase_problems(branch, own, phases_of)
        own = own or POSITIVE_SEQUENCE
        z = _matrix(branch.r_ohm, branch.x_ohm, len(own))
        problems += _impedance_problems(branch, z, len(own))
        problems += _kind_problems(branch, len(own), vn_of)
        phases.append(own)
        matrices.append(z if _is_finite(z) else np.eye(len(own), dtype=complex))
    branches["phases"] = pd.Series(phases, index=branches.index, dtype=object)
    branches["z_ohm"] = pd.Series(matrices, index=branches.index, dtype=object)
    factors, said = phase_taps(branches)
    problems += [*said, *odd_branches(branches, buses, factors)]
    at_kv = branches["to_bus"].map(vn_of).astype(float).to_numpy()
    for column in BRANCH_SHUNTS:
        charging, said = per_phase(branches, column, "branch")
        problems += [*said, *odd_shunts(branches, at_kv, column, charging.sum(axis=1))]
    return branches, problems


def _phase_problems(
    branch: Any, own: tuple[str, ...] | None, phases_of: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """What is wrong with the phases of a branch; ``own`` is None where they are none."""
    if own is None:
        yield f"branch {branch.name!r}: phases = {branch.phases!r}; valid choices: {', '.join(_PHASE_NAMES)}"
    own = own or POSITIVE_SEQUENCE
    for end in (branch.from_bus, branch.to_bus):
        if not set(own) <= set(phases_of.get(end) or own):
            yield f"branch {branch.name!r}: phases {''.join(own)} are not all present at bus {end!r}"


def _is_finite(z: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return z is not None and all(map(cmath.isfinite, z.flat))


def _impedance_problems(branch: Any, z: np.ndarray | None, phases: int) -> Iterator[str]:
    """What is wrong with the impedance matrix of a branch; None where it could not be read."""
    if not _is_finite(z):
        triangle = f" (a lower triangle for {phases} phases)" if phases > 1 else ""
        yield f"branch {branch.name!r}: r_ohm = {branch.r_ohm}, x_ohm = {branch.x_ohm} must be finite numbers{triangle}"
    elif branch.kind == UNKNOWN:
        if any(z.flat):
            yield f"branch {branch.name!r}: one of kind unknown has no impedance: r_ohm and x_ohm are 0"
    elif branch.kind == "switch":
        if any(own.real < 0 for own in z.diagonal()):
            yield f"branch {branch.name!r}: r_ohm = {branch.r_ohm} must not be negative"
    elif any(own.real < 0 or own.imag < 0 or own == 0 for own in z.diagonal()):
        yield (
            f"branch {branch.name!r}: impedance r_ohm = {branch.r_ohm}, x_ohm = {branch.x_ohm} must be positive (only a"
            " switch may have zero)"
        )


def _kind_problems(branch: Any, phases: int, vn_of: Mapping[str, float]) -> Iterator[str]:
    """What only a transformer may have."""
    if branch.vector_group != VECTOR_GROUPS[0] and (branch.kind != "transformer" or phases != 3):
        yield f"branch {branch.name!r}: vector_group = {branch.vector_group!r} needs a transformer on phases abc"
    start, stop = vn_of.get(branch.from_bus), vn_of.get(branch.to_bus)
    if branch.kind != "transformer" and start is not None and stop is not None and start != stop:
        yield f"branch {branch.name!r}: a {branch.kind} joins {start} kV and {stop} kV; only a transformer may"


def _is_tree(names: set[str], branches: pd.DataFrame) -> bool:
    place = {name: i for i, name in enumerate(names)}
    ends = ([place[b] for b in branches[end]] for end in ("from_bus", "to_bus"))
    links = sp.coo_array((np.ones(len(branches)), tuple(ends)), shape=(len(names), len(names)))
    return len(branches) == len(names) - 1 and connected_components(links, directed=False)[0] == 1


def _topology_problems(buses: pd.DataFrame, branches: pd.DataFrame, meshed: bool) -> Iterator[str]:
    names = set(buses["name"].dropna())
    used = branches[branches["closed"] & branches["from_bus"].isin(names) & branches["to_bus"].isin(names)]
    used = used[used["from_bus"] != used["to_bus"]]
    sources = buses["name"][buses["v_source_pu"].notna()].dropna()
    if len(sources) == 1 and _is_tree(names, used):
        return
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(buses["name"].dropna())
    label: dict[frozenset[str], str] = {}
    for name, u, v in zip(used["name"], used["from_bus"], used["to_bus"], strict=True):
        if graph.has_edge(u, v) and not meshed:
            yield f"cycle: branches {label[frozenset((u, v))]!r} and {name!r} both join {u!r} and {v!r}; open one"
        graph.add_edge(u, v)
        label[frozenset((u, v))] = str(name)
    if not meshed and graph.number_of_edges() >= graph.number_of_nodes() - nx.number_connected_components(graph) + 1:
        for cycle in nx.cycle_basis(graph):
            around = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
            yield f"cycle: open one of the branches {shorten((label[frozenset(e)] for e in around), 20)}"
    reached = set().union(*(nx.node_connected_component(graph, s) for s in sources)) if len(sources) else names
    for island in nx.connected_components(graph.subgraph(names - reached)):
        yield f"island: no closed branch joins {shorten(sorted(island))} to the source"
