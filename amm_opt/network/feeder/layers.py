"""Layers: nested areas of a network, from a bus to the whole system, and the area that each limit belongs to.

The derived layers of a radial feeder, finest first:

    node        a bus
    feeder      an LV feeder: one distribution transformer and what hangs below
    section     a line section of an MV feeder: the MV bus that a branch feeds, and everything behind it
    mv_feeder   everything behind a branch that leaves the first bus at which the upper tier divides
                (the source, where it never does)
    system      everything

A limit belongs to the smallest area that holds everything behind it: of a branch, all buses that it feeds; of a voltage
band, its bus, but never a node alone, because whoever loads the path to a bus moves its voltage. In a meshed network
there is no behind: a branch belongs to the smallest area that holds both its ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from amm_opt.arrays import BoolArray, IntArray
from amm_opt.errors import InputError, shorten, unknown
from amm_opt.fields import is_text, shortened
from amm_opt.network.feeder.feeder import Feeder

NODE, SYSTEM = "node", "system"
DERIVED = ("feeder", "section", "mv_feeder")
"""Layers between node and system that are derived from the network."""
DEFAULT = "default"
"""Said of one of them: its areas are to be derived."""
LayerTable = Mapping[str, str | Mapping[str, Sequence[str]]]
Area = tuple[int, str, IntArray]
"""Number of its layer, name, buses."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Nested areas of a feeder: first one for each bus, then the named ones, and last the system.

    Attributes:
        names: of the layers, finest first, from ``node`` to ``system``.
        areas: (A,) names of the areas; of the first ones those of the buses.
        layer: (A,) index into ``names``.
        parent: (A,) the smallest area that an area lies in; -1 of the system.
    """

    feeder: Feeder
    names: tuple[str, ...]
    areas: tuple[str, ...]
    layer: IntArray
    parent: IntArray

    @classmethod
    def of(cls, feeder: Feeder, table: LayerTable | None = None) -> Layers:
        """The layers of a feeder.

        Args:
            table: those between node and system, finest first: by layer either ``"default"``, for a derived one, or by
                area the buses that it holds; on a radial feeder everything behind these as well. All the derived ones
                where nothing is given.

        Raises:
            InputError: for an unknown bus or layer, and where two areas overlap without one lying in the other, or lie
                in each other against the order of their layers.
        """
        given = dict(table) if table else dict.fromkeys(DERIVED, DEFAULT)
        if problems := list(_problems(feeder, given)):
            raise InputError(problems, subject="layers")
        areas: list[Area] = []
        for rank, (name, content) in enumerate(given.items(), 1):
            made = _derived(feeder, name) if isinstance(content, str) else _own(feeder, content)
            areas += [(rank, area, buses) for area, buses in made if len(buses)]
        return _nested(feeder, (NODE, *given, SYSTEM), areas)

    @cached_property
    def of_branch(self) -> IntArray:
        """(branches,) the area that each branch's limits belong to; of entry 0 the system."""
        n, parent, depth = self.feeder.n_buses, self.parent.tolist(), self._depth

        def common(a: int, b: int) -> int:
            while a != b:
                a, b = (parent[a], b) if depth[a] >= depth[b] else (a, parent[b])
            return a

        if self.feeder.meshed:
            found = [common(a, b) for a, b in np.maximum(self.feeder.ends, 0).T.tolist()]
        else:
            found = list(range(n))
            for bus in range(n - 1, 0, -1):
                above = int(self.feeder.parent[bus])
                found[above] = common(found[above], found[bus])
            found = [parent[a] if a < n and self._alone[a] else a for a in found]
        return np.array([len(self.areas) - 1, *found[1:]], dtype=np.intp)

    @property
    def of_band(self) -> IntArray:
        """(n_buses,) the area that each bus's voltage band belongs to."""
        return self.parent[: self.feeder.n_buses]

    def number(self, name: str) -> int:
        """The number of a layer.

        Raises:
            InputError: where there is none of this name.
        """
        if name not in self.names:
            raise unknown("layer", name, self.names)
        return self.names.index(name)

    def zones(self, bus: IntArray, layer: int) -> IntArray:
        """The smallest area that each bus lies in among those of a layer and of coarser ones."""
        area = np.asarray(bus, dtype=np.intp)
        while np.any(low := self.layer[area] < layer):
            area = np.where(low, self.parent[area], area)
        return area

    def holds(self, area: IntArray, bus: IntArray) -> BoolArray:
        """Whether each bus lies in an area; both of one shape."""
        at = np.asarray(bus, dtype=np.intp)
        found = at == area
        while np.any(at >= 0):
            at = np.where(at >= 0, self.parent[at], -1)
            found |= at == area
        return np.asarray(found)

    @cached_property
    def _depth(self) -> list[int]:
        depth = [0] * len(self.parent)
        parent = self.parent.tolist()
        for area in range(len(parent) - 2, self.feeder.n_buses - 1, -1):
            depth[area] = depth[parent[area]] + 1
        for bus in range(self.feeder.n_buses):
            depth[bus] = depth[parent[bus]] + 1
        return depth

    @cached_property
    def _alone(self) -> list[bool]:
        """Of every bus whether its smallest named area holds nothing else."""
        home = self.of_band
        others = np.isin(home, self.parent[self.feeder.n_buses :])
        return [bool(a) for a in (np.bincount(home, minlength=len(self.areas))[home] == 1) & ~others]


