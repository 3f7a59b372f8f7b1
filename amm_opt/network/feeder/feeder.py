"""The feeder: an immutable, validated, rooted network, radial unless it is said to be meshed.

Buses and branches are given as tables (one row each). Everything inside is ordered by a depth-first walk from
the source, so that the buses below any branch are one contiguous range: sums over subtrees and along paths become
differences of cumulative sums, which is what makes the linear models fast. In a meshed network the walk follows a
spanning tree, and the branches that close its cycles stand behind those of the tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.arrays import BoolArray, ComplexArray, FloatArray, IntArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.io.html import facts
from amm_opt.network.feeder.limits import BRANCH_LIMITS, LimitChanges, NamedLimits, unknown_branches
from amm_opt.network.feeder.phases import PHASES, POSITIVE_SEQUENCE, phase_taps
from amm_opt.network.feeder.shunts import at_buses, at_stars, delta_shunts, per_phase, unfed
from amm_opt.network.feeder.tables import (
    UNKNOWN,
    VECTOR_GROUPS,
    FeederTables,
    checked_tables,
)
from amm_opt.network.feeder.walk import spanning, walk

if TYPE_CHECKING:
    import networkx as nx


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Feeder:
    """A radial feeder, rooted at its one source bus; or a meshed network, with one bus as its source.

    Build one with :meth:`from_tables`; the constructor does not validate. All arrays are read-only and ordered by
    the depth-first walk: bus 0 is the source, and branch ``b`` (``b >= 1``) is the one that feeds bus ``b``, so bus
    and branch arrays share one index and entry 0 of a branch array stands for the source (rating ``inf``).

    In a meshed network this holds of a spanning tree: branch arrays have more than n entries, and those from n on are
    the branches that close its cycles, in the order and the direction of their table.

    Attributes:
        bus_names: n bus names.
        parent: (n,) index of the bus upstream, -1 at the source.
        subtree_end: (n,) the buses at and below bus i are ``i .. subtree_end[i] - 1``.
        vn_kv: (n,) nominal line-to-line voltage.
        v_min_pu, v_max_pu: (n,) voltage band.
        tier: (n,) ``"MV"`` or ``"LV"``.
        lv_feeder: (n,) index into ``lv_feeders`` or -1 on the upper tier.
        lv_feeders: names of the LV feeders (one distribution transformer and what hangs below).
        phases: n tuples of phase names; ``("pos",)`` is the balanced, positive-sequence case.
        v_source_pu: voltage magnitude held at the source.
        shunt_kva: (n, 3) complex power that each bus's shunt injects at nominal voltage, on phases a, b, c (-kW
            drawn + j kvar injected); that of a ``pos`` bus, its three-phase total, stands first.
        delta_kva: (n,) how much of it, of all phases, is between phases and draws nothing by a zero-sequence voltage.
        branch_names, branch_kind: n names and kinds (``line``, ``transformer``, ``switch``, ``unknown``; entry 0 is
            ``""``).
        rating_kva: (n,) apparent-power rating, three-phase total on ``pos`` branches, per phase otherwise.
        import_limit_kw, export_limit_kw: (n,) limits of the active power that a branch carries away from the source,
            and towards it, all phases together, at its upper end.
        tap: (n,) off-nominal turns ratio on the upstream side (no-load: v_down = v_up / tap, in per unit).
        phase_tap: (n, 3) that ratio on phases a, b, c, where they differ; ``tap`` alike on all others. Only models on
            phases take branches whose phases differ.
        vector_group: n names; ``Dyn1`` and ``Dyn11`` have their delta upstream, ``reversed`` ones downstream; the star
            of ``Dy1`` and ``Dy11`` has no ground.
        z_ohm: n square complex impedance matrices on the branch's phases, referred to the downstream voltage.
        charging_kvar: (n, 3) reactive power that a branch's capacitance injects at nominal voltage, half at each end;
            phases as for ``shunt_kva``.
        ends: (2, n) the buses at both ends of every branch, first the one that flow away from the source leaves; -1
            and 0 of entry 0.
    """

    bus_names: tuple[str, ...]
    parent: IntArray
    subtree_end: IntArray
    vn_kv: FloatArray
    v_min_pu: FloatArray
    v_max_pu: FloatArray
    tier: tuple[str, ...]
    lv_feeder: IntArray
    lv_feeders: tuple[str, ...]
    phases: tuple[tuple[str, ...], ...]
    v_source_pu: float
    shunt_kva: ComplexArray
    delta_kva: ComplexArray
    branch_names: tuple[str, ...]
    branch_kind: tuple[str, ...]
    branch_phases: tuple[tuple[str, ...], ...]
    rating_kva: FloatArray
    import_limit_kw: FloatArray
    export_limit_kw: FloatArray
    tap: FloatArray
    phase_tap: FloatArray
    vector_group: tuple[str, ...]
    z_ohm: tuple[ComplexArray, ...]
    charging_kvar: FloatArray
    ends: IntArray
    tables: FeederTables

    @classmethod
    def from_tables(cls, buses: pd.DataFrame, branches: pd.DataFrame, *, meshed: bool = False) -> Feeder:
        """Validate two tables and build the rooted feeder.

        Args:
            buses: columns ``name, vn_kv, v_min_pu, v_max_pu``; optional ``tier`` (MV or LV; default by vn_kv, LV
                below 1 kV), ``feeder`` (LV feeder name), ``phases`` (default ``pos``), ``shunt_kw`` and ``shunt_kvar``
                (drawn, and injected, by a shunt at nominal voltage; default 0), ``delta_kw`` and ``delta_kvar`` (how
                much of these is between phases; default none), ``x`` and ``y`` (coordinates, kept in the tables) and
                ``v_source_pu``, which is filled at exactly one bus, the source.
            branches: columns ``name, from_bus, to_bus, r_ohm, x_ohm``; optional ``kind`` (default line),
                ``rating_kva``, ``import_limit_kw`` and ``export_limit_kw`` (default unlimited; import is away from the
                source), ``tap`` (default 1, on the ``from_bus`` side), ``phase_taps`` (a factor on it for each phase,
                as text; default 1), ``closed`` (default true), ``phases``,
                ``charging_kvar`` (default 0) and ``vector_group`` (default YNyn0, or Dyn1 or Dyn11 with the delta on
                the ``from_bus`` side, Dy1 or Dy11 where the star has no ground). Impedance is referred to the voltage
                of ``to_bus``; on several phases it is a
                lower triangle such as ``"0.3 | 0.1 0.3"``. Shunts are a total, or a text with one number per phase.
                Orientation is free: the feeder is rooted here.
            meshed: whether closed branches may form cycles; such a network is balanced, and only a network model for
                meshes takes it.

        Raises:
            InputError: every problem of both tables at once, each with the element's name.
        """
        return _rooted(checked_tables(buses, branches, meshed))

    @property
    def n_buses(self) -> int:
        """Number of buses."""
        return len(self.bus_names)

    @cached_property
    def bus_index(self) -> dict[str, int]:
        """Position of each bus by name."""
        return {name: i for i, name in enumerate(self.bus_names)}

    @cached_property
    def depth(self) -> IntArray:
        """(n,) number of branches between each bus and the source."""
        down = np.zeros(self.n_buses + 1, dtype=np.intp)
        np.add.at(down, np.arange(1, self.n_buses), 1)
        np.add.at(down, self.subtree_end[1:], -1)
        return np.asarray(_read_only(np.cumsum(down)[:-1]), dtype=np.intp)

    @cached_property
    def injected_kva(self) -> ComplexArray:
        """(n, 3) complex power that shunts and line charging inject at each bus at nominal voltage, by phase."""
        return np.asarray(_read_only(at_buses(self.shunt_kva, self.charging_kvar, self.ends)))

    @cached_property
    def star_kva(self) -> ComplexArray:
        """(n,) what a zero-sequence voltage of 1 pu injects at each bus, on each phase, besides ``injected_kva``.

        A grounded star with its delta away from the source short-circuits the zero sequence through its impedance. Of
        a shunt between phases it takes back what it does not draw.
        """
        starred = [b for b, g in enumerate(self.vector_group) if g.startswith("Dyn") and g.endswith("reversed")]
        z = [(self.z_ohm[b][0, 0] - self.z_ohm[b][0, 1]) * (3.0 * self.tap[b] ** 2) for b in starred]
        stars = at_stars(np.array(z, dtype=complex), self.vn_kv[starred], self.parent[starred], self.n_buses)
        return np.asarray(_read_only(stars - self.delta_kva / 3.0))

    @cached_property
    def balanced(self) -> bool:
        """Whether every bus and branch is a positive-sequence equivalent."""
        return all(p == POSITIVE_SEQUENCE for p in (*self.phases, *self.branch_phases))

    @property
    def meshed(self) -> bool:
        """Whether branches close cycles."""
        return len(self.branch_names) > self.n_buses

    @property
    def unknown(self) -> str:
        """What keeps models of impedances from it, as a sentence: branches of kind ``unknown``; empty elsewhere."""
        names = [name for name, kind in zip(self.branch_names, self.branch_kind, strict=True) if kind == UNKNOWN]
        if not names:
            return ""
        known = (
            f"the impedances of {counted(len(names), 'branch', 'branches')} are not known, such as that of {names[0]!r}"
        )
        return f"{known}: only a network fitted to meters takes them, network=ao.fit_network(...)"

    @cached_property
    def _graph(self) -> nx.DiGraph[str]:
        import networkx as nx

        kind = nx.MultiDiGraph if self.meshed else nx.DiGraph
        graph: nx.DiGraph[str] = kind(source=self.bus_names[0], v_source_pu=self.v_source_pu)
        for i, bus in enumerate(self.bus_names):
            f = self.lv_feeder[i]
            graph.add_node(
                bus,
                vn_kv=float(self.vn_kv[i]),
                v_min_pu=float(self.v_min_pu[i]),
                v_max_pu=float(self.v_max_pu[i]),
                phases=self.phases[i],
                tier=self.tier[i],
                feeder=self.lv_feeders[f] if f >= 0 else None,
                shunt_kva=self.shunt_kva[i],
            )
        for i, (start, stop) in enumerate(self.ends.T[1:].tolist(), 1):
            graph.add_edge(
                self.bus_names[start],
                self.bus_names[stop],
                name=self.branch_names[i],
                kind=self.branch_kind[i],
                phases=self.branch_phases[i],
                z_ohm=self.z_ohm[i],
                **{column: float(getattr(self, column)[i]) for column in BRANCH_LIMITS},
                tap=float(self.tap[i]),
                phase_tap=self.phase_tap[i],
                vector_group=self.vector_group[i],
                charging_kvar=self.charging_kvar[i],
            )
        return graph

    @property
    def graph(self) -> nx.DiGraph[str]:
        """The rooted tree as a frozen networkx DiGraph (a fresh copy: changing it never changes the feeder).

        Of a meshed network a MultiDiGraph with all closed branches.
        """
        import networkx as nx

        return nx.freeze(self._graph.copy())

    def with_limits(
        self,
        *,
        limits: NamedLimits | None = None,
        capacity_scale: float = 1.0,
        mv_capacity_scale: float = 1.0,
        lv_capacity_scale: float = 1.0,
    ) -> Feeder:
        """The same feeder with other limits of its branches than its tables say; earlier changes do not count.

        Args:
            limits: by branch, what stands in place of the table's ``rating_kva`` (also as a mere number),
                ``import_limit_kw`` and ``export_limit_kw``.
            capacity_scale: factor on every limit of every branch, also on ``limits``.
            mv_capacity_scale, lv_capacity_scale: further factors on those of branches that feed a bus of this tier.

        Raises:
            InputError: for an unknown branch or limit, and where a limit or factor is not positive.
        """
        changes = LimitChanges({} if limits is None else limits, capacity_scale, mv_capacity_scale, lv_capacity_scale)
        if problems := list(unknown_branches(changes.limits, list(self.tables.branches["name"]))):
            raise InputError(problems)
        return _rooted(replace(self.tables, changes=changes))

    def select(self, keep: BoolArray) -> Feeder:
        """The feeder with only some of its buses and the branches between them, in the same order.

        Args:
            keep: (n,) buses to keep: the source, and of each bus the one that feeds it.

        Raises:
            InputError: where a bus would be cut off from the source, and of a meshed network.
        """
        if self.meshed:
            raise InputError(f"a meshed network cannot be taken apart: {self.cycles}")
        lost = np.flatnonzero(keep[1:] & ~keep[self.parent[1:]]) + 1
        if len(lost) or not keep[0]:
            name = self.bus_names[lost[0] if len(lost) else 0]
            raise InputError(f"bus {name!r} would be cut off from the source {self.bus_names[0]!r}")
        names = {name for name, kept in zip(self.bus_names, keep, strict=True) if kept}
        buses, branches = self.tables.buses, self.tables.branches
        inside = branches["from_bus"].isin(names) & branches["to_bus"].isin(names)
        return _rooted(replace(self.tables, buses=buses[buses["name"].isin(names)], branches=branches[inside]))

    @property
    def cycles(self) -> str:
        """What is said of a meshed network where a radial one is needed."""
        return f"cycles are closed by {shorten(repr(name) for name in self.branch_names[self.n_buses :])}"

    def __repr__(self) -> str:
        size = f"{counted(self.n_buses, 'bus', 'buses')}, {counted(len(self.lv_feeders), 'LV feeder')}"
        return f"Feeder({size}, source {self.bus_names[0]!r})"

    def _repr_html_(self) -> str:
        kinds = {f"{kind}s": self.branch_kind.count(kind) for kind in sorted(set(self.branch_kind)) if kind}
        rated = int(np.isfinite(self.rating_kva[1:]).sum())
        about = {"source": self.bus_names[0], "buses": self.n_buses, **kinds, "branches with a rating": rated}
        return facts(f"Feeder with {counted(len(self.lv_feeders), 'LV feeder')}", about)


def _rooted(tables: FeederTables) -> Feeder:
    """The feeder of checked tables, its branches turned away from the source."""
    buses, closed = tables.buses, tables.branches[tables.branches["closed"]]
    names = buses["name"].to_numpy(dtype=object)
    position = {name: i for i, name in enumerate(names)}
    start = closed["from_bus"].map(position).to_numpy(dtype=np.intp)
    stop = closed["to_bus"].map(position).to_numpy(dtype=np.intp)
    v_source = buses["v_source_pu"].to_numpy(dtype=float)
    source = int(np.flatnonzero(~np.isnan(v_source))[0])
    tree, chords = spanning(len(names), start, stop) if tables.meshed else (np.arange(len(closed)), np.empty(0, int))
    order, parent, via, end = walk(len(names), source, zip(start[tree].tolist(), stop[tree].tolist(), strict=True))
    row, fed = np.append(tree[via[1:]], chords).astype(np.intp), np.append(order[1:], stop[chords]).astype(np.intp)
    place = np.argsort(order)
    made = Feeder(
        parent=_read_only(np.array(parent, dtype=np.intp)),
        subtree_end=_read_only(np.array(end, dtype=np.intp)),
        v_source_pu=float(v_source[source]),
        ends=_read_only(np.array([[*parent, *place[start[chords]]], [*range(len(order)), *place[stop[chords]]]])),
        tables=tables,
        **_bus_arrays(buses.iloc[order]),
        **_branch_arrays(
            closed.iloc[row],
            limits=tables.changes.applied(closed.iloc[row], buses["tier"].iloc[fed]),
            flipped=stop[row] != fed,
            kv=buses["vn_kv"].to_numpy(dtype=float)[np.stack([start[row], stop[row]])],
            at_source=buses["phases"].iloc[source],
        ),
    )
    if problems := unfed(made.shunt_kva, made.branch_phases[: made.n_buses], made.bus_names):
        raise InputError(problems, subject="feeder")
    return made


def _bus_arrays(buses: pd.DataFrame) -> dict[str, Any]:
    """What the table of buses, in the feeder's order, gives of a feeder."""
    feeders = buses["feeder"].to_numpy(dtype=object)
    lv_feeders = tuple(dict.fromkeys(f for f in feeders if f is not None))
    code = {f: i for i, f in enumerate(lv_feeders)}
    drawn_kw, kvar = (per_phase(buses, column, "bus")[0] for column in ("shunt_kw", "shunt_kvar"))
    return {
        "bus_names": tuple(buses["name"].to_numpy(dtype=object)),
        **{c: _read_only(buses[c].to_numpy(dtype=float, copy=True)) for c in ("vn_kv", "v_min_pu", "v_max_pu")},
        "tier": tuple(buses["tier"].to_numpy(dtype=object)),
        "lv_feeder": _read_only(np.array([code.get(f, -1) for f in feeders], dtype=np.intp)),
        "lv_feeders": lv_feeders,
        "phases": tuple(buses["phases"].to_numpy(dtype=object)),
        "shunt_kva": _read_only(1j * kvar - drawn_kw),
        "delta_kva": _read_only(delta_shunts(buses)[0]),
    }


