"""Lines and transformers of a circuit as rows of the branches table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.importers.opendss.banks import OPEN_DELTA, Unit, bank, open_delta, unit
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, UnsupportedError
from amm_opt.importers.opendss.elements.neutral import idle_neutrals, star_resistances
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.conductors import reduced_neutral
from amm_opt.importers.opendss.lines.line import Line, charging_kva, split_conductors
from amm_opt.importers.opendss.lines.parallel import Conductor, side_by_side
from amm_opt.importers.opendss.ratings import Rating, assumed_rating, guessed_rating
from amm_opt.importers.opendss.settings import GUESS, OTHERS, Settings
from amm_opt.importers.opendss.topology import Topology
from amm_opt.importers.report import ImportReport

LINK_METRES = 2.0
"""Lines up to this length are busbar links: they get no assumed rating."""
MOVED_KW = 0.01
"""Capacitances of a line that move less than this between phases are taken as alike."""
SOLID_OHM = 1.0
"""A neutral counts as grounded where its grounding has at most this resistance."""


class Branches:
    """Makes the rows; what is wrong goes to ``problems``, and what is assumed to the report.

    Attributes:
        reductions: how many lines had their neutral reduced in which way.
        returning: buses, in lower case, whose neutral carries return current.
        stars: ohm between star point and neutral by transformer.
        units: transformers, each by itself.
        moved: kW by bus, in lower case, and phase that capacitances of lines draw there and feed into other phases.
        used_ratings: line code, A and metres by the source of the rating.
    """

    def __init__(
        self, elements: Elements, topology: Topology, settings: Settings, problems: list[str], report: ImportReport
    ) -> None:
        self._elements, self._topology, self._settings = elements, topology, settings
        self._problems, self._report = problems, report
        self.used_ratings: dict[str, list[tuple[str, float, float]]] = {}
        self._unrated: dict[str, list[Line]] = {}
        self.reductions: Counter[str] = Counter()
        self.returning: set[str] = set()
        self.units: list[Unit] = []
        self.moved: dict[tuple[str, str], complex] = {}
        self._groups: list[tuple[dict[str, Any], list[Transformer]]] = []
        e = elements
        kron = settings.neutral == "kron"
        self.stars = {} if kron else star_resistances(e.transformers, e.lines, e.loads, e.grounding)
        self._idle_neutrals = idle_neutrals(e.lines, e.loads, e.grounding)
        open_deltas = {_ends(x) for x in e.transformers if x.closed and x.between_phases}
        self._beside = [x for x in e.lines if x.closed and _ends(x) in open_deltas]

    def _edge(self, x: Line | Transformer) -> dict[str, Any]:
        start, stop = (self._topology.names[b.lower()] for b in x.buses)
        return {"name": x.element.name, "from_bus": start, "to_bus": stop, "closed": x.closed}

    def lines(self) -> list[tuple[Line, dict[str, Any]]]:
        """Rows of all lines; closed ones between the same buses become one."""
        beside = {id(x) for x in self._beside}
        single = [(x, c) for x in self._elements.lines if id(x) not in beside and (c := self._conductor(x))]
        self._say_unrated()
        between: dict[frozenset[str], list[tuple[Line, Conductor]]] = {}
        for x, conductor in single:
            if x.closed:
                between.setdefault(_ends(x), []).append((x, conductor))
        rows: list[tuple[Line, Conductor]] = []
        merged: set[int] = set()
        for group in between.values():
            if len(group) < 2 or not self._topology.only(Line, group[0][0]):
                continue
            try:
                together = side_by_side([conductor for _, conductor in group])
            except np.linalg.LinAlgError:
                continue
            self._topology.keep_first([x for x, _ in group])
            self._report.assumed.append(f"lines side by side are one branch: {together.name}")
            rows.append((group[0][0], together))
            merged.update(id(x) for x, _ in group)
        rows = [*((x, c) for x, c in single if id(x) not in merged), *rows]
        return [(x, self._line_row(x, conductor)) for x, conductor in rows]

    def _line_row(self, x: Line, conductor: Conductor) -> dict[str, Any]:
        base = self._topology.vn_kv.get(x.buses[0].lower(), 0.4)
        rating = {"rating_kva": conductor.amps * base / math.sqrt(3)}
        return {**self._edge(x), "name": conductor.name, **conductor.columns, **rating}

    def _conductor(self, x: Line) -> Conductor | None:
        phases, neutrals = split_conductors(x.nodes[0])
        named = [x.nodes[0][i] for i in phases]
        if not phases or len(set(named)) != len(named):
            self._problems.append(f"{x.element}: nodes {x.nodes[0]} are not distinct phases 1 to 3")
            return None
        if named != [x.nodes[1][i] for i in phases] or any(x.nodes[1][i] in PHASE_NAMES for i in neutrals):
            self._problems.append(f"{x.element}: unsupported: its phases change places between its ends")
            return None
        how = self._settings.neutral if neutrals else "none"
        if how == "auto":
            ends = [(bus, nodes[i]) for bus, nodes in zip(x.buses, x.nodes, strict=True) for i in neutrals]
            how = "kron" if all(self._solid(bus, node) for bus, node in ends) else "return"
        if len(neutrals) > 1 and how != "kron":
            self._problems.append(
                f"{x.element}: unsupported: {len(neutrals)} neutral conductors, unless all are grounded at both ends"
                f" through at most {SOLID_OHM:g} ohm; neutral='kron' takes them so"
            )
            return None
        if how == "return" and x.buses[0].lower() in self._idle_neutrals:
            how = "idle"
        self.reductions[how] += 1
        if how == "return":
            self.returning.update(b.lower() for b in x.buses)
        z = reduced_neutral(x.z_ohm, phases, neutrals, how)
        order = np.argsort(named)
        base = self._topology.vn_kv.get(x.buses[0].lower(), 0.4)
        charging = charging_kva(x.c_nf, phases, named, base, self._elements.frequency)[order]
        self._move(x, charging.real, sorted(named))
        amps = self._amps(x)
        return Conductor(
            x.element.name,
            x.switch,
            "".join(PHASE_NAMES[n] for n in sorted(named)),
            z[np.ix_(order, order)],
            math.nan if amps is None else amps * x.legs,
            -charging.imag,
        )

    def _move(self, x: Line, kw: FloatArray, nodes: list[int]) -> None:
        """Active power that unlike capacitances move between phases: half of it at each end."""
        if x.closed and np.abs(kw).max() > MOVED_KW:
            for bus in x.buses:
                for power, node in zip(kw, nodes, strict=True):
                    key = (bus.lower(), PHASE_NAMES[node])
                    self.moved[key] = self.moved.get(key, 0.0) + complex(power / 2)

    def _solid(self, bus: str, node: int) -> bool:
        return node == 0 or self._elements.grounded.get((bus.lower(), node), math.inf) <= SOLID_OHM

    def _amps(self, x: Line) -> float | None:
        """Ampacity: the caller's, the file's, none for switches and links, the caller's for others, the catalogue's."""
        if x.element.kind == "vsource":
            return math.inf
        label = x.code or x.element.name
        own, others = (self._settings.ratings.get(name) for name in (label.lower(), OTHERS))
        rating: Rating | None
        if own is None and x.amps is not None:
            if not x.amps > 0:
                self._problems.append(f"{x.element}: normamps = {x.amps} must be positive")
                return None
            rating = Rating(x.amps, label, "normamps of the file")
        elif own is None and (x.switch or x.metres <= LINK_METRES):
            rating = Rating(math.inf, label, f"assumed: switch, or link of at most {LINK_METRES:g} m, without limit")
        else:
            given = others if own is None else own
            rating = assumed_rating(label) if given is None else self._given(x, label, given)
        if rating is None:
            self._unrated.setdefault(label, []).append(x)
            return None
        self.used_ratings.setdefault(rating.source, []).append((label, rating.amps, x.metres))
        return rating.amps

    def _given(self, x: Line, label: str, amps: float | str) -> Rating | None:
        if isinstance(amps, str):
            return guessed_rating(label, x.ohm_per_km)
        return Rating(float(amps), label, "given by the caller")

    def _say_unrated(self) -> None:
        """One problem for each conductor without a rating, and last what to pass for all of them."""
        guesses = {}
        for label, lines in self._unrated.items():
            more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
            metres = math.fsum(x.metres for x in lines)
            length = f"{metres:,.0f} m" if math.isfinite(metres) else "length without units"
            guessed = isinstance(self._settings.ratings.get(OTHERS), str)
            self._problems.append(
                f"{lines[0].element}{more}: missing rating: no normamps, and {label!r} ({length}) is not in the"
                " catalogue" + (", nor can it be guessed without its resistance per km" if guessed else "")
            )
            guess = guessed_rating(label, lines[0].ohm_per_km)
            guesses[label] = "A" if guess is None else f"{guess.amps:g}"
        if guesses:
            listed = ", ".join(f"{label!r}: {amps}" for label, amps in guesses.items())
            self._problems.append(
                f"pass ratings={{{listed}}} with your own figures (these are guesses from resistance), ratings=A for"
                f" all of them, or ratings={GUESS!r} to take the guesses"
            )

    def transformers(self) -> list[tuple[Transformer, dict[str, Any]]]:
        """Rows of all transformers; closed ones between the same buses, on phases of their own, become one."""
        self.units = [u for x in self._elements.transformers if (u := self._unit(x, 0))]
        between: dict[frozenset[str], list[Unit]] = {}
        for u in self.units:
            if u.transformer.closed:
                between.setdefault(_ends(u.transformer), []).append(u)
        rows: list[tuple[Transformer, dict[str, Any]]] = []
        merged: set[int] = set()
        for group in between.values():
            first = group[0].transformer
            is_open = any(u.group == OPEN_DELTA for u in group)
            if not is_open and (len(group) < 2 or not self._topology.only(Transformer, first)):
                continue
            names = "+".join(u.transformer.element.name for u in group)
            try:
                alike = [self._alike(u, first) for u in group]
                columns = self._open_delta(alike) if is_open else bank(alike)
            except UnsupportedError as error:
                self._problems.append(f"{first.element}: unsupported bank {names}: {error}")
            else:
                rows.append((first, {**self._edge(first), "name": names, **columns}))
                self._groups.append((rows[-1][1], [u.transformer for u in group]))
                self._report.assumed.append(f"transformers side by side are one branch: {_bank_text(names, columns)}")
            lines = [x for x in self._beside if _ends(x) == _ends(first)] if is_open else []
            self._topology.keep_first([*(u.transformer for u in group), *lines])
            merged.update(id(u) for u in group)
        single = [
            (u.transformer, {**self._edge(u.transformer), **u.columns}) for u in self.units if id(u) not in merged
        ]
        self._groups += [(row, [x]) for x, row in single]
        return [*single, *rows]

    def retap(self) -> None:
        """Put the taps at which the transformers now stand into their rows."""
        for row, members in self._groups:
            units = [u for x in members if (u := self._unit(x, 0))]
            alike = [self._alike(u, members[0]) for u in units]
            row.pop("phase_taps", None)
            if alike[0].group == OPEN_DELTA:
                row.update(open_delta(alike))
            else:
                row.update(bank(alike) if len(alike) > 1 else alike[0].columns)

    def _open_delta(self, units: list[Unit]) -> dict[str, object]:
        """Columns of an open delta, of which a line beside it carries the common phase."""
        columns = open_delta(units)
        (middle,) = set(units[0].phases) & set(units[1].phases)
        beside = [x for x in self._beside if _ends(x) == _ends(units[0].transformer)]
        named = {PHASE_NAMES.get(n) for x in beside for side in x.nodes for n in side}
        if named != {middle}:
            raise UnsupportedError(
                f"no line, or one on other phases, carries phase {middle}, which they have in common"
            )
        self._report.assumed.append(
            f"{beside[0].element}: it carries the common phase of the open delta beside it, and is no branch by itself;"
            " voltages below are those of the equivalent star"
        )
        return columns

    def _alike(self, u: Unit, first: Transformer) -> Unit:
        """A unit from the first one's first bus to its second."""
        if u.transformer.buses[0].lower() == first.buses[0].lower():
            return u
        return self._unit(u.transformer, 1) or u

    def _unit(self, x: Transformer, start: int) -> Unit | None:
        reactance = x.xhl * (100.0 if self._settings.xhl == "per_unit" else 1.0)
        try:
            made = unit(x, start, self._topology.vn_kv, reactance, self._star_ohm(x))
        except UnsupportedError as error:
            self._problems.append(f"{x.element}: {error}")
            return None
        delta, wye = (self._topology.depth.get(b.lower(), 0) for b in x.buses)
        if made.group in ("YNyn0", OPEN_DELTA) or delta <= wye:
            return made
        star = x.nodes[1][-1]
        if star > 3 and (not x.star_floats or self._joined(x, star)):
            self._problems.append(
                f"{x.element}: unsupported: fed from a star whose point, node {star} of bus {x.buses[1]!r}, is neither"
                " ground itself nor joined to nothing"
            )
            return None
        return replace(made, group=made.group if star == 0 else made.group.replace("n", ""))

    def _star_ohm(self, x: Transformer) -> float:
        """Ohm between its star point and the neutral, where it feeds from its star."""
        delta, wye = (self._topology.depth.get(b.lower(), 0) for b in x.buses)
        return 0.0 if x.conns[0] == "delta" and delta > wye else self.stars.get(x.element.name, 0.0)

    def _joined(self, x: Transformer, star: int) -> bool:
        """Whether anything but a transformer ends at its star point."""
        e, bus = self._elements, x.buses[1].lower()
        joining: list[Line | Transformer] = [*e.lines, *(y for y in e.transformers if y is not x)]
        others = [(b, n) for y in joining for b, n in zip(y.buses, y.nodes, strict=True)]
        others += [(load.bus, load.nodes) for load in e.loads] + [(plant.bus, plant.nodes) for plant in e.plants]
        return (bus, star) in e.grounded or any(b.lower() == bus and star in nodes for b, nodes in others)


def _ends(x: Line | Transformer) -> frozenset[str]:
    return frozenset(bus.lower() for bus in x.buses)


def _bank_text(names: str, columns: Mapping[str, object]) -> str:
    taps = f", tap {columns['tap']:.5g}"
    if "phase_taps" in columns:
        own = (float(str(columns["tap"])) * float(f) for f in str(columns["phase_taps"]).split())
        taps = f", taps {' '.join(f'{x:.5g}' for x in own)}"
    return f"{names} on {columns['phases']}{taps}, {columns['rating_kva']:.4g} kVA per phase (the smallest)"