def _problems(feeder: Feeder, given: Mapping[Any, Any]) -> list[str]:
    """What is wrong with a table of layers by itself."""
    said = []
    for name, content in given.items():
        if not is_text(name) or not name or name in (NODE, SYSTEM, "nodal", "uniform"):
            said.append(f"{shortened(name)} cannot be the name of a layer of your own")
        elif isinstance(content, str):
            if content != DEFAULT or name not in DERIVED:
                said.append(f'{name} = {content!r}; only {", ".join(DERIVED)} can be "{DEFAULT}"')
        elif not isinstance(content, Mapping) or not content:
            said.append(f"{name} = {shortened(content)} must be areas with their buses")
        else:
            for area, buses in content.items():
                listed = isinstance(buses, Sequence) and not isinstance(buses, str) and len(buses) > 0
                if not listed or not all(map(is_text, buses)):
                    said.append(f"{name}.{area} = {shortened(buses)} must be a list of buses")
                    continue
                if lost := [repr(b) for b in buses if b not in feeder.bus_index]:
                    said.append(f"{name}.{area}: no bus is called {shorten(lost)}")
    return said


def _own(feeder: Feeder, content: Mapping[str, Sequence[str]]) -> list[tuple[str, IntArray]]:
    made = []
    for name, buses in content.items():
        inside = np.zeros(feeder.n_buses, dtype=bool)
        for bus in (feeder.bus_index[b] for b in buses):
            inside[bus : bus + 1 if feeder.meshed else feeder.subtree_end[bus]] = True
        made.append((str(name), np.flatnonzero(inside)))
    return made


def _derived(feeder: Feeder, name: str) -> list[tuple[str, IntArray]]:
    if name == "feeder":
        return [(f, np.flatnonzero(feeder.lv_feeder == k)) for k, f in enumerate(feeder.lv_feeders)]
    if feeder.meshed:
        return []
    heads = _heads(feeder)
    if name == "section":
        upper = np.flatnonzero(np.array(feeder.tier) == "MV")
        inside = np.zeros(feeder.n_buses, dtype=bool)
        for head in heads:
            inside[head + 1 : feeder.subtree_end[head]] = True
        heads = upper[inside[upper]].tolist()
    behind = ((bus, np.arange(bus, feeder.subtree_end[bus])) for bus in heads)
    return [(feeder.branch_names[bus], buses) for bus, buses in behind if _keeps_feeders(feeder, buses)]


def _heads(feeder: Feeder) -> list[int]:
    """The first buses of the MV feeders: those behind the first bus at which the upper tier divides, or the source."""
    below: dict[int, list[int]] = {}
    for bus in range(1, feeder.n_buses):
        if feeder.tier[bus] == "MV":
            below.setdefault(int(feeder.parent[bus]), []).append(bus)
    at = 0
    while len(below.get(at, [])) == 1:
        at = below[at][0]
    return below.get(at) or below.get(0, [])


def _keeps_feeders(feeder: Feeder, buses: IntArray) -> bool:
    """Whether every LV feeder is all inside these buses or all outside."""
    every = np.bincount(feeder.lv_feeder + 1, minlength=len(feeder.lv_feeders) + 1)[1:]
    inside = np.bincount(feeder.lv_feeder[buses] + 1, minlength=len(feeder.lv_feeders) + 1)[1:]
    return bool(np.all((inside == 0) | (inside == every)))


def _nested(feeder: Feeder, names: tuple[str, ...], areas: list[Area]) -> Layers:
    """Areas from the finest on, each with the one that it lies in.

    Raises:
        InputError: where they do not nest.
    """
    areas = sorted(areas, key=lambda area: (len(area[2]), area[0]))
    n = feeder.n_buses
    count = n + len(areas) + 1
    parent, home = np.full(count, -1, dtype=np.intp), np.full(n, count - 1, dtype=np.intp)
    layer = np.array([*[0] * n, *(rank for rank, _, _ in areas), len(names) - 1], dtype=np.intp)
    problems = []

    def called(a: int) -> str:
        return f"{names[layer[a]]} {areas[a - n][1]!r}" if a < count - 1 else SYSTEM

    for a in range(count - 2, n - 1, -1):
        _, _, buses = areas[a - n]
        around = np.unique(home[buses])
        if len(around) > 1:
            some = feeder.bus_names[buses[home[buses] == around.min()][0]]
            problems.append(
                f"{called(a)} and {called(int(around.min()))} overlap, at bus {some!r}, and neither lies in the other"
            )
        elif layer[around[0]] < layer[a]:
            problems.append(f"{called(a)} lies in {called(int(around[0]))}: layers stand finest first")
        parent[a], home[buses] = around.max(), a
    if problems:
        raise InputError([*problems[:5], *([shorten(problems[5:])] if len(problems) > 5 else [])], subject="layers")
    parent[:n] = home
    return Layers(feeder, names, (*feeder.bus_names, *(name for _, name, _ in areas), SYSTEM), layer, parent)