def _branch_arrays(
    branches: pd.DataFrame,
    limits: dict[str, FloatArray],
    flipped: BoolArray,
    kv: FloatArray,
    at_source: tuple[str, ...],
) -> dict[str, Any]:
    """What the table of closed branches, in the order of the buses that they feed, gives of a feeder.

    Args:
        limits: (n - 1,) each, by their column.
        flipped: (n - 1,) branches that are given towards the source.
        kv: (2, n - 1) nominal voltages at ``from_bus`` and ``to_bus``.
        at_source: phases of the source.
    """
    tap = branches["tap"].to_numpy(dtype=float)
    by_phase = tap[:, None] * phase_taps(branches)[0]
    refer = _referred(by_phase * (kv[0] / kv[1])[:, None], flipped, branches["phases"])
    groups = branches["vector_group"].to_numpy(dtype=object)
    turned = flipped & (groups != VECTOR_GROUPS[0])
    z = zip(branches["z_ohm"].to_numpy(dtype=object), refer, strict=True)

    def numbers(first: Any, values: NDArray[Any]) -> NDArray[Any]:
        return _read_only(np.concatenate([first, values]))

    return {
        "branch_names": ("", *branches["name"].to_numpy(dtype=object)),
        "branch_kind": ("", *branches["kind"].to_numpy(dtype=object)),
        "branch_phases": (at_source, *branches["phases"].to_numpy(dtype=object)),
        **{column: numbers([np.inf], values) for column, values in limits.items()},
        "tap": numbers([1.0], np.where(flipped, 1 / tap, tap)),
        "phase_tap": numbers(np.ones((1, 3)), np.where(flipped[:, None], 1 / by_phase, by_phase)),
        "vector_group": ("", *np.where(turned, groups + " reversed", groups)),
        "z_ohm": (
            _read_only(np.zeros((1, 1), dtype=complex)),
            *(_read_only(m if scale is None else m * scale) for m, scale in z),
        ),
        "charging_kvar": numbers(np.zeros((1, 3)), per_phase(branches, "charging_kvar", "branch")[0]),
    }


def _referred(ratio: FloatArray, flipped: BoolArray, phases: Iterable[tuple[str, ...]]) -> list[FloatArray | None]:
    """What multiplies the impedance matrix of each branch that is turned round, from (n - 1, 3) ratios; else None."""
    own = ([PHASES.index(p) if p in PHASES else 0 for p in names] for names in phases)
    return [np.outer(row[at], row[at]) if turn else None for row, turn, at in zip(ratio, flipped, own, strict=True)]
